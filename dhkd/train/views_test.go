package train

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/dataset"
	"github.com/dhkd-lab/dhkd-go/dhkd/device/devicetest"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// withTeacherLogits computes the teacher's logits before.
func withTeacherLogits(t *testing.T, c Config) Config {
	t.Helper()
	l, err := NewViewLogits(c.Backend, c.Data, c.Teacher, c.Pad)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if c.TeacherLogits, err = l.All(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

// differ returns the largest difference, relative where values are large.
func differ(t *testing.T, a, b []float32) (largest float64) {
	t.Helper()
	if len(a) != len(b) {
		t.Fatalf("%d values and %d", len(a), len(b))
	}
	for i := range a {
		d := math.Abs(float64(a[i]-b[i])) / max(1, math.Abs(float64(b[i])))
		if math.IsNaN(d) {
			return d
		}
		largest = max(largest, d)
	}
	return largest
}

// TestViewLogits compares with the logits of images that the host augmented, in the order that is documented.
func TestViewLogits(t *testing.T) {
	onBackends(t, func(t *testing.T, backend compute.Backend) {
		for pad, views := range []int{1, 18} {
			c := newConfig(t, backend, hinton, dhkd.NoAuxHead, pad)
			if Views(pad) != views {
				t.Fatalf("pad %d has %d views, want %d", pad, Views(pad), views)
			}
			size := c.Data.Height * c.Data.Width * c.Data.Channels
			var pixels []uint8
			for i := range c.Data.Train.Len() {
				for top := range 2*pad + 1 {
					for left := range 2*pad + 1 {
						for flip := range views / (2*pad + 1) / (2*pad + 1) {
							pixels = append(pixels, dataset.Augment(c.Data.Train.Pixels[i*size:][:size], c.Data.Height,
								c.Data.Width, c.Data.Channels, pad, top, left, flip != 0)...)
						}
					}
				}
			}
			teacher, err := NewInference(backend, c.Data, c.Teacher, record.MainHead)
			if err != nil {
				t.Fatal(err)
			}
			defer teacher.Close()
			want, err := teacher.Logits(pixels)
			if err != nil {
				t.Fatal(err)
			}
			got := tensors.MustCopyFlatData[float32](withTeacherLogits(t, c).TeacherLogits)
			if d := differ(t, got, want); !(d <= 1e-6) {
				t.Errorf("pad %d: they differ by %g", pad, d)
			}
		}
	})
}

// TestTeacherLogits trains with the teacher's logits from before and with its forward pass in every step, with all that
// draws random numbers: order, crops, flips, dropout.
func TestTeacherLogits(t *testing.T) {
	goBackend, xla := devicetest.Go(t).Backend, devicetest.Open(t).Backend
	for name, c := range map[string]Config{
		"go, not augmented": newConfig(t, goBackend, hinton, dhkd.NoAuxHead, 0),
		"go":                newConfig(t, goBackend, dualHead, dhkd.NonlinearAuxHead, 2),
		"xla":               newConfig(t, xla, hinton, dhkd.NoAuxHead, 2),
	} {
		plan := tinyPlan
		plan.BatchSize = 10 // one program
		p, within := fit(t, newTrainer(t, c), plan)
		pCached, cached := fit(t, newTrainer(t, withTeacherLogits(t, c)), plan)
		for i, e := range p.Epochs {
			for metric, want := range e.Metrics {
				if got := pCached.Epochs[i].Metrics[metric]; !(math.Abs(got-want) <= 1e-5*max(1, math.Abs(want))) {
					t.Errorf("%s, epoch %d, %s: %g, want %g", name, i+1, metric, got, want)
				}
			}
		}
		for parameter := range within {
			d := differ(t, tensors.MustCopyFlatData[float32](cached[parameter]),
				tensors.MustCopyFlatData[float32](within[parameter]))
			if !(d <= 1e-5) {
				t.Errorf("%s: %s differs by %g", name, parameter, d)
			}
		}
	}
}

// TestTeacherLogitsResume interrupts a run and continues it with another trainer and logits computed anew.
func TestTeacherLogitsResume(t *testing.T) {
	c := newConfig(t, devicetest.Go(t).Backend, hinton, dhkd.NoAuxHead, 1)
	plan := tinyPlan
	plan.BatchSize = 10
	trainer := newTrainer(t, withTeacherLogits(t, c))
	_, whole := fit(t, trainer, plan)

	path := filepath.Join(t.TempDir(), "checkpoint.safetensors")
	ctx, cancel := context.WithCancel(t.Context())
	if err := trainer.Reset(plan.Seed); err != nil {
		t.Fatal(err)
	}
	err := trainer.Fit(ctx, plan, &Progress{}, Hooks{
		AfterStep: func(p *Progress, _ record.Metrics) {
			if len(p.Epochs) == 1 {
				cancel()
			}
		},
		Save: func(p *Progress) error { return trainer.SaveCheckpoint(path, "run", p) },
	})
	if !errors.Is(err, ErrInterrupted) {
		t.Fatal(err)
	}
	other := newTrainer(t, withTeacherLogits(t, c))
	p, err := other.LoadCheckpoint(path, "run", plan)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Fit(t.Context(), plan, p, Hooks{}); err != nil {
		t.Fatal(err)
	}
	if !same(t, whole, weightsOf(t, other)) {
		t.Error("the weights differ from those of a run that was not interrupted")
	}
}

func TestTeacherLogitsErrors(t *testing.T) {
	backend := devicetest.Go(t).Backend
	at := newConfig(t, backend, record.Method{Name: "at", Gamma: 1, Alpha: 1000}, dhkd.NoAuxHead, 0)
	at.TeacherLogits = tensors.FromFlatDataAndDimensions(make([]float32, tinyTrain*tinyClasses), tinyTrain, tinyClasses)
	kd := newConfig(t, backend, hinton, dhkd.NoAuxHead, 1)
	kd.TeacherLogits = at.TeacherLogits
	for want, c := range map[string]Config{
		"method at needs the teacher's maps": at,
		"the 18 views of 20 training images": kd,
	} {
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}

	l, err := NewViewLogits(backend, kd.Data, kd.Teacher, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, c := range []struct{ first, n int }{{-1, tinyClasses}, {0, 0}, {0, tinyClasses + 1}, {l.Rows(), tinyClasses}} {
		if err := l.Compute(t.Context(), c.first, make([]float32, c.n)); err == nil {
			t.Errorf("%+v: no error", c)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.All(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	delete(kd.Teacher.Weights, "fc.bias")
	if _, err := NewViewLogits(backend, kd.Data, kd.Teacher, 1); err == nil || !strings.Contains(err.Error(), "fc.bias") {
		t.Error(err)
	}
}
