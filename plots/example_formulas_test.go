package plots_test

import (
	"image"
	"image/color"
	"math"

	"github.com/dhkd-lab/dhkd-go/plots"
)

// The paper's first figure: the two have the same softmax.
func ExampleSoftmaxHides() {
	figure, err := plots.SoftmaxHides(plots.PaperExample, plots.Options{})
	keep("softmax_hides.png", figure, err)
}

// Bounded and unbounded slopes, and where the literal formula of float32 ends.
func ExampleLossFunctions() {
	const teacher, t = 3.0, 2.0
	softplus := func(x float64) float64 { return math.Max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }
	sigmoid := func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
	functions := make([]plots.LossFunction, 4)
	for d := -45.0; d <= 45; d += 0.5 {
		u := math.Max(1e-8, sigmoid(d/t))
		literal := t * t * (0.5*math.Log(0.5/u) + 0.5*math.Log(0.5/float64(1-float32(u))))
		slope := t * (sigmoid(d/t) - 0.5)
		if sigmoid(d/t) < 1e-8 {
			slope = 0 // held by the clamp
		}
		squared := math.NaN() // not drawn, where it would leave no room for the others
		if math.Abs(d) < 24 {
			squared = d * d / 8
		}
		for i, f := range []struct {
			label          string
			loss, gradient float64
		}{
			{"BinaryKL", t * t * (-sigmoid(teacher/t)*d/t + softplus((teacher+d)/t) - softplus(teacher/t)),
				t * (sigmoid((teacher+d)/t) - sigmoid(teacher/t))},
			{"BinaryKL-Norm", t * t * (math.Abs(d/t)/2 + math.Log1p(math.Exp(-math.Abs(d/t))) - math.Ln2),
				t * (sigmoid(d/t) - 0.5)},
			{"squared difference / 8", squared, d / 4},
			{"BinaryKL-Norm, literal float32", literal, slope},
		} {
			functions[i].Label = f.label
			functions[i].Difference = append(functions[i].Difference, d)
			functions[i].Loss = append(functions[i].Loss, f.loss)
			functions[i].Gradient = append(functions[i].Gradient, f.gradient)
		}
	}
	functions[3].Dashed = true
	figure, err := plots.LossFunctions(functions, "Teacher's logit 3, temperature T = 2.", plots.Options{})
	keep("loss_functions.png", figure, err)
}

// Lines of your own numbers, with a band and a label each.
func ExampleCharts() {
	chart := plots.Chart{Title: "A wave", X: "time (s)", Y: "height (m)", Zero: true}
	wave := plots.Series{Label: "example"}
	for x := 0.0; x < 7; x += 0.1 {
		wave.X, wave.Y = append(wave.X, x), append(wave.Y, math.Sin(x))
		wave.Low, wave.High = append(wave.Low, math.Sin(x)-0.2), append(wave.High, math.Sin(x)+0.2)
	}
	chart.Series = []plots.Series{wave}
	figure, err := plots.Charts("Your own numbers", "Line: a sine. Band: 0.2 m to each side.", "Invented.",
		[]plots.Chart{chart}, plots.Options{})
	keep("charts.png", figure, err)
}

// Small pictures, each pixel a square. A title that is too long is cut.
func ExampleImages() {
	var pictures []image.Image
	for i := range 5 {
		picture := image.NewNRGBA(image.Rect(0, 0, 8, 6))
		for p := range 8 * 6 {
			picture.Set(p%8, p/8, color.NRGBA{uint8(36 * (p % 8)), uint8(51 * (p / 8)), uint8(60 * i), 255})
		}
		pictures = append(pictures, picture)
	}
	titles := []string{"first", "second", "third", "fourth, of which there is a lot to say", "fifth"}
	figure, err := plots.Images(pictures, titles, 3, plots.Options{Title: "Five pictures", Width: 4})
	keep("images.png", figure, err)
}
