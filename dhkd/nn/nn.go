// Package nn holds the layers of the teachers and students, with PyTorch's exact semantics: the papers' numbers were made with
// it. Every layer has a gradient that is right and cheap on every backend.
//
// Images and feature maps are [N, H, W, C] (channels last), which every backend's convolution takes as it is. Weights keep
// PyTorch's names, shapes and layouts (convolution [out, in, height, width], linear [out, in]), so weights are exchanged
// without conversion. The data type of a network is that of its input, float32 or float64.
//
// Layers are graph-building functions: they panic, as GoMLX's do, on shapes that do not fit.
package nn

import (
	"hash/fnv"
	"math/rand/v2"
	"strings"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	"github.com/gomlx/gomlx/support/exceptions"
)

// Options of one building of a network's graph.
type Options struct {
	// Training makes batch norm use and update batch statistics, and dropout drop.
	Training bool
	// Seed of the initial values of variables that do not exist yet.
	Seed uint64
	// RNG is the state of the random generator that dropout uses in training (see [graph.RandomUniform]). It may be nil
	// for a network without dropout.
	RNG *graph.Node
	// NoDropout switches dropout off in training too, as the reference numbers have it.
	NoDropout bool
	// Undrawn leaves new variables at zero: for who needs their names and shapes only.
	Undrawn bool
	// Convolutions, if set, is the narrower type that convolutions round their inputs, weights and results to, forward and
	// backward, where the hardware is faster with it. Weights, all else and sums stay as they are. Depthwise convolutions,
	// which are not products of matrices, are not changed.
	Convolutions dtypes.DType
	// Trace, if set, gets each layer as it is built.
	Trace func(Layer)
}

// Scope is a place in a network's tree of names and the mode in which its graph is built. A layer finds its variables there,
// or makes them with their initial values. Variables live in one GoMLX scope, under PyTorch's dotted names.
type Scope struct {
	variables *model.Scope
	prefix    string
	pass      *Options // shared by all scopes of one building: RNG advances
}

// New returns the scope of a network whose variables live in the given GoMLX scope.
func New(variables *model.Scope, o Options) *Scope {
	return &Scope{variables: variables, pass: &o}
}

// In returns the scope of the part of that name, "layer1.0.conv1" or a piece of it.
func (s *Scope) In(name string) *Scope {
	return &Scope{variables: s.variables, prefix: s.prefix + name + ".", pass: s.pass}
}

// Name is that of the scope in PyTorch's dotted form, "layer1.0.conv1".
func (s *Scope) Name() string { return strings.TrimSuffix(s.prefix, ".") }

// RNG is the state of the random generator as it is now, after what was drawn.
func (s *Scope) RNG() *graph.Node { return s.pass.RNG }

// Draw returns random numbers of that shape, uniform in [0, 1).
func (s *Scope) Draw(shape shapes.Shape) (u *graph.Node) {
	if s.pass.RNG == nil {
		exceptions.Panicf("nn: drawing random numbers needs a generator, set Options.RNG")
	}
	s.pass.RNG, u = graph.RandomUniform(s.pass.RNG, shape)
	return u
}

// Parameter is a trained variable of the scope, of the data type of x.
func (s *Scope) Parameter(x *graph.Node, name string, init Initializer, dims ...int) *graph.Node {
	return s.parameter(x, name, init, dims...)
}

// Buffer is a variable that is saved but not trained; [model.Variable.SetNodeValue] gives it a new value.
func (s *Scope) Buffer(dtype dtypes.DType, name string, init Initializer, dims ...int) *model.Variable {
	return s.buffer(dtype, name, init, dims...)
}

// Training tells whether the graph is built for training.
func (s *Scope) Training() bool { return s.pass.Training }

// variable finds or makes the variable of that name. Its initial values depend on the seed and its full name alone: two
// networks that share a part start equal in that part, whatever else they have.
func (s *Scope) variable(dtype dtypes.DType, name string, init Initializer, dims ...int) *model.Variable {
	name = s.prefix + name
	if v := s.variables.GetVariable(name); v != nil {
		if want := shapes.Make(dtype, dims...); !v.Shape().Equal(want) {
			exceptions.Panicf("nn: variable %s has shape %s, the network needs %s", name, v.Shape(), want)
		}
		return v
	}
	if s.pass.Undrawn {
		return s.variables.VariableWithValue(name, tensors.FromShape(shapes.Make(dtype, dims...)))
	}
	return s.variables.VariableWithValue(name, initialValue(dtype, s.pass.Seed, name, init, dims))
}

// parameter is the graph value of a trained variable.
func (s *Scope) parameter(x *graph.Node, name string, init Initializer, dims ...int) *graph.Node {
	return s.variable(x.DType(), name, init, dims...).NodeValue(x.Graph())
}

// buffer is a variable that is saved but not trained.
func (s *Scope) buffer(dtype dtypes.DType, name string, init Initializer, dims ...int) *model.Variable {
	return s.variable(dtype, name, init, dims...).SetTrainable(false)
}

func initialValue(dtype dtypes.DType, seed uint64, name string, init Initializer, dims []int) *tensors.Tensor {
	h := fnv.New64a()
	h.Write([]byte(name))
	values := init(rand.New(rand.NewPCG(seed, h.Sum64())), dims)
	if dtype == dtypes.Float64 {
		wide := make([]float64, len(values))
		for i, v := range values {
			wide[i] = float64(v)
		}
		return tensors.FromFlatDataAndDimensions(wide, dims...)
	}
	return tensors.FromFlatDataAndDimensions(values, dims...)
}
