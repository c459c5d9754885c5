package nn

import (
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/support/exceptions"
)

// axes says that maps are [N, H, W, C] and weights [out, in, H, W].
var axes = graph.ConvolveAxesConfig{
	InputBatch: 0, InputSpatial: []int{1, 2}, InputChannels: 3,
	KernelOutputChannels: 0, KernelInputChannels: 1, KernelSpatial: []int{2, 3},
	OutputBatch: 0, OutputSpatial: []int{1, 2}, OutputChannels: 3,
}

// Conv2D is torch's Conv2d without bias: x [N, H, W, in] gives [N, H', W', channels], with a square kernel, the same stride
// on both axes and zero padding on all sides, H' = (H + 2 padding - kernel)/stride + 1.
// Variable: weight [channels, in, kernel, kernel], Kaiming normal (fan out).
func Conv2D(s *Scope, x *graph.Node, channels, kernel, stride, padding int) *graph.Node {
	if x.Rank() != 4 {
		exceptions.Panicf("nn.Conv2D: input must be [N, H, W, C], got %s", x.Shape())
	}
	for _, axis := range axes.InputSpatial {
		if x.Shape().Dim(axis)+2*padding < kernel {
			exceptions.Panicf("nn.Conv2D: a map of %s is smaller than the %dx%d kernel (padding %d)", x.Shape(), kernel, kernel, padding)
		}
	}
	weight := s.parameter(x, "weight", KaimingNormalFanOut, channels, x.Shape().Dim(3), kernel, kernel)
	return graph.ConvGeneral(x, weight, axes, []int{stride, stride}, [][2]int{{padding, padding}, {padding, padding}},
		nil, nil, 1, 1)
}
