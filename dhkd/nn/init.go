package nn

import (
	"math"
	"math/rand/v2"
)

// Initializer draws the initial values of a tensor of the given dimensions, row-major.
type Initializer func(rng *rand.Rand, dims []int) []float32

// Constant sets every value.
func Constant(value float32) Initializer {
	return func(_ *rand.Rand, dims []int) []float32 {
		values := make([]float32, size(dims))
		for i := range values {
			values[i] = value
		}
		return values
	}
}

// Normal draws from N(0, std^2).
func Normal(std float64) Initializer {
	return func(rng *rand.Rand, dims []int) []float32 {
		values := make([]float32, size(dims))
		for i := range values {
			values[i] = float32(std * rng.NormFloat64())
		}
		return values
	}
}

// Uniform draws from U(-bound, bound).
func Uniform(bound float64) Initializer {
	return func(rng *rand.Rand, dims []int) []float32 {
		values := make([]float32, size(dims))
		for i := range values {
			values[i] = float32(bound * (2*rng.Float64() - 1))
		}
		return values
	}
}

// KaimingNormalFanOut is torch's kaiming_normal_(mode="fan_out", nonlinearity="relu") of a convolution weight
// [out, in, height, width]: N(0, 2 / (out height width)).
func KaimingNormalFanOut(rng *rand.Rand, dims []int) []float32 {
	return Normal(math.Sqrt(2/float64(dims[0]*dims[2]*dims[3])))(rng, dims)
}

// KaimingUniform is torch's default of a convolution weight [out, in/groups, height, width], kaiming_uniform_(a=sqrt(5)):
// U(-b, b) with b = 1/sqrt(in/groups height width).
func KaimingUniform(rng *rand.Rand, dims []int) []float32 {
	return Uniform(1/math.Sqrt(float64(dims[1]*dims[2]*dims[3])))(rng, dims)
}

func size(dims []int) int {
	n := 1
	for _, d := range dims {
		n *= d
	}
	return n
}
