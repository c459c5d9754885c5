package report

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"

	"github.com/dhkd-lab/dhkd-go/plots"
)

// noise is the size, in points, below which two accuracies cannot be told apart, about 95 in 100 times:
//
//   - sampling: two standard errors of a difference of two binomial proportions on n test images, after Agresti and
//     Caffo (2000), which adds a success and a failure to each so that few images or an accuracy of 0 or 100 % claim
//     nothing. The two runs see the same images, so their errors are alike and the true error of the difference is
//     smaller: this errs on the side of saying nothing.
//   - seeds: with two or more seeds each, Welch's standard error of the difference of means times Student's t.
//
// The two are added in quadrature. It is infinite when n is not positive or a run has no value.
func noise(a, b plots.Stat, n int) float64 {
	if n <= 0 || a.N == 0 || b.N == 0 {
		return math.Inf(1)
	}
	return math.Hypot(samplingNoise(a.Mean, b.Mean, n), seedNoise(a, b))
}

// samplingNoise is that of two accuracies in per cent on n images.
func samplingNoise(a, b float64, n int) float64 {
	images := float64(n)
	variance := func(top1 float64) float64 {
		p := (top1/100*images + 1) / (images + 2)
		return p * (1 - p) / (images + 2)
	}
	// The estimate shrinks the difference by n/(n+2); the margin is stretched in its place.
	return 2 * 100 * math.Sqrt(variance(a)+variance(b)) * (images + 2) / images
}

// seedNoise is that of two means over seeds; 0 when the spread of either is not known.
func seedNoise(a, b plots.Stat) float64 {
	if a.N < 2 || b.N < 2 {
		return 0
	}
	va, vb := a.SD*a.SD/float64(a.N), b.SD*b.SD/float64(b.N)
	if va+vb == 0 {
		return 0
	}
	freedom := (va + vb) * (va + vb) / (va*va/float64(a.N-1) + vb*vb/float64(b.N-1))
	t := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: freedom}.Quantile(0.975)
	return t * math.Sqrt(va+vb)
}
