package nn

import (
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/support/exceptions"
)

// axes says that maps are [N, H, W, C] and weights [out, in/groups, H, W].
var axes = graph.ConvolveAxesConfig{
	InputBatch: 0, InputSpatial: []int{1, 2}, InputChannels: 3,
	KernelOutputChannels: 0, KernelInputChannels: 1, KernelSpatial: []int{2, 3},
	OutputBatch: 0, OutputSpatial: []int{1, 2}, OutputChannels: 3,
}

// Conv describes a convolution with a square kernel, the same stride on both axes and zero padding on all sides.
type Conv struct {
	Channels int // of the output
	Kernel   int
	Stride   int // 1 if 0
	Padding  int
	Groups   int         // 1 if 0; as many as input channels is a depthwise convolution
	Weight   Initializer // [KaimingNormalFanOut] if nil
	Bias     Initializer // no bias if nil
}

// Conv2D is [ConvWith] without groups and bias.
func Conv2D(s *Scope, x *graph.Node, channels, kernel, stride, padding int) *graph.Node {
	return ConvWith(s, x, Conv{Channels: channels, Kernel: kernel, Stride: stride, Padding: padding})
}

// ConvWith is torch's Conv2d: x [N, H, W, in] gives [N, H', W', channels], H' = (H + 2 padding - kernel)/stride + 1.
// Variables: weight [channels, in/groups, kernel, kernel] and, if asked for, bias [channels].
func ConvWith(s *Scope, x *graph.Node, c Conv) *graph.Node {
	if x.Rank() != 4 {
		exceptions.Panicf("nn.Conv2D: input must be [N, H, W, C], got %s", x.Shape())
	}
	c.Stride, c.Groups = max(c.Stride, 1), max(c.Groups, 1)
	if c.Weight == nil {
		c.Weight = KaimingNormalFanOut
	}
	for _, axis := range axes.InputSpatial {
		if x.Shape().Dim(axis)+2*c.Padding < c.Kernel {
			exceptions.Panicf("nn.Conv2D: a map of %s is smaller than the %dx%d kernel (padding %d)", x.Shape(), c.Kernel,
				c.Kernel, c.Padding)
		}
	}
	in := x.Shape().Dim(3)
	if in%c.Groups != 0 || c.Channels%c.Groups != 0 {
		exceptions.Panicf("nn.Conv2D: %d groups do not divide %d input and %d output channels", c.Groups, in, c.Channels)
	}
	weight := s.parameter(x, "weight", c.Weight, c.Channels, in/c.Groups, c.Kernel, c.Kernel)
	y := s.convolve(x, weight, c)
	if c.Bias != nil {
		y = graph.Add(y, alongChannels(s.parameter(x, "bias", c.Bias, c.Channels), y))
	}
	return s.add(Layer{Op: "Conv2D", Name: s.Name(), Inputs: []*graph.Node{x}, Output: y, Kernel: c.Kernel,
		Stride: c.Stride, Padding: c.Padding, Groups: c.Groups, Bias: c.Bias != nil})
}

// convolve is the convolution, in [Options.Convolutions] if that is set.
func (s *Scope) convolve(x, weight *graph.Node, c Conv) *graph.Node {
	narrow := s.pass.Convolutions
	if narrow == dtypes.InvalidDType || c.Groups > 1 && c.Groups == x.Shape().Dim(3) {
		return convolve(x, weight, c.Stride, c.Padding, c.Groups)
	}
	y := convolve(graph.ConvertDType(x, narrow), graph.ConvertDType(weight, narrow), c.Stride, c.Padding, c.Groups)
	return graph.ConvertDType(y, x.DType())
}

// convolve chooses the form whose gradient is cheap. GoMLX's gradient of a convolution in groups makes one convolution a
// group; groups with larger kernels, which no network here has, are left to it.
func convolve(x, weight *graph.Node, stride, padding, groups int) *graph.Node {
	out, in, kernel := weight.Shape().Dim(0), x.Shape().Dim(3), weight.Shape().Dim(2)
	switch {
	case groups > 1 && groups == in && groups == out:
		return depthwise(x, weight, stride, padding)
	case kernel == 1 && padding == 0:
		return pointwise(x, weight, stride, groups)
	}
	after := padding
	if kernel%2 == 0 { // GoMLX's gradient of even kernels is wrong, so a row and a column of zeros make this one odd
		weight, after = surround(surround(weight, 2, 0, 1), 3, 0, 1), padding+1
	}
	return graph.ConvGeneral(x, weight, axes, []int{stride, stride}, [][2]int{{padding, after}, {padding, after}},
		nil, nil, groups, 1)
}

// pointwise is a 1x1 convolution as one matrix product, for all groups at once; so is each of its gradients.
func pointwise(x, weight *graph.Node, stride, groups int) *graph.Node {
	if stride > 1 {
		x = graph.Slice(x, graph.AxisRange(), graph.AxisRange().Stride(stride), graph.AxisRange().Stride(stride), graph.AxisRange())
	}
	n, height, width := x.Shape().Dim(0), x.Shape().Dim(1), x.Shape().Dim(2)
	in, out := weight.Shape().Dim(1), weight.Shape().Dim(0)/groups
	var y *graph.Node
	if groups == 1 {
		y = graph.DotGeneral(graph.Reshape(x, n*height*width, in), []int{1}, nil,
			graph.Reshape(weight, out, in), []int{1}, nil)
	} else {
		y = graph.DotGeneral(graph.Reshape(x, n*height*width, groups, in), []int{2}, []int{1},
			graph.Reshape(weight, groups, out, in), []int{2}, []int{0}) // [groups, N H W, out]
		y = graph.Transpose(y, 0, 1)
	}
	return graph.Reshape(y, n, height, width, groups*out)
}
