package plots

import (
	"fmt"
	"math"

	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// Figures of evaluations that show many classes are wider, so that each has its name.
const (
	manyClasses      = 40
	manyClassesWidth = 10 // inches
)

// resolveEvaluation checks an evaluation and fills in what the options leave out: the title says network, data and
// number of images.
func resolveEvaluation(e *record.Evaluation, what string, o Options) (Options, error) {
	if err := e.Validate(); err != nil {
		return o, fmt.Errorf("evaluation: %w", err)
	}
	return o.resolve(fmt.Sprintf("%s: %s, %s head, on %s (n\u00a0=\u00a0%s)", what, Printable(e.Model, 30), e.Head,
		Printable(e.Data.Name, 40), Thousands(e.Images)))
}

func evaluationCaption(e *record.Evaluation) string {
	kind := e.Split
	if e.Split == record.TestSplit && e.Data.Evaluation == "holdout" {
		kind = "held-out training"
	}
	caption := fmt.Sprintf("%s %s images of %s, %d classes · %s, %s head", Thousands(e.Images), kind,
		Printable(e.Data.Name, 40), len(e.Classes), Printable(e.Model, 30), e.Head)
	if digest := Printable(e.Weights.SHA256, 64); digest != "" {
		caption += " · weights with SHA-256\u00a0" + digest[:min(12, len(digest))] + "…"
	}
	if e.NonFinite > 0 {
		caption += fmt.Sprintf(" · the logits of %s images are not finite: they count as wrong, and are in no bin or cell",
			Thousands(e.NonFinite))
	}
	return caption
}

func percent(fraction float64) string { return fmt.Sprintf("%.2f\u00a0%%", 100*fraction) }

// classNames are those of all classes, to be shown.
func classNames(s record.Scores) (names []string) {
	for label := range s.Classes {
		names = append(names, Printable(s.ClassName(label), 40))
	}
	return names
}

// labels are the names beside rows or below columns of a given size. Where the rows are too low for that, there is one
// for every so many.
type labels struct {
	names []string
	style text.Style
	every int
	limit vg.Length // of a name's width
}

func newLabels(names []string, row, largest vg.Length) labels {
	const smallest = 5.2 // points
	size := min(largest, max(smallest, row*0.9))
	return labels{names: names, style: textStyle(size, false, ink), limit: size * 13,
		every: max(1, int(math.Ceil(float64(size/(row*1.05)))))}
}

// text is the k-th name, if it stands in the i-th row, or empty.
func (l labels) text(i, k int) string {
	if i%l.every != 0 {
		return ""
	}
	return shorten(l.names[k], l.style, l.limit)
}

// width is that of the widest name.
func (l labels) width() (w vg.Length) {
	for k := range l.names {
		w = max(w, l.style.Width(l.text(0, k)))
	}
	return w
}
