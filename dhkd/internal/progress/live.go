package progress

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

const (
	redraw    = 100 * time.Millisecond // the least time between two drawings
	eraseLine = "\r\x1b[K"
	bold      = "\x1b[1m"
	green     = "\x1b[32m"
	dim       = "\x1b[2m"
	plainText = "\x1b[0m"
)

// live keeps one line of a terminal up to date.
type live struct {
	w       io.Writer
	now     func() time.Time
	columns func() int // of the terminal, now
	color   bool

	drawn     time.Time
	open      bool   // the cursor is on the live line
	run       string // that test and aux belong to
	test, aux string // accuracies of the last evaluation
	phase     string
}

func (l *live) Start(title string) {
	l.Note(title)
	l.run = ""
}

func (l *live) Step(u Update) {
	if u.Run != l.run {
		l.run, l.test, l.aux = u.Run, "", ""
	}
	l.test = cmp.Or(percent("test", u.Metrics, record.MetricStudentTest), l.test)
	l.aux = cmp.Or(percent("aux head", u.Metrics, record.MetricAuxTest), l.aux)
	// A phase can take long, and no update may come during it.
	if u.Phase != l.phase || l.now().Sub(l.drawn) >= redraw {
		l.drawn, l.open, l.phase = l.now(), true, u.Phase
		io.WriteString(l.w, eraseLine+l.line(u, l.columns()-1)) // a full line would wrap on some terminals
	}
}

func (l *live) Epoch(u Update) { l.Step(u) }

func (l *live) Note(message string) {
	l.erase()
	fmt.Fprintln(l.w, printable(message))
}

func (l *live) Done(message string) {
	l.erase()
	if message != "" {
		fmt.Fprintln(l.w, printable(message))
	}
}

func (l *live) erase() {
	if l.open {
		io.WriteString(l.w, eraseLine)
		l.open = false
	}
}

// line is at most width columns wide: parts that do not fit are left out, the least important first.
func (l *live) line(u Update, width int) string {
	head := position(u)
	if all := []rune(head); len(all) > width {
		head = string(all[:max(0, width-1)]) + "…"
	}
	left := width - utf8.RuneCountInString(head)
	var parts []string
	for _, part := range []struct{ color, text string }{
		{"", timeLeft(u)}, {green, l.test}, {green, l.aux}, {"", bar(u)},
		{"", speed(u)}, {"", losses(u.Metrics)}, {dim, rate(u)},
	} {
		need := utf8.RuneCountInString(part.text) + len(" | ")
		if part.text == "" || need > left {
			continue
		}
		left -= need
		parts = append(parts, l.paint(dim, " | ")+l.paint(part.color, part.text))
	}
	return l.paint(bold, head) + strings.Join(parts, "")
}

func (l *live) paint(color, text string) string {
	if !l.color || color == "" {
		return text
	}
	return color + text + plainText
}

// position is "dhkd epoch  9/40 step  8/31", and what the run is doing unless it is training.
func position(u Update) string {
	s := printable(u.Run)
	if u.Epoch > 0 {
		s += fmt.Sprintf(" epoch %*d/%d", digits(u.Epochs), u.Epoch, u.Epochs)
	}
	if u.Steps > 0 {
		s += fmt.Sprintf(" step %*d/%d", digits(u.Steps), u.Step, u.Steps)
	}
	if u.Phase != "" && u.Phase != "train" {
		s += " " + printable(u.Phase)
	}
	return strings.TrimSpace(s)
}

// digits is the width of a number that counts up to n, so that a line does not jump about.
func digits(n int) int { return len(strconv.Itoa(n)) }

// bar shows the share of the run that is done.
func bar(u Update) string {
	const width = 12
	if u.Epochs < 1 || u.Epoch < 1 {
		return ""
	}
	done := float64(u.Epoch - 1)
	if u.Steps > 0 {
		done += float64(u.Step) / float64(u.Steps)
	}
	n := min(width, max(0, int(done/float64(u.Epochs)*width)))
	return strings.Repeat("█", n) + strings.Repeat("░", width-n)
}

// percent is "test 54.32 %", or empty where there is no such metric.
func percent(label string, m record.Metrics, name string) string {
	v, ok := m[name]
	if !ok {
		return ""
	}
	return fmt.Sprintf("%s %.2f %%", label, v)
}

// losses are "loss ce 1.234 kl 0.5", by name.
func losses(m record.Metrics) string {
	s := ""
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if term, ok := strings.CutPrefix(name, record.LossPrefix); ok {
			s += fmt.Sprintf(" %s %.4g", printable(term), m[name])
		}
	}
	if s == "" {
		return ""
	}
	return "loss" + s
}

func rate(u Update) string {
	if u.LearningRate == 0 {
		return ""
	}
	return fmt.Sprintf("lr %.4g", u.LearningRate)
}

// speed is "1,234 images/s".
func speed(u Update) string {
	if !(u.ImagesPerSecond > 0) || math.IsInf(u.ImagesPerSecond, 0) {
		return ""
	}
	digits := strconv.FormatFloat(u.ImagesPerSecond, 'f', 0, 64)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits + " images/s"
}

func timeLeft(u Update) string {
	s := ""
	if u.Elapsed > 0 {
		s = short(u.Elapsed)
	}
	if u.ETA > 0 {
		s += " ETA " + short(u.ETA)
	}
	return strings.TrimSpace(s)
}

// short is "5s", "1m20s" or "2h05m".
func short(d time.Duration) string {
	d = d.Round(time.Second)
	if d >= time.Hour {
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	if d >= time.Minute {
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%ds", int(d.Seconds()))
}

// printable makes text safe to show: names may come from files, and a terminal obeys control characters.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) || r == '\n' {
			return r
		}
		return '?'
	}, s)
}
