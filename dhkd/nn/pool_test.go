package nn_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	"github.com/gomlx/gomlx/support/exceptions"

	"github.com/dhkd-lab/dhkd-go/dhkd/device/devicetest"
	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
)

// pools are layers without variables. Their maps are [2, 5, 4, 6].
var pools = map[string]layer{
	"max 2x2":     func(s *nn.Scope, x *Node) *Node { return nn.MaxPool2D(s, x, 2, 2, 0) },
	"max 3x3":     func(s *nn.Scope, x *Node) *Node { return nn.MaxPool2D(s, x, 3, 2, 1) },
	"average 3x3": func(s *nn.Scope, x *Node) *Node { return nn.AveragePool2D(s, x, 3, 2, 1) },
	"average 2x2": func(s *nn.Scope, x *Node) *Node { return nn.AveragePool2D(s, x, 2, 1, 0) },
	"slice":       func(s *nn.Scope, x *Node) *Node { return nn.ChannelSlice(s, x, 1, 4) },
	"shuffle":     func(s *nn.Scope, x *Node) *Node { return nn.ChannelShuffle(s, x, 3) },
	"concat": func(s *nn.Scope, x *Node) *Node {
		return nn.Concat(s, nn.ChannelSlice(s, x, 2, 6), x, nn.ChannelSlice(s, x, 0, 1))
	},
}

// TestPools compares with the definitions, written out, and gradients with central differences.
func TestPools(t *testing.T) {
	const n, height, width, channels = 2, 5, 4, 6
	values := floats(random(1, n, height, width, channels))
	at := func(i, y, x, c int) float64 { return values[((i*height+y)*width+x)*channels+c] }
	window := func(kernel, stride, padding int, start float64, join func(a, b float64) float64) (want []float64) {
		for i := range n {
			for top := -padding; top+kernel <= height+padding; top += stride {
				for left := -padding; left+kernel <= width+padding; left += stride {
					for c := range channels {
						value := start
						for y := max(top, 0); y < min(top+kernel, height); y++ {
							for x := max(left, 0); x < min(left+kernel, width); x++ {
								value = join(value, at(i, y, x, c))
							}
						}
						want = append(want, value)
					}
				}
			}
		}
		return want
	}
	average := func(kernel int) func(a, b float64) float64 {
		return func(a, b float64) float64 { return a + b/float64(kernel*kernel) }
	}
	pick := func(from ...int) (want []float64) {
		for pixel := range slices.Chunk(values, channels) {
			for _, c := range from {
				want = append(want, pixel[c])
			}
		}
		return want
	}
	wants := map[string][]float64{
		"max 2x2":     window(2, 2, 0, math.Inf(-1), math.Max),
		"max 3x3":     window(3, 2, 1, math.Inf(-1), math.Max),
		"average 3x3": window(3, 2, 1, 0, average(3)),
		"average 2x2": window(2, 1, 0, 0, average(2)),
		"slice":       pick(1, 2, 3),
		"shuffle":     pick(0, 2, 4, 1, 3, 5),
		"concat":      pick(2, 3, 4, 5, 0, 1, 2, 3, 4, 5, 0),
	}
	onBackends(t, func(t *testing.T, backend compute.Backend) {
		x := random(1, n, height, width, channels)
		for name, build := range pools {
			t.Run(name, func(t *testing.T) {
				near(t, "value", run(t, backend, model.NewStore(), nn.Options{}, x, build), wants[name], 1e-12)
				exec := newExec(t, backend, model.NewStore(), func(variables *model.Scope, inputs []*Node) []*Node {
					loss, _ := weightedSquares(variables, inputs[0], build)
					return append([]*Node{loss}, Gradient(loss, inputs[0])...)
				})
				const step = 1e-5
				numeric := make([]float64, x.Size())
				for i := range numeric {
					numeric[i] = (call(t, exec, moved(x, i, step))[0][0] - call(t, exec, moved(x, i, -step))[0][0]) / (2 * step)
				}
				near(t, "gradient", call(t, exec, x)[1], numeric, 1e-7)
			})
		}
	})
}

