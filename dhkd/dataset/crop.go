package dataset

import (
	"math"
	"math/rand/v2"
)

// View says what of an image file a network sees: Side x Side pixels.
type View struct {
	Side int // height and width of what the network gets; 0 = 224
	// Resize is what an image's shorter side is resized to before its centre is taken, for evaluation; 0 = 8/7 of Side,
	// ImageNet's 256 for 224.
	Resize int
	// MinArea > 0 trains on random crops, half of them mirrored: at least that part of the image's area, with a ratio of
	// width to height of MinAspect to 1/MinAspect (log-uniform). At 0 training sees what evaluation sees.
	MinArea, MinAspect float64
}

// window is a part of an image, in its pixels, and the size that it is resized to; of that, the Side x Side pixels from
// (left, top) are the view. Values outside the part are not looked at if clipped.
type window struct {
	x, y, width, height          int
	toWidth, toHeight, left, top int
	clipped, mirrored            bool
}

// center is the view for evaluation: the shorter side resized, then the centre, as torchvision's Resize and CenterCrop
// round.
func (v View) center(width, height int) window {
	w := window{width: width, height: height, toWidth: v.Resize, toHeight: v.Resize}
	if width < height {
		w.toHeight = int(float64(v.Resize) * float64(height) / float64(width))
	} else {
		w.toWidth = int(float64(v.Resize) * float64(width) / float64(height))
	}
	half := func(n int) int { return int(math.RoundToEven(float64(n) / 2)) }
	w.left, w.top = half(w.toWidth-v.Side), half(w.toHeight-v.Side)
	return w
}

// random is a view for training, as torchvision's RandomResizedCrop and RandomHorizontalFlip draw it: ten crops are tried,
// then the largest of the right shape in the centre is taken.
func (v View) random(width, height int, r *rand.Rand) window {
	w := window{toWidth: v.Side, toHeight: v.Side, clipped: true}
	slope := -math.Log(v.MinAspect)
	for try := 0; ; try++ {
		area := float64(width) * float64(height) * (v.MinArea + (1-v.MinArea)*r.Float64())
		aspect := math.Exp(slope * (2*r.Float64() - 1))
		w.width = int(math.RoundToEven(math.Sqrt(area * aspect)))
		w.height = int(math.RoundToEven(math.Sqrt(area / aspect)))
		if w.width > 0 && w.height > 0 && w.width <= width && w.height <= height {
			w.x, w.y = r.IntN(width-w.width+1), r.IntN(height-w.height+1)
			break
		}
		if try == 9 {
			widest := 1 / v.MinAspect
			w.width = min(width, max(1, int(math.RoundToEven(float64(height)*widest))))
			w.height = min(height, max(1, int(math.RoundToEven(float64(width)*widest))))
			w.x, w.y = (width-w.width)/2, (height-w.height)/2
			break
		}
	}
	w.mirrored = r.Uint64()&1 == 1
	return w
}
