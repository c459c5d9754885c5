package train

import (
	"math"
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/device/devicetest"
)

// The gradient of a step with convolutions in bfloat16 is that of float32 but for rounding, up to 1/256 of a value, which
// batch norm of few small maps makes more of: it is within 20 % of its length and an angle of 12 degrees. It is not the same.
func TestGradientsInBFloat16(t *testing.T) {
	gradients := map[dtypes.DType]map[string]*tensors.Tensor{}
	for _, in := range []dtypes.DType{dtypes.InvalidDType, dtypes.BFloat16} {
		c := newConfig(t, devicetest.Open(t).Backend, plain, dhkd.NoAuxHead, 0)
		c.Step.Convolutions, c.Step.SGD = in, SGD{}
		trainer := newTrainer(t, c)
		if _, err := trainer.RunStep([]int32{0, 1, 2, 3, 4, 5, 6, 7}, 1e-3, 0, 1, 0); err != nil {
			t.Fatal(err)
		}
		momenta, err := trainer.copies(momentumScope) // after one step without decay they are the gradients
		if err != nil {
			t.Fatal(err)
		}
		gradients[in] = momenta
	}
	var dot, wide, narrow, distance float64
	for name, of := range gradients[dtypes.InvalidDType] {
		a := tensors.MustCopyFlatData[float32](of)
		for i, b := range tensors.MustCopyFlatData[float32](gradients[dtypes.BFloat16][name]) {
			x, y := float64(a[i]), float64(b)
			dot, wide, narrow = dot+x*y, wide+x*x, narrow+y*y
			distance += (x - y) * (x - y)
		}
	}
	off, cosine := math.Sqrt(distance/wide), dot/math.Sqrt(wide*narrow)
	t.Logf("off by %.2g of its length, cosine %.6f", off, cosine)
	if off > 0.2 || cosine < math.Cos(12*math.Pi/180) {
		t.Errorf("the gradient is off by %g of its length, cosine %g", off, cosine)
	}
	if off < 1e-4 {
		t.Errorf("the gradient is off by %g of its length: is anything rounded?", off)
	}
}

// A student trained in bfloat16 learns, and its weights are float32 still.
func TestLearningInBFloat16(t *testing.T) {
	plan := tinyPlan
	plan.BatchSize, plan.Epochs, plan.Milestones = tinyTrain/2, 15, nil // batches of one size, to compile one step
	c := newConfig(t, devicetest.Open(t).Backend, plain, dhkd.NoAuxHead, 0)
	c.Step.Convolutions = dtypes.BFloat16
	trainer := newTrainer(t, c)
	_, weights := fit(t, trainer, plan)
	for name, w := range weights {
		if w.DType() != dtypes.Float32 {
			t.Errorf("%s is %s", name, w.DType())
		}
	}
	e, err := trainer.EvaluateStudent()
	if err != nil {
		t.Fatal(err)
	}
	if e.Top1 < 90 {
		t.Errorf("%g %% of the test images after %d epochs", e.Top1, plan.Epochs)
	}
}
