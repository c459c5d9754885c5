package experiment

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dhkd-lab/dhkd-go/dhkd/dataset"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/internal/progress"
)

// Learning rates are compared on training images that no run is trained on, and the runs are trained on the
// experiment's own.
func TestTune(t *testing.T) {
	r, e := newRunner(t), openTiny(t)
	for i := range e.Runs {
		e.Runs[i].Recipe.Schedule = record.Schedule{Epochs: 1, Rate: 0.1}
	}
	search := Search{Holdout: 50, LearningRates: []float64{2e-9, 1e-9, 0.05}, Seeds: []uint64{1, 2}}
	found, err := r.Tune(t.Context(), e, []string{"kd"}, search)
	check(t, err)
	if len(found) != 1 || found[0].Run != "kd" || found[0].Tuning.Holdout != 50 || len(found[0].Tuning.Candidates) != 3 {
		t.Fatalf("%+v", found)
	}
	best, rate := -1., 0.
	for i, c := range found[0].Tuning.Candidates {
		if c.LearningRate != search.LearningRates[i] || len(c.Top1) != 2 {
			t.Fatalf("candidate %d: %+v", i, c)
		}
		mean := (c.Top1[0] + c.Top1[1]) / 2
		if mean > best || mean == best && c.LearningRate < rate {
			best, rate = mean, c.LearningRate
		}
	}
	if found[0].LearningRate != rate {
		t.Errorf("found %g, the best of %+v is %g", found[0].LearningRate, found[0].Tuning.Candidates, rate)
	}
	if c := found[0].Tuning.Candidates; !cmp.Equal(c[0].Top1, c[1].Top1) {
		t.Errorf("this is no test of equal candidates: %+v", c)
	}

	records, errs := record.LoadDir(r.Dir)
	if len(records) != 7 || len(errs) > 0 {
		t.Fatalf("%d records, %v", len(records), errs)
	}
	for _, rec := range records {
		d := rec.Data
		if rec.Recipe.Experiment != "tiny-tuning" || d.Train != 96 || d.Test != 50 || d.Evaluation != "holdout" {
			t.Errorf("%s %s: %+v", rec.Recipe.Experiment, rec.Recipe.Name, d)
		}
	}
	checkHoldout(t, r.data)

	// Done once more, the search is read from its records.
	newHooks(r).step = func(progress.Update) { t.Error("it trains") }
	again, err := r.Tune(t.Context(), e, []string{"kd"}, search)
	check(t, err)
	if diff := cmp.Diff(found, again); diff != "" {
		t.Error(diff)
	}

	Apply(e, found)
	recipe := resolve(t, e, "kd")
	check(t, recipe.Validate())
	d := recipe.Dataset
	if recipe.Optimizer.LearningRate != rate || recipe.Tuning == nil || d.Train != 96 || d.Holdout != 0 {
		t.Errorf("%+v", recipe)
	}
	if dhkd := resolve(t, e, "dhkd"); dhkd.Optimizer.LearningRate != 0.05 || dhkd.Tuning != nil {
		t.Errorf("a run that was not tuned: %+v", dhkd)
	}

	for name, s := range map[string]Search{
		"no images": {LearningRates: []float64{1}, Seeds: []uint64{1}},
		"no rates":  {Holdout: 50, Seeds: []uint64{1}},
		"no seeds":  {Holdout: 50, LearningRates: []float64{1}},
		"too many":  {Holdout: 30_000, LearningRates: []float64{1}, Seeds: []uint64{1}},
	} {
		if _, err := r.Tune(t.Context(), e, []string{"kd"}, s); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := r.Tune(t.Context(), e, []string{"dk"}, search); err == nil {
		t.Error("an unknown run: no error")
	}
	search.LearningRates = []float64{-1}
	_, err = r.Tune(t.Context(), e, []string{"kd"}, search)
	wantError(t, err, "learning_rate", "greater than 0")
	e.Runs[1].Recipe.Dataset.Train = 0
	_, err = r.Tune(t.Context(), e, []string{"kd"}, search)
	wantError(t, err, "kd: tuning needs dataset.train")
}

// checkHoldout checks that the images of a search with 50 held out are those that the runs train on and the 50 after.
func checkHoldout(t *testing.T, search *dataset.Set) {
	t.Helper()
	plain, err := dataset.Load(t.Context(), search.Name, dataset.Options{Train: 146, Test: 1, Seed: 1})
	check(t, err)
	size := plain.Channels * plain.Height * plain.Width
	pixels := plain.Train.Pixels
	if !bytes.Equal(search.Train.Pixels, pixels[:96*size]) || !bytes.Equal(search.Test.Pixels, pixels[96*size:]) {
		t.Error("the images are not the first 96 and the next 50 training images")
	}
	trained := map[string]bool{}
	for i := range 96 {
		trained[string(search.Train.Pixels[i*size:][:size])] = true
	}
	for i := range 50 {
		if trained[string(search.Test.Pixels[i*size:][:size])] {
			t.Errorf("held-out image %d is trained on", i)
		}
	}
}

// A search with other settings in the same directory is refused, not mixed with the old one.
func TestTuneTwice(t *testing.T) {
	r, e := newRunner(t), openTiny(t)
	search := Search{Holdout: 50, LearningRates: []float64{0.05}, Seeds: []uint64{1}}
	recipe := resolve(t, e, "teacher")
	recipe.Experiment, recipe.Dataset.Train, recipe.Dataset.Holdout = "tiny-tuning", 196, 100
	check(t, (&record.Record{Schema: 1, Recipe: recipe, Status: record.Running}).Save(record.Path(r.Dir, recipe)))
	_, err := r.Tune(t.Context(), e, []string{"kd"}, search)
	wantError(t, err, record.Dir(r.Dir, recipe), "differs in dataset", "choose another directory")
}
