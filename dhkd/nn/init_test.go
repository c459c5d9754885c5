package nn_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
)

// TestInitializers checks mean and variance over many seeds, each within four standard errors.
func TestInitializers(t *testing.T) {
	dims := []int{16, 8, 3, 3}
	for _, test := range []struct {
		name               string
		init               nn.Initializer
		mean, std          float64
		kurtosis, farthest float64 // fourth moment over variance squared; largest possible deviation
	}{
		{"Kaiming normal, fan out", nn.KaimingNormalFanOut, 0, math.Sqrt(2.0 / (16 * 9)), 3, math.Inf(1)},
		{"normal", nn.Normal(0.01), 0, 0.01, 3, math.Inf(1)},
		{"uniform", nn.Uniform(0.125), 0, 0.125 / math.Sqrt(3), 1.8, 0.125},
	} {
		var n, sum, squares, farthest float64
		for seed := range uint64(100) {
			for _, v := range test.init(rand.New(rand.NewPCG(seed, 1)), dims) {
				n, sum, squares = n+1, sum+float64(v), squares+float64(v)*float64(v)
				farthest = max(farthest, math.Abs(float64(v)))
			}
		}
		if n != 100*16*8*9 {
			t.Fatalf("%s: %g values", test.name, n)
		}
		if mean := sum / n; math.Abs(mean-test.mean) > 4*test.std/math.Sqrt(n) {
			t.Errorf("%s: mean %g", test.name, mean)
		}
		variance := squares / n
		if off := math.Abs(variance/(test.std*test.std) - 1); off > 4*math.Sqrt((test.kurtosis-1)/n) {
			t.Errorf("%s: variance %g, want %g", test.name, variance, test.std*test.std)
		}
		if farthest > test.farthest {
			t.Errorf("%s: a value of %g", test.name, farthest)
		}
	}
	for _, v := range nn.Constant(0.5)(nil, dims) {
		if v != 0.5 {
			t.Fatalf("constant: %g", v)
		}
	}
}
