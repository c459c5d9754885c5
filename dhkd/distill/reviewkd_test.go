package distill

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	"pgregory.net/rapid"

	"github.com/dhkd-lab/dhkd-go/dhkd/device/devicetest"
	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

// TestHierarchicalContext compares with the definition in float64, for sizes with all, some and no smaller levels,
// and one that the windows do not divide.
func TestHierarchicalContext(t *testing.T) {
	for _, backend := range []compute.Backend{devicetest.Open(t).Backend, devicetest.Go(t).Backend} {
		for _, side := range []int{16, 7, 4, 3, 2, 1} {
			dims := []int{2, side, side, 3}
			student, teacher := normal(1, dims...), normal(2, dims...)
			want := hierarchicalContext(student, teacher, dims)
			got := evaluate(t, backend, func(inputs []*Node) []*Node {
				return []*Node{HierarchicalContext(inputs[:1], inputs[1:])}
			}, tensorOf(student, dims...), tensorOf(teacher, dims...))[0][0]
			if math.Abs(got-want) > 1e-12*want {
				t.Errorf("%s, %dx%d: %v, want %v", backend.Name(), side, side, got, want)
			}
		}
	}
}

// hierarchicalContext follows torch's definitions of mse_loss and adaptive_avg_pool2d.
func hierarchicalContext(student, teacher []float64, dims []int) float64 {
	n, side, channels := dims[0], dims[1], dims[3]
	atLevel := func(level int) float64 {
		sum := 0.0
		for i := range n * level * level * channels {
			image, row, column, c := i/channels/level/level, i/channels/level%level, i/channels%level, i%channels
			top, bottom := row*side/level, ((row+1)*side+level-1)/level
			left, right := column*side/level, ((column+1)*side+level-1)/level
			mean := 0.0
			for y := top; y < bottom; y++ {
				for x := left; x < right; x++ {
					at := ((image*side+y)*side+x)*channels + c
					mean += (student[at] - teacher[at]) / float64((bottom-top)*(right-left))
				}
			}
			sum += mean * mean
		}
		return sum / float64(n*level*level*channels)
	}
	loss, weight, total := atLevel(side), 1.0, 1.0
	for _, level := range []int{4, 2, 1} {
		if level < side {
			weight /= 2
			total += weight
			loss += weight * atLevel(level)
		}
	}
	return loss / total
}

// TestHierarchicalContextProperties: 0 for equal maps, unchanged by what is added to both networks' maps, quadratic in
// scale, and finite for large values.
func TestHierarchicalContextProperties(t *testing.T) {
	backend := devicetest.Go(t).Backend
	dims := []int{2, 5, 5, 2}
	exec := MustNewExec(backend, func(student, teacher *Node) *Node {
		return HierarchicalContext([]*Node{student}, []*Node{teacher})
	})
	defer exec.Finalize()
	loss := func(student, teacher []float64) float64 {
		return exec.MustCall(tensorOf(student, dims...), tensorOf(teacher, dims...))[0].Value().(float64)
	}
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		scale := rapid.Float64Range(0.1, 1e4).Draw(t, "scale")
		shift := rapid.Float64Range(-10, 10).Draw(t, "shift")
		student, teacher := normal(seed, dims...), normal(seed+1, dims...)
		first := loss(student, teacher)
		change := func(values []float64) []float64 {
			changed := slices.Clone(values)
			for i := range changed {
				changed[i] = scale*changed[i] + shift
			}
			return changed
		}
		if got, want := loss(change(student), change(teacher)), first*scale*scale; !(math.Abs(got-want) <= 1e-8*want) {
			t.Fatalf("scaled by %v and shifted by %v: %v, want %v", scale, shift, got, want)
		}
		if equal := loss(student, student); equal != 0 {
			t.Fatalf("equal maps: %v", equal)
		}
	})
}

// TestNearest compares with place floor(i from/to), for larger, smaller and equal sizes.
func TestNearest(t *testing.T) {
	const from = 6
	x := make([]float64, from)
	for i := range x {
		x[i] = float64(i)
	}
	for _, to := range []int{1, 2, 4, 6, 7, 12, 18} {
		got := evaluate(t, devicetest.Go(t).Backend, func(inputs []*Node) []*Node {
			return []*Node{nearest(inputs[0], to, 1)}
		}, tensorOf(x, 1, from, 1, 1))[0]
		for i, v := range got {
			if want := float64(i * from / to); v != want || len(got) != to {
				t.Errorf("%d to %d: place %d is %v, want %v", from, to, i, v, want)
			}
		}
	}
}

