package analysis

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"gonum.org/v1/gonum/mat"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

func normal(seed uint64, n, d int) *mat.Dense {
	random := rand.New(rand.NewPCG(seed, 3))
	x := mat.NewDense(n, d, nil)
	x.Apply(func(int, int, float64) float64 { return random.NormFloat64() }, x)
	return x
}

func cka(x, y mat.Matrix) float64 { return CKA(Gram(x), Gram(y)) }

func TestCKA(t *testing.T) {
	x, y := normal(1, 40, 7), normal(2, 40, 5)
	near(t, "of itself", cka(x, x), 1, 1e-12)
	want := cka(x, y)
	var turned, shifted mat.Dense
	turned.Mul(x, orthonormal(9, 7, 7))
	turned.Scale(-4, &turned)
	shifted.Apply(func(_, j int, v float64) float64 { return v + float64(j) }, &turned)
	near(t, "of a rotation, a factor and a shift", cka(&shifted, y), want, 1e-12)
	near(t, "the other way round", cka(y, x), want, 1e-12)
	if want <= 0 || want >= 0.5 {
		t.Errorf("of independent features: %g", want)
	}

	// Centred columns a and b of length 1 across each other: K = aa' + bb' and L = aa' have tr(KL) = 1, tr(KK) = 2,
	// tr(LL) = 1.
	h := math.Sqrt(0.5)
	both, one := mat.NewDense(4, 2, []float64{h, 0, -h, 0, 0, h, 0, -h}), mat.NewDense(4, 1, []float64{h, -h, 0, 0})
	near(t, "of one axis of two", cka(both, one), h, 1e-12)
	near(t, "of two axes", cka(mat.NewDense(4, 1, []float64{0, 0, h, -h}), one), 0, 1e-12)
}

