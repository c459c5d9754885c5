package record

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Measure is what a run measures beside its losses and accuracies. It changes nothing of what the run learns; its time
// counts as that of the steps.
type Measure struct {
	Gradients *MeasureGradients `yaml:"gradients,omitempty" json:"gradients,omitempty"`
	Collapse  *MeasureCollapse  `yaml:"collapse,omitempty" json:"collapse,omitempty"`
}

// MeasureCollapse measures neural collapse of each head after some of the epochs: the metrics of [CollapseMetric].
type MeasureCollapse struct {
	// Every so many epochs, and after the last. Left out of an experiment's file: [CollapseEvery].
	Every int `yaml:"every" json:"every"`
	// Images of the training set, at equal distances and not augmented; 0 = [CollapseImages], or all if there are fewer.
	Images int `yaml:"images,omitempty" json:"images,omitempty"`
}

// What a recipe may leave out of [MeasureCollapse].
const (
	CollapseEvery  = 1
	CollapseImages = 2000
)

// MeasureGradients compares the gradients of two losses in some of the training steps: [Epoch.Gradients].
type MeasureGradients struct {
	// Every so many steps, counted over the whole run from its first; an epoch's last batch is left out where it is smaller.
	// Where an experiment's file does not say it is [GradientsEvery].
	Every int `yaml:"every" json:"every"`
	// Terms are the two losses, as in the method's metrics, "ce" and "binarykl"; "rest" is the sum of all others than the
	// first. Left out: the method's first, which is that on the labels where it has one, and its second.
	Terms []string `yaml:"terms,omitempty" json:"terms,omitempty"`
}

// GradientsEvery is how many steps there are to a measured one unless a recipe says otherwise. A measured step takes
// two to three times as long as another, so that at 10 a run takes at most 1.2 times as long.
const GradientsEvery = 10

// RestTerm stands for the sum of all losses but the one that it is compared with, see [MeasureGradients].
const RestTerm = "rest"

// clone copies what it points to.
func (m *Measure) clone() *Measure {
	if m == nil {
		return nil
	}
	c := *m
	if m.Gradients != nil {
		g := *m.Gradients
		g.Terms = slices.Clone(g.Terms)
		c.Gradients = &g
	}
	if m.Collapse != nil {
		o := *m.Collapse
		c.Collapse = &o
	}
	return &c
}

// complete fills in what an experiment's file may leave out.
func (m *Measure) complete() {
	if m != nil && m.Gradients != nil && m.Gradients.Every == 0 {
		m.Gradients.Every = GradientsEvery
	}
	if m != nil && m.Collapse != nil && m.Collapse.Every == 0 {
		m.Collapse.Every = CollapseEvery
	}
}

// check returns the first problem.
func (m *Measure) check() *problem {
	if m == nil {
		return nil
	}
	if c := m.Collapse; c != nil {
		if c.Every < 1 {
			return &problem{"measure.collapse.every", fmt.Sprintf("must be at least 1 epoch, is %d", c.Every)}
		}
		if c.Images < 0 {
			return &problem{"measure.collapse.images", fmt.Sprintf("must be at least 0, is %d", c.Images)}
		}
	}
	if m.Gradients == nil {
		return nil
	}
	const path = "measure.gradients."
	g := m.Gradients
	if g.Every < 1 {
		return &problem{path + "every", fmt.Sprintf("must be at least 1 step, is %d", g.Every)}
	}
	if n := len(g.Terms); n != 0 && n != 2 {
		return &problem{path + "terms", fmt.Sprintf("names %d losses: name two, or leave it out", n)}
	}
	for i, term := range g.Terms {
		at := fmt.Sprintf("%sterms[%d]", path, i)
		switch {
		case term == "" || len(term) > 100 || !printable(term):
			return &problem{at, "must be a loss's name, one line of at most 100 printable characters"}
		case i == 0 && term == RestTerm:
			return &problem{at, "rest is all but the first: name that one first"}
		case i == 1 && term == g.Terms[0]:
			return &problem{at, fmt.Sprintf("%q is the first already: a loss does not conflict with itself", term)}
		}
	}
	return nil
}

