package plots

import (
	"fmt"
	"slices"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// resolveAnalyses checks analyses of runs that belong in one figure, and returns a title for each panel and the
// caption.
func resolveAnalyses(analyses []*record.Analysis, title string, o Options) (_ Options, titles []string,
	caption string, _ error) {
	switch n := len(analyses); {
	case n == 0:
		return o, nil, "", fmt.Errorf("no analyses: make one of a run with dhkd analyse")
	case n > maxPanels:
		return o, nil, "", fmt.Errorf("%d analyses: too many for one figure, the limit is %d", n, maxPanels)
	}
	first := analyses[0]
	for i, a := range analyses {
		if a == nil {
			return o, nil, "", fmt.Errorf("analysis %d of %d is nil", i+1, len(analyses))
		}
		if err := a.Validate(); err != nil {
			return o, nil, "", fmt.Errorf("analysis of run %q: %w", Printable(a.Recipe.Name, 60), err)
		}
		if a.Recipe.Profile != first.Recipe.Profile || a.Data.Name != first.Data.Name || a.Data.Test != first.Data.Test {
			return o, nil, "", fmt.Errorf("the analyses of runs %q and %q cannot be compared: their data or profiles differ",
				Printable(first.Recipe.Name, 60), Printable(a.Recipe.Name, 60))
		}
		for _, l := range a.Logits {
			for _, d := range []record.Distribution{l.All, l.Label, l.Offset} {
				if low, high := d.Quantiles[0], d.Quantiles[len(d.Quantiles)-1]; !drawable(low) || !drawable(high) {
					return o, nil, "", fmt.Errorf("analysis of run %q: its logits reach from %g to %g, which no figure shows",
						Printable(a.Recipe.Name, 60), low, high)
				}
			}
		}
		titles = append(titles, labelOf(a.Recipe))
	}
	for i, a := range analyses {
		same := func(b *record.Analysis) bool { return b != a && b.Recipe.Name == a.Recipe.Name }
		if slices.ContainsFunc(analyses, same) {
			titles[i] += fmt.Sprintf(", seed %d", a.Recipe.Seed)
		}
	}
	var runs []*record.Record
	for _, a := range analyses {
		runs = append(runs, &record.Record{Recipe: a.Recipe, Data: a.Data})
	}
	o, err := o.resolve(title)
	return o, titles, captionOf(runs), err
}

// captionOf is the caption of a figure of these runs.
func captionOf(runs []*record.Record) string {
	first := runs[0]
	s := &Summary{Profile: Printable(first.Recipe.Profile, 20), Dataset: first.Recipe.Dataset, Data: first.Data}
	s.Dataset.Name = Printable(s.Dataset.Name, 40)
	for _, g := range record.Groups(runs) {
		s.Students = append(s.Students, &Run{Name: g.Name, Recipe: g.Records[0].Recipe, Records: g.Records})
	}
	return s.Caption()
}

// lacking is the error of an analysis without a part, and how to get it.
func lacking(a *record.Analysis, what, flags string) error {
	return fmt.Errorf("the analysis of run %q seed %d has no %s: make it anew with dhkd analyse%s and the run's directory",
		Printable(a.Recipe.Name, 60), a.Recipe.Seed, what, flags)
}
