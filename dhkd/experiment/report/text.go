package report

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode/utf8"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/plots"
)

// textWidth is the width that sentences on a terminal are wrapped to.
const textWidth = 100

// notes stand under every table.
var notes = []string{
	"Accuracies are top-1 in per cent, mean ± standard deviation over the seeds that finished. " +
		"The last epoch's is the result; the best epoch's is selected on the test images and only shown beside it.",
	"A difference is “within noise” when it is not larger than two standard errors of sampling the test images, and, " +
		"with two or more seeds, the spread between them.",
}

// Text writes the caption, the table of results and the verdict, for a terminal. The error is that of [plots.Summarize]
// or of w.
func Text(w io.Writer, records []*record.Record) error {
	s, err := plots.Summarize(records)
	if err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", fold(s.Caption(), textWidth))
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "run\tlast epoch\tbest epoch\tvs CE\tseeds\tLR\ttime\timages/s\tstatus")
	for _, r := range rows(s) {
		toCE := r.ToCE
		if r.WithinNoise {
			toCE += " (within noise)"
		}
		cells := []string{r.Run.Name, r.Last, r.Best, toCE, r.Seeds, r.LearningRate, r.Time, r.Speed, r.Status}
		fmt.Fprintln(table, strings.Join(cells, "\t"))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	j := judge(s)
	for _, paragraph := range append([]string{j.String()}, notes...) {
		fmt.Fprintf(&b, "\n%s\n", fold(paragraph, textWidth))
	}
	_, err = io.WriteString(w, b.String())
	return err
}

// Markdown writes the verdict, the caption and the table of results. The error is that of [plots.Summarize] or of w.
func Markdown(w io.Writer, records []*record.Record) error {
	s, err := plots.Summarize(records)
	if err != nil {
		return err
	}
	j := judge(s)
	var b strings.Builder
	fmt.Fprintf(&b, "**%s**\n\n", escape(j.Headline))
	for _, detail := range j.Details {
		fmt.Fprintf(&b, "- %s\n", escape(detail))
	}
	b.WriteString("\n| run | method | last epoch | best epoch | vs CE | seeds | learning rate | chosen | time | " +
		"images/s | status |\n" +
		"|---|---|--:|--:|--:|--:|--:|---|--:|--:|---|\n")
	for _, r := range rows(s) {
		toCE := r.ToCE
		if r.WithinNoise {
			toCE += " (within noise)"
		}
		cells := []string{
			r.Label, r.Method, r.Last, r.Best, toCE, r.Seeds, r.LearningRate, r.Chosen, r.Time, r.Speed, r.Status,
		}
		for i := range cells {
			cells[i] = escape(cells[i])
		}
		fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | "))
	}
	fmt.Fprintf(&b, "\n%s.\n", escape(s.Caption()))
	for _, note := range notes {
		fmt.Fprintf(&b, "\n%s\n", escape(note))
	}
	_, err = io.WriteString(w, b.String())
	return err
}

// escape keeps text from being read as Markdown or HTML. What is unlikely in labels and harmless inside a word stays.
func escape(s string) string { return markdownEscapes.Replace(s) }

var markdownEscapes = strings.NewReplacer(`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "[", `\[`, "]", `\]`,
	"<", "&lt;", ">", "&gt;", "&", "&amp;", "|", `\|`, "#", `\#`, "~", `\~`, "!", `\!`, "$", `\$`)

// fold breaks text at spaces into lines of at most width characters, where words allow it.
func fold(s string, width int) string {
	var b strings.Builder
	used := 0
	for i, word := range strings.Split(s, " ") {
		n := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case used+1+n > width:
			b.WriteByte('\n')
			used = 0
		default:
			b.WriteByte(' ')
			used++
		}
		b.WriteString(word)
		used += n
	}
	return b.String()
}
