package nb

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/janpfeifer/gonb/gonbui"
	"github.com/janpfeifer/gonb/gonbui/protocol"

	"github.com/dhkd-lab/dhkd-go/plots"
)

// Screen is the look of figures in notebooks.
var Screen = plots.Options{DPI: 110}

// Show shows a figure as a picture in the notebook, with its description for readers who cannot see it, and saves it as
// figures/NOTEBOOK/NAME.png and .svg.
func (b *Book) Show(name string, f *plots.Figure) {
	if !fileName.MatchString(name) {
		fail(fmt.Errorf("Show(%q): a figure's name is made of letters, digits and hyphens", name))
	}
	png := Must(f.PNG())
	for _, extension := range []string{".png", ".svg"} {
		Check(f.Save(filepath.Join(b.figures(), name+extension)))
	}
	display(f.Alt, protocol.MIMEImagePNG, png)
}

var fileName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*$`)

// figures is the directory of the notebook's figures.
func (b *Book) figures() string {
	dir := os.Getenv(figuresVariable)
	if dir == "" {
		dir = "figures"
	}
	return filepath.Join(dir, b.name)
}

// Markdown shows text, with formulas between dollar signs.
func Markdown(text string) { display(text, protocol.MIMETextMarkdown, text) }

// Table shows a table. Numbers are given to four digits, without an exponent below ten million, and as 0 where they are
// what rounding leaves of it, below 1e-12; a column of numbers is set flush right.
func Table(header []string, rows ...[]any) {
	cells, right, err := tabulate(header, rows)
	Check(err)
	display(plainTable(cells, right), protocol.MIMETextMarkdown, markdownTable(cells, right))
}

// display shows content, and text where that cannot be shown.
func display(text string, kind protocol.MIMEType, content any) {
	if !gonbui.IsNotebook {
		fmt.Println(text)
		return
	}
	settle()
	gonbui.SendData(&protocol.DisplayData{Data: map[protocol.MIMEType]any{kind: content, protocol.MIMETextPlain: text}})
	gonbui.Sync()
}

// tabulate turns values into text, the header first, and says which columns are of numbers.
func tabulate(header []string, rows [][]any) (cells [][]string, right []bool, err error) {
	cells = append(cells, header)
	right = make([]bool, len(header))
	for i := range right {
		right[i] = len(rows) > 0
	}
	for i, row := range rows {
		if len(row) != len(header) {
			return nil, nil, fmt.Errorf("Table: row %d has %d cells, the header has %d", i+1, len(row), len(header))
		}
		line := make([]string, len(row))
		for j, v := range row {
			isNumber := true
			switch v := v.(type) {
			case float64:
				line[j] = number(v)
			case float32:
				line[j] = number(float64(v))
			case int, int32, int64, uint64:
				line[j] = fmt.Sprint(v)
			default:
				line[j], isNumber = fmt.Sprint(v), false
			}
			right[j] = right[j] && isNumber
		}
		cells = append(cells, line)
	}
	return cells, right, nil
}

// number gives four digits, or 0 for what differs from it by rounding, and names what is no number.
func number(v float64) string {
	switch {
	case math.IsNaN(v):
		return "NaN"
	case math.IsInf(v, 0):
		return strings.Replace(strings.TrimPrefix(strconv.FormatFloat(v, 'g', 4, 64), "+"), "Inf", "∞", 1)
	case math.Abs(v) < 1e-12:
		return "0"
	}
	text := strconv.FormatFloat(v, 'g', 4, 64)
	if rounded := Must(strconv.ParseFloat(text, 64)); math.Abs(rounded) >= 1e4 && math.Abs(rounded) < 1e7 {
		return strconv.FormatFloat(rounded, 'f', 0, 64) // 11210 in place of 1.121e+04
	}
	return text
}

func markdownTable(cells [][]string, right []bool) string {
	var b strings.Builder
	line := func(cells []string) { b.WriteString("| " + strings.Join(cells, " | ") + " |\n") }
	for i, row := range cells {
		escaped := make([]string, len(row))
		for j, cell := range row {
			escaped[j] = strings.NewReplacer("|", `\|`, "\n", " ").Replace(cell)
		}
		line(escaped)
		if i > 0 {
			continue
		}
		rule := make([]string, len(row))
		for j := range rule {
			rule[j] = map[bool]string{false: "---", true: "---:"}[right[j]]
		}
		line(rule)
	}
	return b.String()
}

func plainTable(cells [][]string, right []bool) string {
	widths := make([]int, len(right))
	for _, row := range cells {
		for j, cell := range row {
			widths[j] = max(widths[j], utf8.RuneCountInString(cell))
		}
	}
	lines := make([]string, len(cells))
	for i, row := range cells {
		padded := make([]string, len(row))
		for j, cell := range row {
			space := strings.Repeat(" ", widths[j]-utf8.RuneCountInString(cell))
			if right[j] {
				padded[j] = space + cell
			} else {
				padded[j] = cell + space
			}
		}
		lines[i] = strings.TrimRight(strings.Join(padded, "  "), " ")
	}
	return strings.Join(lines, "\n")
}
