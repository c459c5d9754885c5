//go:build cgo && !noxla

package device

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
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

// reference is what the program computes, in float64, and for each element the sum of the products' absolute values.
func (c convolution) reference(x, kernel, v []float32) (want, size [3][]float64) {
	y, dx, dk := 0, 1, 2
	for i, n := range []int{len(v), len(x), len(kernel)} {
		want[i], size[i] = make([]float64, n), make([]float64, n)
	}
	add := func(what, at int, a, b float32) {
		want[what][at] += float64(a) * float64(b)
		size[what][at] += math.Abs(float64(a) * float64(b))
	}
	rows, columns := c.rows(c.height), c.rows(c.width)
	for i, g := range v {
		o, column, row, n := i%c.out, i/c.out%columns, i/c.out/columns%rows, i/c.out/columns/rows
		for place := range c.kernel * c.kernel {
			h, w := row*c.stride+place/c.kernel-c.before, column*c.stride+place%c.kernel-c.before
			if h < 0 || h >= c.height || w < 0 || w >= c.width {
				continue
			}
			for in := range c.in {
				at, weight := ((n*c.height+h)*c.width+w)*c.in+in, (o*c.in+in)*c.kernel*c.kernel+place
				add(y, i, x[at], kernel[weight])
				add(dx, at, g, kernel[weight])
				add(dk, weight, x[at], g)
			}
		}
	}
	return want, size
}

// program computes the convolution y and, for a gradient v at y, those of the input and of the kernel.
func (c convolution) program(t *testing.T, backend compute.Backend) *graph.Exec {
	t.Helper()
	axes := graph.ConvolveAxesConfig{InputBatch: 0, InputSpatial: []int{1, 2}, InputChannels: 3,
		KernelOutputChannels: 0, KernelInputChannels: 1, KernelSpatial: []int{2, 3},
		OutputBatch: 0, OutputSpatial: []int{1, 2}, OutputChannels: 3}
	pad := [2]int{c.before, c.after}
	exec, err := graph.NewExec(backend, func(x, kernel, v *graph.Node) []*graph.Node {
		y := graph.ConvGeneral(x, kernel, axes, []int{c.stride, c.stride}, [][2]int{pad, pad}, nil, nil, 1, 1)
		return append([]*graph.Node{y}, graph.Gradient(graph.ReduceAllSum(graph.Mul(y, v)), x, kernel)...)
	})
	if err != nil {
		t.Fatal(err)
	}
	return exec
}

// arguments are random numbers for the program.
func (c convolution) arguments(rng *rand.Rand) []any {
	var tensor [3]any
	for i, dims := range [][]int{{c.batch, c.height, c.width, c.in}, {c.out, c.in, c.kernel, c.kernel},
		{c.batch, c.rows(c.height), c.rows(c.width), c.out}} {
		values := make([]float32, dims[0]*dims[1]*dims[2]*dims[3])
		for i := range values {
			values[i] = float32(rng.NormFloat64())
		}
		tensor[i] = tensors.FromFlatDataAndDimensions(values, dims...)
	}
	return tensor[:]
}

