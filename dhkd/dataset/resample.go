package dataset

import (
	"math"
	"slices"
)

// plane is one channel of an image: the value at (x, y) is pixels[y*stride + x*step].
type plane struct {
	pixels       []uint8
	stride, step int
}

// axis says of which values along a row, or a column, each output is the weighted mean: those from first[i], weighted with
// weights[i*taps:]. Unused weights are 0.
type axis struct {
	first   []int
	weights []int32 // in units of 2^-precision
	taps    int
}

const precision = 22 // bits after the point; Pillow's, so that its results are met exactly

// newAxis resizes the values between low and high (both may lie between two) of a row of that length to size, with a
// triangle as wide as two outputs or two inputs, whichever is more: no aliasing. It gives the n outputs from that one.
// Outside [0, length) nothing is taken. Source of the arithmetic: Pillow's resampling, which torchvision uses.
func newAxis(length int, low, high float64, size, from, n int) axis {
	scale := (high - low) / float64(size)
	support := max(scale, 1)
	a := axis{taps: int(math.Ceil(support))*2 + 1, first: make([]int, n)}
	a.weights = make([]int32, n*a.taps)
	row := make([]float64, a.taps)
	for i := range n {
		center := low + (float64(from+i)+0.5)*scale
		first := max(0, int(center-support+0.5))
		end := min(length, int(center+support+0.5))
		if first >= end { // a sliver at the edge
			first = min(first, length-1)
			end = first + 1
		}
		sum := 0.0
		for x := first; x < end; x++ {
			w := max(0, 1-math.Abs((float64(x)-center+0.5)/support))
			row[x-first] = w
			sum += w
		}
		a.first[i] = first
		if sum == 0 {
			row[0], sum = 1, 1
		}
		for x, w := range row[:end-first] {
			a.weights[i*a.taps+x] = int32(0.5 + w/sum*(1<<precision))
		}
	}
	a.trim(length)
	return a
}

// trim removes taps that no output uses, and moves windows to the left where they would end past the length.
func (a *axis) trim(length int) {
	used := 0
	for i := range a.first {
		row := a.weights[i*a.taps : (i+1)*a.taps]
		n := len(row)
		for n > 1 && row[n-1] == 0 {
			n--
		}
		used = max(used, n)
	}
	used = min(used, length)
	weights := make([]int32, len(a.first)*used)
	for i := range a.first {
		move := max(0, a.first[i]+used-length)
		a.first[i] -= move
		copy(weights[i*used+move:(i+1)*used], a.weights[i*a.taps:])
	}
	a.weights, a.taps = weights, used
}

// resizer resizes planes, first along x, then along y, rounding after each. It keeps its memory for the next.
type resizer struct {
	rows []uint8 // resized along x
	sums []int32
}

const half = 1 << (precision - 1) // what rounds

// rounded is a sum without its bits after the point. Weights are not negative, nor is it.
func rounded(sum int32) uint8 { return uint8(min(sum>>precision, 255)) }

// resize writes the outputs of y and x of p to out[(row*width + column)*step].
func (r *resizer) resize(out []uint8, step int, p plane, x, y axis) {
	width := len(x.first)
	top, end := y.first[0], y.first[len(y.first)-1]+y.taps
	r.rows = slices.Grow(r.rows[:0], (end-top)*width)[:(end-top)*width]
	for row := top; row < end; row++ {
		horizontal(r.rows[(row-top)*width:][:width], p.pixels[row*p.stride:], p.step, x)
	}
	r.sums = slices.Grow(r.sums[:0], width)[:width]
	for i, first := range y.first {
		r.vertical(out[i*width*step:], step, r.rows[(first-top)*width:], y.weights[i*y.taps:(i+1)*y.taps])
	}
}

// vertical writes the weighted sum of rows, each as long as sums. Four at a time, sums are read and written less often.
func (r *resizer) vertical(out []uint8, step int, rows []uint8, weights []int32) {
	width := len(r.sums)
	for len(weights) > 1 && weights[len(weights)-1] == 0 {
		weights = weights[:len(weights)-1]
	}
	for c := range r.sums {
		r.sums[c] = half
	}
	for len(weights) > 0 {
		n := min(4, len(weights))
		var w [4]int32
		var row [4][]uint8
		for t := range row {
			row[t] = rows[min(t, n-1)*width:][:width]
		}
		copy(w[:], weights[:n])
		rows, weights = rows[min(n*width, len(rows)):], weights[n:]
		sums := r.sums
		a, b, c, d := row[0][:len(sums)], row[1][:len(sums)], row[2][:len(sums)], row[3][:len(sums)]
		wa, wb, wc, wd := w[0], w[1], w[2], w[3]
		if len(weights) > 0 {
			for i := range sums {
				sums[i] += int32(a[i])*wa + int32(b[i])*wb + int32(c[i])*wc + int32(d[i])*wd
			}
			continue
		}
		for i, sum := range sums {
			out[i*step] = rounded(sum + int32(a[i])*wa + int32(b[i])*wb + int32(c[i])*wc + int32(d[i])*wd)
		}
	}
}

// horizontal writes the outputs of x of a row. The usual numbers of taps, for views not much smaller than their crops, have
// code of their own.
func horizontal(out, row []uint8, step int, x axis) {
	taps, weights := x.taps, x.weights
	switch {
	case step == 1 && taps == 2:
		for i, first := range x.first {
			v, w := row[first:first+2], weights[2*i:2*i+2]
			out[i] = rounded(half + int32(v[0])*w[0] + int32(v[1])*w[1])
		}
	case step == 1 && taps == 3:
		for i, first := range x.first {
			v, w := row[first:first+3], weights[3*i:3*i+3]
			out[i] = rounded(half + int32(v[0])*w[0] + int32(v[1])*w[1] + int32(v[2])*w[2])
		}
	case step == 1 && taps == 4:
		for i, first := range x.first {
			v, w := row[first:first+4], weights[4*i:4*i+4]
			out[i] = rounded(half + int32(v[0])*w[0] + int32(v[1])*w[1] + int32(v[2])*w[2] + int32(v[3])*w[3])
		}
	case step == 1:
		for i, first := range x.first {
			sum := int32(half)
			w := weights[i*taps:][:taps]
			for t, v := range row[first:][:len(w)] {
				sum += int32(v) * w[t]
			}
			out[i] = rounded(sum)
		}
	default:
		for i, first := range x.first {
			sum, at := int32(half), first*step
			for _, weight := range weights[i*taps:][:taps] {
				sum += int32(row[at]) * weight
				at += step
			}
			out[i] = rounded(sum)
		}
	}
}