// TestFuseMaps checks the gradient of the loss on fused maps by finite differences, with maps that are resized by no
// whole factor, and that the attention mixes what it should.
func TestFuseMaps(t *testing.T) {
	backend := devicetest.Go(t).Backend
	shape := [][2][]int{ // student, teacher; deepest first
		{{3, 1, 1, 4}, {3, 1, 1, 5}}, {{3, 2, 2, 3}, {3, 3, 3, 2}}, {{3, 7, 7, 2}, {3, 5, 5, 3}},
	}
	var inputs []*tensors.Tensor
	for i, pair := range shape {
		inputs = append(inputs, tensorOf(normal(uint64(i), pair[0]...), pair[0]...))
	}
	store := model.NewStore()
	defer store.Finalize()
	exec := model.MustNewExec(backend, store, func(variables *model.Scope, student []*Node) []*Node {
		var teacher []*Node
		for _, pair := range shape {
			teacher = append(teacher, Sin(IotaFull(student[0].Graph(), shapes.Make(dtypes.Float64, pair[1]...))))
		}
		fused := FuseMaps(nn.New(variables, nn.Options{Training: true, Seed: 1}), student, teacher, 4)
		for i, x := range fused {
			if !x.Shape().Equal(teacher[i].Shape()) {
				t.Errorf("fused map %d is %s, the teacher's %s", i, x.Shape(), teacher[i].Shape())
			}
		}
		loss := HierarchicalContext(fused, teacher)
		// The gradients of one fused map alone show what it was mixed of.
		second := Gradient(ReduceAllSum(Mul(fused[1], teacher[1])), student...)
		return append(append([]*Node{loss}, Gradient(loss, student...)...), second...)
	})
	defer exec.Finalize()
	call := func(inputs []*tensors.Tensor) (results [][]float64) {
		args := make([]any, len(inputs))
		for i, x := range inputs {
			args[i] = x
		}
		for _, out := range exec.MustCall(args...) {
			results = append(results, tensors.MustCopyFlatData[float64](out))
		}
		return results
	}
	first := call(inputs)
	for i, pair := range shape {
		values := normal(uint64(i), pair[0]...)
		for _, at := range []int{0, len(values) / 2, len(values) - 1} {
			const step = 1e-5
			moved := func(by float64) float64 {
				changed, all := slices.Clone(values), slices.Clone(inputs)
				changed[at] += by
				all[i] = tensorOf(changed, pair[0]...)
				return call(all)[0][0]
			}
			want := (moved(step) - moved(-step)) / (2 * step)
			if got := first[1+i][at]; math.Abs(got-want) > 1e-7*(1+math.Abs(want)) {
				t.Errorf("gradient of map %d at %d is %v, finite differences give %v", i, at, got, want)
			}
		}
	}

	// z0 near 1 and z1 near 0 takes the map alone, the other way round the deeper one alone.
	attention := func(own, deeper float64) (gradients [][]float64) {
		set := func(name string, values []float64, dims ...int) {
			if err := store.GetVariable("/abf1.att_conv.0." + name).SetValue(tensorOf(values, dims...)); err != nil {
				t.Fatal(err)
			}
		}
		set("weight", make([]float64, 16), 2, 8, 1, 1)
		set("bias", []float64{own, deeper}, 2)
		return call(inputs)[4:]
	}
	largest := func(values []float64) (m float64) {
		for _, v := range values {
			m = max(m, math.Abs(v))
		}
		return m
	}
	if g := attention(50, -50); largest(g[0]) > 1e-15 || largest(g[1]) < 1e-3 || largest(g[2]) != 0 {
		t.Errorf("own map alone: gradients up to %v, %v, %v", largest(g[0]), largest(g[1]), largest(g[2]))
	}
	if g := attention(-50, 50); largest(g[0]) < 1e-4 || largest(g[1]) > 1e-15 || largest(g[2]) != 0 {
		t.Errorf("deeper map alone: gradients up to %v, %v, %v", largest(g[0]), largest(g[1]), largest(g[2]))
	}
}

