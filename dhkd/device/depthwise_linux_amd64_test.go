//go:build cgo && !noxla

package device

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
)

// depthwiseConvolution is one of dhkd/nn's.
type depthwiseConvolution struct {
	batch, height, width, channels, kernel, stride, padding int
}

func (c depthwiseConvolution) size(of int) int { return (of+2*c.padding-c.kernel)/c.stride + 1 }

// reference is what convolve computes, in float64, and for each element the sum of the products' absolute values.
func (c depthwiseConvolution) reference(x, kernel, v []float32) (want, size [3][]float64) {
	y, dx, dk := 0, 1, 2
	for i, n := range []int{len(v), len(x), len(kernel)} {
		want[i], size[i] = make([]float64, n), make([]float64, n)
	}
	add := func(what, at int, a, b float32) {
		want[what][at] += float64(a) * float64(b)
		size[what][at] += math.Abs(float64(a) * float64(b))
	}
	rows, columns := c.size(c.height), c.size(c.width)
	for i, g := range v {
		channel, column, row, n := i%c.channels, i/c.channels%columns, i/c.channels/columns%rows, i/c.channels/columns/rows
		for place := range c.kernel * c.kernel {
			h, w := row*c.stride+place/c.kernel-c.padding, column*c.stride+place%c.kernel-c.padding
			if h < 0 || h >= c.height || w < 0 || w >= c.width {
				continue
			}
			at, weight := ((n*c.height+h)*c.width+w)*c.channels+channel, channel*c.kernel*c.kernel+place
			add(y, i, x[at], kernel[weight])
			add(dx, at, g, kernel[weight])
			add(dk, weight, x[at], g)
		}
	}
	return want, size
}

// convolve returns the convolution y of x and, for a gradient v at y, those of the input and of the kernel.
func (c depthwiseConvolution) convolve(t *testing.T, backend compute.Backend, x, kernel, v []float32) (results [3][]float32) {
	t.Helper()
	layer := nn.Conv{Channels: c.channels, Kernel: c.kernel, Stride: c.stride, Padding: c.padding, Groups: c.channels,
		Weight: func(*rand.Rand, []int) []float32 { return kernel }}
	exec, err := model.NewExec(backend, model.NewStore(), func(variables *model.Scope, x, v *graph.Node) []*graph.Node {
		scope := variables.At("net")
		y := nn.ConvWith(nn.New(scope, nn.Options{Training: true}), x, layer)
		weight := scope.GetVariable("weight").NodeValue(x.Graph())
		return append([]*graph.Node{y}, graph.Gradient(graph.ReduceAllSum(graph.Mul(y, v)), x, weight)...)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer exec.Finalize()
	out, err := exec.Call(tensors.FromFlatDataAndDimensions(x, c.batch, c.height, c.width, c.channels),
		tensors.FromFlatDataAndDimensions(v, c.batch, c.size(c.height), c.size(c.width), c.channels))
	if err != nil {
		t.Fatal(err)
	}
	for i := range results {
		results[i] = tensors.MustCopyFlatData[float32](out[i])
	}
	return results
}

func (c depthwiseConvolution) arguments(rng *rand.Rand) (x, kernel, v []float32) {
	random := func(n int) []float32 {
		values := make([]float32, n)
		for i := range values {
			values[i] = float32(rng.NormFloat64())
		}
		return values
	}
	return random(c.batch * c.height * c.width * c.channels), random(c.channels * c.kernel * c.kernel),
		random(c.batch * c.size(c.height) * c.size(c.width) * c.channels)
}

// Depthwise convolutions by our kernels are what float64 gives up to rounding, with the same bits with all instructions.
// Those that have no kernel of ours, for their few channels or their large filter, are right too.
func TestDepthwiseKernels(t *testing.T) {
	backend, use := withOurKernels(t)
	rng := rand.New(rand.NewPCG(1, 2))
	cases := []depthwiseConvolution{{17, 8, 8, 96, 3, 1, 1}, {3, 16, 15, 58, 3, 2, 1}, {2, 1, 1, 16, 3, 1, 1},
		{1, 2, 2, 17, 7, 1, 3}, {2, 5, 6, 144, 5, 3, 0}, {2, 4, 5, 20, 1, 2, 0}, {2, 4, 4, 15, 3, 1, 1}, {1, 9, 9, 16, 9, 1, 4}}
	for range 25 {
		c := depthwiseConvolution{1 + rng.IntN(20), 1 + rng.IntN(9), 1 + rng.IntN(9), 16 + rng.IntN(70), 1 + rng.IntN(7),
			1 + rng.IntN(3), rng.IntN(4)}
		if c.padding < c.kernel && min(c.height, c.width)+2*c.padding >= c.kernel {
			cases = append(cases, c)
		}
	}
	for _, c := range cases {
		x, kernel, v := c.arguments(rng)
		use("")
		got := c.convolve(t, backend, x, kernel, v)
		ours := int64(3)
		if c.channels < 16 || c.kernel > 7 {
			ours = 0
		}
		if n := lastKernels.Load().replaced.Load(); n != ours {
			t.Errorf("%+v: %d operations were replaced, want %d", c, n, ours)
		}
		want, size := c.reference(x, kernel, v)
		for what, name := range []string{"output", "gradient of the input", "gradient of the kernel"} {
			for i := range want[what] {
				if !(math.Abs(float64(got[what][i])-want[what][i]) <= 1e-6*size[what][i]) {
					t.Fatalf("%+v: %s: element %d is %g, want %g", c, name, i, got[what][i], want[what][i])
				}
			}
		}
		if use("avx2"); !equal(c.convolve(t, backend, x, kernel, v), got) {
			t.Errorf("%+v: other bits with AVX2", c)
		}
	}
}
