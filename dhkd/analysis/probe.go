package analysis

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/optimize"
	"gonum.org/v1/gonum/stat"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// Labelled are features of labelled images.
type Labelled struct {
	Features []float32 // [n, width]
	Labels   []int32   // [n], 0 to classes-1
}

// probeIterations is enough for a convex problem of this size; where it is not, the classifier is nearly the best.
const probeIterations = 500

// LinearProbe fits multinomial logistic regression to the training features, each to mean 0 and standard deviation 1,
// and counts what it gets right on both: how much of another task can be read off the features linearly. It minimises
// the mean cross-entropy plus l2/2 times the squared weights, without the biases, by L-BFGS from zero: the same
// features give the same scores. The error says what does not fit.
func LinearProbe(train, test Labelled, classes int, l2 float64) (record.ProbeScore, error) {
	var score record.ProbeScore
	if len(train.Labels) == 0 || len(train.Features)%len(train.Labels) != 0 || classes < 2 || !(l2 >= 0) {
		return score, fmt.Errorf("a linear probe of %d features of %d images, %d classes, weight %g", len(train.Features),
			len(train.Labels), classes, l2)
	}
	score.Width = len(train.Features) / len(train.Labels)
	for _, part := range []Labelled{train, test} {
		if len(part.Labels) == 0 || len(part.Features) != len(part.Labels)*score.Width {
			return score, fmt.Errorf("%d test features do not fit %d labels and width %d", len(part.Features), len(part.Labels),
				score.Width)
		}
		for i, label := range part.Labels {
			if label < 0 || int(label) >= classes {
				return score, fmt.Errorf("label %d of %d is %d, want 0 to %d", i+1, len(part.Labels), label, classes-1)
			}
		}
	}
	x, z := mat.NewDense(len(train.Labels), score.Width, widen(train.Features)),
		mat.NewDense(len(test.Labels), score.Width, widen(test.Features))
	if !finite(x.RawMatrix().Data) || !finite(z.RawMatrix().Data) {
		return score, fmt.Errorf("features are NaN or infinite: nothing can be read off them")
	}
	standardize(x, z)
	r := regression{x: x, labels: train.Labels, classes: classes, l2: l2}
	problem := optimize.Problem{Func: func(w []float64) float64 { return r.loss(w, nil) },
		Grad: func(gradient, w []float64) { r.loss(w, gradient) }}
	result, err := optimize.Minimize(problem, make([]float64, classes*(score.Width+1)),
		&optimize.Settings{MajorIterations: probeIterations, GradientThreshold: 1e-5}, &optimize.LBFGS{})
	if result == nil || err != nil && !finite(result.X) {
		return score, fmt.Errorf("the classifier of the linear probe was not found: %w", err)
	} // else an error is that of a line search that can do no better
	score.Train, score.Test = r.top1(result.X, x, train.Labels), r.top1(result.X, z, test.Labels)
	return score, nil
}

// standardize brings each column of x to mean 0 and standard deviation 1, and z with it. A column that is constant is
// 0.
func standardize(x, z *mat.Dense) {
	_, d := x.Dims()
	for k := range d {
		mean, sd := stat.PopMeanStdDev(mat.Col(nil, k, x), nil)
		scale := 0.0
		if sd > 1e-12*math.Abs(mean) && sd > 0 {
			scale = 1 / sd
		}
		for _, m := range []*mat.Dense{x, z} {
			n, _ := m.Dims()
			for i := range n {
				m.Set(i, k, (m.At(i, k)-mean)*scale)
			}
		}
	}
}

// regression is the problem; its variables are the weights, [classes, d], then the biases, [classes].
type regression struct {
	x       *mat.Dense
	labels  []int32
	classes int
	l2      float64
}

func (r regression) logits(w []float64, x *mat.Dense) *mat.Dense {
	n, d := x.Dims()
	z := mat.NewDense(n, r.classes, nil)
	z.Mul(x, mat.NewDense(r.classes, d, w[:r.classes*d]).T())
	for i := range n {
		floats.Add(z.RawRowView(i), w[r.classes*d:])
	}
	return z
}

// loss returns the loss, and fills in its gradient unless that is nil.
func (r regression) loss(w, gradient []float64) float64 {
	n, d := r.x.Dims()
	z := r.logits(w, r.x)
	weights := w[:r.classes*d]
	sum := 0.0
	for i, label := range r.labels {
		row := z.RawRowView(i)
		total := floats.LogSumExp(row)
		sum += total - row[label]
		for k := range row {
			row[k] = math.Exp(row[k]-total) / float64(n)
		}
		row[label] -= 1 / float64(n)
	}
	if gradient != nil {
		g := mat.NewDense(r.classes, d, gradient[:r.classes*d])
		g.Mul(z.T(), r.x)
		floats.AddScaled(gradient[:r.classes*d], r.l2, weights)
		biases := gradient[r.classes*d:]
		for k := range biases {
			biases[k] = 0
		}
		for i := range n {
			floats.Add(biases, z.RawRowView(i))
		}
	}
	return sum/float64(n) + r.l2/2*floats.Dot(weights, weights)
}

// top1 is in per cent.
func (r regression) top1(w []float64, x *mat.Dense, labels []int32) float64 {
	z, right := r.logits(w, x), 0
	for i, label := range labels {
		if floats.MaxIdx(z.RawRowView(i)) == int(label) {
			right++
		}
	}
	return 100 * float64(right) / float64(len(labels))
}
