package record

import (
	"slices"
	"strings"
)

// Values of [Recipe.Precision]. Weights, batch norm, classifiers and losses are float32 with all of them.
const (
	Float32 = "float32" // products of float32, also on an NVIDIA card
	// TF32 is what matrix units of NVIDIA cards make of float32 products: factors with 10 bits after the point, sums in
	// float32. It is the device's way of computing, not the program's: nothing else can be trained beside it in a process.
	TF32 = "tf32"
	// BFloat16 rounds what convolutions read and give to 7 bits after the point, forward and backward, the student's and the
	// teacher's, but for depthwise ones, which are no matrix products. Sums are as wide as the device has them: float32.
	// Evaluation is float32.
	BFloat16 = "bfloat16"
)

// Precisions are the values of [Recipe.Precision].
var Precisions = []string{Float32, TF32, BFloat16}

// SetPrecision sets the precision, and has the label say it unless it is float32, which needs no word.
func (r *Recipe) SetPrecision(precision string) {
	for _, p := range Precisions {
		r.Label = strings.TrimSuffix(r.Label, ", "+p)
	}
	r.Precision = precision
	if slices.Contains(Precisions, precision) && precision != Float32 && !strings.Contains(r.Label, precision) {
		r.Label += ", " + precision
	}
}
