package nn

import (
	"slices"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/support/exceptions"
)

// AdaptiveAveragePool2D is torch's AdaptiveAvgPool2d: x [N, H, W, C] gives [N, height, width, C]. Value i of an axis of
// `from` values that becomes one of `to` is the mean of those from floor(i from/to) up to, without,
// ceil((i+1) from/to); so it also makes maps larger, by repetition.
func AdaptiveAveragePool2D(s *Scope, x *Node, height, width int) *Node {
	if x.Rank() != 4 || height < 1 || width < 1 {
		exceptions.Panicf("nn.AdaptiveAveragePool2D: needs [N, H, W, C] and a size of at least 1x1, got %s and %dx%d",
			x.Shape(), height, width)
	}
	return s.layer("AdaptiveAveragePool2D", x, averageAxis(averageAxis(x, 1, height), 2, width))
}

func averageAxis(x *Node, axis, to int) *Node {
	dims := x.Shape().Clone().Dimensions
	from := dims[axis]
	switch {
	case from == to:
		return x
	case from%to == 0: // windows side by side
		return ReduceMean(Reshape(x, slices.Concat(dims[:axis], []int{to, from / to}, dims[axis+1:])...), axis+1)
	}
	parts := make([]*Node, to)
	for i := range parts {
		window := SliceAxis(x, axis, AxisRange(i*from/to, ((i+1)*from+to-1)/to))
		parts[i] = ReduceAndKeep(window, ReduceMean, axis)
	}
	return Concatenate(parts, axis)
}
