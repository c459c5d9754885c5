package train

import (
	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
)

// CropFlip takes of each image [N, H, W, C] the window of the same size that starts at (top, left) [N] of the image padded with
// pad zeros on every side, and mirrors it left to right where flip [N] is not 0. Padded pixels are zeros before normalisation.
//
// Each axis is a choice between the 2 pad + 1 shifts: selections, which every backend fuses, in place of a gather.
func CropFlip(images, top, left, flip *Node, pad int) *Node {
	g, n := images.Graph(), images.Shape().Dim(0)
	height, width := images.Shape().Dim(1), images.Shape().Dim(2)
	perImage := func(x *Node) *Node { return Reshape(x, n, 1, 1, 1) }
	margin := compute.PadAxis{Start: pad, End: pad}
	padded := Pad(images, ScalarZero(g, images.DType()), compute.PadAxis{}, margin, margin, compute.PadAxis{})
	crop := func(x, start *Node, axis, size int) *Node {
		var chosen *Node
		for shift := range 2*pad + 1 {
			window := SliceAxis(x, axis, AxisRange(shift, shift+size))
			if chosen == nil {
				chosen = window
				continue
			}
			chosen = choose(perImage(Equal(start, ConstAs(start, shift))), window, chosen)
		}
		return chosen
	}
	x := crop(crop(padded, top, 1, height), left, 2, width)
	return choose(perImage(NotEqual(flip, ZerosLike(flip))), Reverse(x, 2), x)
}

// Normalize is (x/255 - mean)/std per channel, float32, of uint8 images [N, H, W, C].
func Normalize(images *Node, mean, std []float32) *Node {
	g := images.Graph()
	perChannel := func(v []float32) *Node { return Reshape(Const(g, v), 1, 1, 1, len(v)) }
	x := DivScalar(ConvertDType(images, dtypes.Float32), 255)
	return Div(Sub(x, perChannel(mean)), perChannel(std))
}

func choose(condition, onTrue, onFalse *Node) *Node {
	return Where(BroadcastToShape(condition, shapeOf(dtypes.Bool, onTrue.Shape().Dimensions...)), onTrue, onFalse)
}