// TestReviewKDPairs checks, for pairs of the literature, the channels of the modules and the sizes: those of the
// authors' build_review_kd and of mdistiller's configurations.
func TestReviewKDPairs(t *testing.T) {
	for _, test := range []struct {
		student, teacher string
		middle           int
		in, out          []int // from the first stage to the pooled feature
	}{
		{"resnet20", "resnet56", 64, []int{16, 32, 64, 64}, []int{16, 32, 64, 64}},
		{"resnet8x4", "resnet32x4", 256, []int{64, 128, 256, 256}, []int{64, 128, 256, 256}},
		{"wrn_16_2", "wrn_40_2", 128, []int{32, 64, 128, 128}, []int{32, 64, 128, 128}},
		{"wrn_40_1", "wrn_40_2", 64, []int{16, 32, 64, 64}, []int{32, 64, 128, 128}},
		{"vgg8", "vgg13", 512, []int{128, 256, 512, 512, 512}, []int{128, 256, 512, 512, 512}},
		{"ShuffleV1", "resnet32x4", 512, []int{240, 480, 960, 960}, []int{64, 128, 256, 256}},
		{"ShuffleV1", "wrn_40_2", 512, []int{240, 480, 960, 960}, []int{32, 64, 128, 128}},
		{"ShuffleV2", "resnet32x4", 512, []int{116, 232, 464, 1024}, []int{64, 128, 256, 256}},
		{"MobileNetV2", "vgg13", 512, []int{12, 16, 48, 160, 1280}, []int{128, 256, 512, 512, 512}},
		{"MobileNetV2", "ResNet50", 512, []int{12, 16, 48, 160, 1280}, []int{256, 512, 1024, 2048, 2048}},
		{"MobileNetV1", "ResNet50_imagenet", 256, []int{128, 256, 512, 1024, 1024}, []int{256, 512, 1024, 2048, 2048}},
		{"ResNet18_imagenet", "ResNet34_imagenet", 512, []int{64, 128, 256, 512, 512}, []int{64, 128, 256, 512, 512}},
	} {
		t.Run(test.teacher+"-"+test.student, func(t *testing.T) {
			recipe := Defaults("reviewkd")
			if strings.HasSuffix(test.teacher, "imagenet") {
				recipe.PreReLU, recipe.Warmup = true, 1
			}
			if test.student == "MobileNetV1" {
				recipe.Dim = 256
			}
			m, err := New(recipe)
			if err != nil {
				t.Fatal(err)
			}
			got := modulesOf(t, m, test.student, test.teacher)
			levels := len(test.in)
			for i := range levels {
				in, out := test.in[levels-1-i], test.out[levels-1-i]
				for name, want := range map[string][]int{
					fmt.Sprintf("abf%d.conv1.0.weight", i): {test.middle, in, 1, 1},
					fmt.Sprintf("abf%d.conv2.0.weight", i): {out, test.middle, 3, 3},
				} {
					if !slices.Equal(got[name], want) {
						t.Errorf("%s is %v, want %v", name, got[name], want)
					}
				}
			}
			if _, more := got[fmt.Sprintf("abf%d.conv1.0.weight", levels)]; more {
				t.Errorf("more than %d levels", levels)
			}
		})
	}
}

// modulesOf are the shapes of a method's own variables for a student and a teacher of 10 classes. Nothing is compiled.
func modulesOf(t *testing.T, m Method, student, teacher string) map[string][]int {
	t.Helper()
	g := NewGraph(devicetest.Go(t).Backend, "modules")
	defer g.Finalize()
	store := model.NewStore()
	defer store.Finalize()
	model.SetStore(g, store)
	forward := func(name string) zoo.Outputs {
		network, err := zoo.New(zoo.Config{Name: name, Classes: 10})
		if err != nil {
			t.Fatal(err)
		}
		images := Parameter(g, name, shapes.Make(dtypes.Float32, 2, network.Side, network.Side, 3))
		return network.Forward(nn.New(store.Scope("/"+name), nn.Options{}), images)
	}
	b := Batch{Outputs: forward(student), Teacher: forward(teacher), Labels: Const(g, []int32{1, 2}),
		Epoch: Const(g, float32(1)), Scope: nn.New(store.Scope("/method"), nn.Options{Training: true})}
	m.Losses(b)
	got := map[string][]int{}
	for v := range store.Scope("/method").IterVariables() {
		got[v.Name()] = v.Shape().Dimensions
	}
	return got
}

// Helpers of tests.

func normal(seed uint64, dims ...int) []float64 {
	n := 1
	for _, d := range dims {
		n *= d
	}
	rng := rand.New(rand.NewPCG(seed, 1))
	values := make([]float64, n)
	for i := range values {
		values[i] = rng.NormFloat64()
	}
	return values
}

func tensorOf(values []float64, dims ...int) *tensors.Tensor {
	return tensors.FromFlatDataAndDimensions(values, dims...)
}

// evaluate runs a program without variables; all is float64.
func evaluate(t *testing.T, backend compute.Backend, build func(inputs []*Node) []*Node, inputs ...any) [][]float64 {
	t.Helper()
	exec, err := NewExec(backend, build)
	if err != nil {
		t.Fatal(err)
	}
	defer exec.Finalize()
	outputs, err := exec.Call(inputs...)
	if err != nil {
		t.Fatal(err)
	}
	var results [][]float64
	for _, out := range outputs {
		results = append(results, tensors.MustCopyFlatData[float64](out))
	}
	return results
}
