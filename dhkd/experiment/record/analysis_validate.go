package record

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Validate says what in an analysis contradicts the rest of it, or nil: a figure or a table of it can then be made
// without further checks.
func (a *Analysis) Validate() error {
	if a.Schema != AnalysisSchema {
		return fmt.Errorf("schema: is %d, want %d", a.Schema, AnalysisSchema)
	}
	if err := a.Recipe.Validate(); err != nil {
		return fmt.Errorf("recipe.%w", err)
	}
	heads := []string{MainHead, AuxHead, TeacherNetwork}
	seen := map[string]bool{}
	once := func(part string, i int, key string, known []string, of string) error {
		if !slices.Contains(known, of) || seen[part+key] {
			return fmt.Errorf("%s[%d].of: is %q, want one of %s, each once", part, i, of, strings.Join(known, ", "))
		}
		seen[part+key] = true
		return nil
	}
	for i, c := range a.Collapse {
		if err := once("collapse", i, c.Of, heads, c.Of); err != nil {
			return err
		}
		if c.Images < 1 || c.Classes < 2 || c.Width < 1 {
			return fmt.Errorf("collapse[%d]: %d images of %d classes, %d features; want images of at least 2 classes", i,
				c.Images,
				c.Classes, c.Width)
		}
		for _, name := range CollapseMeasures {
			if _, ok := c.Measures[name]; !ok {
				return fmt.Errorf("collapse[%d].measures: %s is missing", i, name)
			}
		}
	}
	for i, l := range a.Logits {
		err := once("logits", i, l.Of, heads, l.Of)
		if err == nil {
			err = l.validate()
		}
		if err != nil {
			return fmt.Errorf("logits[%d]: %w", i, err)
		}
		if len(l.Map) != len(a.Logits[0].Map) {
			return fmt.Errorf("logits[%d].map: has %d rows, that of logits[0] has %d", i, len(l.Map), len(a.Logits[0].Map))
		}
	}
	if a.Embeddings != nil {
		for i, e := range a.Embeddings.All {
			err := once("embeddings", i, e.Of+e.Kind, []string{StudentNetwork, TeacherNetwork}, e.Of)
			if err == nil {
				err = e.validate(len(a.Embeddings.Labels))
			}
			if err != nil {
				return fmt.Errorf("embeddings.all[%d]: %w", i, err)
			}
		}
		for i, label := range a.Embeddings.Labels {
			if label < 0 || a.Data.Classes > 0 && label >= a.Data.Classes {
				return fmt.Errorf("embeddings.labels[%d]: is %d of %d classes", i, label, a.Data.Classes)
			}
		}
	}
	if a.CKA != nil {
		if err := a.CKA.validate(); err != nil {
			return fmt.Errorf("cka: %w", err)
		}
	}
	if a.Probe != nil {
		for i, s := range a.Probe.Results {
			if err := once("probe.results", i, s.Of, []string{StudentNetwork, TeacherNetwork}, s.Of); err != nil {
				return err
			}
			if !within(s.Train, 0, 100) || !within(s.Test, 0, 100) {
				return fmt.Errorf("probe.results[%d]: top-1 must be 0 to 100 per cent, is %g and %g", i, s.Train, s.Test)
			}
		}
		if p := a.Probe; p.Dataset == "" || p.Classes < 2 || p.Train < 1 || p.Test < 1 || !within(p.L2, 0, math.MaxFloat64) {
			return fmt.Errorf("probe: %d training and %d test images of %d classes of data set %q, weight %g", p.Train, p.Test,
				p.Classes, p.Dataset, p.L2)
		}
	}
	return nil
}

// within is false for NaN.
func within(v, low, high float64) bool { return v >= low && v <= high }

func finite(values ...float64) bool {
	return !slices.ContainsFunc(values, func(v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) })
}

func (l Logits) validate() error {
	if l.Images < 1 || !within(l.Top1, 0, 100) || !within(l.CrossEntropy, 0, math.MaxFloat64) || !within(l.ECE, 0, 1) {
		return fmt.Errorf("%d images, top1 %g, cross_entropy %g, ece %g: out of range", l.Images, l.Top1, l.CrossEntropy,
			l.ECE)
	}
	if err := (Scores{Images: l.Images, Bins: l.Bins}).validateBins(); err != nil {
		return err
	}
	parts := map[string]*Distribution{"all": &l.All, "label": &l.Label, "offset": &l.Offset, "difference": l.Difference}
	for name, d := range parts {
		if d == nil {
			continue
		}
		if err := d.validate(); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if len(l.Map) > MostMapped {
		return fmt.Errorf("map: has %d rows, the limit is %d", len(l.Map), MostMapped)
	}
	for label, row := range l.Map {
		if len(row) != 0 && len(row) != len(l.Map) || !finite(row...) {
			return fmt.Errorf("map[%d]: must be empty or %d finite numbers", label, len(l.Map))
		}
	}
	return nil
}

func (d Distribution) validate() error {
	if !finite(d.Mean, d.Low, d.High) || !within(d.SD, 0, math.MaxFloat64) || d.Low > d.High || d.Low == d.High &&
		len(d.Counts) > 1 {
		return fmt.Errorf("mean %g, sd %g, low %g, high %g: must be finite numbers, low below high", d.Mean, d.SD, d.Low,
			d.High)
	}
	if len(d.Quantiles) != len(QuantileLevels) || !finite(d.Quantiles...) || !slices.IsSorted(d.Quantiles) {
		return fmt.Errorf("quantiles: must be %d ascending finite numbers", len(QuantileLevels))
	}
	sum := 0
	for i, n := range d.Counts {
		if n < 0 || n > d.Values {
			return fmt.Errorf("counts[%d]: is %d of %d values", i, n, d.Values)
		}
		sum += n
	}
	if d.Values < 1 || sum != d.Values {
		return fmt.Errorf("counts: hold %d values, there are %d", sum, d.Values)
	}
	return nil
}

func (e Embedding) validate(images int) error {
	if e.Kind != PCA && e.Kind != TSNE {
		return fmt.Errorf("kind: is %q, want %s or %s", e.Kind, PCA, TSNE)
	}
	if len(e.Points) != images || images > MostEmbedded {
		return fmt.Errorf("points: are %d for %d images, at most %d", len(e.Points), images, MostEmbedded)
	}
	for i, p := range e.Points {
		if !finite(p[:]...) {
			return fmt.Errorf("points[%d]: is not finite", i)
		}
	}
	for _, v := range e.Explained {
		if !within(v, 0, 1+1e-9) {
			return fmt.Errorf("explained: must be 0 to 1, is %g", v)
		}
	}
	if !finite(e.Perplexity, e.KL) {
		return fmt.Errorf("perplexity and kl: must be finite, are %g and %g", e.Perplexity, e.KL)
	}
	return nil
}

func (c CKA) validate() error {
	if c.Images < 2 || len(c.Student) == 0 || len(c.Teacher) == 0 || len(c.Values) != len(c.Student) {
		return fmt.Errorf("%d images; values: has %d rows for %d and %d stages", c.Images, len(c.Values), len(c.Student),
			len(c.Teacher))
	}
	for i, row := range c.Values {
		if len(row) != len(c.Teacher) {
			return fmt.Errorf("values[%d]: has %d columns for %d stages", i, len(row), len(c.Teacher))
		}
		for _, v := range row {
			if !within(v, 0, 1+1e-9) {
				return fmt.Errorf("values[%d]: must be 0 to 1, one is %g", i, v)
			}
		}
	}
	return nil
}
