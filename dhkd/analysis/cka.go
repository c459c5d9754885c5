package analysis

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// Gram is K = X X' of features X, [n, d], less their mean over the n images: all that [CKA] needs of them, however many
// there are.
func Gram(features mat.Matrix) *mat.SymDense {
	var k mat.SymDense
	k.SymOuterK(1, centred(features))
	return &k
}

// CKA is the linear centred kernel alignment of two sets of features of the same n images, from their [Gram]s K and
// L: tr(KL)/sqrt(tr(KK) tr(LL)), 0 to 1 (Kornblith et al. 2019, equations 3 and 4). It is NaN of features that are
// the same for all images. It panics, as gonum does, on different numbers of images.
func CKA(k, l *mat.SymDense) float64 {
	if k.SymmetricDim() != l.SymmetricDim() {
		panic(mat.ErrShape)
	}
	both, left, right := 0.0, 0.0, 0.0
	n := k.SymmetricDim()
	for i := range n {
		for j := range n {
			a, b := k.At(i, j), l.At(i, j)
			both, left, right = both+a*b, left+a*a, right+b*b
		}
	}
	return both / (math.Sqrt(left) * math.Sqrt(right)) // left * right can overflow
}

// Stage is the features of one stage of a network, [n, d].
type Stage struct {
	Name     string
	Features []float32
}

// CKAOfStages compares each stage of the student with each of the teacher, on the same images. A stage without
// variation has 0. The error names a stage whose size does not fit, or with values that are not finite.
func CKAOfStages(images int, student, teacher []Stage) (*record.CKA, error) {
	c := &record.CKA{Images: images}
	grams := func(stages []Stage) (all []*mat.SymDense, names []string, err error) {
		for _, s := range stages {
			if images < 2 || len(s.Features) == 0 || len(s.Features)%images != 0 {
				return nil, nil, fmt.Errorf("stage %s: %d values are no features of %d images", s.Name, len(s.Features), images)
			}
			x := widen(s.Features)
			if !finite(x) {
				return nil, nil, fmt.Errorf("stage %s has features that are NaN or infinite", s.Name)
			}
			all = append(all, Gram(mat.NewDense(images, len(x)/images, x)))
			names = append(names, s.Name)
		}
		return all, names, nil
	}
	a, names, err := grams(student)
	if err != nil {
		return nil, fmt.Errorf("student: %w", err)
	}
	c.Student = names
	b, names, err := grams(teacher)
	if err != nil {
		return nil, fmt.Errorf("teacher: %w", err)
	}
	c.Teacher = names
	for _, k := range a {
		var row []float64
		for _, l := range b {
			v := CKA(k, l)
			if math.IsNaN(v) {
				v = 0
			}
			row = append(row, round(v))
		}
		c.Values = append(c.Values, row)
	}
	return c, nil
}