// replaced is the number of operations that should be ours.
func (c convolution) replaced() int64 {
	if c.stride == 1 && c.in%16 == 0 {
		return 3
	}
	return 2 // not the gradient of the input
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

func call(t *testing.T, exec *graph.Exec, args []any) (results [3][]float32) {
	t.Helper()
	out, err := exec.Call(args...)
	if err != nil {
		t.Fatal(err)
	}
	for i := range results {
		results[i] = tensors.MustCopyFlatData[float32](out[i])
		out[i].MustFinalizeAll()
	}
	return results
}

func equal(a, b [3][]float32) bool {
	return slices.Equal(a[0], b[0]) && slices.Equal(a[1], b[1]) && slices.Equal(a[2], b[2])
}

// Our kernels compute what float64 does up to rounding, and the same bits every time and with all instructions.
func TestKernels(t *testing.T) {
	backend, use := withOurKernels(t)
	rng := rand.New(rand.NewPCG(1, 2))
	cases := []convolution{{17, 8, 8, 64, 32, 3, 1, 1, 1}, {17, 32, 32, 3, 16, 3, 1, 1, 1},
		{1, 1, 1, 1, 16, 5, 3, 2, 2},
		{2, 16, 16, 128, 32, 3, 1, 1, 1}, {3, 20, 28, 16, 64, 3, 2, 1, 1}, {2, 11, 12, 32, 32, 3, 1, 1, 1}}
	for range 25 {
		cases = append(cases, randomConvolution(rng))
	}
	for _, c := range cases {
		exec, args := c.program(t, backend), c.arguments(rng)
		use("")
		got := call(t, exec, args)
		if n := lastKernels.Load().replaced.Load(); n != c.replaced() {
			t.Errorf("%+v: %d operations were replaced, want %d", c, n, c.replaced())
		}
		var inputs [3][]float32
		for i := range inputs {
			inputs[i] = tensors.MustCopyFlatData[float32](args[i].(*tensors.Tensor))
		}
		want, size := c.reference(inputs[0], inputs[1], inputs[2])
		for what, name := range []string{"output", "gradient of the input", "gradient of the kernel"} {
			for i := range want[what] {
				if math.Abs(float64(got[what][i])-want[what][i]) > 1e-6*size[what][i] {
					t.Fatalf("%+v: %s: element %d is %g, want %g", c, name, i, got[what][i], want[what][i])
				}
			}
		}
		for _, choice := range []string{"", "avx2"} {
			if use(choice); !equal(call(t, exec, args), got) {
				t.Errorf("%+v: other bits, with DHKD_KERNELS=%s", c, choice)
			}
		}
	}
}

// Programs that run at once, of one executable and of several, share XLA's threads and compute what they do alone.
func TestKernelsAtOnce(t *testing.T) {
	backend, _ := withOurKernels(t)
	rng := rand.New(rand.NewPCG(1, 2))
	var all sync.WaitGroup
	for _, c := range []convolution{{17, 8, 8, 64, 32, 3, 1, 1, 1}, {9, 11, 12, 16, 16, 3, 2, 1, 1}} {
		exec, args := c.program(t, backend), c.arguments(rng)
		alone := call(t, exec, args)
		for range 4 {
			all.Go(func() {
				for range 20 {
					out, err := exec.Call(args...)
					if err != nil {
						t.Error(err)
						return
					}
					var got [3][]float32
					for i := range got {
						got[i] = tensors.MustCopyFlatData[float32](out[i])
						out[i].MustFinalizeAll()
					}
					if !equal(got, alone) {
						t.Errorf("%+v: other bits beside others", c)
					}
				}
			})
		}
	}
	all.Wait()
}

func TestKernelsOfKeptPrograms(t *testing.T) {
	backend, _ := withOurKernels(t)
	before := keptPrograms.Load()
	defer keptPrograms.Store(before)
	kept := &programs{dir: t.TempDir()}
	keptPrograms.Store(kept)
	c := convolution{4, 8, 8, 16, 16, 3, 1, 1, 1}
	args := c.arguments(rand.New(rand.NewPCG(1, 2)))
	first := call(t, c.program(t, backend), args)
	if second := call(t, c.program(t, backend), args); !equal(first, second) {
		t.Error("a program that is loaded computes other bits")
	}
	if n := kept.loaded.Load(); n != 1 {
		t.Errorf("%d programs were loaded, want 1", n)
	}
}

func TestOperationsThatStay(t *testing.T) {
	backend, use := withOurKernels(t)
	for _, c := range []struct {
		choice string
		convolution
	}{
		{"off", convolution{2, 4, 4, 16, 16, 3, 1, 1, 1}},
		{"0", convolution{2, 4, 4, 16, 16, 3, 1, 1, 1}},
		{"", convolution{2, 4, 4, 24, 24, 3, 1, 1, 1}},   // not sixteen at a time
		{"", convolution{2, 4, 4, 256, 256, 3, 1, 1, 1}}, // XLA is faster
		{"", convolution{0, 4, 4, 16, 16, 3, 1, 1, 1}},   // nothing to compute
		{"", convolution{2, 4, 4, 0, 16, 3, 1, 1, 1}},
		{"", convolution{2, 4, 4, 16, 0, 3, 1, 1, 1}},
	} {
		use(c.choice)
		call(t, c.program(t, backend), c.arguments(rand.New(rand.NewPCG(1, 2))))
		if n := lastKernels.Load().replaced.Load(); n != 0 {
			t.Errorf("%+v: %d operations were replaced", c, n)
		}
	}
	use("0")
	if got, want := kernels(), "XLA's alone: DHKD_KERNELS=0 is neither off nor avx2"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
