package analysis

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// Layer is the last linear layer of a head, and what it reads of n images: of a linear head the pooled features, of a
// nonlinear one those of its hidden layer.
type Layer struct {
	Width    int
	Features []float32 // [n, Width]
	Labels   []int32   // [n]
	Weight   []float32 // [classes, Width]
	Bias     []float32 // [classes]
}

// Collapse measures the neural collapse of a layer; of names and formulas see [record.NC1] and those after it.
// Classes without images are left out, as are their rows of the classifier. Sigma_W is the mean over images, Sigma_B
// that over classes, and M is less the mean of the class means. Its pseudo-inverse takes singular values of M below
// 1e-6 of the largest as 0: features are float32. The error says which size does not fit, or that fewer than two
// classes have images.
func Collapse(l Layer) (record.Collapse, error) {
	c := record.Collapse{Images: len(l.Labels), Width: l.Width, Measures: record.Metrics{}}
	if l.Width < 1 || len(l.Features) != len(l.Labels)*l.Width || len(l.Weight) != len(l.Bias)*l.Width {
		return c, fmt.Errorf("%d features and %d weights do not fit %d labels, %d classes and width %d", len(l.Features),
			len(l.Weight), len(l.Labels), len(l.Bias), l.Width)
	}
	place := make([]int, len(l.Bias)) // of a class among those with images, from 1
	for i, label := range l.Labels {
		if label < 0 || int(label) >= len(l.Bias) {
			return c, fmt.Errorf("label %d of %d is %d, want 0 to %d", i+1, len(l.Labels), label, len(l.Bias)-1)
		}
		place[label] = 1
	}
	for label, present := range place {
		if present > 0 {
			c.Classes++
			place[label] = c.Classes
		}
	}
	if c.Classes < 2 {
		return c, fmt.Errorf("%d classes have images: collapse is between classes", c.Classes)
	}
	p := newParts(l, place, c.Classes)
	c.Measures[record.NC1] = p.variability()
	c.Measures[record.NC4] = p.disagreement()
	m, w := centred(p.means), centred(p.weight)
	for _, of := range []struct {
		rows                      *mat.Dense
		norms, angles, gap, frame string
	}{
		{m, record.NC2Norms, record.NC2Angles, record.NC2Gap, record.ETFMeans},
		{w, record.NC2ClassifierNorms, record.NC2ClassifierAngles, record.NC2ClassifierGap, record.ETFClassifier},
	} {
		c.Measures[of.norms], c.Measures[of.angles], c.Measures[of.gap] = geometry(of.rows)
		c.Measures[of.frame] = frameDistance(of.rows)
	}
	c.Measures[record.NC3] = duality(w, m)
	return c, nil
}

// parts are a layer's, of the classes that have images.
type parts struct {
	features *mat.Dense // [n, d]
	class    []int      // [n]
	means    *mat.Dense // [classes, d]
	weight   *mat.Dense // [classes, d]
	bias     []float64
}

func newParts(l Layer, place []int, classes int) parts {
	n, d := len(l.Labels), l.Width
	p := parts{features: mat.NewDense(n, d, widen(l.Features)), class: make([]int, n), means: mat.NewDense(classes, d,
		nil),
		weight: mat.NewDense(classes, d, nil), bias: make([]float64, classes)}
	counts := make([]float64, classes)
	for i, label := range l.Labels {
		k := place[label] - 1
		p.class[i] = k
		counts[k]++
		floats.Add(p.means.RawRowView(k), p.features.RawRowView(i))
	}
	for k, count := range counts {
		for axis := range p.means.RawRowView(k) { // not times 1/count: the mean of equal features is exactly theirs
			p.means.RawRowView(k)[axis] /= count
		}
	}
	for label, at := range place {
		if at > 0 {
			p.weight.SetRow(at-1, widen(l.Weight[label*d:][:d]))
			p.bias[at-1] = float64(l.Bias[label])
		}
	}
	return p
}

