package zoo_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

// TestInitialValues checks that the seed and a tensor's name alone make its values, so that networks which differ in a
// head start equal in all the rest.
func TestInitialValues(t *testing.T) {
	config := zoo.Config{Name: "resnet14", Classes: 10}
	plain := byName(initial(t, config, 3))
	again := byName(initial(t, config, 3))
	other := byName(initial(t, config, 4))
	config.AuxHead = dhkd.NonlinearAuxHead
	dual := byName(initial(t, config, 3))
	for name, w := range plain {
		values := tensors.MustCopyFlatData[float32](w.Value)
		for what, same := range map[string]zoo.Weight{"again": again[name], "with another head": dual[name]} {
			if !slices.Equal(values, tensors.MustCopyFlatData[float32](same.Value)) {
				t.Errorf("%s is not the same %s", name, what)
			}
		}
		constant := strings.Contains(name, "bn") || strings.Contains(name, "downsample.1")
		if equal := slices.Equal(values, tensors.MustCopyFlatData[float32](other[name].Value)); equal != constant {
			t.Errorf("%s with another seed: equal %v", name, equal)
		}
		if w.Trained == strings.Contains(name, "running_") {
			t.Errorf("%s: trained %v", name, w.Trained)
		}
	}
	if extra := len(dual) - len(plain); extra != 8 {
		t.Errorf("the nonlinear head has %d tensors, want 8", extra)
	}
	if slices.Equal(tensors.MustCopyFlatData[float32](plain["layer1.0.conv1.weight"].Value),
		tensors.MustCopyFlatData[float32](plain["layer1.0.conv2.weight"].Value)) {
		t.Error("tensors of one shape start equal")
	}
}

// distribution is what a tensor of the given dimensions is drawn from, fanIn being that of its weight: the standard
// deviation, 0 for a constant, and whether it is uniform, else normal.
type distribution func(dims []int, fanIn float64) (deviation float64, uniform bool)

func zero([]int, float64) (float64, bool)      { return 0, false }
func hundredth([]int, float64) (float64, bool) { return 0.01, false }
func fanOut(dims []int, _ float64) (float64, bool) {
	return math.Sqrt(2 / float64(dims[0]*dims[2]*dims[3])), false
}
func torchDefault(_ []int, fanIn float64) (float64, bool) { return 1 / math.Sqrt(3*fanIn), true }

// TestInitialMoments checks the distribution of the initial values of each family over seeds: of each tensor the standard
// deviation, and of all tensors of a kind together the second and fourth moment.
func TestInitialMoments(t *testing.T) {
	const seeds = 3
	for name, want := range map[string]struct{ conv, convBias, linear, linearBias distribution }{
		"resnet8":           {fanOut, nil, torchDefault, torchDefault},
		"wrn_16_1":          {fanOut, nil, torchDefault, zero},
		"vgg8":              {fanOut, zero, hundredth, zero},
		"ResNet18":          {fanOut, nil, torchDefault, torchDefault},
		"ResNet18_imagenet": {fanOut, nil, torchDefault, torchDefault},
		"MobileNetV1":       {torchDefault, nil, torchDefault, torchDefault},
		"MobileNetV2":       {fanOut, nil, hundredth, zero},
		"ShuffleV1":         {torchDefault, nil, torchDefault, torchDefault},
		"ShuffleV2":         {torchDefault, nil, torchDefault, torchDefault},
	} {
		moments := map[string]*[3]float64{} // by kind: number, and sums of squares and of fourth powers of values/deviation
		uniforms := map[string]bool{}
		for seed := range uint64(seeds) {
			weights := byName(initial(t, zoo.Config{Name: name, Classes: 100, AuxHead: dhkd.NonlinearAuxHead}, seed))
			for tensor, w := range weights {
				kind, distribution, start := "", zero, 0.0
				dims := w.Value.Shape().Dimensions
				part := strings.TrimSuffix(strings.TrimSuffix(tensor, "weight"), "bias")
				weight, bias := strings.HasSuffix(tensor, "weight"), strings.HasSuffix(tensor, "bias")
				_, norm := weights[part+"running_mean"]
				switch {
				case norm && weight, strings.HasSuffix(tensor, "running_var"):
					start = 1
				case norm, strings.HasSuffix(tensor, "running_mean"):
				case len(dims) == 4:
					kind, distribution = "conv", want.conv
				case len(dims) == 2:
					kind, distribution = "linear", want.linear
				case bias && weights[part+"weight"].Value.Rank() == 4:
					kind, distribution = "conv bias", want.convBias
				case bias:
					kind, distribution = "linear bias", want.linearBias
				}
				fanIn := 1.0
				if kind != "" {
					shape := weights[part+"weight"].Value.Shape()
					fanIn = float64(shape.Size() / shape.Dim(0))
				}
				deviation, uniform := distribution(dims, fanIn)
				var n, squares, fourths float64
				for _, v := range tensors.MustCopyFlatData[float32](w.Value) {
					if deviation == 0 {
						if float64(v) != start {
							t.Fatalf("%s: %s starts at %g, want %g", name, tensor, v, start)
						}
						continue
					}
					z := float64(v) / deviation
					if uniform && math.Abs(z) > math.Sqrt(3)+1e-6 {
						t.Fatalf("%s: %s has %g, out of bounds", name, tensor, v)
					}
					n, squares, fourths = n+1, squares+z*z, fourths+z*z*z*z
				}
				if n == 0 {
					continue
				}
				if off := math.Abs(squares/n - 1); off > 5*math.Sqrt(2/n) {
					t.Errorf("%s: the variance of %s is off by %.3g of it", name, tensor, off)
				}
				if moments[kind] == nil {
					moments[kind] = &[3]float64{}
				}
				uniforms[kind] = uniform
				for i, v := range []float64{n, squares, fourths} {
					moments[kind][i] += v
				}
			}
		}
		for kind, sums := range moments {
			n, second, fourth := sums[0], sums[1]/sums[0], sums[2]/sums[0]
			// Variances of z^2 and z^4: 2 and 96 of a normal distribution, 4/5 and 144/25 of a uniform one.
			wantFourth, v2, v4 := 3.0, 2.0, 96.0
			if uniforms[kind] {
				wantFourth, v2, v4 = 9./5, 4./5, 144./25
			}
			if math.Abs(second-1) > 5*math.Sqrt(v2/n) || math.Abs(fourth-wantFourth) > 5*math.Sqrt(v4/n) {
				t.Errorf("%s: moments of %s are %.4f and %.4f, want 1 and %.4f", name, kind, second, fourth, wantFourth)
			}
		}
		if len(moments) == 0 || moments["conv"][0] < 1e4 {
			t.Errorf("%s: too few values: %v", name, moments)
		}
	}
}

func byName(weights []zoo.Weight) map[string]zoo.Weight {
	named := map[string]zoo.Weight{}
	for _, w := range weights {
		named[w.Name] = w
	}
	return named
}
