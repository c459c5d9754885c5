package analysis

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"gonum.org/v1/gonum/mat"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// orthonormal has d rows and n <= d columns, drawn with the seed.
func orthonormal(seed uint64, d, n int) *mat.Dense {
	random := rand.New(rand.NewPCG(seed, 1))
	x := mat.NewDense(d, d, nil)
	x.Apply(func(int, int, float64) float64 { return random.NormFloat64() }, x)
	var qr mat.QR
	qr.Factorize(x)
	var q mat.Dense
	qr.QTo(&q)
	return mat.DenseCopyOf(q.Slice(0, d, 0, n))
}

// simplex is sqrt(C/(C-1)) (I - 11'/C) U', a row a class.
func simplex(seed uint64, classes, d int) *mat.Dense {
	ideal := mat.NewDense(classes, classes, nil)
	ideal.Apply(func(i, j int, _ float64) float64 {
		v := -1 / float64(classes)
		if i == j {
			v++
		}
		return v * math.Sqrt(float64(classes)/float64(classes-1))
	}, ideal)
	var m mat.Dense
	m.Mul(ideal, orthonormal(seed, d, classes).T())
	return &m
}

// layerOf has per images a class at its mean, plus shift, and what spread says of the image. The classifier is the
// means times scale, with the biases that go with the shift.
func layerOf(means *mat.Dense, per int, shift []float64, scale float64, spread func(image, k int) float64) Layer {
	classes, d := means.Dims()
	l := Layer{Width: d, Bias: make([]float32, classes)}
	for label := range classes {
		for k := range d {
			w := scale * means.At(label, k)
			l.Weight = append(l.Weight, float32(w))
			l.Bias[label] -= float32(w * shift[k])
		}
		for image := range per {
			for k := range d {
				l.Features = append(l.Features, float32(means.At(label, k)+shift[k]+spread(image, k)))
			}
			l.Labels = append(l.Labels, int32(label))
		}
	}
	return l
}

func collapse(t *testing.T, l Layer) record.Metrics {
	t.Helper()
	c, err := Collapse(l)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Measures) != len(record.CollapseMeasures) {
		t.Fatalf("measures %v", c.Measures)
	}
	return c.Measures
}

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance) {
		t.Errorf("%s: %.9g, want %.9g", what, got, want)
	}
}

func none(int, int) float64 { return 0 }

// At full collapse, wherever it is and however long the classifier's rows are, every measure is 0.
func TestCollapseOfSimplex(t *testing.T) {
	shift := make([]float64, 16)
	for k := range shift {
		shift[k] = float64(k%3) / 2
	}
	m := collapse(t, layerOf(simplex(3, 10, 16), 4, shift, 2.5, none))
	for _, name := range record.CollapseMeasures {
		near(t, name, m[name], 0, 2e-6)
	}
}

// Two classes on a line, at -1 and 1, with images at +-s of them: Sigma_W = s^2, Sigma_B = 1, so NC1 is s^2/2. What is
// across the line is in the null space of Sigma_B and does not count.
func TestVariability(t *testing.T) {
	means := mat.NewDense(2, 2, []float64{-1, 0, 1, 0})
	m := collapse(t, layerOf(means, 2, []float64{0, 0}, 1, func(image, k int) float64 {
		return []float64{0.5, 3}[k] * float64(2*image-1)
	}))
	near(t, "nc1", m[record.NC1], 0.125, 1e-7)
}

// NC1 by its definition: the covariance within classes times the pseudo-inverse of that between them, where there are
// fewer features than classes and where there are more.
func TestVariabilityByDefinition(t *testing.T) {
	for _, d := range []int{3, 8} {
		l := noisy(9, d)
		h, means := mat.NewDense(35, d, widen(l.Features)), mat.NewDense(5, d, nil)
		for i, label := range l.Labels {
			for k := range d {
				means.Set(int(label), k, means.At(int(label), k)+h.At(i, k)/7)
			}
		}
		for i, label := range l.Labels {
			for k := range d {
				h.Set(i, k, h.At(i, k)-means.At(int(label), k))
			}
		}
		var within, between, inverse, product mat.Dense
		within.Mul(h.T(), h)
		within.Scale(1.0/35, &within)
		m := centred(means)
		var outer mat.SymDense
		outer.SymOuterK(0.2, m.T())
		var eigen mat.EigenSym
		if !eigen.Factorize(&outer, true) {
			t.Fatal("no eigenvectors")
		}
		var v mat.Dense
		eigen.VectorsTo(&v)
		reciprocal := mat.NewDense(d, d, nil)
		for k, lambda := range eigen.Values(nil) {
			if lambda > 1e-9 {
				reciprocal.Set(k, k, 1/lambda)
			}
		}
		between.Mul(&v, reciprocal)
		inverse.Mul(&between, v.T())
		product.Mul(&within, &inverse)
		near(t, "nc1", collapse(t, l)[record.NC1], mat.Trace(&product)/5, 1e-9)
	}
}

