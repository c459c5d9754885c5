package dataset

import (
	"context"
	"fmt"
	"math/bits"
	"math/rand/v2"
)

const pairSide = fashionSide/2 + 2 // 14x14 and one pixel of padding on each side

// Streams of the generator that the pairing draws from.
const (
	streamTrain = 1
	streamTestA = 2
	streamTestB = 3
)

var pairsInfo = Info{
	Name: "fashion-pairs-100", What: "two articles of Fashion-MNIST in one image, red and green 16x16",
	Classes: fashionClasses * fashionClasses, Train: 30_000, Test: 10_000, Shape: [3]int{3, pairSide, pairSide},
	Licence: fashionInfo.Licence, Home: fashionInfo.Home,
}

// loadPairs builds Fashion-Pairs-100 from Fashion-MNIST. A sample is two images, A in red and B in green (blue is 0),
// each averaged over 2x2 pixels (half rounds up) and padded with one zero pixel on each side; its label is 10 a + b.
//
// Training pairs are consecutive disjoint pairs of a random permutation of the training images, so that no image is
// in two. Test pairs are those of two random permutations of the test images, one after the other, so that each image
// is in two. A permutation is [permutation] of o.Seed with the stream 1 (training), 2 and 3 (test). The first o.Train
// and o.Test pairs are taken: a smaller set is the beginning of a larger one.
func loadPairs(ctx context.Context, at place, o Options) (*Set, error) {
	train, test, files, err := readFashion(ctx, at)
	if err != nil {
		return nil, err
	}
	set := newSet(pairsInfo, files)
	set.Mean, set.Std = []float32{0.286, 0.286, 0.286}, []float32{0.353, 0.353, 0.353}
	for _, a := range fashionNames {
		for _, b := range fashionNames {
			set.ClassNames = append(set.ClassNames, a+" + "+b)
		}
	}
	if set.Train, err = pairs(train, o.Train, "training pairs", o.Seed, streamTrain); err != nil {
		return nil, err
	}
	set.Test, err = pairs(test, o.Test, "test pairs", o.Seed, streamTestA, streamTestB)
	return set, err
}

// pairs is the first n pairs (0 = all) of consecutive images of the permutations of the given streams.
func pairs(images Split, n int, what string, seed uint64, streams ...uint64) (Split, error) {
	var order []int
	for _, stream := range streams {
		order = append(order, permutation(images.Len()&^1, seed, stream)...)
	}
	if n == 0 {
		n = len(order) / 2
	}
	if n > len(order)/2 {
		return Split{}, fmt.Errorf("cannot take %d %s: there are %d", n, what, len(order)/2)
	}
	const size = pairSide * pairSide * 3
	s := Split{Pixels: make([]uint8, n*size), Labels: make([]int32, n)}
	for i := range n {
		a, b := order[2*i], order[2*i+1]
		s.Labels[i] = fashionClasses*images.Labels[a] + images.Labels[b]
		sample := s.Pixels[i*size:][:size]
		shrink(sample, images.slice(a, a+1).Pixels)
		shrink(sample[1:], images.slice(b, b+1).Pixels)
	}
	return s, nil
}

// shrink writes the 28x28 image, averaged to 14x14, into every third byte of the middle of the 16x16 sample.
func shrink(sample, image []uint8) {
	for y := range fashionSide / 2 {
		top := image[2*y*fashionSide:][:fashionSide]
		bottom := image[(2*y+1)*fashionSide:][:fashionSide]
		row := sample[((y+1)*pairSide+1)*3:]
		for x := range fashionSide / 2 {
			sum := uint(top[2*x]) + uint(top[2*x+1]) + uint(bottom[2*x]) + uint(bottom[2*x+1])
			row[3*x] = uint8((sum + 2) / 4)
		}
	}
}

// permutation is a random order of 0 to n-1: Fisher and Yates's shuffle from the end, where place i is exchanged with
// place floor(u (i+1) / 2^64) and u is the next number of PCG-DXSM (math/rand/v2) seeded with seed and stream. It is
// written out because the order must stay the same whatever becomes of the library's shuffle.
func permutation(n int, seed, stream uint64) []int {
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	generator := rand.NewPCG(seed, stream)
	for i := n - 1; i > 0; i-- {
		j, _ := bits.Mul64(generator.Uint64(), uint64(i+1))
		order[i], order[j] = order[j], order[i]
	}
	return order
}

// Articles is Fashion-MNIST as the networks of Fashion-Pairs-100 see it: each article as a pair with itself, in red
// and in green, with the pairs' shape and normalisation and the articles' labels. The error says that the images are
// not 28x28 grey ones in memory.
func Articles(articles *Set) (*Set, error) {
	s := *articles
	if s.Channels != 1 || s.Height != fashionSide || s.Width != fashionSide || s.Train.Files != nil {
		return nil, fmt.Errorf("%s has images of %dx%d with %d channels: articles are grey 28x28", s.Name, s.Height, s.Width,
			s.Channels)
	}
	s.Channels, s.Height, s.Width = pairsInfo.Shape[0], pairSide, pairSide
	s.Mean, s.Std = []float32{0.286, 0.286, 0.286}, []float32{0.353, 0.353, 0.353}
	const size = pairSide * pairSide * 3
	for of, split := range map[*Split]Split{&s.Train: articles.Train, &s.Test: articles.Test} {
		*of = Split{Labels: split.Labels, Pixels: make([]uint8, split.Len()*size)}
		for i := range split.Len() {
			image := split.slice(i, i+1).Pixels
			shrink(of.Pixels[i*size:][:size], image)
			shrink(of.Pixels[i*size:][1:size], image)
		}
	}
	return &s, nil
}