func TestCKAOfStages(t *testing.T) {
	x := narrow(normal(1, 12, 3))
	stages := []Stage{{"stem", x}, {"constant", make([]float32, 12)}}
	c, err := CKAOfStages(12, stages, stages[:1])
	if err != nil || c.Values[0][0] != 1 || c.Values[1][0] != 0 || c.Student[1] != "constant" || len(c.Teacher) != 1 {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := CKAOfStages(11, stages, stages); err == nil || !strings.Contains(err.Error(),
		"student: stage stem: 36 values") {
		t.Error(err)
	}
	dead, large := make([]float32, 36), make([]float32, 36)
	for i := range x {
		dead[i] = []float32{0.1, 0.7, 1e-3}[i%3]
		large[i] = 1e38 * x[i]
	}
	if c, err = CKAOfStages(12, []Stage{{"dead", dead}}, []Stage{{"dead", dead}}); err != nil || c.Values[0][0] != 0 {
		t.Errorf("of features that are the same for all images: %+v, %v", c, err)
	}
	if c, err = CKAOfStages(12, []Stage{{"large", large}}, []Stage{{"large", large}}); err != nil || c.Values[0][0] != 1 {
		t.Errorf("of features near the largest number of float32: %+v, %v", c, err)
	}
	x[0] = float32(math.Inf(1))
	if _, err := CKAOfStages(12, stages[1:], stages); err == nil || !strings.Contains(err.Error(),
		"teacher: stage stem has") {
		t.Error(err)
	}
}

func narrow(x *mat.Dense) (values []float32) {
	for _, v := range x.RawMatrix().Data {
		values = append(values, float32(v))
	}
	return values
}

// Points along (3, 4)/5 with ten times the spread of those across lie on the first axis, which points to where 4 is.
func TestPCA(t *testing.T) {
	x := mat.NewDense(5, 2, nil)
	for i, at := range [][2]float64{{-20, 0}, {-10, 0}, {0, 2}, {10, -2}, {20, 0}} {
		x.SetRow(i, []float64{0.6*at[0] - 0.8*at[1] + 7, 0.8*at[0] + 0.6*at[1]})
	}
	e, err := PCA(x)
	if err != nil {
		t.Fatal(err)
	}
	// The covariance of the two is not 0 (-5 of 250 and 2), so that the axes turn a little.
	var sxx, sxy, syy = 250.0, -5.0, 2.0
	half, mean := math.Hypot((sxx-syy)/2, sxy), (sxx+syy)/2
	near(t, "explained", e.Explained[0], (mean+half)/(sxx+syy), 1e-9)
	near(t, "explained second", e.Explained[1], (mean-half)/(sxx+syy), 1e-9)
	angle := math.Atan2(2*sxy, sxx-syy) / 2
	near(t, "first point", e.Points[0][0], -20*math.Cos(angle), 1e-4)
	near(t, "its height", math.Abs(e.Points[0][1]), math.Abs(20*math.Sin(angle)), 1e-4)
	if e, err := PCA(mat.NewDense(4, 3, nil)); err != nil || e.Points[3] != [2]float64{} || e.Explained[0] != 0 {
		t.Errorf("of one point: %+v, %v", e, err)
	}
	same, one := mat.NewDense(7, 40, nil), normal(3, 1, 40)
	for i := range 7 {
		same.SetRow(i, one.RawRowView(0))
	}
	if e, err := PCA(same); err != nil || e.Explained[0] != 0 {
		t.Errorf("of one point with coordinates that are rounded: %+v, %v", e, err)
	}
	if _, err := PCA(mat.NewDense(2, 3, nil)); err == nil || !strings.Contains(err.Error(), "needs 3 images") {
		t.Error(err)
	}
}

// Each image's neighbours have the entropy that was asked for, and p is a distribution over pairs.
func TestPerplexity(t *testing.T) {
	x := normal(1, 60, 6)
	k := Gram(x)
	p, distances := make([]float64, 60), make([]float64, 60)
	for i := range 60 {
		for j := range distances {
			distances[j] = k.At(i, i) + k.At(j, j) - 2*k.At(i, j)
		}
		neighbours(p, distances, i, math.Log(12))
		entropy, sum := 0.0, 0.0
		for j, v := range p {
			if sum += v; j != i {
				entropy -= v * math.Log(v)
			}
			for l, w := range p { // nearer images have larger shares
				if distances[j] < distances[l]-1e-9 && j != i && l != i && v < w {
					t.Fatalf("of image %d, %d has a smaller share than %d, which is farther", i, j, l)
				}
			}
		}
		near(t, "entropy", entropy, math.Log(12), 1e-8)
		near(t, "sum", sum, 1, 1e-12)
		near(t, "of itself", p[i], 0, 0)
	}
	sum := 0.0
	for _, v := range jointProbabilities(x, 12) {
		sum += 2 * v
	}
	near(t, "sum of joint probabilities", sum, 1, 1e-9)
}

// The slope is that of the divergence, by central differences.
func TestTSNEGradient(t *testing.T) {
	d := newDescent(jointProbabilities(normal(1, 12, 4), 4), 12, 1)
	for i, at := range normal(2, 12, 2).RawMatrix().Data {
		d.y[i/2][i%2] = at
	}
	d.slope(1)
	gradient := append([][2]float64(nil), d.gradient...)
	const step = 1e-5
	for i := range d.y {
		for axis := range 2 {
			at := d.y[i][axis]
			d.y[i][axis] = at + step
			up := d.divergence()
			d.y[i][axis] = at - step
			down := d.divergence()
			d.y[i][axis] = at
			near(t, "slope", gradient[i][axis], (up-down)/(2*step), 1e-8)
		}
	}
}

// Clusters that are far apart stay apart, the divergence falls, and a seed is a picture.
func TestTSNE(t *testing.T) {
	const per, clusters = 30, 4
	x := normal(3, per*clusters, 10)
	for i := range per * clusters {
		x.Set(i, i/per, x.At(i, i/per)+20)
	}
	var divergences []float64
	o := TSNEOptions{Seed: 7, Perplexity: 10, Steps: 400, Progress: func(_ int,
		kl float64) {
		divergences = append(divergences, kl)
	}}
	e, err := TSNE(x, o)
	if err != nil {
		t.Fatal(err)
	}
	early := len(divergences) / 4
	for i := early + 50; i < len(divergences); i += 50 {
		if divergences[i] > divergences[i-50]+1e-3 {
			t.Errorf("the divergence rises from %g at step %d to %g", divergences[i-50], i-49, divergences[i])
		}
	}
	if last := divergences[len(divergences)-1]; !(last < divergences[early-1]) || !(last < divergences[0]/2) ||
		e.KL != last {
		t.Errorf("divergence %g at first, %g after exaggeration, %g at last; the picture says %g", divergences[0],
			divergences[early-1], last, e.KL)
	}
	distance := func(i, j int) float64 {
		return math.Hypot(e.Points[i][0]-e.Points[j][0], e.Points[i][1]-e.Points[j][1])
	}
	inside, outside := 0.0, math.Inf(1)
	for i := range per * clusters {
		for j := range i {
			if i/per == j/per {
				inside = math.Max(inside, distance(i, j))
			} else {
				outside = math.Min(outside, distance(i, j))
			}
		}
	}
	if !(outside > inside/2) {
		t.Errorf("clusters are up to %g wide and as near as %g", inside, outside)
	}
	again, err := TSNE(x, o)
	if err != nil || again.Points[5] != e.Points[5] || e.Kind != record.TSNE {
		t.Errorf("the same seed: %v and %v, %v", e.Points[5], again.Points[5], err)
	}
	o.Seed++
	if other, err := TSNE(x, o); err != nil || other.Points[5] == e.Points[5] {
		t.Errorf("another seed gives the same picture: %v", err)
	}
}

func TestTSNERefused(t *testing.T) {
	same, err := TSNE(mat.NewDense(8, 2, nil), TSNEOptions{Steps: 20}) // images that are all the same are no error
	if err != nil || len(same.Points) != 8 {
		t.Errorf("%+v, %v", same, err)
	}
	if _, err := TSNE(normal(1, 4, 2), TSNEOptions{}); err == nil || !strings.Contains(err.Error(), "5 images or more") {
		t.Error(err)
	}
	if _, err := TSNE(normal(1, 9, 2), TSNEOptions{Perplexity: 8}); err == nil || !strings.Contains(err.Error(),
		"the 8 other images") {
		t.Error(err)
	}
}

func TestProbeGradient(t *testing.T) {
	r := regression{x: normal(1, 9, 3), labels: []int32{0, 1, 2, 0, 1, 2, 0, 0, 1}, classes: 3, l2: 0.3}
	w := normal(2, 1, 12).RawMatrix().Data
	gradient := make([]float64, 12)
	r.loss(w, gradient)
	const step = 1e-6
	for i := range w {
		at := w[i]
		w[i] = at + step
		up := r.loss(w, nil)
		w[i] = at - step
		down := r.loss(w, nil)
		w[i] = at
		near(t, "slope", gradient[i], (up-down)/(2*step), 1e-7)
	}
	near(t, "loss of zeros", r.loss(make([]float64, 12), nil), math.Log(3), 1e-12)
}

// Classes that a line tells apart are told apart, whatever the unit of the features; of features that say nothing the
// classifier learns which class is the most frequent.
func TestLinearProbe(t *testing.T) {
	part := func(seed uint64, n int) (l Labelled) {
		x := normal(seed, n, 4)
		for i := range n {
			label := i % 3
			x.Set(i, 1, 1000*(x.At(i, 1)+[]float64{-9, 0, 9}[label]))
			x.Set(i, 3, 5) // a constant feature
			l.Labels = append(l.Labels, int32(label))
		}
		l.Features = narrow(x)
		return l
	}
	s, err := LinearProbe(part(1, 90), part(2, 60), 3, 1e-4)
	if err != nil || s.Train != 100 || s.Test != 100 || s.Width != 4 {
		t.Errorf("%+v, %v", s, err)
	}
	constant := Labelled{Features: make([]float32, 8), Labels: []int32{1, 1, 0, 1}}
	if s, err = LinearProbe(constant, constant, 2, 1e-4); err != nil || s.Test != 75 {
		t.Errorf("%+v, %v", s, err)
	}
	bad := constant
	bad.Labels = []int32{0, 2, 0, 0}
	if _, err = LinearProbe(constant, bad, 2, 0); err == nil || !strings.Contains(err.Error(), "label 2 of 4 is 2") {
		t.Error(err)
	}
	bad = Labelled{Features: make([]float32, 3), Labels: []int32{0}}
	if _, err = LinearProbe(constant, bad, 2, 0); err == nil || !strings.Contains(err.Error(),
		"do not fit 1 labels and width 2") {
		t.Error(err)
	}
}