// Three centred means in the plane, (2, 0), (-1, 1), (-1, -1): lengths 2, r, r and cosines -1/r, -1/r, 0 with r =
// sqrt(2).
func TestGeometry(t *testing.T) {
	m := collapse(t, layerOf(mat.NewDense(3, 2, []float64{2, 0, -1, 1, -1, -1}), 1, []float64{5, -1}, 3, none))
	r := math.Sqrt2
	mean := (2 + 2*r) / 3
	norms := math.Sqrt(((2-mean)*(2-mean)+2*(r-mean)*(r-mean))/3) / mean
	angles := math.Sqrt((2*math.Pow(-1/r+2/(3*r), 2) + math.Pow(2/(3*r), 2)) / 3)
	gap := (2*(1/r-0.5) + 0.5) / 3
	// MM' = [4 -2 -2; -2 2 0; -2 0 2], of norm sqrt(40).
	frame := 0.0
	for i, row := range [][]float64{{4, -2, -2}, {-2, 2, 0}, {-2, 0, 2}} {
		for j, v := range row {
			ideal := -1.0 / 3
			if i == j {
				ideal++
			}
			frame += math.Pow(v/math.Sqrt(40)-ideal/r, 2)
		}
	}
	for name, want := range map[string]float64{record.NC2Norms: norms, record.NC2Angles: angles, record.NC2Gap: gap,
		record.NC2ClassifierNorms: norms, record.NC2ClassifierAngles: angles, record.NC2ClassifierGap: gap,
		record.ETFMeans: math.Sqrt(frame), record.ETFClassifier: math.Sqrt(frame), record.NC3: 0} {
		near(t, name, m[name], want, 1e-6)
	}
}

// The classifier against the means is at distance 2, one across them at sqrt(2); NC4 counts what they disagree on.
func TestDuality(t *testing.T) {
	l := layerOf(simplex(1, 6, 12), 3, make([]float64, 12), 1, none)
	against := l
	against.Weight = nil
	for _, w := range l.Weight {
		against.Weight = append(against.Weight, -w)
	}
	m := collapse(t, against)
	near(t, "nc3 against", m[record.NC3], 2, 1e-6)
	near(t, "nc4 against", m[record.NC4], 1, 0)

	u := orthonormal(2, 12, 12) // means along the first six axes, the classifier along the others
	across := layerOf(mat.DenseCopyOf(u.Slice(0, 12, 0, 6).T()), 1, make([]float64, 12), 1, none)
	across.Weight = layerOf(mat.DenseCopyOf(u.Slice(0, 12, 6, 12).T()), 1, make([]float64, 12), 1, none).Weight
	near(t, "nc3 across", collapse(t, across)[record.NC3], math.Sqrt2, 1e-6)

	swapped := l
	swapped.Weight = slices.Concat(l.Weight[12:24], l.Weight[:12], l.Weight[24:])
	near(t, "nc4 of two exchanged rows", collapse(t, swapped)[record.NC4], 2.0/6, 1e-12)
}

// noisy is a layer that is far from collapse.
func noisy(seed uint64, d int) Layer {
	random := rand.New(rand.NewPCG(seed, 2))
	draw := func(int, int) float64 { return random.NormFloat64() }
	means := mat.NewDense(5, d, nil)
	means.Apply(func(_, _ int, _ float64) float64 { return random.NormFloat64() }, means)
	l := layerOf(means, 7, make([]float64, d), 1, draw)
	for i := range l.Weight {
		l.Weight[i] += float32(random.NormFloat64())
	}
	return l
}

