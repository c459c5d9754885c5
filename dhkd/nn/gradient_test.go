package nn_test

import (
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
)

// layersUnderTest are followed by a square, so that the gradient that arrives depends on the input too.
var layersUnderTest = []struct {
	name  string
	dims  []int
	build layer
}{
	{"linear", []int{3, 4}, func(s *nn.Scope, x *Node) *Node { return nn.Linear(s, x, 5) }},
	{"convolution 3x3", []int{2, 4, 5, 2}, func(s *nn.Scope, x *Node) *Node { return nn.Conv2D(s, x, 3, 3, 1, 1) }},
	{"convolution 3x3 stride 2", []int{2, 5, 4, 2}, func(s *nn.Scope, x *Node) *Node {
		return nn.Conv2D(s, x, 3, 3, 2, 1)
	}},
	{"convolution 1x1 stride 2", []int{2, 4, 4, 2}, func(s *nn.Scope, x *Node) *Node {
		return nn.Conv2D(s, x, 3, 1, 2, 0)
	}},
	{"convolution 1x1 in groups", []int{2, 3, 2, 6}, grouped(nn.Conv{Channels: 9, Kernel: 1, Groups: 3})},
	{"convolution 3x3 in groups", []int{1, 3, 3, 4}, grouped(nn.Conv{Channels: 2, Kernel: 3, Padding: 1, Groups: 2})},
	{"depthwise 3x3", []int{2, 4, 3, 3}, grouped(nn.Conv{Channels: 3, Kernel: 3, Padding: 1, Groups: 3})},
	{"depthwise 3x3 stride 2", []int{2, 4, 5, 3}, grouped(nn.Conv{Channels: 3, Kernel: 3, Stride: 2, Padding: 1, Groups: 3})},
	{"depthwise of 4 and of 3 rows, stride 2, which gives the same shape", []int{1, 4, 4, 2}, func(s *nn.Scope, x *Node) *Node {
		c := nn.Conv{Channels: 2, Kernel: 3, Stride: 2, Padding: 1, Groups: 2}
		y := nn.ConvWith(s.In("a"), x, c)
		return nn.Sum(s, y, nn.ConvWith(s.In("b"), Slice(x, AxisRange(), AxisRange(0, 3)), c))
	}},
	{"depthwise 5x5 stride 3", []int{1, 7, 8, 2}, grouped(nn.Conv{Channels: 2, Kernel: 5, Stride: 3, Groups: 2})},
	{"depthwise 1x1 stride 2", []int{1, 3, 4, 2}, grouped(nn.Conv{Channels: 2, Kernel: 1, Stride: 2, Groups: 2})},
	{"convolution with bias", []int{2, 3, 3, 2}, grouped(nn.Conv{Channels: 3, Kernel: 3, Padding: 1, Bias: nn.Uniform(1)})},
	{"convolution 2x2", []int{2, 4, 3, 2}, func(s *nn.Scope, x *Node) *Node { return nn.Conv2D(s, x, 3, 2, 1, 0) }},
	{"convolution 4x4 stride 2", []int{1, 6, 5, 2}, func(s *nn.Scope, x *Node) *Node {
		return nn.Conv2D(s, x, 2, 4, 2, 1)
	}},
	{"transposed convolution", []int{1, 3, 2, 2}, func(s *nn.Scope, x *Node) *Node {
		return nn.ConvTranspose2D(s, x, 3, 4, 2, 1)
	}},
	{"adaptive pool", []int{1, 5, 4, 2}, func(s *nn.Scope, x *Node) *Node { return nn.AdaptiveAveragePool2D(s, x, 3, 2) }},
	{"batch norm of maps", []int{2, 3, 2, 3}, nn.BatchNorm},
	{"batch norm of vectors", []int{5, 3}, nn.BatchNorm},
	{"ReLU", []int{4, 5}, nn.ReLU},
	{"pool", []int{2, 2, 3, 2}, nn.GlobalAveragePool},
	{"block", []int{3, 4, 4, 2}, func(s *nn.Scope, x *Node) *Node {
		y := nn.Conv2D(s.In("conv1"), x, 2, 3, 1, 1)
		y = nn.ReLU(s, nn.BatchNorm(s.In("bn1"), y))
		y = nn.BatchNorm(s.In("bn2"), nn.Conv2D(s.In("conv2"), y, 2, 3, 1, 1))
		return nn.Linear(s.In("fc"), nn.GlobalAveragePool(s, nn.ReLU(s, nn.Sum(s, x, y))), 3)
	}},
}

func grouped(c nn.Conv) layer {
	return func(s *nn.Scope, x *Node) *Node { return nn.ConvWith(s, x, c) }
}

