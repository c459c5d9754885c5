package train

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/dataset"
	"github.com/dhkd-lab/dhkd-go/dhkd/device/devicetest"
	"github.com/dhkd-lab/dhkd-go/dhkd/distill"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

const (
	tinyTrain   = 20
	tinyTest    = 30
	tinyClasses = 4
)

var (
	dualHead = record.Method{Name: "dhkd", Gamma: 1, Alpha: 0.1, Temperature: 2, Align: true}
	hinton   = record.Method{Name: "kd", Gamma: 0.5, Alpha: 1, Temperature: 4}
	plain    = record.Method{Name: "ce"}
)

// tinySet has images of noise with a bright corner for each class.
func tinySet() *dataset.Set {
	const side = 8
	split := func(n int) (s dataset.Split) {
		for i := range n {
			label := i % tinyClasses
			for p := range side * side {
				v := (i*131 + p*p*17) % 60
				if p/side/4 == label/2 && p%side/4 == label%2 {
					v += 150
				}
				s.Pixels = append(s.Pixels, uint8(v))
			}
			s.Labels = append(s.Labels, int32(label))
		}
		return s
	}
	return &dataset.Set{Name: "tiny", Classes: tinyClasses, Channels: 1, Height: side, Width: side,
		Train: split(tinyTrain), Test: split(tinyTest), Mean: []float32{0.3}, Std: []float32{0.3}}
}

