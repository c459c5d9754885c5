package experiment

import (
	"context"
	"errors"
	"math"
	"os"
	"slices"
	"testing"

	"github.com/dhkd-lab/dhkd-go/dhkd/device/devicetest"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/train"
)

// A run that is begun on two devices, goes on with one and ends with two says so, and ends as on one device but for rounding.
func TestDevices(t *testing.T) {
	d := devicetest.Open(t)
	if d.Backend.NumDevices() < 2 {
		if os.Getenv("CI") != "" {
			t.Fatal("it needs two devices")
		}
		t.Skip("it needs two devices")
	}
	recipe := resolve(t, openTiny(t), "teacher")
	one := &Runner{Device: d, Dir: t.TempDir()}
	defer one.Close()
	want, err := one.Run(t.Context(), recipe)
	check(t, err)
	if want.Devices != nil {
		t.Errorf("devices %v of a run on one", want.Devices)
	}
	two := &Runner{Device: d, Dir: t.TempDir(), Devices: 2}
	defer two.Close()
	one.Dir = two.Dir
	for i, r := range []*Runner{two, one, two} {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		if h := newHooks(r); i < 2 {
			h.step = onStep(i+1, 2, cancel)
		}
		rec, err := r.Run(ctx, recipe)
		if i < 2 && errors.Is(err, train.ErrInterrupted) {
			continue
		}
		check(t, err)
		if !slices.Equal(rec.Devices, []int{2, 1, 2}) || rec.Status != record.Completed {
			t.Errorf("%s on devices %v", rec.Status, rec.Devices)
		}
		for e := range want.Epochs {
			got, want := rec.Epochs[e].Metrics["loss/ce"], want.Epochs[e].Metrics["loss/ce"]
			if !(math.Abs(got-want) <= 1e-3) {
				t.Errorf("epoch %d: a loss of %g, on one device %g", e+1, got, want)
			}
		}
	}
}

func TestDevicesErrors(t *testing.T) {
	d, recipe := devicetest.Open(t), resolve(t, openTiny(t), "teacher")
	r := &Runner{Device: d, Dir: t.TempDir(), Devices: d.Backend.NumDevices() + 1}
	defer r.Close()
	_, err := r.Run(t.Context(), recipe)
	wantError(t, err, "teacher seed 1", "devices: the backend (xla) has ")
	if d.Backend.NumDevices() > 1 {
		r.Devices, recipe.BatchSize = 2, 33
		_, err = r.Run(t.Context(), recipe)
		wantError(t, err, "teacher seed 1", "batch_size 33: 2 devices do not divide it")
	}
}

// The learning rate is in proportion to the batch where the recipe says so, and nowhere else.
func TestReferenceBatch(t *testing.T) {
	r, recipe := newRunner(t), resolve(t, openTiny(t), "teacher")
	plain, err := Override(recipe, []string{"batch_size=48"})
	check(t, err)
	scaled, err := Override(recipe, []string{"batch_size=48", "optimizer.reference_batch=16"})
	check(t, err)
	if plain.LearningRate() != 0.05 || math.Abs(scaled.LearningRate()-0.15) > 1e-12 || scaled.Optimizer.LearningRate != 0.05 {
		t.Errorf("%g and %g", plain.LearningRate(), scaled.LearningRate())
	}
	rec, err := r.Run(t.Context(), scaled)
	check(t, err)
	if e := rec.Epochs; math.Abs(e[0].LearningRate-0.15) > 1e-12 || math.Abs(e[2].LearningRate-0.015) > 1e-12 ||
		rec.Recipe.Optimizer.ReferenceBatch != 16 {
		t.Errorf("learning rates %g and %g, reference %d", e[0].LearningRate, e[2].LearningRate,
			rec.Recipe.Optimizer.ReferenceBatch)
	}
	_, err = Override(recipe, []string{"optimizer.reference_batch=-1"})
	wantError(t, err, "optimizer.reference_batch", "at least 0")
}
