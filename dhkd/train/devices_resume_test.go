package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// TestDevicesResume: a run with batches that three devices divide, and a last one of each epoch that they do not, goes on
// with as many devices bit for bit, and with others but for rounding.
func TestDevicesResume(t *testing.T) {
	plan := tinyPlan
	plan.BatchSize, plan.MeasureEvery = 6, 2
	c := newConfig(t, several(t, 3).Backend, dualHead, dhkd.LinearAuxHead, 1)
	trainers := map[int]*Trainer{}
	for _, c.Devices = range []int{1, 3} {
		trainers[c.Devices] = newTrainer(t, c)
	}
	whole, weights := map[int]*Progress{}, map[int]map[string]*tensors.Tensor{}
	for n, trainer := range trainers {
		whole[n], weights[n] = fit(t, trainer, plan)
	}
	expectMetrics(t, "on three devices", whole[3], whole[1])
	if d, of := distance(t, weights[3], weights[1]); !(d <= 1e-3) {
		t.Errorf("on three devices %s is %.1e apart", of, d)
	}
	for from, first := range trainers {
		path := filepath.Join(t.TempDir(), "checkpoint.safetensors")
		ctx, cancel := context.WithCancel(t.Context())
		if err := first.Reset(plan.Seed); err != nil {
			t.Fatal(err)
		}
		err := first.Fit(ctx, plan, &Progress{}, Hooks{
			AfterStep: func(p *Progress, _ record.Metrics) {
				if len(p.Epochs) == 1 && p.Step == 2 {
					cancel()
				}
			},
			Save: func(p *Progress) error { return first.SaveCheckpoint(path, "run", p) },
		})
		if !errors.Is(err, ErrInterrupted) {
			t.Fatal(err)
		}
		for to, second := range trainers {
			what := fmt.Sprintf("from %d devices to %d", from, to)
			p, err := second.LoadCheckpoint(path, "run", plan)
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			if err := second.Fit(t.Context(), plan, p, Hooks{}); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			expectMetrics(t, what, p, whole[1])
			got := weightsOf(t, second)
			if from == to && !same(t, got, weights[to]) {
				t.Errorf("%s: other weights than without an interruption", what)
			}
			if d, of := distance(t, got, weights[1]); !(d <= 1e-3) {
				t.Errorf("%s: %s is %.1e apart", what, of, d)
			}
		}
	}
}

// expectMetrics compares the epochs of runs.
func expectMetrics(t *testing.T, what string, got, want *Progress) {
	t.Helper()
	for i, e := range want.Epochs {
		for name, v := range e.Metrics {
			if g := got.Epochs[i].Metrics[name]; !(math.Abs(g-v) <= 1e-3*max(1, math.Abs(v))) {
				t.Errorf("%s: epoch %d, %s is %g, want %g", what, i+1, name, g, v)
			}
		}
		g, w := got.Epochs[i].Gradients, e.Gradients
		a, _ := g.Part(record.PartWhole, "")
		b, ok := w.Part(record.PartWhole, "")
		if !ok || math.Abs(a.Cosine.Mean-b.Cosine.Mean) > 1e-3 {
			t.Errorf("%s: epoch %d, cosine of the gradients %v, want %v", what, i+1, a.Cosine, b.Cosine)
		}
	}
}
