//go:build cgo && !noxla

package device

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
)

// convolution is one of dhkd/nn's, of a batch of square maps, with dimensions that need not suit the kernel.
type convolution struct {
	batch, height, width, in, out, kernel, stride, before, after int
}

func (c convolution) rows(size int) int { return (size+c.before+c.after-c.kernel)/c.stride + 1 }

func randomConvolution(rng *rand.Rand) convolution {
	for {
		c := convolution{1 + rng.IntN(20), 1 + rng.IntN(9), 1 + rng.IntN(9), 1 + rng.IntN(21), 16 * (1 + rng.IntN(3)),
			1 + 2*rng.IntN(3), 1 + rng.IntN(3), rng.IntN(3), rng.IntN(3)}
		if max(c.before, c.after) < c.kernel && min(c.height, c.width)+c.before+c.after >= c.kernel {
			return c
		}
	}
}

// reference is the gradient with respect to the kernel, in float64, and the sum of the products' absolute values.
func (c convolution) reference(x, dy []float32) (dk, size []float64) {
	dk, size = make([]float64, c.out*c.in*c.kernel*c.kernel), make([]float64, c.out*c.in*c.kernel*c.kernel)
	rows, columns := c.rows(c.height), c.rows(c.width)
	for i, g := range dy {
		o, column, row, n := i%c.out, i/c.out%columns, i/c.out/columns%rows, i/c.out/columns/rows
		for p := range c.kernel {
			for q := range c.kernel {
				h, w := row*c.stride+p-c.before, column*c.stride+q-c.before
				if h < 0 || h >= c.height || w < 0 || w >= c.width {
					continue
				}
				for in := range c.in {
					product := float64(x[((n*c.height+h)*c.width+w)*c.in+in]) * float64(g)
					dk[((o*c.in+in)*c.kernel+p)*c.kernel+q] += product
					size[((o*c.in+in)*c.kernel+p)*c.kernel+q] += math.Abs(product)
				}
			}
		}
	}
	return dk, size
}

// gradient is a program, and its arguments: x, the kernel, and the gradient of the output.
func (c convolution) gradient(t *testing.T, backend compute.Backend, rng *rand.Rand) (*graph.Exec, []any) {
	t.Helper()
	axes := graph.ConvolveAxesConfig{InputBatch: 0, InputSpatial: []int{1, 2}, InputChannels: 3,
		KernelOutputChannels: 0, KernelInputChannels: 1, KernelSpatial: []int{2, 3},
		OutputBatch: 0, OutputSpatial: []int{1, 2}, OutputChannels: 3}
	pad := [2]int{c.before, c.after}
	exec, err := graph.NewExec(backend, func(x, kernel, dy *graph.Node) *graph.Node {
		y := graph.ConvGeneral(x, kernel, axes, []int{c.stride, c.stride}, [][2]int{pad, pad}, nil, nil, 1, 1)
		return graph.Gradient(graph.ReduceAllSum(graph.Mul(y, dy)), kernel)[0]
	})
	if err != nil {
		t.Fatal(err)
	}
	return exec, []any{normal(rng, c.batch, c.height, c.width, c.in), normal(rng, c.out, c.in, c.kernel, c.kernel),
		normal(rng, c.batch, c.rows(c.height), c.rows(c.width), c.out)}
}

// withOurKernels opens the pinned plugin. use chooses as DHKD_KERNELS does.
func withOurKernels(t *testing.T) (backend compute.Backend, use func(choice string)) {
	plugin := pinned(t)
	d, attempt := thisMachine().try(plugin, "")
	if d == nil {
		t.Fatal(attempt)
	}
	use = func(choice string) {
		t.Setenv("DHKD_KERNELS", choice)
		intercept(plugin)
	}
	t.Cleanup(func() {
		intercept(plugin)
		d.Close()
	})
	if use(""); !lastKernels.Load().used {
		skip(t, kernels())
	}
	return d.Backend, use
}

func call(t *testing.T, exec *graph.Exec, args ...any) []float32 {
	t.Helper()
	out, err := exec.Call(args...)
	if err != nil {
		t.Fatal(err)
	}
	defer out[0].MustFinalizeAll()
	return tensors.MustCopyFlatData[float32](out[0])
}

// Our kernel computes the gradient of float64 up to rounding, and the same bits every time and with all instructions.
func TestKernelGradient(t *testing.T) {
	backend, use := withOurKernels(t)
	rng := rand.New(rand.NewPCG(1, 2))
	cases := []convolution{{64, 8, 8, 64, 64, 3, 1, 1, 1}, {17, 32, 32, 3, 16, 3, 1, 1, 1},
		{1, 1, 1, 1, 16, 5, 3, 2, 2}}
	for range 20 {
		cases = append(cases, randomConvolution(rng))
	}
	for _, c := range cases {
		exec, args := c.gradient(t, backend, rng)
		use("")
		got := call(t, exec, args...)
		if n := lastKernels.Load().replaced.Load(); n != 1 {
			t.Errorf("%+v: %d operations were replaced, want 1", c, n)
		}
		want, size := c.reference(tensors.MustCopyFlatData[float32](args[0].(*tensors.Tensor)),
			tensors.MustCopyFlatData[float32](args[2].(*tensors.Tensor)))
		for i := range want {
			if math.Abs(float64(got[i])-want[i]) > 1e-6*size[i] {
				t.Fatalf("%+v: element %d is %g, want %g", c, i, got[i], want[i])
			}
		}
		for _, choice := range []string{"", "avx2"} {
			if use(choice); !slices.Equal(call(t, exec, args...), got) {
				t.Errorf("%+v: other bits, with DHKD_KERNELS=%s", c, choice)
			}
		}
	}
}

func TestKernelsOfKeptPrograms(t *testing.T) {
	backend, _ := withOurKernels(t)
	before := keptPrograms.Load()
	defer keptPrograms.Store(before)
	kept := &programs{dir: t.TempDir()}
	keptPrograms.Store(kept)
	var first []float32
	for loaded := range int64(2) {
		exec, args := (convolution{4, 8, 8, 16, 16, 3, 1, 1, 1}).gradient(t, backend, rand.New(rand.NewPCG(1, 2)))
		got := call(t, exec, args...)
		if n := kept.loaded.Load(); n != loaded {
			t.Errorf("%d programs were loaded, want %d", n, loaded)
		}
		if first == nil {
			first = got
		}
		if !slices.Equal(got, first) {
			t.Error("a program that is loaded computes other bits")
		}
	}
}

func TestOperationsThatStay(t *testing.T) {
	backend, use := withOurKernels(t)
	for _, c := range []struct {
		choice string
		convolution
	}{
		{"off", convolution{2, 4, 4, 16, 16, 3, 1, 1, 1}},
		{"", convolution{2, 4, 4, 16, 24, 3, 1, 1, 1}},   // not sixteen at a time
		{"", convolution{2, 4, 4, 256, 256, 3, 1, 1, 1}}, // XLA is faster
	} {
		use(c.choice)
		exec, args := c.gradient(t, backend, rand.New(rand.NewPCG(1, 2)))
		call(t, exec, args...)
		if n := lastKernels.Load().replaced.Load(); n != 0 {
			t.Errorf("%+v: %d operations were replaced", c, n)
		}
	}
}

func normal(rng *rand.Rand, dims ...int) *tensors.Tensor {
	n := 1
	for _, dim := range dims {
		n *= dim
	}
	values := make([]float32, n)
	for i := range values {
		values[i] = float32(rng.NormFloat64())
	}
	return tensors.FromFlatDataAndDimensions(values, dims...)
}