// Nothing that is measured depends on the axes, the origin or the unit of the features.
func TestCollapseInvariance(t *testing.T) {
	l := noisy(4, 8)
	want := collapse(t, l)
	u := orthonormal(5, 8, 8)
	turn := func(rows []float32, factor, shift float64) (turned []float32) {
		var y mat.Dense
		y.Mul(mat.NewDense(len(rows)/8, 8, widen(rows)), u)
		for _, v := range y.RawMatrix().Data {
			turned = append(turned, float32(factor*v+shift))
		}
		return turned
	}
	moved := l
	moved.Features, moved.Weight = turn(l.Features, 3, 0.5), turn(l.Weight, 1.0/3, 0)
	moved.Bias = slices.Clone(l.Bias)
	for label := range moved.Bias {
		for _, w := range moved.Weight[label*8:][:8] {
			moved.Bias[label] -= 0.5 * w
		}
	}
	got := collapse(t, moved)
	for _, name := range record.CollapseMeasures {
		near(t, name, got[name], want[name], 1e-5*(1+want[name]))
	}
	if want[record.NC1] < 0.05 || want[record.NC3] < 0.1 || want[record.NC4] == 0 {
		t.Errorf("a noisy layer is not collapsed: %v", want)
	}
}

// Classes without images do not count, nor do their rows.
func TestCollapseOfSomeClasses(t *testing.T) {
	l := noisy(6, 9)
	want := collapse(t, l)
	l.Weight = slices.Concat(l.Weight[:9], make([]float32, 9), l.Weight[9:])
	l.Bias = slices.Insert(slices.Clone(l.Bias), 1, 100)
	for i := range l.Labels {
		if l.Labels[i] > 0 {
			l.Labels[i]++
		}
	}
	c, err := Collapse(l)
	if err != nil || c.Classes != 5 || c.Images != 35 || c.Width != 9 {
		t.Fatalf("%+v, %v", c, err)
	}
	for _, name := range record.CollapseMeasures {
		near(t, name, c.Measures[name], want[name], 1e-12)
	}
}

// Features that are all the same have no geometry, and those of a run that died none at all.
func TestCollapseUndefined(t *testing.T) {
	l := layerOf(mat.NewDense(3, 4, nil), 2, []float64{1, 1, 1, 1}, 1, none)
	m := collapse(t, l)
	for _, name := range []string{record.NC1, record.NC2Norms, record.NC2Angles, record.NC3, record.ETFMeans} {
		if !math.IsNaN(m[name]) {
			t.Errorf("%s of equal features: %g", name, m[name])
		}
	}
	l = noisy(5, 32)
	for i := range l.Features { // the same for all images, with means that rounding could move, as of a network that died
		l.Features[i] = l.Features[i%l.Width]
	}
	for i := range l.Labels { // classes of 1, 3, 5, 7 and 19 images
		l.Labels[i] = int32(min(4, math.Sqrt(float64(i))))
	}
	m = collapse(t, l)
	for _, name := range []string{record.NC1, record.NC2Norms, record.NC2Angles, record.NC2Gap, record.NC3,
		record.ETFMeans} {
		if !math.IsNaN(m[name]) {
			t.Errorf("%s of equal features in classes of different size: %g", name, m[name])
		}
	}
	l = noisy(1, 4)
	l.Features[3] = float32(math.NaN())
	if m = collapse(t, l); !math.IsNaN(m[record.NC1]) || !math.IsNaN(m[record.NC3]) || !math.IsNaN(m[record.NC4]) {
		t.Errorf("of NaN: %v", m)
	}
}

func TestCollapseRefused(t *testing.T) {
	for want, edit := range map[string]func(*Layer){
		"do not fit":                      func(l *Layer) { l.Features = l.Features[1:] },
		"width 0":                         func(l *Layer) { l.Width = 0 },
		"label 2 of 35 is 5, want 0 to 4": func(l *Layer) { l.Labels[1] = 5 },
		"label 1 of 35 is -1":             func(l *Layer) { l.Labels[0] = -1 },
		"1 classes have images":           func(l *Layer) { l.Labels = make([]int32, len(l.Labels)) },
	} {
		l := noisy(1, 3)
		edit(&l)
		if _, err := Collapse(l); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