// TestMaxPoolTies checks which of equal values gets the gradient, as torch has it, and that NaN is kept.
func TestMaxPoolTies(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(-1)
	onBackends(t, func(t *testing.T, backend compute.Backend) {
		exec := newExec(t, backend, model.NewStore(), func(variables *model.Scope, inputs []*Node) []*Node {
			y := nn.MaxPool2D(nn.New(variables.At("net"), nn.Options{}), inputs[0], 2, 2, 0)
			return append([]*Node{y}, Gradient(ReduceAllSum(y), inputs[0])...)
		})
		x := tensors.FromFlatDataAndDimensions([]float64{
			0, 0, 1, 2, inf, inf, 3, nan,
			0, 0, 2, 2, inf, inf, 4, 5,
		}, 1, 2, 8, 1)
		got := call(t, exec, x)
		near(t, "value", got[0][:3], []float64{0, 2, inf}, 0)
		if !math.IsNaN(got[0][3]) {
			t.Errorf("the maximum of NaN and numbers is %g", got[0][3])
		}
		near(t, "gradient", got[1], []float64{
			1, 0, 0, 1, 1, 0, 0, 1,
			0, 0, 0, 0, 0, 0, 0, 0,
		}, 0)
	})
}

// TestPoolPanics checks the messages on maps that do not fit.
func TestPoolPanics(t *testing.T) {
	for _, test := range []struct {
		build layer
		dims  []int
		want  string
	}{
		{pools["max 2x2"], []int{2, 3}, "nn.MaxPool2D: input must be [N, H, W, C]"},
		{pools["max 2x2"], []int{2, 1, 4, 1}, "smaller than the 2x2 window"},
		{func(s *nn.Scope, x *Node) *Node { return nn.AveragePool2D(s, x, 2, 2, 2) }, []int{2, 4, 4, 1},
			"nn.AveragePool2D: padding 2 is more than half"},
		{pools["shuffle"], []int{2, 4, 4, 5}, "3 groups do not divide"},
	} {
		exec := newExec(t, devicetest.Go(t).Backend, model.NewStore(), func(v *model.Scope, inputs []*Node) []*Node {
			return []*Node{test.build(nn.New(v.At("net"), nn.Options{}), inputs[0])}
		})
		err := exceptions.TryCatch[error](func() {
			if _, err := exec.Call(random(1, test.dims...)); err != nil {
				panic(err)
			}
		})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("got %v, want %q", err, test.want)
		}
	}
}

// TestPoolTrace checks what the layers say about themselves.
func TestPoolTrace(t *testing.T) {
	var got []nn.Layer
	x := random(1, 2, 6, 6, 6)
	run(t, devicetest.Go(t).Backend, model.NewStore(), nn.Options{Trace: func(l nn.Layer) { got = append(got, l) }}, x,
		func(s *nn.Scope, x *Node) *Node {
			x = nn.MaxPool2D(s, x, 3, 2, 1)
			x = nn.AveragePool2D(s, x, 3, 1, 1)
			return nn.ChannelShuffle(s, nn.Concat(s, nn.ChannelSlice(s, x, 2, 4), x), 2)
		})
	want := []nn.Layer{
		{Op: "MaxPool2D", Kernel: 3, Stride: 2, Padding: 1}, {Op: "AveragePool2D", Kernel: 3, Stride: 1, Padding: 1},
		{Op: "ChannelSlice", Start: 2}, {Op: "Concat"}, {Op: "ChannelShuffle", Groups: 2},
	}
	if len(got) != len(want) {
		t.Fatalf("%d layers, want %d", len(got), len(want))
	}
	for i, l := range got {
		if l.Op != want[i].Op || l.Kernel != want[i].Kernel || l.Stride != want[i].Stride ||
			l.Padding != want[i].Padding || l.Groups != want[i].Groups || l.Start != want[i].Start {
			t.Errorf("layer %d is %+v, want %+v", i, l, want[i])
		}
		if i > 0 && !slices.Contains(l.Inputs, got[i-1].Output) {
			t.Errorf("layer %d does not read the one before it", i)
		}
	}
}
