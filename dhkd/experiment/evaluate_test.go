package experiment

import (
	"math"
	"strings"
	"testing"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// The evaluation of a trained network from its file is what its run recorded.
func TestEvaluate(t *testing.T) {
	r, recipe := newRunner(t), resolve(t, openTiny(t), "teacher")
	rec, err := r.Run(t.Context(), recipe)
	check(t, err)
	path, done := WeightsPath(r.Dir, recipe), 0
	c, err := OpenCandidate(path, EvaluateOptions{Progress: func(n, total int) { done = n }})
	check(t, err)
	e, err := r.Evaluate(t.Context(), c)
	check(t, err)
	check(t, e.Validate())
	last := rec.Epochs[2].Metrics
	if e.Difference == nil || math.Abs(*e.Difference) > 1e-9 || math.Abs(e.Top1-last[record.MetricStudentTest]) > 1e-9 {
		t.Errorf("top-1 %g, recorded %g", e.Top1, last[record.MetricStudentTest])
	}
	if loss := last[record.MetricTestLoss]; math.Abs(*e.CrossEntropy-loss) > 1e-4*loss {
		t.Errorf("cross-entropy %g, recorded %g", *e.CrossEntropy, loss)
	}
	if e.Parameters != rec.Parameters || e.InferenceParameters != rec.Parameters || e.MultiplyAdds == 0 || done != 200 ||
		e.Weights.SHA256 != digest(t, path) || e.Environment.Backend != r.Device.Name {
		t.Errorf("%d images; %+v", done, e)
	}

	// Of other images nothing is recorded.
	c, err = OpenCandidate(path, EvaluateOptions{Split: record.TrainSplit})
	check(t, err)
	if e, err = r.Evaluate(t.Context(), c); err != nil || e.Difference != nil || e.Images != 96 {
		t.Errorf("train split: %+v, %v", e, err)
	}
	if _, err := OpenCandidate(path, EvaluateOptions{Split: "validation"}); err == nil ||
		!strings.Contains(err.Error(), `split "validation"`) {
		t.Errorf("an unknown split: %v", err)
	}
}

// What a file says of its normalisation is checked before it is used.
func TestCandidateNormalisation(t *testing.T) {
	for _, test := range []struct{ mean, std, want string }{
		{"", "", ""},
		{"[0.5,0.5,0.5]", "[0.2,0.2,0.2]", ""},
		{"[0.5]", "[0.2]", "images of 1 channels, those of data set fashion-pairs-100 have 3"},
		{"[0.5,0.5,0.5]", "", "its metadata's std is no list"},
		{"x", "[0.2,0.2,0.2]", "its metadata's mean is no list"},
	} {
		c := &Candidate{file: record.WeightsFile{Classes: 100, Dataset: "fashion-pairs-100"}}
		err := c.chooseData(map[string]string{"mean": test.mean, "std": test.std})
		if test.want == "" && err == nil {
			continue
		}
		if test.want == "" || err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("mean %s, std %s: %v, want %q", test.mean, test.std, err, test.want)
		}
	}
}
