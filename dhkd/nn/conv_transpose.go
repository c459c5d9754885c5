package nn

import (
	"math"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/support/exceptions"
)

// ConvTranspose2D is torch's ConvTranspose2d with bias, a convolution that makes maps larger: x [N, H, W, in] gives
// [N, H', W', channels], H' = (H-1) stride + kernel - 2 padding. The kernel must be a multiple of the stride.
// Variables: weight [in, channels, kernel, kernel] and bias [channels], torch's default U(-b, b) with
// b = 1/sqrt(channels kernel²).
func ConvTranspose2D(s *Scope, x *Node, channels, kernel, stride, padding int) *Node {
	if x.Rank() != 4 {
		exceptions.Panicf("nn.ConvTranspose2D: input must be [N, H, W, C], got %s", x.Shape())
	}
	if stride < 1 || kernel < stride || kernel%stride != 0 {
		exceptions.Panicf("nn.ConvTranspose2D: the kernel must be a multiple of the stride, got %d and %d", kernel, stride)
	}
	height, width, in := x.Shape().Dim(1), x.Shape().Dim(2), x.Shape().Dim(3)
	if padding < 0 || (min(height, width)-1)*stride+kernel <= 2*padding {
		exceptions.Panicf("nn.ConvTranspose2D: nothing is left of a map of %s with padding %d", x.Shape(), padding)
	}
	weight := s.parameter(x, "weight", KaimingUniform, in, channels, kernel, kernel)
	bias := s.parameter(x, "bias", Uniform(1/math.Sqrt(float64(channels*kernel*kernel))), channels)
	y := overlapAdd(DotGeneral(x, []int{3}, nil, weight, []int{0}, nil), stride)
	y = Slice(y, AxisRange(), AxisRange(padding, y.Shape().Dim(1)-padding), AxisRange(padding, y.Shape().Dim(2)-padding),
		AxisRange())
	return s.add(Layer{Op: "ConvTranspose2D", Name: s.Name(), Inputs: []*Node{x}, Output: Add(y, alongChannels(bias, y)),
		Kernel: kernel, Stride: stride, Padding: padding, Groups: 1, Bias: true})
}

// overlapAdd lays the patches of all places, [N, H, W, C, kernel, kernel], stride apart and adds them up. A kernel of m
// strides is m tiles on each axis; the tiles of one place in the kernel are neighbours that do not overlap.
func overlapAdd(patches *Node, stride int) (sum *Node) {
	n, height, width := patches.Shape().Dim(0), patches.Shape().Dim(1), patches.Shape().Dim(2)
	channels, tiles := patches.Shape().Dim(3), patches.Shape().Dim(4)/stride
	patches = Reshape(patches, n, height, width, channels, tiles, stride, tiles, stride)
	for row := range tiles {
		for column := range tiles {
			tile := Slice(patches, AxisRange(), AxisRange(), AxisRange(), AxisRange(), AxisElem(row), AxisRange(),
				AxisElem(column), AxisRange())
			tile = TransposeAllAxes(Reshape(tile, n, height, width, channels, stride, stride), 0, 1, 4, 2, 5, 3)
			tile = Reshape(tile, n, height*stride, width*stride, channels)
			tile = surround(tile, 1, row*stride, (tiles-1-row)*stride)
			tile = surround(tile, 2, column*stride, (tiles-1-column)*stride)
			if sum == nil {
				sum = tile
			} else {
				sum = Add(sum, tile)
			}
		}
	}
	return sum
}

// surround adds zeros before and after an axis. (GoMLX's Pad has no gradient.)
func surround(x *Node, axis, before, after int) *Node {
	var parts []*Node
	for _, size := range []int{before, -1, after} {
		if size < 0 {
			parts = append(parts, x)
		} else if size > 0 {
			shape := x.Shape().Clone()
			shape.Dimensions[axis] = size
			parts = append(parts, Zeros(x.Graph(), shape))
		}
	}
	return Concatenate(parts, axis)
}
