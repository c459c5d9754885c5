package nn

import "github.com/gomlx/gomlx/core/graph"

// Layer is one layer as it was built. The layers of a forward pass, in order, are the network's description: what is
// needed to count its work or to write it in another format.
type Layer struct {
	Op     string        // the function of this package: "Conv2D", "BatchNorm", "Sum", ...
	Name   string        // of its scope, "layer1.0.conv1", where its variables are if it has any
	Inputs []*graph.Node // maps [N, H, W, C] or vectors [N, C]
	Output *graph.Node

	Kernel, Stride, Padding int  // of Conv2D, MaxPool2D and AveragePool2D
	Groups                  int  // of Conv2D and ChannelShuffle
	Bias                    bool // of Conv2D: whether it has one
	Start                   int  // of ChannelSlice: the first channel of its output

	Scale, Shift *graph.Node // of BatchNorm: its weight and bias, [C]
}

// Listen hands each layer of this building to the function too, until stop is called.
func (s *Scope) Listen(to func(Layer)) (stop func()) {
	before := s.pass.Trace
	s.pass.Trace = func(l Layer) {
		if before != nil {
			before(l)
		}
		to(l)
	}
	return func() { s.pass.Trace = before }
}

// add hands the layer to whoever listens, and returns its output.
func (s *Scope) add(l Layer) *graph.Node {
	if s.pass.Trace != nil {
		s.pass.Trace(l)
	}
	return l.Output
}

// layer is [Scope.add] of a layer with one input and no attributes.
func (s *Scope) layer(op string, input, output *graph.Node) *graph.Node {
	return s.add(Layer{Op: op, Name: s.Name(), Inputs: []*graph.Node{input}, Output: output})
}
