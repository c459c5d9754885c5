package nn

import . "github.com/gomlx/gomlx/core/graph"

// replaceable returns y, computed from a and b, by a function of the program that is called name and takes a, b and y.
// Its body returns y; package device may put a kernel in its place that computes y from a and b, and XLA then removes
// what computes it otherwise.
func replaceable(name string, a, b, y *Node) *Node {
	g := y.Graph()
	if g.Backend().Name() != "xla" || len(g.DeviceMeshes()) > 0 { // only XLA has kernels, and it does not divide them
		return y
	}
	type function struct{ name, a, b, y string } // is shared by the calls with the same shapes
	id := function{name, a.Shape().String(), b.Shape().String(), y.Shape().String()}
	f, ok := g.State(id).(*Function)
	if !ok {
		f = NewFunction(g, g.UniqueName(name), func(g *Graph) []*Node {
			Parameter(g, "a", a.Shape())
			Parameter(g, "b", b.Shape())
			return []*Node{Parameter(g, "y", y.Shape())}
		})
		g.AttachState(id, f)
	}
	return f.Call(a, b, y)[0]
}