// variability is NC1. With M = U S V', Sigma_B = V S^2 V'/C, so that trace(Sigma_W Sigma_B^+)/C is the sum over the
// axes V of the variance within classes along the axis over S^2.
func (p parts) variability() float64 {
	m := centred(p.means)
	if !finite(p.features.RawMatrix().Data) {
		return math.NaN()
	}
	var svd mat.SVD
	if !svd.Factorize(m, mat.SVDThin) {
		return math.NaN()
	}
	s := svd.Values(nil)
	var v mat.Dense
	svd.VTo(&v)
	classes, d := m.Dims()
	rank := 0
	for rank < min(classes-1, len(s)) && s[rank] > 1e-6*s[0] {
		rank++
	}
	if rank == 0 {
		return math.NaN()
	}
	within := mat.NewDense(len(p.class), d, nil)
	for i, k := range p.class {
		floats.SubTo(within.RawRowView(i), p.features.RawRowView(i), p.means.RawRowView(k))
	}
	var along mat.Dense
	along.Mul(within, v.Slice(0, d, 0, rank))
	sum := 0.0
	for i := range p.class {
		for axis, x := range along.RawRowView(i) {
			sum += x * x / (s[axis] * s[axis])
		}
	}
	return sum / float64(len(p.class))
}

// disagreement is NC4.
func (p parts) disagreement() float64 {
	var logits, nearness mat.Dense
	logits.Mul(p.features, p.weight.T())
	nearness.Mul(p.features, p.means.T())
	half := make([]float64, len(p.bias)) // |h - m|^2 = |h|^2 - 2 (h m - |m|^2/2)
	for k := range half {
		row := p.means.RawRowView(k)
		half[k] = floats.Dot(row, row) / 2
	}
	apart := 0
	for i := range p.class {
		z, near := logits.RawRowView(i), nearness.RawRowView(i)
		if !finite(z) || !finite(near) {
			return math.NaN()
		}
		floats.Add(z, p.bias)
		floats.Sub(near, half)
		if floats.MaxIdx(z) != floats.MaxIdx(near) {
			apart++
		}
	}
	return float64(apart) / float64(len(p.class))
}

// geometry says how far the rows are from equal lengths, and their cosines from equal and from the simplex's.
func geometry(rows *mat.Dense) (norms, angles, gap float64) {
	n, _ := rows.Dims()
	lengths := make([]float64, n)
	for i := range lengths {
		lengths[i] = floats.Norm(rows.RawRowView(i), 2)
	}
	mean, sd := stat.PopMeanStdDev(lengths, nil)
	var cosines []float64
	for i := range n {
		for j := range i {
			cosines = append(cosines, floats.Dot(rows.RawRowView(i), rows.RawRowView(j))/(lengths[i]*lengths[j]))
		}
	}
	for _, c := range cosines {
		gap += math.Abs(c+1/float64(n-1)) / float64(len(cosines))
	}
	return sd / mean, stat.PopStdDev(cosines, nil), gap
}

// frameDistance is that from a simplex equiangular tight frame.
func frameDistance(rows *mat.Dense) float64 {
	n, _ := rows.Dims()
	var gram mat.Dense
	gram.Mul(rows, rows.T())
	length := mat.Norm(&gram, 2) // of a matrix, gonum's 2 is Frobenius's
	sum := 0.0
	for i := range n {
		for j := range n {
			ideal := -1 / float64(n)
			if i == j {
				ideal++
			}
			d := gram.At(i, j)/length - ideal/math.Sqrt(float64(n-1))
			sum += d * d
		}
	}
	return math.Sqrt(sum)
}

// duality is NC3.
func duality(w, m *mat.Dense) float64 {
	var a, b mat.Dense
	a.Scale(1/mat.Norm(w, 2), w)
	b.Scale(1/mat.Norm(m, 2), m)
	a.Sub(&a, &b)
	return mat.Norm(&a, 2)
}

// centred is the rows less their mean. The first row goes first, so that rows that are all the same are exactly 0, and
// what is not defined of them is NaN rather than a ratio of rounding errors.
func centred(rows mat.Matrix) *mat.Dense {
	c := mat.DenseCopyOf(rows)
	n, d := c.Dims()
	first := mat.Row(nil, 0, rows)
	for i := range n {
		floats.Sub(c.RawRowView(i), first)
	}
	mean := make([]float64, d)
	for i := range n {
		floats.AddScaled(mean, 1/float64(n), c.RawRowView(i))
	}
	for i := range n {
		floats.Sub(c.RawRowView(i), mean)
	}
	return c
}

func widen(values []float32) []float64 {
	wide := make([]float64, len(values))
	for i, v := range values {
		wide[i] = float64(v)
	}
	return wide
}

func finite(values []float64) bool {
	for _, v := range values {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return false
		}
	}
	return true
}
