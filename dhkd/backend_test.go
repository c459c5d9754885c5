package dhkd_test

import (
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/dhkd-lab/dhkd-go/dhkd/device/devicetest"
	"github.com/dhkd-lab/dhkd-go/dhkd/internal/golden/fixture"
)

// onBackends runs a test on the pure Go backend and on the device that the tests share, XLA as a rule.
func onBackends(t *testing.T, test func(t *testing.T, backend compute.Backend)) {
	t.Run("go", func(t *testing.T) { test(t, devicetest.Go(t).Backend) })
	t.Run("xla", func(t *testing.T) { test(t, devicetest.Open(t).Backend) })
}

// newExec builds a graph function once, for many calls with inputs of the same shapes.
func newExec(t *testing.T, backend compute.Backend, build func(inputs []*graph.Node) []*graph.Node) *graph.Exec {
	t.Helper()
	exec, err := graph.NewExec(backend, build)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(exec.Finalize)
	return exec
}

// call runs the graph and returns its outputs, flat and widened to float64.
func call(t testing.TB, exec *graph.Exec, inputs ...any) [][]float64 {
	t.Helper()
	outputs, err := exec.Call(inputs...)
	if err != nil {
		t.Fatal(err)
	}
	return flatten(t, outputs)
}

func flatten(t testing.TB, outputs []*tensors.Tensor) [][]float64 {
	t.Helper()
	flat := make([][]float64, len(outputs))
	for i, output := range outputs {
		var err error
		if flat[i], err = fixture.Flat(output); err != nil {
			t.Fatal(err)
		}
	}
	return flat
}
