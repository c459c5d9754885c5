package dataset

import "fmt"

// Augment is the window of the image that starts at row top and column left of the image padded with pad zero pixels
// on each side, flipped left to right where flip is true: RandomCrop and RandomHorizontalFlip, with the chances
// given. The image and the result are [height, width, channels]; top and left are 0 to 2*pad. It is the reference for
// compiled augmentation, not the fast way.
func Augment(pixels []uint8, height, width, channels, pad, top, left int, flip bool) []uint8 {
	if len(pixels) != height*width*channels || min(top, left) < 0 || max(top, left) > 2*pad {
		panic(fmt.Sprintf("dataset.Augment: %d pixels of shape [%d, %d, %d], pad %d, window at (%d, %d)",
			len(pixels), height, width, channels, pad, top, left))
	}
	window := make([]uint8, len(pixels))
	for y := range height {
		for x := range width {
			fromY, fromX := y+top-pad, x+left-pad
			if flip {
				fromX = width - 1 - x + left - pad
			}
			if fromY >= 0 && fromY < height && fromX >= 0 && fromX < width {
				copy(window[(y*width+x)*channels:][:channels], pixels[(fromY*width+fromX)*channels:])
			}
		}
	}
	return window
}

// Normalise is (x/255 - mean) / std per channel in float32, channels last (len(mean) of them): what a network is fed.
// A zero pixel of the padding becomes -mean/std, as an image's own zeros do.
func Normalise(pixels []uint8, mean, std []float32) []float32 {
	out := make([]float32, len(pixels))
	for i, p := range pixels {
		c := i % len(mean)
		out[i] = (float32(p)/255 - mean[c]) / std[c]
	}
	return out
}
