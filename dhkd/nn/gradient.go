package nn

import . "github.com/gomlx/gomlx/core/graph"

// withGradient returns y with the gradients that vjp, given the gradient v at y, has for the inputs; how y was computed
// from them does not matter. Nothing of this but vjp's result is left in a compiled program.
func withGradient(y *Node, vjp func(v *Node) []*Node, inputs ...*Node) *Node {
	var gradients []*Node // set at y, which reverse differentiation visits before the inputs
	never := Scalar(y.Graph(), y.DType(), 0)
	for i, x := range inputs {
		x = IdentityWithCustomGradient(x, func(_, _ *Node) *Node { return gradients[i] })
		never = Add(never, Reshape(Slice(x, onlyFirst(x)...)))
	}
	y = Where(Const(y.Graph(), false), BroadcastToShape(never, y.Shape().Clone()), StopGradient(y))
	return IdentityWithCustomGradient(y, func(_, v *Node) *Node {
		gradients = vjp(v)
		return v
	})
}

// onlyFirst selects one element.
func onlyFirst(x *Node) []SliceAxisSpec {
	first := make([]SliceAxisSpec, x.Rank())
	for axis := range first {
		first[axis] = AxisElem(0)
	}
	return first
}
