package analysis_test

import (
	"fmt"

	"gonum.org/v1/gonum/mat"

	"github.com/dhkd-lab/dhkd-go/dhkd/analysis"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// Two classes whose images are all at their means, and a classifier that points the same way.
func ExampleCollapse() {
	c, err := analysis.Collapse(analysis.Layer{Width: 2,
		Features: []float32{3, 1, 3, 1, 1, 1, 1, 1}, Labels: []int32{0, 0, 1, 1},
		Weight: []float32{0.5, 0, -0.5, 0}, Bias: []float32{-1, 1}})
	if err != nil {
		panic(err)
	}
	m := c.Measures
	fmt.Println(m[record.NC1], m[record.NC2Norms], m[record.NC3], m[record.NC4])
	// Output: 0 0 0 0
}

// The paper's example: logits of one softmax that sigmoid tells apart, and the mean tells how far.
func ExampleLogits() {
	l, err := analysis.Logits([]int32{2}, 3,
		analysis.Output{Of: record.MainHead, Logits: []float32{-2, -1, 0}},
		analysis.Output{Of: record.TeacherNetwork, Logits: []float32{2, 3, 4}})
	if err != nil {
		panic(err)
	}
	fmt.Printf("cross-entropy %.3f and %.3f, offset %g and %g, difference %g\n", l[0].CrossEntropy, l[1].CrossEntropy,
		l[0].Offset.Mean, l[1].Offset.Mean, l[0].Difference.Mean)
	// Output: cross-entropy 0.408 and 0.408, offset -1 and 3, difference -4
}

// A rotation by a quarter turn and a factor of two are no difference.
func ExampleCKA() {
	x := mat.NewDense(3, 2, []float64{1, 0, 0, 1, 5, 5})
	y := mat.NewDense(3, 2, []float64{0, 2, -2, 0, -10, 10})
	fmt.Printf("%.3f\n", analysis.CKA(analysis.Gram(x), analysis.Gram(y)))
	// Output: 1.000
}

func ExamplePCA() {
	e, err := analysis.PCA(mat.NewDense(3, 2, []float64{-3, -4, 0, 0, 3, 4}))
	if err != nil {
		panic(err)
	}
	fmt.Printf("%.0f %% of the variance, %v\n", 100*e.Explained[0], e.Points[2])
	// Output: 100 % of the variance, [5 0]
}

func ExampleTSNE() {
	x := mat.NewDense(6, 1, []float64{0, 1, 2, 100, 101, 102})
	e, err := analysis.TSNE(x, analysis.TSNEOptions{Perplexity: 2, Seed: 1})
	if err != nil {
		panic(err)
	}
	fmt.Println(len(e.Points), "points")
	// Output: 6 points
}

func ExampleLinearProbe() {
	data := analysis.Labelled{Features: []float32{-2, -1, 1, 2}, Labels: []int32{0, 0, 1, 1}}
	s, err := analysis.LinearProbe(data, data, 2, 1e-3)
	if err != nil {
		panic(err)
	}
	fmt.Printf("%.0f %%\n", s.Test)
	// Output: 100 %
}
