package nn_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
)

// Of whole numbers that bfloat16 has, up to 256, convolutions in it give the same, forward and backward, bit for bit; what
// it has not is rounded. Depthwise convolutions and the type of what comes out do not change.
func TestConvolutionsInBFloat16(t *testing.T) {
	onBackends(t, func(t *testing.T, backend compute.Backend) {
		const side, channels = 5, 4
		rng := rand.New(rand.NewPCG(8, 9))
		whole := func(dims ...int) *tensors.Tensor {
			values := make([]float32, dims[0]*dims[1]*dims[2]*dims[3])
			for i := range values {
				values[i] = float32(rng.IntN(3) - 1)
			}
			return tensors.FromFlatDataAndDimensions(values, dims...)
		}
		x, v := whole(2, side, side, channels), whole(2, side, side, channels)
		const fine = 1 + 1.0/1024 // between two numbers of bfloat16, the next to 1 is 1 + 1/128
		for _, c := range []nn.Conv{{Kernel: 3, Padding: 1}, {Kernel: 1}, {Kernel: 1, Groups: 2},
			{Kernel: 3, Padding: 1, Groups: channels}} {
			c.Channels = channels
			weight := tensors.MustCopyFlatData[float32](whole(channels, channels/max(c.Groups, 1), c.Kernel, c.Kernel))
			results := map[dtypes.DType][][]float64{}
			for _, in := range []dtypes.DType{dtypes.InvalidDType, dtypes.BFloat16} {
				c.Weight = func(*rand.Rand, []int) []float32 { return slices.Clone(weight) }
				exec := newExec(t, backend, model.NewStore(), func(variables *model.Scope, inputs []*Node) []*Node {
					y := nn.ConvWith(nn.New(variables, nn.Options{Convolutions: in}), inputs[0], c)
					by := []*Node{inputs[0], variables.GetVariable("weight").NodeValue(y.Graph())}
					gradients := Gradient(ReduceAllSum(Mul(y, inputs[1])), by...)
					scaled := nn.ConvWith(nn.New(variables, nn.Options{Convolutions: in}), MulScalar(inputs[0], fine), c)
					return []*Node{y, gradients[0], gradients[1], scaled}
				})
				results[in] = call(t, exec, x, v)
			}
			wide, narrow := results[dtypes.InvalidDType], results[dtypes.BFloat16]
			for i, name := range []string{"result", "gradient by the input", "gradient by the weight"} {
				near(t, name, narrow[i], wide[i], 0)
			}
			for i, got := range narrow[3] {
				want := wide[0][i] // rounded to the whole numbers
				if c.Groups == channels {
					want = wide[3][i]
				}
				if math.Abs(got-want) > 1e-6 {
					t.Errorf("%+v: what is between two numbers gave %g, want %g", c, got, want)
					break
				}
			}
		}
	})
}
