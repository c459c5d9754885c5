package analysis

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// A student whose logits are the teacher's and 6 more has the same softmax: the offset and the difference show it,
// and the map less its offset does not.
func TestLogitsOffset(t *testing.T) {
	labels := []int32{0, 1, 1}
	teacher := []float32{2, 3, 4, -1, 5, -1, 0, 6, -3} // of the first image the last class is the answer
	var student []float32
	for _, z := range teacher {
		student = append(student, z+6)
	}
	all, err := Logits(labels, 3, Output{record.MainHead, student}, Output{record.TeacherNetwork, teacher})
	if err != nil {
		t.Fatal(err)
	}
	main, of := all[0], all[1]
	near(t, "cross-entropy", main.CrossEntropy, of.CrossEntropy, 1e-6)
	near(t, "ece", main.ECE, of.ECE, 1e-6)
	near(t, "top-1", main.Top1, 200.0/3, 1e-9)
	near(t, "offset", of.Offset.Mean, (3+1+1)/3.0, 1e-9)
	near(t, "offset of the student", main.Offset.Mean, (9+7+7)/3.0, 1e-9)
	near(t, "spread of the offset", of.Offset.SD, math.Sqrt(8.0/9), 1e-9)
	near(t, "label", of.Label.Mean, 13.0/3, 1e-9)
	if d := main.Difference; of.Difference != nil || d.Mean != 6 || d.SD != 0 || d.Low != 6 || d.High != 6 ||
		d.Counts[0] != 9 {
		t.Errorf("difference %+v, the teacher's %v", d, of.Difference)
	}
	if diff := cmp.Diff([][]float64{{2, 3, 4}, {-0.5, 5.5, -2}, nil}, of.Map); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([][]float64{{6, 6, 6}, {6, 6, 6}, nil}, record.MapDifference(main.Map, of.Map,
		false)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([][]float64{{0, 0, 0}, {0, 0, 0}, nil}, record.MapDifference(main.Map, of.Map, true)); diff != "" {
		t.Error(diff)
	}
	if main.All.Low != of.All.Low || main.All.High != of.All.High || of.All.Low != -3 || of.All.High != 12 {
		t.Errorf("bins from %g to %g and %g to %g", main.All.Low, main.All.High, of.All.Low, of.All.High)
	}
}

// The numbers 0 to 999 are uniform: every bin has as many, and a quantile is the value that so many are at most.
func TestDistribution(t *testing.T) {
	var values []float64
	for i := range 1000 {
		values = append(values, float64(i))
	}
	d := distribution(values, 0, 1000)
	near(t, "mean", d.Mean, 499.5, 1e-9)
	near(t, "sd", d.SD, math.Sqrt((1e6-1)/12), 1e-9)
	if diff := cmp.Diff([]float64{0, 9, 49, 249, 499, 749, 949, 989, 999}, d.Quantiles); diff != "" {
		t.Error(diff)
	}
	sum := 0
	for i, n := range d.Counts {
		if sum += n; n < 12 || n > 13 {
			t.Errorf("bin %d has %d of 1000", i, n)
		}
	}
	if sum != 1000 {
		t.Errorf("bins hold %d", sum)
	}
	if d = distribution([]float64{1, 2}, 1, 2); d.Counts[0] != 1 || d.Counts[histogramBins-1] != 1 {
		t.Errorf("the largest value is in the last bin: %v", d.Counts)
	}
}

func TestLogitsRefused(t *testing.T) {
	nan := float32(math.NaN())
	for _, test := range []struct {
		labels  []int32
		outputs []Output
		want    string
	}{
		{nil, nil, "no images"},
		{[]int32{0}, []Output{{record.AuxHead, []float32{1}}}, "aux: 1 logits do not fit"},
		{[]int32{2}, []Output{{record.MainHead, []float32{1, 2}}}, "main: label 1 of 1 is 2"},
		{[]int32{0, 1}, []Output{{record.MainHead, []float32{1, 2, nan, 3}}}, "main: the logits of 1 of 2 images are NaN"},
	} {
		if _, err := Logits(test.labels, 2, test.outputs...); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v, want %q", err, test.want)
		}
	}
}
