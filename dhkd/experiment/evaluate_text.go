package experiment

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// Of classes and confusions the text shows so many; the JSON has all.
const (
	shownClasses    = 10
	shownConfusions = 10
)

// WriteEvaluation writes an evaluation as text for a person: the measures, the classes that are told worst, and the
// most frequent confusions.
func WriteEvaluation(w io.Writer, e *record.Evaluation) error {
	var b strings.Builder
	images := e.Split
	if e.Split == record.TestSplit && e.Data.Evaluation == "holdout" {
		images = "held-out training"
	}
	fmt.Fprintf(&b, "%s, %s head, on %d %s images of %s (%d classes)\n\n", e.Model, e.Head, e.Images, images, e.Data.Name,
		len(e.Classes))
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	writeScores(t, e)
	fmt.Fprintf(t, "parameters\t%d, of which these logits need %d\n", e.Parameters, e.InferenceParameters)
	if e.MultiplyAdds > 0 {
		fmt.Fprintf(t, "multiply-adds\t%d an image\n", e.MultiplyAdds)
	}
	for _, l := range e.Latency {
		fmt.Fprintf(t, "latency, batch %d\t%.2f ms median, %.2f to %.2f from the 10th to the 90th percentile of %d calls; "+
			"%.0f images/s\n", l.Batch, l.Median, l.P10, l.P90, l.Calls, l.ImagesPerSecond)
	}
	if len(e.Latency) > 0 {
		fmt.Fprintf(t, "\ton %s, %s; %s; images and logits on the host\n", e.Environment.Backend, e.Environment.Device,
			e.Environment.CPU)
	}
	writeFile(t, e)
	t.Flush() // to memory
	writeClasses(&b, e.Scores)
	writeConfusions(&b, e.Scores)
	_, err := io.WriteString(w, b.String())
	return err
}

func writeScores(w io.Writer, e *record.Evaluation) {
	right := 0
	for label, row := range e.Confusion {
		right += row[label]
	}
	fmt.Fprintf(w, "top-1\t%.2f %%, %d of %d images\n", e.Top1, right, e.Images)
	if e.Top5 != nil {
		fmt.Fprintf(w, "top-5\t%.2f %%\n", *e.Top5)
	}
	if e.NonFinite > 0 {
		fmt.Fprintf(w, "not finite\tthe logits of %d images are NaN or infinite: they count as wrong\n", e.NonFinite)
	}
	if e.CrossEntropy == nil {
		return
	}
	fmt.Fprintf(w, "cross-entropy\t%.4f\n", *e.CrossEntropy)
	fmt.Fprintf(w, "calibration error\t%.2f %% (ECE, %d bins); mean confidence %.2f %%\n", 100**e.ECE, len(e.Bins),
		100*e.Confidence())
}

func writeFile(w io.Writer, e *record.Evaluation) {
	f := e.Weights
	fmt.Fprintf(w, "file\t%s\n\tSHA-256 %s\n", f.Name, f.SHA256)
	heads := record.Model{Head: f.Head, AuxHead: f.AuxHead}.Heads()
	fmt.Fprintf(w, "\tsays %s, %d classes, %s", f.Model, f.Classes, heads)
	if f.Dataset != "" {
		fmt.Fprintf(w, ", trained on %q", f.Dataset)
	}
	switch {
	case f.Top1 == nil:
		fmt.Fprint(w, "; no accuracy")
	case e.Difference == nil:
		fmt.Fprintf(w, "; %.2f %% top-1 of its main head on its test images", *f.Top1)
	case math.Abs(*e.Difference) < 1e-9:
		fmt.Fprintf(w, "; %.2f %% top-1, as measured here", *f.Top1)
	default:
		fmt.Fprintf(w, "; %.2f %% top-1: %+.2f points here", *f.Top1, *e.Difference)
	}
	fmt.Fprintln(w)
}

// writeClasses lists the classes by accuracy, the worst first.
func writeClasses(b *strings.Builder, s record.Scores) {
	var labels []int
	for label, c := range s.Classes {
		if c.Images > 0 {
			labels = append(labels, label)
		}
	}
	slices.SortStableFunc(labels, func(x, y int) int { return cmp.Compare(*s.Classes[x].Top1, *s.Classes[y].Top1) })
	title := "Classes by top-1"
	if len(labels) > shownClasses {
		labels, title = labels[:shownClasses], "Worst classes by top-1"
	}
	fmt.Fprintf(b, "\n%s\n", title)
	for _, label := range labels {
		fmt.Fprintf(b, "  %6.2f %%  %s (%d images)\n", *s.Classes[label].Top1, s.ClassName(label), s.Classes[label].Images)
	}
}

// writeConfusions lists what is taken for what, the most frequent first.
func writeConfusions(b *strings.Builder, s record.Scores) {
	for i, c := range s.MostConfused(shownConfusions) {
		if i == 0 {
			fmt.Fprint(b, "\nMost frequent confusions\n")
		}
		fmt.Fprintf(b, "  %4d of %d  %s taken for %s\n", c.Images, s.Classes[c.Label].Images, s.ClassName(c.Label),
			s.ClassName(c.Prediction))
	}
}
