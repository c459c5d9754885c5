package train

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gomlx/gomlx/core/tensors"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/device/devicetest"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/metric"
)

// TestInference compares with what the trainer says of the same network, and counts by hand.
func TestInference(t *testing.T) {
	backend := devicetest.Go(t).Backend
	c := newConfig(t, backend, dualHead, dhkd.NonlinearAuxHead, 0)
	trainer := newTrainer(t, c)
	want, err := trainer.EvaluateStudent()
	if err != nil {
		t.Fatal(err)
	}
	weights, err := trainer.StudentWeights()
	if err != nil {
		t.Fatal(err)
	}
	n := &Network{Model: c.Step.Model, Weights: weights}
	all := trainer.Parameters()
	mainHead := weights["fc.weight"].Size() + weights["fc.bias"].Size()
	auxHead := 0
	for name, w := range weights {
		if strings.HasPrefix(name, "fc2.") && !strings.Contains(name, "running_") {
			auxHead += w.Size()
		}
	}
	for _, head := range []struct {
		name       string
		top1       float64
		parameters int
	}{{record.MainHead, want.Top1, all - auxHead}, {record.AuxHead, want.AuxTop1, all - mainHead}} {
		i, err := NewInference(backend, c.Data, n, head.name)
		if err != nil {
			t.Fatal(err)
		}
		defer i.Close()
		measured := metric.NewClassification(tinyClasses)
		if err := i.Each(t.Context(), c.Data.Test, 7, measured.Add); err != nil { // 7 leaves a batch of 2 of 30
			t.Fatal(err)
		}
		s := measured.Scores(nil)
		if s.Images != tinyTest || math.Abs(s.Top1-head.top1) > 1e-9 {
			t.Errorf("%s: %+v, want top-1 %g", head.name, s, head.top1)
		}
		if head.name == record.MainHead && math.Abs(*s.CrossEntropy-want.Loss) > 1e-5 {
			t.Errorf("cross-entropy %g, the trainer's %g", *s.CrossEntropy, want.Loss)
		}
		a, used, err := i.Parameters()
		if err != nil || a != all || used != head.parameters {
			t.Errorf("%s: %d parameters, %d used, %v; want %d, %d", head.name, a, used, err, all, head.parameters)
		}
		if len(i.trainer.compiled) != 1 {
			t.Errorf("%d programs for one evaluation", len(i.trainer.compiled))
		}
	}
}

func TestInferenceTime(t *testing.T) {
	c := newConfig(t, devicetest.Go(t).Backend, plain, dhkd.NoAuxHead, 0)
	trainer := newTrainer(t, c)
	weights, err := trainer.StudentWeights()
	if err != nil {
		t.Fatal(err)
	}
	i, err := NewInference(c.Backend, c.Data, &Network{Model: c.Step.Model, Weights: weights}, record.MainHead)
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	calls, err := i.Time(t.Context(), c.Data.Test.Pixels[:2*8*8], time.Nanosecond)
	if err != nil || len(calls) != 5 || slices.Min(calls) <= 0 {
		t.Errorf("%v, %v", calls, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := i.Time(ctx, c.Data.Test.Pixels, time.Second); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	if err := i.Each(ctx, c.Data.Test, 7, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}

func TestNewInferenceErrors(t *testing.T) {
	c := newConfig(t, devicetest.Go(t).Backend, plain, dhkd.NoAuxHead, 0)
	for _, test := range []struct {
		head, want string
		edit       func()
	}{
		{record.AuxHead, "has no auxiliary head", func() {}},
		{record.MainHead, "missing ", func() {}},
		{record.MainHead, "has 4 classes, data set tiny has 5", func() { c.Data.Classes = 5 }},
	} {
		test.edit()
		n := &Network{Model: c.Step.Model, Weights: map[string]*tensors.Tensor{}}
		if _, err := NewInference(c.Backend, c.Data, n, test.head); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v, want %q", err, test.want)
		}
	}
}
