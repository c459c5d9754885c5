package record_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/metric"
)

// evaluation is of three images of two classes, one of them without a prediction.
func evaluation(t testing.TB) *record.Evaluation {
	t.Helper()
	c := metric.NewClassification(2)
	if err := c.Add([]float32{2, 0, 1, 0, float32(math.NaN()), 0}, []int32{0, 1, 1}); err != nil {
		t.Fatal(err)
	}
	return &record.Evaluation{Schema: record.EvaluationSchema, Model: "resnet8", Head: record.MainHead,
		Split: record.TestSplit, Weights: record.WeightsFile{Name: "weights.safetensors", Top1: new(50.0)},
		Scores: c.Scores([]string{"a", "b"}), Difference: new(-16.5),
		Latency: []record.Latency{{Batch: 1, Calls: 5, Median: 2, P10: 1, P90: 3, ImagesPerSecond: 500}}}
}

func TestEvaluationFile(t *testing.T) {
	want, path := evaluation(t), filepath.Join(t.TempDir(), "evaluation.json")
	if err := want.Save(path); err != nil {
		t.Fatal(err)
	}
	got, err := record.LoadEvaluation(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
	if c := got.Confidence(); !(c > 0.8 && c < 0.81) || got.ClassName(1) != "b" {
		t.Errorf("mean confidence %g, class %s", c, got.ClassName(1))
	}
	if diff := cmp.Diff([]record.Confused{{Label: 1, Prediction: 0, Images: 1}}, got.MostConfused(5)); diff != "" {
		t.Error(diff)
	}
	if _, err := record.LoadEvaluation(path + "x"); err == nil || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	if _, err := record.LoadEvaluation(t.TempDir()); err == nil || !strings.Contains(err.Error(), "not a file") {
		t.Errorf("a directory: %v", err)
	}
}

// What contradicts itself is neither written nor read.
func TestEvaluationRefused(t *testing.T) {
	for _, test := range []struct {
		want string
		edit func(e *record.Evaluation)
	}{
		{"schema: is 2", func(e *record.Evaluation) { e.Schema = 2 }},
		{"head: is", func(e *record.Evaluation) { e.Head = "both" }},
		{"split: is", func(e *record.Evaluation) { e.Split = "" }},
		{"latency", func(e *record.Evaluation) { e.Latency[0].P90 = math.NaN() }},
		{"images: 0", func(e *record.Evaluation) { e.Images = 0 }},
		{"images, non_finite or top1", func(e *record.Evaluation) { e.Top1 = 34 }},
		{"images, non_finite or top1", func(e *record.Evaluation) { e.Images = 4 }},
		{"confusion: has 1 rows", func(e *record.Evaluation) { e.Confusion = e.Confusion[:1] }},
		{"confusion[1]: has 3 columns", func(e *record.Evaluation) { e.Confusion[1] = []int{1, 0, 0} }},
		{"confusion[0]: has a count of -1", func(e *record.Evaluation) { e.Confusion[0][1] = -1 }},
		{"confusion[1]: has a count of", func(e *record.Evaluation) { e.Confusion[1][1] = math.MaxInt }},
		{"classes[0]: has 1 images, its row of the confusion matrix 2", func(e *record.Evaluation) { e.Confusion[0][1] = 1 }},
		{"classes[0].top1", func(e *record.Evaluation) { e.Classes[0].Top1 = nil }},
		{"top5: is 20", func(e *record.Evaluation) { e.Top5 = new(20.0) }},
		{"ece: must be 0 to 1", func(e *record.Evaluation) { e.ECE = new(1.1) }},
		{"cross_entropy and ece", func(e *record.Evaluation) { e.ECE = nil }},
		{"cross_entropy: must be", func(e *record.Evaluation) { e.CrossEntropy = new(-1.0) }},
		{"bins: hold 0 images", func(e *record.Evaluation) { e.Bins = nil }},
		{"bins[3]", func(e *record.Evaluation) { e.Bins[3].Low = 0 }},
		{"bins[3]", func(e *record.Evaluation) { e.Bins[3].Accuracy = 2 }},
		{"bins: hold", func(e *record.Evaluation) { e.Bins[0].Images = 1 }},
	} {
		e, path := evaluation(t), filepath.Join(t.TempDir(), "e.json")
		test.edit(e)
		if err := e.Save(path); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("saved: %v, want %q", err, test.want)
		}
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s: a file is left", test.want)
		}
		text, err := json.Marshal(e)
		if err != nil { // NaN
			continue
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := record.LoadEvaluation(path); err == nil || !strings.Contains(err.Error(), test.want) ||
			!strings.Contains(err.Error(), path) {
			t.Errorf("loaded: %v, want %q", err, test.want)
		}
	}
}

// Whatever is in the file, it is refused or can be used.
func FuzzLoadEvaluation(f *testing.F) {
	text, err := json.Marshal(evaluation(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"schema":1,"unknown":0}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "e.json")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		e, err := record.LoadEvaluation(path)
		if err != nil {
			return
		}
		for label := range e.Classes {
			_ = e.ClassName(label)
		}
		if err := e.Save(path); err != nil {
			t.Error(err)
		}
	})
}