// TestGradients compares with central differences in float64, for the input and every variable.
func TestGradients(t *testing.T) {
	const step, tolerance = 1e-5, 1e-7
	onBackends(t, func(t *testing.T, backend compute.Backend) {
		for _, test := range layersUnderTest {
			t.Run(test.name, func(t *testing.T) {
				store := model.NewStore()
				x := random(1, test.dims...)
				exec := newExec(t, backend, store, func(variables *model.Scope, inputs []*Node) []*Node {
					loss, values := weightedSquares(variables, inputs[0], test.build)
					return append([]*Node{loss}, Gradient(loss, append([]*Node{inputs[0]}, values...)...)...)
				})
				call(t, exec, x) // makes the variables
				parameters := randomise(store)
				gradients := call(t, exec, x)[1:]
				loss := func(x *tensors.Tensor) float64 { return call(t, exec, x)[0][0] }

				numeric := make([]float64, x.Size())
				for i := range numeric {
					numeric[i] = (loss(moved(x, i, step)) - loss(moved(x, i, -step))) / (2 * step)
				}
				near(t, "gradient of x", gradients[0], numeric, tolerance)
				for k, p := range parameters {
					value := moved(p.MustValue(), 0, 0) // a copy: setting a variable frees the old value
					numeric := make([]float64, value.Size())
					for i := range numeric {
						set(p, moved(value, i, step))
						above := loss(x)
						set(p, moved(value, i, -step))
						numeric[i] = (above - loss(x)) / (2 * step)
					}
					set(p, moved(value, 0, 0))
					near(t, "gradient of "+p.Name(), gradients[k+1], numeric, tolerance)
				}
			})
		}
	})
}

// TestTwoGradients takes the gradients of two losses of one graph, as gradient alignment does, one of which leaves out
// a layer, and compares with those of two graphs. Batch norm's written-out gradient must keep no state of the first.
func TestTwoGradients(t *testing.T) {
	build := func(variables *model.Scope, x *Node) (losses, values []*Node) {
		s := nn.New(variables.At("net"), nn.Options{Training: true, Seed: 1})
		shared := nn.BatchNorm(s.In("bn1"), nn.Linear(s.In("fc1"), x, 4))
		left := nn.Linear(s.In("left"), shared, 3)
		right := nn.BatchNorm(s.In("bn2"), nn.Linear(s.In("right"), shared, 3))
		losses = []*Node{ReduceAllSum(Square(left)), ReduceAllSum(Mul(right, Square(Square(right)))),
			ReduceAllSum(Exp(shared))}
		for v := range variables.At("net").IterVariables() {
			if v.Trainable {
				values = append(values, v.NodeValue(x))
			}
		}
		return losses, append(values, x)
	}
	onBackends(t, func(t *testing.T, backend compute.Backend) {
		x := random(1, 6, 5)
		together := newExec(t, backend, model.NewStore(), func(variables *model.Scope, inputs []*Node) (all []*Node) {
			losses, values := build(variables, inputs[0])
			for _, loss := range losses {
				all = append(all, Gradient(loss, values...)...)
			}
			return all
		})
		got := call(t, together, x)
		for i := range 3 {
			alone := newExec(t, backend, model.NewStore(), func(variables *model.Scope, inputs []*Node) []*Node {
				losses, values := build(variables, inputs[0])
				return Gradient(losses[i], values...)
			})
			want := call(t, alone, x)
			for k := range want {
				near(t, "gradient", got[i*len(want)+k], want[k], 1e-11)
			}
		}
	})
}

// weightedSquares is a loss of the layer's output, and the values of its parameters.
func weightedSquares(variables *model.Scope, x *Node, build layer) (loss *Node, values []*Node) {
	s := nn.New(variables.At("net"), nn.Options{Training: true, Seed: 1})
	y := build(s, x)
	weights := ConstTensor(x.Graph(), random(2, y.Shape().Dimensions...))
	loss = ReduceAllSum(Mul(weights, Add(y, Square(y))))
	for v := range variables.At("net").IterVariables() {
		if v.Trainable {
			values = append(values, v.NodeValue(x))
		}
	}
	return loss, values
}

// randomise gives the parameters values unlike their initial ones, which hide errors (weight 1, bias 0).
func randomise(store *model.Store) (parameters []*model.Variable) {
	for v := range store.IterVariables() {
		if v.Trainable {
			parameters = append(parameters, v)
			set(v, random(uint64(10+len(parameters)), v.Shape().Dimensions...))
		}
	}
	return parameters
}

func moved(x *tensors.Tensor, index int, by float64) *tensors.Tensor {
	values := tensors.MustCopyFlatData[float64](x)
	values[index] += by
	return tensors.FromFlatDataAndDimensions(values, x.Shape().Dimensions...)
}

func shapeOf(dims []int) shapes.Shape { return shapes.Make(dtypes.Float64, dims...) }

func set(v *model.Variable, value *tensors.Tensor) {
	if err := v.SetValue(value); err != nil {
		panic(err)
	}
}