// Gradients is what an epoch's measured steps say of two losses' gradients, each with the loss's weight as it acts in the
// step, before they are combined, clipped or decayed. Numbers have six digits.
type Gradients struct {
	Steps     int `json:"steps"`                // that were measured
	NonFinite int `json:"non_finite,omitempty"` // those with a NaN or infinite gradient, which count in nothing below
	// Terms are the two losses; one where the method has no other: then there are no parts.
	Terms []string `json:"terms"`
	// Parts of the network on which both losses act, each taken as one vector; layers in some of the epochs, see [KeepsLayers].
	Parts []GradientPart `json:"parts,omitempty"`
	// Disjoint are parts where one of the two gradients was 0 in all steps, as in the heads of a method with two: there is
	// no angle between them. They are named as in Parts, by name or else by kind.
	Disjoint []string `json:"disjoint,omitempty"`
	// Shares, 0 to 1, of the rows of the main head's last weight (one a class) and of the filters of all convolutions
	// in which the two gradients have a negative cosine; nil where there is none with both.
	RowsNegative    *Spread `json:"rows_negative,omitempty"`
	FiltersNegative *Spread `json:"filters_negative,omitempty"`
	// Heads says how the losses move the classifiers' rows, and so why they conflict or not.
	Heads []HeadGradients `json:"heads,omitempty"`
	// Coefficient is that of gradient alignment, c, in the measured steps; nil where the method does not align.
	Coefficient *Spread `json:"coefficient,omitempty"`
}

// Kinds of [GradientPart].
const (
	PartWhole            = "whole"             // all trained parameters, both heads and the method's modules included
	PartBackbone         = "backbone"          // the network without its heads
	PartClassifier       = "classifier"        // the last layer of the main head
	PartClassifierWeight = "classifier_weight" // [classes, d]
	PartClassifierBias   = "classifier_bias"   // [classes]
	PartStage            = "stage"             // a top-level module of the backbone, "layer1"
	PartLayer            = "layer"             // a parameter, "layer1.0.conv1.weight"
)

// PartKinds lists the kinds.
var PartKinds = []string{PartWhole, PartBackbone, PartClassifier, PartClassifierWeight, PartClassifierBias, PartStage,
	PartLayer}

// MostLayerEpochs is the number of epochs up to which each has the parts of kind [PartLayer].
const MostLayerEpochs = 40

// KeepsLayers says whether an epoch, of so many that a run has, keeps the parts of kind [PartLayer]. A deep network has
// hundreds, a quarter of a kilobyte each, so that a long run keeps those of about [MostLayerEpochs] epochs at equal
// distances, the first and the last among them. All other parts are there in every epoch.
func KeepsLayers(epoch, epochs int) bool {
	every := max(1, (epochs+MostLayerEpochs-1)/MostLayerEpochs)
	return (epoch-1)%every == 0 || epoch == epochs
}

// GradientPart is the angle between the two gradients of a part of the network.
type GradientPart struct {
	Kind   string  `json:"kind"`           // of [PartKinds]
	Name   string  `json:"name,omitempty"` // of a stage or a layer, as in the weights' names
	Cosine Spread  `json:"cosine"`         // <g1, g2> / (||g1|| ||g2||)
	Dot    float64 `json:"dot"`            // mean of <g1, g2>
}

// Title is the part's name, or its kind where there is only one.
func (p GradientPart) Title() string {
	if p.Name != "" {
		return p.Name
	}
	return p.Kind
}

// Spread sums up a quantity over the steps in which it could be measured.
type Spread struct {
	Steps    int     `json:"steps"`
	Mean     float64 `json:"mean"`
	Std      float64 `json:"std"` // of a sample: divided by steps - 1; 0 of one step
	Min      float64 `json:"min"`
	Max      float64 `json:"max"`
	Negative float64 `json:"negative"` // share of the steps in which it was below 0, 0 to 1
}

// Names of a network's heads in [HeadGradients].
const (
	HeadMain = "main"
	HeadAux  = "aux"
)

// HeadGradients is how losses move the rows of one head's last layer. For logits z = W h + b and a batch of N images,
//
//	-dL/dw_k = 1/N sum_i f_ik h_i,      f_ik = -N dL/dz_ik:
//
// where f is positive, row k is pulled towards the feature of image i, else pushed away. Cross-entropy has f = 1 - p_k for
// the image's true class and -p_k for others, BinaryKL T (sigma(zt_k/T) - sigma(z_k/T)) for all.
type HeadGradients struct {
	Head   string       `json:"head"` // "main" or "aux"
	Losses []Pull       `json:"losses"`
	Oppose *Oppositions `json:"oppose,omitempty"` // nil unless both losses act on this head
}

// Pull is the mean pull and push of a loss's coefficients f, see [HeadGradients]: of max(f, 0) and of max(-f, 0), over
// images and steps, for each image's true class and for all others.
type Pull struct {
	Term      string  `json:"term"`
	TruePull  float64 `json:"true_pull"`
	TruePush  float64 `json:"true_push"`
	OtherPull float64 `json:"other_pull"`
	OtherPush float64 `json:"other_push"`
}

// Oppositions are the shares, 0 to 1, of (image, class) pairs in which one loss pulls and the other pushes.
type Oppositions struct {
	All   float64 `json:"all"`
	True  float64 `json:"true"`  // of the images' true classes
	Other float64 `json:"other"` // of all others
}

