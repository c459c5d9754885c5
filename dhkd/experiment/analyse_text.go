package experiment

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// WriteAnalysis writes an analysis as text for a person: a table for each part that it has.
func WriteAnalysis(w io.Writer, a *record.Analysis) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s seed %d of %s (profile %s): %s on %s", a.Recipe.Name, a.Recipe.Seed, a.Recipe.Experiment,
		a.Recipe.Profile, a.Weights.Model, a.Data.Name)
	if a.Teacher != nil {
		fmt.Fprintf(&b, ", teacher %s", a.Teacher.Model)
	}
	fmt.Fprintln(&b)
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	writeCollapse(t, a.Collapse)
	writeLogits(t, a.Logits)
	writeFeatures(t, a)
	t.Flush() // to memory
	_, err := io.WriteString(w, b.String())
	return err
}

func writeCollapse(t io.Writer, all []record.Collapse) {
	if len(all) == 0 {
		return
	}
	fmt.Fprintf(t, "\nNeural collapse, 0 = full; of %d training images\n", all[0].Images)
	fmt.Fprintln(t, "\tNC1\tNC2 norms\tangles\tgap\tof rows: norms\tangles\tgap\tNC3\tNC4\tETF: means\trows\twidth\t")
	for _, c := range all {
		fmt.Fprintf(t, "%s\t", c.Of)
		for _, name := range []string{record.NC1, record.NC2Norms, record.NC2Angles, record.NC2Gap, record.NC2ClassifierNorms,
			record.NC2ClassifierAngles, record.NC2ClassifierGap, record.NC3, record.NC4, record.ETFMeans, record.ETFClassifier} {
			fmt.Fprintf(t, "%.3f\t", c.Measures[name])
		}
		fmt.Fprintf(t, "%d\t\n", c.Width)
	}
}

func writeLogits(t io.Writer, all []record.Logits) {
	if len(all) == 0 {
		return
	}
	fmt.Fprintf(t, "\nLogits of %d test images, mean and standard deviation\n", all[0].Images)
	fmt.Fprintln(t, "\ttop-1\tECE\tall\t\tof the label\t\toffset\t\tless the teacher's\t\t")
	for _, l := range all {
		fmt.Fprintf(t, "%s\t%.2f %%\t%.2f %%\t", l.Of, l.Top1, 100*l.ECE)
		for _, d := range []*record.Distribution{&l.All, &l.Label, &l.Offset, l.Difference} {
			if d != nil {
				fmt.Fprintf(t, "%.2f\t%.2f\t", d.Mean, d.SD)
			}
		}
		fmt.Fprintln(t)
	}
}

func writeFeatures(t io.Writer, a *record.Analysis) {
	if c := a.CKA; c != nil {
		fmt.Fprintf(t, "\nLinear CKA of %d test images: rows student, columns teacher\n\t%s\t\n", c.Images,
			strings.Join(c.Teacher, "\t"))
		for i, row := range c.Values {
			fmt.Fprintf(t, "%s\t", c.Student[i])
			for _, v := range row {
				fmt.Fprintf(t, "%.2f\t", v)
			}
			fmt.Fprintln(t)
		}
	}
	if e := a.Embeddings; e != nil {
		fmt.Fprintf(t, "\nPictures of %d test images\n", len(e.Labels))
		for _, p := range e.All {
			if p.Kind == record.TSNE {
				fmt.Fprintf(t, "%s\tt-SNE\tperplexity %.0f, divergence %.2f nats\t\n", p.Of, p.Perplexity, p.KL)
			} else {
				fmt.Fprintf(t, "%s\tPCA\t%.0f %% and %.0f %% of the variance\t\n", p.Of, 100*p.Explained[0], 100*p.Explained[1])
			}
		}
	}
	if p := a.Probe; p != nil {
		fmt.Fprintf(t, "\nLinear probe on %s, %d training and %d test images, top-1\n\ttraining\ttest\t\n", p.Dataset,
			p.Train, p.Test)
		for _, s := range p.Results {
			fmt.Fprintf(t, "%s\t%.2f %%\t%.2f %%\t\n", s.Of, s.Train, s.Test)
		}
	}
}
