package nn_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	"github.com/gomlx/gomlx/support/exceptions"

	"github.com/dhkd-lab/dhkd-go/dhkd/device/devicetest"
	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
)

// onBackends runs a test on the pure Go backend and on the device that the tests share, XLA as a rule.
func onBackends(t *testing.T, test func(t *testing.T, backend compute.Backend)) {
	t.Run("go", func(t *testing.T) { test(t, devicetest.Go(t).Backend) })
	t.Run("xla", func(t *testing.T) { test(t, devicetest.Open(t).Backend) })
}

// layer is a part of a network under test.
type layer func(s *nn.Scope, x *Node) *Node

// run builds a layer on x and returns its outputs, flat, and the store with its variables.
func run(t *testing.T, backend compute.Backend, store *model.Store, o nn.Options, x *tensors.Tensor,
	build layer) []float64 {
	t.Helper()
	exec := newExec(t, backend, store, func(variables *model.Scope, inputs []*Node) []*Node {
		return []*Node{build(nn.New(variables.At("net"), o), inputs[0])}
	})
	return call(t, exec, x)[0]
}

func newExec(t *testing.T, backend compute.Backend, store *model.Store,
	build func(variables *model.Scope, inputs []*Node) []*Node) *model.Exec {
	t.Helper()
	exec, err := model.NewExec(backend, store, build)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(exec.Finalize)
	return exec
}

func call(t *testing.T, exec *model.Exec, inputs ...any) [][]float64 {
	t.Helper()
	outputs, err := exec.Call(inputs...)
	if err != nil {
		t.Fatal(err)
	}
	flat := make([][]float64, len(outputs))
	for i, output := range outputs {
		flat[i] = floats(output)
	}
	return flat
}

// floats are the values of a tensor, widened.
func floats(x *tensors.Tensor) []float64 {
	if x.DType() == dtypes.Float64 {
		return tensors.MustCopyFlatData[float64](x)
	}
	var wide []float64
	for _, v := range tensors.MustCopyFlatData[float32](x) {
		wide = append(wide, float64(v))
	}
	return wide
}

// random is a float64 tensor of values in [-1, 1).
func random(seed uint64, dims ...int) *tensors.Tensor {
	values := make([]float64, tensors.FromShape(shapeOf(dims)).Size())
	rng := rand.New(rand.NewPCG(seed, 0))
	for i := range values {
		values[i] = 2*rng.Float64() - 1
	}
	return tensors.FromFlatDataAndDimensions(values, dims...)
}

func near(t *testing.T, what string, got, want []float64, tolerance float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] && !(math.Abs(got[i]-want[i]) <= tolerance) {
			t.Fatalf("%s[%d] is %.12g, want %.12g", what, i, got[i], want[i])
		}
	}
}

func TestPanics(t *testing.T) {
	backend := devicetest.Go(t).Backend
	for _, test := range []struct {
		name  string
		dims  []int
		build layer
		want  string
	}{
		{"convolution of a vector", []int{2, 3}, func(s *nn.Scope, x *Node) *Node { return nn.Conv2D(s, x, 4, 3, 1, 1) },
			"must be [N, H, W, C]"},
		{"convolution of a small map", []int{2, 2, 2, 1}, func(s *nn.Scope, x *Node) *Node {
			return nn.Conv2D(s, x, 4, 5, 1, 1)
		},
			"smaller than the 5x5 kernel"},
		{"linear of maps", []int{2, 2, 2, 1}, func(s *nn.Scope, x *Node) *Node { return nn.Linear(s, x, 4) },
			"[N, features]"},
		{"pool of a vector", []int{2, 2}, nn.GlobalAveragePool,
			"[N, H, W, C]"},
		{"batch norm of one value", []int{1, 3}, nn.BatchNorm, "more than one value a channel"},
		{"dropout without a generator", []int{2, 3}, func(s *nn.Scope, x *Node) *Node { return nn.Dropout(s, x, 0.1) },
			"Options.RNG"},
		{"variable of another shape", []int{2, 3}, func(s *nn.Scope, x *Node) *Node {
			return nn.Linear(s.In("a"), nn.Linear(s.In("a"), x, 4), 4)
		}, "variable a.weight has shape"},
	} {
		t.Run(test.name, func(t *testing.T) {
			exec := newExec(t, backend, model.NewStore(), func(variables *model.Scope, inputs []*Node) []*Node {
				return []*Node{test.build(nn.New(variables.At("net"), nn.Options{Training: true}), inputs[0])}
			})
			err := exceptions.TryCatch[error](func() {
				if _, err := exec.Call(random(1, test.dims...)); err != nil {
					panic(err)
				}
			})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}
