package train

import (
	"context"
	"errors"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute"
	"github.com/google/go-cmp/cmp"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/device/devicetest"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

var oneHead = record.Method{Name: "ce+binarykl", Gamma: 1, Alpha: 0.5, Temperature: 2}

// TestMeasuringChangesNothing trains with all that is random and all that a step updates, measured and not: the same
// weights and metrics, bit for bit. CRD has modules and memory banks of its own.
func TestMeasuringChangesNothing(t *testing.T) {
	crd := smokeMethods()["crd"]
	for name, test := range map[string]struct {
		method record.Method
		aux    dhkd.AuxHead
		xla    bool
	}{
		"dhkd": {dualHead, dhkd.NonlinearAuxHead, true}, "one head": {oneHead, dhkd.NoAuxHead, false},
		"crd": {crd, dhkd.NoAuxHead, false},
	} {
		backends := []compute.Backend{devicetest.Go(t).Backend}
		if test.xla {
			backends = append(backends, devicetest.Open(t).Backend)
		}
		for _, backend := range backends {
			t.Run(name+"/"+backend.Name(), func(t *testing.T) {
				trainer := newTrainer(t, newConfig(t, backend, test.method, test.aux, 2))
				plan := tinyPlan
				plan.BatchSize = 10
				p, plainWeights := fit(t, trainer, plan)
				plainModules := methodState(t, trainer)
				plan.MeasureEvery = 1
				measured, weights := fit(t, trainer, plan)
				if !same(t, plainWeights, weights) || !same(t, plainModules, methodState(t, trainer)) {
					t.Error("measuring changes the weights")
				}
				for i, e := range measured.Epochs {
					if !maps.Equal(e.Metrics, p.Epochs[i].Metrics) {
						t.Errorf("epoch %d: %v, want %v", i+1, e.Metrics, p.Epochs[i].Metrics)
					}
					if p.Epochs[i].Gradients != nil || e.Gradients == nil || e.Gradients.Steps != 2 {
						t.Errorf("epoch %d: measured %+v and %+v", i+1, p.Epochs[i].Gradients, e.Gradients)
					}
				}
			})
		}
	}
}

// TestMeasuredAsAligned compares with the alignment that the step itself computes, of the same two gradients.
func TestMeasuredAsAligned(t *testing.T) {
	c := newConfig(t, devicetest.Go(t).Backend, oneHead, dhkd.NoAuxHead, 0)
	c.Step.Measure = true
	trainer := newTrainer(t, c)
	for step := range 2 {
		metrics, measured, err := trainer.MeasureStep(order(tinyTrain, 1, 1)[:10], 0.05, 1, 1, step)
		if err != nil {
			t.Fatal(err)
		}
		want, got := metricNamed(t, metrics, metricCosine), metricNamed(t, measured, "cosine whole")
		if math.Abs(want-got) > 1e-5 {
			t.Errorf("cosine %g, the step's own is %g", got, want)
		}
		// <g1, g2> of the whole is the sum over its parts.
		var layers, stages float64
		for _, m := range measured {
			switch {
			case strings.HasPrefix(m.Name, "dot layer "):
				layers += m.Value
			case strings.HasPrefix(m.Name, "dot stage "), m.Name == "dot classifier_weight", m.Name == "dot classifier_bias":
				stages += m.Value
			}
		}
		if whole := metricNamed(t, measured, "dot whole"); math.Abs(layers-whole) > 1e-4*math.Abs(whole) ||
			math.Abs(stages-whole) > 1e-4*math.Abs(whole) {
			t.Errorf("dot product %g, layers sum up to %g, stages and classifier to %g", whole, layers, stages)
		}
	}
}

func metricNamed(t *testing.T, m Metrics, name string) float64 {
	t.Helper()
	at := slices.IndexFunc(m, func(m Metric) bool { return m.Name == name })
	if at < 0 {
		t.Fatalf("no %s in %v", name, m)
	}
	return m[at].Value
}

// measure trains an epoch of three steps, of which the last, smaller one is not measured.
func measure(t *testing.T, m record.Method, terms ...string) *record.Gradients {
	t.Helper()
	c := newConfig(t, devicetest.Go(t).Backend, m, smokeHead(t, m), 0)
	c.MeasureTerms = terms
	p, _ := fit(t, newTrainer(t, c), Plan{Seed: 1, Epochs: 1, BatchSize: 8, LearningRate: 0.01, MeasureEvery: 1})
	return p.Epochs[0].Gradients
}

// TestMeasuredParts looks at what there is of a network with one head and of one with two.
func TestMeasuredParts(t *testing.T) {
	g := measure(t, oneHead)
	if !slices.Equal(g.Terms, []string{"ce", "binarykl"}) || g.Steps != 2 || g.NonFinite != 0 || len(g.Disjoint) > 0 {
		t.Errorf("%+v", g)
	}
	for kind, names := range map[string][]string{record.PartWhole: {""}, record.PartBackbone: {""}, record.PartClassifier: {""},
		record.PartClassifierWeight: {""}, record.PartClassifierBias: {""},
		record.PartStage: {"conv1", "bn1", "layer1", "layer2", "layer3"},
		record.PartLayer: {"conv1.weight", "layer3.0.bn2.bias", "fc.weight"}} {
		for _, name := range names {
			if p, ok := g.Part(kind, name); !ok || p.Cosine.Steps != 2 || p.Cosine.Min == p.Cosine.Max || p.Dot == 0 {
				t.Errorf("%s %s: %+v", kind, name, p)
			}
		}
	}
	if len(g.Heads) != 1 || len(g.Heads[0].Losses) != 2 || g.Heads[0].Oppose == nil || g.RowsNegative == nil ||
		g.FiltersNegative == nil || g.Coefficient != nil {
		t.Errorf("%+v", g)
	}

	g = measure(t, dualHead)
	for _, name := range []string{"classifier", "classifier_weight", "classifier_bias", "fc.weight", "fc2.weight"} {
		if !slices.Contains(g.Disjoint, name) {
			t.Errorf("%s is not in %v", name, g.Disjoint)
		}
	}
	_, ok := g.Part(record.PartClassifier, "")
	if ok || g.RowsNegative != nil || g.FiltersNegative == nil || g.Coefficient == nil {
		t.Errorf("%+v", g)
	}
	if len(g.Heads) != 2 || g.Heads[0].Oppose != nil || g.Heads[0].Losses[0].Term != "ce" ||
		g.Heads[1].Losses[0].Term != "binarykl_norm" || len(g.Heads[1].Losses) != 1 {
		t.Errorf("heads %+v", g.Heads)
	}
}

// TestMeasuredPull: cross-entropy pulls the true class by as much as it pushes all others together, and nothing else.
func TestMeasuredPull(t *testing.T) {
	g := measure(t, plain)
	if len(g.Terms) != 1 || len(g.Parts) != 0 || len(g.Heads) != 1 || g.Heads[0].Head != record.HeadMain {
		t.Fatalf("%+v", g)
	}
	p := g.Heads[0].Losses[0]
	if p.TruePush != 0 || p.OtherPull != 0 || p.TruePull < 0.1 || p.TruePull > 1 ||
		math.Abs(p.TruePull-(tinyClasses-1)*p.OtherPush) > 1e-5 {
		t.Errorf("%+v", p)
	}
}

func TestMeasuredTerms(t *testing.T) {
	m := dualHead
	m.With = []record.Method{hinton}
	for _, terms := range [][]string{{"kl", "binarykl_norm"}, {"ce", "rest"}, {"kl", "rest"}} {
		if g := measure(t, m, terms...); !slices.Equal(g.Terms, terms) || len(g.Parts) == 0 {
			t.Errorf("%v: %+v", terms, g)
		}
	}
	all, two := measure(t, m, "ce", "rest"), measure(t, m, "ce", "kl")
	if _, ok := all.Part(record.PartClassifier, ""); !ok || len(all.Heads) != 2 || len(two.Heads) != 1 {
		t.Errorf("the rest of the losses is not KL and BinaryKL-Norm: %+v, %+v", all.Heads, two.Heads)
	}
	for _, terms := range [][]string{{"ce", "dist"}, {"rest", "ce"}} {
		c := newConfig(t, devicetest.Go(t).Backend, m, dhkd.LinearAuxHead, 0)
		c.MeasureTerms = terms
		_, _, err := newTrainer(t, c).MeasureStep(order(tinyTrain, 1, 1), 0.05, 1, 1, 0)
		if err == nil || !strings.Contains(err.Error(), "measure.gradients.terms: method dhkd+kd has no loss") ||
			!strings.Contains(err.Error(), "name two of ce, binarykl_norm, kl, or one and rest") {
			t.Errorf("%v: %v", terms, err)
		}
	}
}

// TestMeasureResume interrupts a measured run in the middle of an epoch: its epochs say the same as those of the whole run.
func TestMeasureResume(t *testing.T) {
	c := newConfig(t, devicetest.Go(t).Backend, dualHead, dhkd.LinearAuxHead, 2)
	trainer := newTrainer(t, c)
	plan := tinyPlan
	plan.BatchSize, plan.MeasureEvery = 5, 3 // of four steps an epoch: 0, 3, 6
	whole, _ := fit(t, trainer, plan)
	if a, b := whole.Epochs[0].Gradients, whole.Epochs[1].Gradients; a.Steps != 2 || b.Steps != 1 {
		t.Fatalf("measured steps: %+v, %+v", a, b)
	}
	path := filepath.Join(t.TempDir(), "checkpoint.safetensors")
	for _, at := range []int{2, 7} { // the second one has no measured step left
		ctx, cancel := context.WithCancel(t.Context())
		if err := trainer.Reset(plan.Seed); err != nil {
			t.Fatal(err)
		}
		steps := 0
		err := trainer.Fit(ctx, plan, &Progress{}, Hooks{
			AfterStep: func(*Progress, record.Metrics) {
				if steps++; steps == at {
					cancel()
				}
			},
			Save: func(p *Progress) error { return trainer.SaveCheckpoint(path, "run", p) },
		})
		if !errors.Is(err, ErrInterrupted) {
			t.Fatal(err)
		}
		other := newTrainer(t, c)
		resumed, err := other.LoadCheckpoint(path, "run", plan)
		if err != nil {
			t.Fatal(err)
		}
		if err := other.Fit(t.Context(), plan, resumed, Hooks{}); err != nil {
			t.Fatal(err)
		}
		for i := range whole.Epochs {
			if diff := cmp.Diff(whole.Epochs[i].Gradients, resumed.Epochs[i].Gradients); diff != "" {
				t.Errorf("interrupted after step %d, epoch %d: %s", at, i+1, diff)
			}
		}
	}
}

// TestMeasureNonFinite: steps with a NaN are counted, and count in nothing.
func TestMeasureNonFinite(t *testing.T) {
	var g GradientSums
	step := func(cosine float64) {
		g.add([]string{"a", "b"}, Metrics{{"g1 whole", 4}, {"g2 whole", 1}, {"cosine whole", cosine},
			{"dot whole", 2 * cosine}})
	}
	step(0.5)
	step(math.NaN())
	step(-0.1)
	r := g.record(true)
	p, _ := r.Part(record.PartWhole, "")
	want := record.Spread{Steps: 2, Mean: 0.2, Std: 0.424264, Min: -0.1, Max: 0.5, Negative: 0.5}
	if r.Steps != 3 || r.NonFinite != 1 || p.Cosine != want || p.Dot != 0.4 {
		t.Errorf("%+v", r)
	}
}

// TestMeasureLongRun: an epoch more than all keep their layers in is without them, but has all other parts.
func TestMeasureLongRun(t *testing.T) {
	trainer := newTrainer(t, newConfig(t, devicetest.Go(t).Backend, oneHead, dhkd.NoAuxHead, 0))
	plan := Plan{Seed: 1, Epochs: record.MostLayerEpochs + 1, BatchSize: tinyTrain, LearningRate: 0.01, MeasureEvery: 1}
	p := &Progress{}
	for epoch := 1; epoch <= plan.Epochs-2; epoch++ { // as if they had been
		p.Epochs = append(p.Epochs, record.Epoch{Epoch: epoch, Step: epoch})
	}
	if err := trainer.Fit(t.Context(), plan, p, Hooks{}); err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{false, true} {
		e := p.Epochs[plan.Epochs-2+i]
		_, layer := e.Gradients.Part(record.PartLayer, "conv1.weight")
		_, stage := e.Gradients.Part(record.PartStage, "conv1")
		if layer != want || !stage {
			t.Errorf("epoch %d: layers %t, want %t; stages %t", e.Epoch, layer, want, stage)
		}
	}
	sums := GradientSums{Steps: 1, Tallies: []Tally{{Name: "cosine classifier"}, {Name: "cosine layer fc.weight"}}}
	if got := sums.record(false).Disjoint; !slices.Equal(got, []string{record.PartClassifier}) {
		t.Errorf("disjoint without layers: %v", got)
	}
}

// TestMeasureAllMethods: every method can be measured, on one backend.
func TestMeasureAllMethods(t *testing.T) {
	for name, m := range smokeMethods() {
		t.Run(name, func(t *testing.T) {
			trainer := trainedOn(t, devicetest.Go(t).Backend, m)
			_, measured, err := trainer.MeasureStep(order(tinyTrain, 1, 1)[:smokeBatch], smokeRate, 1, smokeEpoch, 0)
			if err != nil {
				t.Fatal(err)
			}
			if bad := measured.nonFinite(); bad != nil {
				t.Errorf("%s is %g", bad.Name, bad.Value)
			}
		})
	}
}
