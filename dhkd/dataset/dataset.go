// Package dataset reads the images that experiments run on: Fashion-MNIST, Fashion-Pairs-100 (100 classes built from
// it), CIFAR-100, ImageNet and other folders of images. [Load] gives a [Set] of raw bytes on the host; whoever trains
// uploads them once and crops, flips and normalises in the compiled program. [Augment] and [Normalise] say what that
// program must compute. Folders of images are too large for that: [Split.Stream] decodes, crops and flips them.
//
// Files are looked for where Debian's packages put them, then in the cache ([CacheDir]), and are downloaded only when
// asked for. Every published file has a pinned SHA-256.
package dataset

import (
	"fmt"
	"image"
	"image/color"
)

// Set is a data set: in memory, or in files that are read when they are needed.
type Set struct {
	Name       string
	Classes    int
	ClassNames []string // by label
	// Channels, Height and Width are the shape of an image, in pixels.
	Channels, Height, Width int
	Train, Test             Split
	// Mean and Std hold, per channel, what an image is normalised with after division by 255.
	Mean, Std []float32
	// SHA256 maps the name of each source file to the hexadecimal digest of its content (of the uncompressed content
	// where the name has no .gz).
	SHA256 map[string]string
}

// Split is the images of a [Set] that are trained on, or those that are evaluated on.
type Split struct {
	Pixels []uint8 // [N, Height, Width, Channels], row-major; nil where there are Files
	Labels []int32 // [N], 0 to Classes-1
	Files  *Files  // in place of Pixels: see [Split.Stream]
	// Memory is what holds Pixels where that is not Go's memory, and keeps them alive: whoever takes Pixels takes it too.
	Memory any
}

// Len is the number of images.
func (s Split) Len() int { return len(s.Labels) }

// Subset is the first n images. It shares memory with s. It is an error when there are fewer.
func (s Split) Subset(n int) (Split, error) {
	if n < 0 || n > s.Len() {
		return Split{}, fmt.Errorf("cannot take %d images: there are %d", n, s.Len())
	}
	return s.slice(0, n), nil
}

// Spread are the indices of k of n images, 1 to n, at equal distances from the first on: of a folder, whose images are
// in the order of their classes, as many of each class.
func Spread(n, k int) []int32 {
	indices := make([]int32, k)
	for i := range indices {
		indices[i] = int32(i * n / k)
	}
	return indices
}

// Spread is k images at equal distances, see the function of that name. It is an error when there are fewer.
func (s Split) Spread(k int) (Split, error) {
	if k < 1 || k > s.Len() {
		return Split{}, fmt.Errorf("cannot take %d images: there are %d", k, s.Len())
	}
	if k == s.Len() {
		return s, nil
	}
	part, size := Split{}, 0
	if s.Files != nil {
		files := *s.Files
		files.members = nil
		part.Files = &files
	} else {
		size = s.pixelsPerImage()
	}
	for _, i := range Spread(s.Len(), k) {
		part.Labels = append(part.Labels, s.Labels[i])
		if s.Files != nil {
			part.Files.members = append(part.Files.members, s.Files.members[i])
		} else {
			part.Pixels = append(part.Pixels, s.Pixels[int(i)*size:][:size]...)
		}
	}
	return part, nil
}

// Holdout is the set whose last n training images are the test images in place of the real ones: what
// hyper-parameters are chosen on. It shares memory with s; n = 0 gives s itself. It is an error when no training
// image would be left.
func (s *Set) Holdout(n int) (*Set, error) {
	if n == 0 {
		return s, nil
	}
	if n < 0 || n >= s.Train.Len() {
		return nil, fmt.Errorf("cannot hold out %d of the %d training images of %s", n, s.Train.Len(), s.Name)
	}
	held := *s
	rest := s.Train.Len() - n
	held.Train, held.Test = s.Train.slice(0, rest), s.Train.slice(rest, s.Train.Len())
	return &held, nil
}

// Image is image i of a split of s, for showing: grey for one channel, else red, green and blue.
// It panics when i is out of range. A file that cannot be read is black.
func (s *Set) Image(split Split, i int) image.Image {
	split = split.slice(i, i+1)
	pixels := split.Pixels
	if split.Files != nil {
		pixels = make([]uint8, s.Height*s.Width*s.Channels)
		var d decoder
		_ = split.Files.read(&d, new([]uint8), 0, pixels, nil)
		d.close()
	}
	bounds := image.Rect(0, 0, s.Width, s.Height)
	if s.Channels == 1 {
		return &image.Gray{Pix: pixels, Stride: s.Width, Rect: bounds}
	}
	shown := image.NewNRGBA(bounds)
	for p := range s.Width * s.Height {
		c := pixels[p*s.Channels:]
		shown.SetNRGBA(p%s.Width, p/s.Width, color.NRGBA{R: c[0], G: c[1], B: c[2], A: 255})
	}
	return shown
}

// slice is images from to to-1.
func (s Split) slice(from, to int) Split {
	part := Split{Labels: s.Labels[from:to:to]}
	if s.Files != nil {
		files := *s.Files
		files.members = files.members[from:to:to]
		part.Files = &files
		return part
	}
	size := s.pixelsPerImage()
	part.Pixels, part.Memory = s.Pixels[from*size:to*size:to*size], s.Memory
	return part
}

// take is the first n images, or all for n = 0; what names them in the error.
func (s Split) take(n int, what string) (Split, error) {
	if n == 0 {
		return s, nil
	}
	taken, err := s.Subset(n)
	if err != nil {
		return Split{}, fmt.Errorf("%s: %w", what, err)
	}
	return taken, nil
}