// Part returns the part of that kind and, for stages and layers, name.
func (g *Gradients) Part(kind, name string) (GradientPart, bool) {
	if g != nil {
		for _, p := range g.Parts {
			if p.Kind == kind && p.Name == name {
				return p, true
			}
		}
	}
	return GradientPart{}, false
}

// String is one line on the main parts.
func (g *Gradients) String() string {
	text := fmt.Sprintf("gradients of %s (%d steps)", strings.Join(g.Terms, " and "), g.Steps)
	var parts []string
	for _, kind := range []string{PartClassifierWeight, PartBackbone, PartWhole} {
		if p, ok := g.Part(kind, ""); ok {
			parts = append(parts, fmt.Sprintf("%s %.2f (%.0f %% below 0)", strings.ReplaceAll(kind, "_", " "), p.Cosine.Mean,
				100*p.Cosine.Negative))
		}
	}
	if len(parts) > 0 {
		text += ": mean cosine " + strings.Join(parts, ", ")
	}
	return text
}

// check says what in it contradicts the rest, or nil.
func (g *Gradients) check() error {
	if g == nil {
		return nil
	}
	if g.Steps < 1 || g.NonFinite < 0 || g.NonFinite > g.Steps {
		return fmt.Errorf("steps: must be at least 1 and non_finite 0 to that, are %d and %d", g.Steps, g.NonFinite)
	}
	if n := len(g.Terms); n < 1 || n > 2 {
		return fmt.Errorf("terms: must be one or two, are %d", n)
	}
	known := map[string]bool{}
	for _, p := range g.Parts {
		if !slices.Contains(PartKinds, p.Kind) || (p.Kind == PartStage || p.Kind == PartLayer) != (p.Name != "") {
			return fmt.Errorf("parts: unknown kind %q of part %q", p.Kind, p.Title())
		}
		if known[p.Kind+" "+p.Name] {
			return fmt.Errorf("parts: %s is there twice", p.Title())
		}
		known[p.Kind+" "+p.Name] = true
		if err := p.Cosine.check(g.Steps, -1, 1); err != nil {
			return fmt.Errorf("parts: %s: cosine: %w", p.Title(), err)
		}
		if math.IsNaN(p.Dot) || math.IsInf(p.Dot, 0) {
			return fmt.Errorf("parts: %s: dot: must be a finite number", p.Title())
		}
	}
	shares := []struct {
		name   string
		spread *Spread
		most   float64
	}{{"rows_negative", g.RowsNegative, 1}, {"filters_negative", g.FiltersNegative, 1},
		{"coefficient", g.Coefficient, math.MaxFloat64}}
	for _, s := range shares {
		if s.spread == nil {
			continue
		}
		if err := s.spread.check(g.Steps, 0, s.most); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	for _, h := range g.Heads {
		if err := h.check(); err != nil {
			return fmt.Errorf("heads: %s: %w", h.Head, err)
		}
	}
	return nil
}

func (h HeadGradients) check() error {
	if h.Head != HeadMain && h.Head != HeadAux {
		return fmt.Errorf("unknown head; known are %s, %s", HeadMain, HeadAux)
	}
	for _, l := range h.Losses {
		for _, v := range []float64{l.TruePull, l.TruePush, l.OtherPull, l.OtherPush} {
			if !(v >= 0) || math.IsInf(v, 0) {
				return fmt.Errorf("%s: pull and push must be numbers of at least 0, one is %g", l.Term, v)
			}
		}
	}
	if o := h.Oppose; o != nil {
		for _, v := range []float64{o.All, o.True, o.Other} {
			if !(v >= 0 && v <= 1) {
				return fmt.Errorf("oppose: must be shares of 0 to 1, one is %g", v)
			}
		}
	}
	return nil
}

// check says what is wrong with values that must lie between least and most.
func (s Spread) check(steps int, least, most float64) error {
	switch {
	case s.Steps < 1 || s.Steps > steps:
		return fmt.Errorf("steps: must be 1 to %d, is %d", steps, s.Steps)
	case !(least <= s.Min && s.Min <= s.Mean && s.Mean <= s.Max && s.Max <= most):
		return fmt.Errorf("min, mean and max must be in order and within %g to %g, are %g, %g, %g", least, most, s.Min,
			s.Mean, s.Max)
	case !(s.Std >= 0) || math.IsInf(s.Std, 0):
		return errors.New("std: must be a number of at least 0")
	case !(s.Negative >= 0 && s.Negative <= 1):
		return fmt.Errorf("negative: must be a share of 0 to 1, is %g", s.Negative)
	}
	return nil
}
