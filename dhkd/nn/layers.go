package nn

import (
	"math"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/support/exceptions"
)

// Linear is torch's Linear: x [N, in] gives x weight^T + bias, [N, out].
// Variables: weight [out, in] and bias [out], torch's default U(-1/sqrt(in), 1/sqrt(in)).
func Linear(s *Scope, x *Node, out int) *Node {
	bound := Uniform(1 / math.Sqrt(float64(x.Shape().Dim(-1))))
	return LinearWith(s, x, out, bound, bound)
}

// LinearWith is [Linear] with other initial values.
func LinearWith(s *Scope, x *Node, out int, initWeight, initBias Initializer) *Node {
	if x.Rank() != 2 {
		exceptions.Panicf("nn.Linear: input must be [N, features], got %s", x.Shape())
	}
	weight := s.parameter(x, "weight", initWeight, out, x.Shape().Dim(1))
	bias := s.parameter(x, "bias", initBias, out)
	y := DotGeneral(x, []int{1}, nil, weight, []int{1}, nil)
	return s.layer("Linear", x, Add(y, alongChannels(bias, y)))
}

// ReLU is max(x, 0), with gradient 0 at 0 and NaN kept, as torch has it. (The gradient of GoMLX's Max splits ties and costs
// a seventh of a training step.)
func ReLU(s *Scope, x *Node) *Node {
	zero := ZerosLike(x)
	return s.layer("ReLU", x, Where(LessOrEqual(x, zero), zero, x))
}

// Sum adds two branches of one shape.
func Sum(s *Scope, x, y *Node) *Node {
	if !x.Shape().Equal(y.Shape()) {
		exceptions.Panicf("nn.Sum: branches of shapes %s and %s", x.Shape(), y.Shape())
	}
	return s.add(Layer{Op: "Sum", Inputs: []*Node{x, y}, Output: Add(x, y)})
}

// GlobalAveragePool is the mean over height and width: [N, H, W, C] gives [N, C].
func GlobalAveragePool(s *Scope, x *Node) *Node {
	if x.Rank() != 4 {
		exceptions.Panicf("nn.GlobalAveragePool: input must be [N, H, W, C], got %s", x.Shape())
	}
	return s.layer("GlobalAveragePool", x, ReduceMean(x, 1, 2))
}

// Dropout is torch's Dropout: in training each value is zero with the given probability, and the others grow by
// 1/(1-probability).
func Dropout(s *Scope, x *Node, probability float64) *Node {
	if !s.pass.Training || s.pass.NoDropout || probability == 0 {
		return x
	}
	u := s.Draw(x.Shape())
	keep := GreaterOrEqual(u, ConstAs(u, probability))
	return Where(keep, MulScalar(x, 1/(1-probability)), ZerosLike(x))
}

// Result is x, as a result of the network. Any result may be the only one of a program. The Go backend (compute v0.1.4) fails
// on a program with a variable that was made after its last result, a later head's for instance, so results are made last.
func Result(s *Scope, x *Node) *Node {
	return s.layer("Result", x, IdentityWithCustomGradient(x, func(_, v *Node) *Node { return v }))
}
