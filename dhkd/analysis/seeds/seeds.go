// Package seeds holds the statistics of results over seeds: intervals, paired tests, and how many seeds a difference
// needs. It takes numbers, and needs no compute library.
package seeds

import (
	"errors"
	"fmt"
	"math"

	"gonum.org/v1/gonum/integrate/quad"
	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// Confidence of the intervals, and what [Needed] plans for.
const (
	Confidence = 0.95
	Power      = 0.8
)

// Summary is a sample's mean with its spread.
type Summary struct {
	N    int
	Mean float64 // NaN of no values
	SD   float64 // n - 1 in the denominator; NaN of fewer than two values
	// Low and High are the ends of the 95 % confidence interval of the mean: Mean -+ t SD/sqrt(N), where t is the quantile
	// 0.975 of Student's distribution with N - 1 degrees of freedom. NaN of fewer than two values.
	Low, High float64
}

// String is the mean and the interval to two decimals, "55.62 [53.90, 57.34]", or what there is of them.
func (s Summary) String() string {
	switch {
	case s.N == 0:
		return "–"
	case s.N == 1:
		return fmt.Sprintf("%.2f", s.Mean)
	}
	return fmt.Sprintf("%.2f [%.2f, %.2f]", s.Mean, s.Low, s.High)
}

// Summarize summarises values, one a seed.
func Summarize(values ...float64) Summary {
	nan := math.NaN()
	s := Summary{N: len(values), Mean: nan, SD: nan, Low: nan, High: nan}
	switch {
	case s.N == 1:
		s.Mean = values[0]
	case s.N > 1:
		s.Mean, s.SD = stat.MeanStdDev(values, nil)
		half := student(s.N-1).Quantile((1+Confidence)/2) * s.SD / math.Sqrt(float64(s.N))
		s.Low, s.High = s.Mean-half, s.Mean+half
	}
	return s
}

// Test is a paired comparison of two methods over the same seeds.
type Test struct {
	Difference Summary // of the first less the second, seed by seed
	T          float64 // Mean/(SD/sqrt(N)); infinite where all differences are the same and not 0
	// P is the probability, 0 to 1, of a T at least as far from 0 if the methods were equal and differences normal
	// (two-sided).
	P float64
}

// Paired is Student's paired t-test of a against b, whose values are of the same seeds in the same order: what the
// seeds share, such as the order of images, drops out. The error says which values cannot be compared.
func Paired(a, b []float64) (Test, error) {
	if len(a) != len(b) {
		return Test{}, fmt.Errorf("a paired test needs a value for each seed of both: there are %d and %d", len(a), len(b))
	}
	if len(a) < 2 {
		return Test{}, fmt.Errorf("a paired test needs at least 2 seeds, there is %d", len(a))
	}
	differences := make([]float64, len(a))
	for i := range a {
		if differences[i] = a[i] - b[i]; math.IsNaN(differences[i]) || math.IsInf(differences[i], 0) {
			return Test{}, fmt.Errorf("values %d are %g and %g: a test needs finite ones", i+1, a[i], b[i])
		}
	}
	t := Test{Difference: Summarize(differences...)}
	d := t.Difference
	switch {
	case d.SD == 0 && d.Mean == 0:
		t.P = 1
	case d.SD == 0:
		t.T = math.Inf(int(math.Copysign(1, d.Mean)))
	default:
		t.T = d.Mean / (d.SD / math.Sqrt(float64(d.N)))
		t.P = 2 * student(d.N-1).Survival(math.Abs(t.T))
	}
	return t, nil
}

// most is the largest number of seeds that is looked for.
const most = 1_000_000

// Needed is the smallest number of seeds with which a two-sided paired t-test at the level of 5 % finds a true
// difference with a probability of at least 80 %, where sd is the standard deviation of the differences between two
// methods, seed by seed. Both are in the same unit, as points of accuracy. It is exact for normal differences (the
// noncentral t distribution). The standard deviation is itself an estimate: after three seeds, the true one may
// be half of it or six times as large (95 % confidence).
func Needed(sd, difference float64) (int, error) {
	return needed(sd, difference, func(n int) (freedom int, noncentrality float64) {
		return n - 1, math.Abs(difference) / sd * math.Sqrt(float64(n))
	})
}

// NeededUnpaired is [Needed] for two methods that share no seeds: the number for each of them, where sd is the standard
// deviation of one method's results, the same for both.
func NeededUnpaired(sd, difference float64) (int, error) {
	return needed(sd, difference, func(n int) (freedom int, noncentrality float64) {
		return 2*n - 2, math.Abs(difference) / sd * math.Sqrt(float64(n)/2)
	})
}

func needed(sd, difference float64, test func(n int) (freedom int, noncentrality float64)) (int, error) {
	if !(sd >= 0) || math.IsInf(sd, 0) || difference == 0 || math.IsNaN(difference) || math.IsInf(difference, 0) {
		return 0, fmt.Errorf("standard deviation %g, difference %g: want finite numbers, the difference not 0", sd,
			difference)
	}
	if sd == 0 {
		return 2, nil
	}
	enough := func(n int) bool { return power(test(n)) >= Power }
	low, high := 1, 2 // low is not enough; a test has at least two seeds
	for !enough(high) {
		if low, high = high, 2*high; high > most {
			return 0, errors.New("more than a million seeds: this difference cannot be found")
		}
	}
	for high-low > 1 {
		if middle := (low + high) / 2; enough(middle) {
			high = middle
		} else {
			low = middle
		}
	}
	return high, nil
}

// power is the probability that |T| passes the two-sided 5 % level, for noncentral T: a normal number around delta over
// sqrt(V/freedom), where V has the chi-squared distribution. It is the mean over V, taken over V's quantiles.
func power(freedom int, delta float64) float64 {
	critical := student(freedom).Quantile((1 + Confidence) / 2)
	chi := distuv.ChiSquared{K: float64(freedom)}
	return quad.Fixed(func(share float64) float64 {
		bound := critical * math.Sqrt(chi.Quantile(share)/float64(freedom))
		return distuv.UnitNormal.Survival(bound-delta) + distuv.UnitNormal.CDF(-bound-delta)
	}, 0, 1, 200, nil, 0)
}

func student(freedom int) distuv.StudentsT { return distuv.StudentsT{Sigma: 1, Nu: float64(freedom)} }
