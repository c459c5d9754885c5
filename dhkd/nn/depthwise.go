package nn

import (
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"
)

// depthwise is the convolution of each channel by itself, as a sum of shifted maps: weight is [channels, 1, kernel, kernel].
// Compilers make one loop of it, where a convolution in as many groups as channels is slow forward on a CPU and has a
// gradient of one convolution a channel. With x padded by p, stride s and w[k] the weight of tap k, on each axis:
//
//	y[o]  = sum over k of w[k] x[s o + k]
//	dw[k] = sum over o of v[o] x[s o + k]
//	dx[i] = sum over k = i mod s, i mod s + s, ... of w[k] v[(i-k)/s]
func depthwise(x, weight *Node, stride, padding int) *Node {
	c := depthwiseConv{kernel: weight.Shape().Dim(2), stride: stride, padding: padding,
		height: x.Shape().Dim(1), width: x.Shape().Dim(2)}
	fixed, kernel := StopGradient(x), StopGradient(weight)
	taps := c.taps(kernel)
	return withGradient(c.replaceable("forward", fixed, kernel, c.forward(fixed, taps)), func(v *Node) []*Node {
		return []*Node{
			c.replaceable("input_gradient", v, kernel, c.inputGradient(v, taps)),
			c.replaceable("kernel_gradient", fixed, v, c.weightGradient(fixed, v)),
		}
	}, x, weight)
}

type depthwiseConv struct{ kernel, stride, padding, height, width int }

// replaceable returns y, which is that part of the convolution of a and b.
func (c depthwiseConv) replaceable(part string, a, b, y *Node) *Node {
	return replaceable(fmt.Sprintf("dhkd_depthwise_%s_stride%d_padding%d", part, c.stride, c.padding), a, b, y)
}

// taps returns the weights by place in the kernel, [channels] each.
func (c depthwiseConv) taps(weight *Node) [][]*Node {
	taps := make([][]*Node, c.kernel)
	for y := range taps {
		for x := range c.kernel {
			tap := Slice(weight, AxisRange(), AxisElem(0), AxisElem(y), AxisElem(x))
			taps[y] = append(taps[y], Reshape(tap, weight.Shape().Dim(0)))
		}
	}
	return taps
}

// shifted is what the tap (y, x) sees: the padded input at every stride-th place from there.
func (c depthwiseConv) shifted(padded *Node, y, x int) *Node {
	along := func(first, size int) SliceAxisSpec {
		return AxisRange(first, first+c.stride*((size+2*c.padding-c.kernel)/c.stride)+1).Stride(c.stride)
	}
	return Slice(padded, AxisRange(), along(y, c.height), along(x, c.width), AxisRange())
}

func (c depthwiseConv) forward(x *Node, taps [][]*Node) (sum *Node) {
	padded := padSides(x, c.padding, c.padding, c.padding, c.padding)
	for ky, row := range taps {
		for kx, tap := range row {
			sum = addProduct(sum, c.shifted(padded, ky, kx), tap)
		}
	}
	return sum
}

func (c depthwiseConv) weightGradient(x, v *Node) *Node {
	padded := padSides(x, c.padding, c.padding, c.padding, c.padding)
	var taps []*Node
	for ky := range c.kernel {
		for kx := range c.kernel {
			taps = append(taps, ReduceSum(Mul(c.shifted(padded, ky, kx), v), 0, 1, 2))
		}
	}
	return Reshape(Stack(taps, -1), v.Shape().Dim(3), 1, c.kernel, c.kernel)
}

// inputGradient computes the places i of each remainder i mod s by themselves and puts them side by side.
func (c depthwiseConv) inputGradient(v *Node, taps [][]*Node) *Node {
	s, back := c.stride, (c.kernel-1)/c.stride // how far back v is looked up
	rows, columns := (c.height+2*c.padding+s-1)/s, (c.width+2*c.padding+s-1)/s
	padded := padSides(v, back, rows-v.Shape().Dim(1), back, columns-v.Shape().Dim(2))
	places := make([]*Node, s)
	for y := range s {
		inRow := make([]*Node, s)
		for x := range s {
			for ky := y; ky < c.kernel; ky += s {
				for kx := x; kx < c.kernel; kx += s {
					top, left := back-ky/s, back-kx/s
					from := Slice(padded, AxisRange(), AxisRange(top, top+rows), AxisRange(left, left+columns), AxisRange())
					inRow[x] = addProduct(inRow[x], from, taps[ky][kx])
				}
			}
			if inRow[x] == nil { // a kernel smaller than the stride skips this place
				inRow[x] = Zeros(v.Graph(), padded.Shape().Clone())
			}
		}
		places[y] = Stack(inRow, 3) // [N, rows, columns, s, C]
	}
	n, channels := v.Shape().Dim(0), v.Shape().Dim(3)
	all := Reshape(Stack(places, 2), n, rows*s, columns*s, channels)
	return Slice(all, AxisRange(), AxisRange(c.padding, c.padding+c.height), AxisRange(c.padding, c.padding+c.width), AxisRange())
}

// addProduct adds the maps times one factor a channel to the sum, which is nil at first.
func addProduct(sum, maps, factors *Node) *Node {
	product := Mul(maps, alongChannels(factors, maps))
	if sum == nil {
		return product
	}
	return Add(sum, product)
}

// padSides adds zeros on the four sides.
func padSides(x *Node, top, bottom, left, right int) *Node {
	return Pad(x, ScalarZero(x.Graph(), x.DType()), PadAxis{}, PadAxis{Start: top, End: bottom},
		PadAxis{Start: left, End: right}, PadAxis{})
}