func newNetwork(t *testing.T, head dhkd.AuxHead) *zoo.Model {
	t.Helper()
	m, err := zoo.New(zoo.Config{Name: "resnet8", Classes: tinyClasses, AuxHead: head})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// newConfig has a student of the head that the method needs and an untrained teacher.
func newConfig(t *testing.T, backend compute.Backend, m record.Method, head dhkd.AuxHead, pad int) Config {
	t.Helper()
	method, err := distill.New(m)
	if err != nil {
		t.Fatal(err)
	}
	c := Config{Backend: backend, Data: tinySet(), Pad: pad, Step: Step{
		Model: newNetwork(t, head), Method: method, SGD: SGD{Momentum: 0.9, WeightDecay: 5e-4},
	}}
	if method.Needs().Teacher {
		teacher := newNetwork(t, dhkd.NoAuxHead)
		initial, err := teacher.Initial(backend, [3]int{8, 8, 1}, 99)
		if err != nil {
			t.Fatal(err)
		}
		c.Teacher = &Network{Model: teacher, Weights: map[string]*tensors.Tensor{}}
		for _, w := range initial {
			c.Teacher.Weights[w.Name] = w.Value
		}
	}
	return c
}

func newTrainer(t *testing.T, c Config) *Trainer {
	t.Helper()
	trainer, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(trainer.Close)
	return trainer
}

// fit trains from the initial values of the plan's seed.
func fit(t *testing.T, trainer *Trainer, plan Plan) (*Progress, map[string]*tensors.Tensor) {
	t.Helper()
	if err := trainer.Reset(plan.Seed); err != nil {
		t.Fatal(err)
	}
	p := &Progress{}
	if err := trainer.Fit(t.Context(), plan, p, Hooks{}); err != nil {
		t.Fatal(err)
	}
	return p, weightsOf(t, trainer)
}

func weightsOf(t *testing.T, trainer *Trainer) map[string]*tensors.Tensor {
	t.Helper()
	weights, err := trainer.StudentWeights()
	if err != nil {
		t.Fatal(err)
	}
	return weights
}

// same tells whether all tensors are equal, bit for bit.
func same(t *testing.T, a, b map[string]*tensors.Tensor) bool {
	t.Helper()
	content := func(x *tensors.Tensor) (copied []byte) {
		if err := x.ConstBytes(func(data []byte) { copied = slices.Clone(data) }); err != nil {
			t.Fatal(err)
		}
		return copied
	}
	return maps.EqualFunc(a, b, func(x, y *tensors.Tensor) bool { return bytes.Equal(content(x), content(y)) })
}

var tinyPlan = Plan{Seed: 7, Epochs: 2, BatchSize: 8, LearningRate: 0.05, Milestones: []int{1}, Rate: 0.1}

// TestSeeds runs a training with all its randomness (initial values, order, crops, flips, dropout) twice with one
// trainer and once with a new one: bit-identical. Another seed gives other weights. (All batches are full, to compile
// one step.)
func TestSeeds(t *testing.T) {
	tinyPlan := tinyPlan
	tinyPlan.BatchSize = 10
	onBackends(t, func(t *testing.T, backend compute.Backend) {
		c := newConfig(t, backend, dualHead, dhkd.NonlinearAuxHead, 2)
		trainer := newTrainer(t, c)
		p, first := fit(t, trainer, tinyPlan)
		_, second := fit(t, trainer, tinyPlan)
		pNew, third := fit(t, newTrainer(t, c), tinyPlan)
		if !same(t, first, second) || !same(t, first, third) {
			t.Error("the same seed gives other weights")
		}
		if !maps.Equal(p.Epochs[1].Metrics, pNew.Epochs[1].Metrics) {
			t.Errorf("the same seed gives other metrics: %v and %v", p.Epochs[1].Metrics, pNew.Epochs[1].Metrics)
		}
		plan := tinyPlan
		plan.Seed++
		if _, other := fit(t, trainer, plan); same(t, first, other) {
			t.Error("another seed gives the same weights")
		}
		// Of the initial values alone:
		if err := trainer.Reset(tinyPlan.Seed); err != nil {
			t.Fatal(err)
		}
		if err := trainer.Fit(t.Context(), plan, &Progress{}, Hooks{}); err != nil {
			t.Fatal(err)
		}
		if same(t, first, weightsOf(t, trainer)) {
			t.Error("order, augmentation and dropout do not depend on the seed")
		}
	})
}

// TestResume interrupts a run in the middle of an epoch and continues it with another trainer, tensor for tensor as if
// nothing had happened.
func TestResume(t *testing.T) {
	continues(t, newConfig(t, devicetest.Go(t).Backend, dualHead, dhkd.NonlinearAuxHead, 2))
}

func continues(t *testing.T, c Config) {
	t.Helper()
	trainer := newTrainer(t, c)
	p, whole := fit(t, trainer, tinyPlan)

	path := filepath.Join(t.TempDir(), "checkpoint.safetensors")
	ctx, cancel := context.WithCancel(t.Context())
	if err := trainer.Reset(tinyPlan.Seed); err != nil {
		t.Fatal(err)
	}
	steps := 0
	err := trainer.Fit(ctx, tinyPlan, &Progress{}, Hooks{
		AfterStep: func(*Progress, record.Metrics) {
			if steps++; steps == 4 { // the first of the second epoch
				cancel()
			}
		},
		Save: func(p *Progress) error { return trainer.SaveCheckpoint(path, "run", p) },
	})
	if !errors.Is(err, ErrInterrupted) || steps != 4 {
		t.Fatalf("after %d steps: %v", steps, err)
	}
	other := newTrainer(t, c)
	resumed, err := other.LoadCheckpoint(path, "run", tinyPlan)
	if err != nil {
		t.Fatal(err)
	}
	if len(resumed.Epochs) != 1 || resumed.Step != 1 {
		t.Errorf("it continues after %d epochs and %d steps", len(resumed.Epochs), resumed.Step)
	}
	if err := other.Fit(t.Context(), tinyPlan, resumed, Hooks{}); err != nil {
		t.Fatal(err)
	}
	if !same(t, whole, weightsOf(t, other)) {
		t.Error("the weights differ from those of a run that was not interrupted")
	}
	for i := range p.Epochs {
		if !maps.Equal(p.Epochs[i].Metrics, resumed.Epochs[i].Metrics) {
			t.Errorf("epoch %d: %v, want %v", i+1, resumed.Epochs[i].Metrics, p.Epochs[i].Metrics)
		}
	}
}

// TestPartialBatch checks steps, images and means of an epoch whose last batch is smaller.
func TestPartialBatch(t *testing.T) {
	c := newConfig(t, devicetest.Go(t).Backend, hinton, dhkd.NoAuxHead, 0)
	trainer := newTrainer(t, c)
	if err := trainer.Reset(tinyPlan.Seed); err != nil {
		t.Fatal(err)
	}
	var images []int
	p := &Progress{}
	err := trainer.Fit(t.Context(), tinyPlan, p, Hooks{AfterStep: func(p *Progress, _ record.Metrics) {
		images = append(images, p.Sums.Images)
	}})
	if err != nil || !slices.Equal(images, []int{8, 16, 20, 8, 16, 20}) {
		t.Fatalf("images after each step: %v, error %v", images, err)
	}
	e := p.Epochs
	if len(e) != 2 || e[0].Step != 3 || e[1].Step != 6 || e[0].LearningRate != 0.05 ||
		math.Abs(e[1].LearningRate-0.005) > 1e-12 {
		t.Errorf("%+v", e)
	}
	if _, ok := e[0].Metrics[record.MetricStudentTest]; ok || e[1].Metrics[record.MetricTestLoss] == 0 {
		t.Errorf("evaluated at the wrong time: %+v", e)
	}

	// The same steps one by one give the mean over images.
	if err := trainer.Reset(tinyPlan.Seed); err != nil {
		t.Fatal(err)
	}
	order := order(tinyTrain, tinyPlan.Seed, 1)
	var mean float64
	for step, batch := range [][]int32{order[:8], order[8:16], order[16:]} {
		metrics, err := trainer.RunStep(batch, tinyPlan.LearningRate, tinyPlan.Seed, 1, step)
		if err != nil {
			t.Fatal(err)
		}
		if metrics[0].Name != "loss/ce" || metrics[1].Name != "loss/kl" {
			t.Fatalf("%+v", metrics)
		}
		mean += metrics[0].Value * float64(len(batch)) / tinyTrain
	}
	if got := e[0].Metrics["loss/ce"]; math.Abs(got-mean) > 1e-12 {
		t.Errorf("cross-entropy of the epoch is %g, want %g", got, mean)
	}
}

func TestFitErrors(t *testing.T) {
	trainer := newTrainer(t, newConfig(t, devicetest.Go(t).Backend, plain, dhkd.NoAuxHead, 0))
	for size, want := range map[int]string{
		0: "batch_size 0", 1: "batch_size 1", 21: "at most the 20", 19: "last batch of one image",
	} {
		plan := tinyPlan
		plan.BatchSize = size
		if err := trainer.Fit(t.Context(), plan, &Progress{}, Hooks{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%d: %v, want %q", size, err, want)
		}
	}
}

// TestNonFinite trains with a broken teacher, then with a learning rate that makes the student diverge.
func TestNonFinite(t *testing.T) {
	backend := devicetest.Go(t).Backend
	c := newConfig(t, backend, hinton, dhkd.NoAuxHead, 0)
	bias := tensors.MustCopyFlatData[float32](c.Teacher.Weights["fc.bias"])
	bias[1] = float32(math.NaN())
	c.Teacher.Weights["fc.bias"] = tensors.FromFlatDataAndDimensions(bias, len(bias))
	plan := tinyPlan
	plan.StopOnNonFinite = true

	trainer := newTrainer(t, c)
	err := trainer.Fit(t.Context(), plan, &Progress{}, Hooks{})
	var bad *NonFiniteError
	if !errors.As(err, &bad) || bad.Term != "kl" || bad.Step != 1 || bad.Epoch != 1 || !math.IsNaN(bad.Value) ||
		err.Error() != "loss term kl is NaN at step 1 (epoch 1)" {
		t.Errorf("broken teacher: %v", err)
	}

	diverging := newTrainer(t, newConfig(t, backend, plain, dhkd.NoAuxHead, 0))
	plan.LearningRate, plan.Milestones = 1e30, nil
	p := &Progress{}
	if err = diverging.Fit(t.Context(), plan, p, Hooks{}); !errors.As(err, &bad) || bad.Term != "ce" || bad.Step < 2 ||
		bad.Step > 3 {
		t.Fatalf("diverging: %v", err)
	}
	stopped := bad.Step

	plan.StopOnNonFinite = false
	if err := diverging.Reset(0); err != nil {
		t.Fatal(err)
	}
	p = &Progress{}
	if err := diverging.Fit(t.Context(), plan, p, Hooks{}); err != nil || len(p.Epochs) != 2 {
		t.Fatalf("it did not go on: %v", err)
	}
	first, last := p.Epochs[0].Metrics, p.Epochs[1].Metrics
	if first[record.MetricNonFinite] != float64(4-stopped) || last[record.MetricNonFinite] != 3 {
		t.Errorf("%g and %g steps were not finite, want %d and 3", first[record.MetricNonFinite],
			last[record.MetricNonFinite],
			4-stopped)
	}
	if last[record.MetricStudentTest] != 0 {
		t.Errorf("logits of NaN have an accuracy of %g", last[record.MetricStudentTest])
	}
}

// TestEvaluate compares with logits taken to the host, for a split that fills no batch and one that fills more than
// one.
func TestEvaluate(t *testing.T) {
	c := newConfig(t, devicetest.Go(t).Backend, dualHead, dhkd.LinearAuxHead, 0)
	for _, n := range []int{tinyTest, evaluationBatch + 3} {
		for c.Data.Test.Len() < n {
			c.Data.Test.Pixels = append(c.Data.Test.Pixels, c.Data.Train.Pixels...)
			c.Data.Test.Labels = append(c.Data.Test.Labels, c.Data.Train.Labels...)
		}
		var err error
		if c.Data.Test, err = c.Data.Test.Subset(n); err != nil {
			t.Fatal(err)
		}
		trainer := newTrainer(t, c)
		student, err := NewInference(c.Backend, c.Data, &Network{Model: c.Step.Model, Weights: weightsOf(t, trainer)}, record.MainHead)
		if err != nil {
			t.Fatal(err)
		}
		defer student.Close()
		logits, err := student.Logits(c.Data.Test.Pixels)
		if err != nil {
			t.Fatal(err)
		}
		if len(logits) != n*tinyClasses {
			t.Fatalf("%d logits of %d images", len(logits), n)
		}
		var right, loss float64
		for i, label := range c.Data.Test.Labels {
			row := logits[i*tinyClasses:][:tinyClasses]
			if row[label] == slices.Max(row) {
				right++
			}
			var sum float64
			for _, z := range row {
				sum += math.Exp(float64(z - row[label]))
			}
			loss += math.Log(sum) / float64(n)
		}
		e, err := trainer.EvaluateStudent()
		if err != nil {
			t.Fatal(err)
		}
		if want := 100 * right / float64(n); math.Abs(e.Top1-want) > 1e-9 || math.Abs(e.Loss-loss) > 1e-4 || e.AuxTop1 < 0 {
			t.Errorf("%d images: %+v, want %g per cent, loss %g", n, e, want, loss)
		}
		if teacher, err := trainer.EvaluateTeacher(); err != nil || teacher.AuxTop1 != 0 || teacher.Loss <= 0 {
			t.Errorf("teacher: %+v, %v", teacher, err)
		}
	}
}

func TestNewErrors(t *testing.T) {
	backend := devicetest.Go(t).Backend
	for _, test := range []struct {
		name string
		edit func(c *Config)
		want string
	}{
		{"no teacher", func(c *Config) { c.Teacher = nil }, "method dhkd needs a teacher"},
		{"no auxiliary head", func(c *Config) { c.Step.Model = newNetwork(t, dhkd.NoAuxHead) },
			"needs a student with an auxiliary head"},
		{"other classes", func(c *Config) { c.Data.Classes = 5 }, "model resnet8 has 4 classes, data set tiny has 5"},
		{"a teacher of other classes", func(c *Config) {
			m, err := zoo.New(zoo.Config{Name: "resnet8", Classes: 6})
			if err != nil {
				t.Fatal(err)
			}
			c.Teacher.Model = m
		}, "teacher resnet8 has 6 classes"},
		{"a missing tensor", func(c *Config) { delete(c.Teacher.Weights, "fc.bias") },
			"teacher resnet8: the weights are not the model's: missing fc.bias"},
		{"an unknown tensor", func(c *Config) { c.Teacher.Weights["x"] = c.Teacher.Weights["fc.bias"] }, "not known x"},
		{"another shape", func(c *Config) { c.Teacher.Weights["fc.bias"] = tensors.FromValue([]float32{1}) },
			"tensor fc.bias has shape"},
	} {
		c := newConfig(t, backend, dualHead, dhkd.LinearAuxHead, 0)
		test.edit(&c)
		trainer, err := New(c)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, error %v, want %q", test.name, trainer, err, test.want)
		}
	}
	trainer := newTrainer(t, newConfig(t, backend, plain, dhkd.NoAuxHead, 0))
	if _, err := trainer.EvaluateTeacher(); err == nil {
		t.Error("a teacher is evaluated that is not there")
	}
}

func TestOrder(t *testing.T) {
	const n = 100
	a := order(n, 1, 1)
	sorted := slices.Sorted(slices.Values(a))
	for i, v := range sorted {
		if int(v) != i {
			t.Fatalf("no permutation: %v", sorted)
		}
	}
	if !slices.Equal(a, order(n, 1, 1)) || slices.Equal(a, order(n, 1, 2)) || slices.Equal(a, order(n, 2, 1)) {
		t.Error("the order must depend on seed and epoch alone")
	}
}

func valueOf(values []float64) *tensors.Tensor {
	return tensors.FromFlatDataAndDimensions(values, len(values))
}

func flat64(t *testing.T, v *model.Variable) []float64 {
	t.Helper()
	value, err := v.Value()
	if err != nil {
		t.Fatal(err)
	}
	return tensors.MustCopyFlatData[float64](value)
}
