package experiment

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// TestMeasureGradients measures a run whose gradients are soon no numbers: its record is valid all the same.
func TestMeasureGradients(t *testing.T) {
	r, e := newRunner(t), openTiny(t)
	_, err := r.Run(t.Context(), resolve(t, e, "teacher"))
	check(t, err)
	recipe, err := Override(resolve(t, e, "goes-on"), []string{"measure.gradients.every=1",
		"optimizer.learning_rate=1e30"})
	check(t, err)
	rec, err := r.Run(t.Context(), recipe)
	check(t, err)
	stored, err := record.Load(record.Path(r.Dir, recipe))
	check(t, err)
	for i, epoch := range rec.Epochs {
		g := epoch.Gradients
		if g == nil || g.Steps != 3 {
			t.Fatalf("epoch %d: measured %+v", epoch.Epoch, g)
		}
		if diff := cmp.Diff(g, stored.Epochs[i].Gradients); diff != "" {
			t.Error(diff)
		}
	}
	first, last := rec.Epochs[0].Gradients, rec.Epochs[2].Gradients
	if _, ok := first.Part(record.PartClassifierWeight, ""); !ok || first.NonFinite < 1 || first.NonFinite > 2 {
		t.Errorf("the first epoch: %+v", first)
	}
	if last.NonFinite != 3 || len(last.Parts) != 0 {
		t.Errorf("the last epoch, of a network of NaN: %+v", last)
	}
	recipe.Measure = nil
	_, err = r.Run(t.Context(), recipe)
	if err == nil || !strings.Contains(err.Error(), "differs in measure") {
		t.Errorf("the same run, not measured: %v", err)
	}
}

func TestOverrideMeasure(t *testing.T) {
	e := openTiny(t)
	got, err := Override(resolve(t, e, "kd"), []string{"measure.gradients.every=5", "measure.gradients.terms=[kl, rest]"})
	check(t, err)
	want := &record.Measure{Gradients: &record.MeasureGradients{Every: 5, Terms: []string{"kl", "rest"}}}
	if diff := cmp.Diff(want, got.Measure); diff != "" {
		t.Error(diff)
	}
	if got, err = Override(got, []string{"measure=none"}); err != nil || got.Measure != nil {
		t.Errorf("%+v, %v", got.Measure, err)
	}
	for set, want := range map[string]string{
		"measure.gradients.every=0": "measure.gradients.every: must be at least 1 step, is 0",
		"measure.gradents.every=1":  "measure.gradents: unknown key; did you mean gradients?",
		"measur.gradients.every=1":  `the recipe has no section "measur"`,
	} {
		if _, err := Override(resolve(t, e, "kd"), []string{set}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", set, err, want)
		}
	}
}

// Neural collapse is measured after the epochs that the recipe says, as of the trained network, and changes nothing.
func TestMeasureCollapse(t *testing.T) {
	r, e := newRunner(t), openTiny(t)
	plain := resolve(t, e, "teacher")
	_, err := r.Run(t.Context(), plain)
	check(t, err)
	want, _, err := LoadNetwork(WeightsPath(r.Dir, plain))
	check(t, err)

	r.Dir = t.TempDir()
	recipe, err := Override(plain, []string{"measure.collapse.every=2", "measure.collapse.images=80"})
	check(t, err)
	rec, err := r.Run(t.Context(), recipe)
	check(t, err)
	got, _, err := LoadNetwork(WeightsPath(r.Dir, recipe))
	check(t, err)
	for name, w := range want.Weights {
		if !w.Equal(got.Weights[name]) {
			t.Errorf("%s is another where collapse is measured", name)
		}
	}
	for i, epoch := range rec.Epochs {
		_, ok := epoch.Metrics[record.CollapseMetric(record.MainHead, record.NC1)]
		if want := i > 0; ok != want { // 2, and 3 as the last
			t.Errorf("epoch %d: measured %t, want %t", epoch.Epoch, ok, want)
		}
	}
	s, err := OpenSubject(record.Dir(r.Dir, recipe), AnalyseOptions{CollapseImages: 80, EmbedImages: -1})
	check(t, err)
	a, err := r.Analyse(t.Context(), s)
	check(t, err)
	for name, v := range a.Collapse[0].Measures {
		recorded := rec.Epochs[2].Metrics[record.CollapseMetric(record.MainHead, name)]
		if d := recorded - v; !(d <= 1e-4*v && -d <= 1e-4*v) {
			t.Errorf("%s: %g after the last epoch, %g of the file", name, recorded, v)
		}
	}
	if recipe, err = Override(plain, []string{"measure.collapse.every=1", "measure.collapse.images=97"}); err != nil {
		t.Fatal(err)
	}
	r.Dir = t.TempDir()
	if _, err := r.Run(t.Context(), recipe); err == nil ||
		!strings.Contains(err.Error(), "measure.collapse.images: is 97, there are 96 training images") {
		t.Errorf("too many images: %v", err)
	}
}
