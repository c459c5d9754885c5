package nn

import (
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/support/exceptions"
)

// MaxPool2D is torch's MaxPool2d: x [N, H, W, C] gives [N, H', W', C], H' = (H + 2 padding - kernel)/stride + 1 rounded
// down. The whole gradient goes to the first maximum of a window, row by row, and NaN is kept, as torch has it.
func MaxPool2D(s *Scope, x *Node, kernel, stride, padding int) *Node {
	checkPool("MaxPool2D", x, kernel, padding)
	padded := padMap(x, Infinity(x.Graph(), x.DType(), -1), padding)
	y := joinWindows(padded, kernel, stride, func(first, later *Node) *Node {
		return Where(LogicalOr(GreaterThan(later, first), IsNaN(later)), later, first)
	})
	return s.pool("MaxPool2D", x, y, kernel, stride, padding)
}

// AveragePool2D is torch's AvgPool2d: the mean over windows as [MaxPool2D] has them, in which the zeros of the padding
// count.
func AveragePool2D(s *Scope, x *Node, kernel, stride, padding int) *Node {
	checkPool("AveragePool2D", x, kernel, padding)
	padded := padMap(x, ScalarZero(x.Graph(), x.DType()), padding)
	y := DivScalar(joinWindows(padded, kernel, stride, Add), float64(kernel*kernel))
	return s.pool("AveragePool2D", x, y, kernel, stride, padding)
}

// Concat joins maps that differ in channels only: the channels of the first come first.
func Concat(s *Scope, maps ...*Node) *Node {
	return s.add(Layer{Op: "Concat", Name: s.Name(), Inputs: maps, Output: Concatenate(maps, -1)})
}

// ChannelSlice takes the channels from start up to, without, end.
func ChannelSlice(s *Scope, x *Node, start, end int) *Node {
	y := SliceAxis(x, -1, AxisRange(start, end))
	return s.add(Layer{Op: "ChannelSlice", Name: s.Name(), Inputs: []*Node{x}, Output: y, Start: start})
}

// ChannelShuffle is ShuffleNet's: the channels, in as many groups as given, are dealt out, so that the first channels
// of all groups come first, then the second ones, and so on.
func ChannelShuffle(s *Scope, x *Node, groups int) *Node {
	dims := x.Shape().Clone().Dimensions
	channels := dims[len(dims)-1]
	if groups < 1 || channels%groups != 0 {
		exceptions.Panicf("nn.ChannelShuffle: %d groups do not divide the channels of %s", groups, x.Shape())
	}
	y := Reshape(x, append(dims[:len(dims)-1:len(dims)-1], groups, channels/groups)...)
	y = Reshape(Transpose(y, -1, -2), dims...)
	return s.add(Layer{Op: "ChannelShuffle", Name: s.Name(), Inputs: []*Node{x}, Output: y, Groups: groups})
}

func (s *Scope) pool(op string, x, y *Node, kernel, stride, padding int) *Node {
	return s.add(Layer{Op: op, Name: s.Name(), Inputs: []*Node{x}, Output: y,
		Kernel: kernel, Stride: stride, Padding: padding})
}

func checkPool(op string, x *Node, kernel, padding int) {
	if x.Rank() != 4 {
		exceptions.Panicf("nn.%s: input must be [N, H, W, C], got %s", op, x.Shape())
	}
	if 2*padding > kernel {
		exceptions.Panicf("nn.%s: padding %d is more than half of the %dx%d window", op, padding, kernel, kernel)
	}
	if min(x.Shape().Dim(1), x.Shape().Dim(2))+2*padding < kernel {
		exceptions.Panicf("nn.%s: a map of %s is smaller than the %dx%d window (padding %d)", op, x.Shape(), kernel, kernel,
			padding)
	}
}

// padMap adds rows and columns of the value on all sides. (GoMLX's Pad has no gradient.)
func padMap(x, value *Node, padding int) *Node {
	if padding == 0 {
		return x
	}
	for _, axis := range []int{1, 2} {
		dims := x.Shape().Clone().Dimensions
		dims[axis] = padding
		side := BroadcastToDims(value, dims...)
		x = Concatenate([]*Node{side, x, side}, axis)
	}
	return x
}

// joinWindows joins the values of each window, those of a row from left to right, then the rows from top to bottom.
// Slices and their gradients are element-wise work for the compiler: on CPU a maximum with its gradient takes a third
// (2x2) to two thirds (3x3) of the time of GoMLX's, by reduce-window and select-and-scatter.
func joinWindows(x *Node, kernel, stride int, join func(first, later *Node) *Node) *Node {
	for _, axis := range []int{2, 1} {
		last := x.Shape().Dim(axis) - kernel // where a window may start
		var joined *Node
		for i := range kernel {
			value := SliceAxis(x, axis, AxisRange(i, i+last+1).Stride(stride))
			if joined == nil {
				joined = value
			} else {
				joined = join(joined, value)
			}
		}
		x = joined
	}
	return x
}
