package record_test

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/dhkd-lab/dhkd-go/dhkd/analysis"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// analysed is an analysis with all parts, of three images of two classes.
func analysed(t *testing.T) *record.Analysis {
	t.Helper()
	logits, err := analysis.Logits([]int32{0, 1, 1}, 2, analysis.Output{Of: record.MainHead, Logits: []float32{2, 0, 1,
		0, 0, 3}},
		analysis.Output{Of: record.TeacherNetwork, Logits: []float32{3, 0, 0, 1, 0, 4}})
	if err != nil {
		t.Fatal(err)
	}
	measures := record.Metrics{}
	for i, name := range record.CollapseMeasures {
		measures[name] = float64(i)
	}
	measures[record.NC3] = math.NaN() // features that are all the same have none
	recipe := record.Recipe{Experiment: "tiny", Name: "dhkd", Label: "DHKD", Profile: "smoke",
		Dataset: record.Dataset{Name: "pairs", Augment: "none"}, Model: record.Model{Name: "resnet8", AuxHead: "linear"},
		Method: record.Method{Name: "dhkd"}, Optimizer: record.Optimizer{LearningRate: 0.1},
		Schedule: record.Schedule{Epochs: 1}, BatchSize: 2, NonFinite: "stop"}
	return &record.Analysis{Schema: record.AnalysisSchema, Recipe: recipe,
		Weights: record.WeightsFile{Name: "weights.safetensors"},
		Teacher: &record.WeightsFile{Name: "teacher.safetensors"}, Data: record.Data{Classes: 2}, Logits: logits,
		Collapse: []record.Collapse{{Of: record.MainHead, Images: 3, Classes: 2, Width: 4, Measures: measures}},
		Embeddings: &record.Embeddings{Labels: []int{0, 1, 1}, All: []record.Embedding{
			{Of: record.StudentNetwork, Kind: record.PCA, Points: make([][2]float64, 3), Explained: []float64{0.5, 0.25}},
			{Of: record.StudentNetwork, Kind: record.TSNE, Points: make([][2]float64, 3), Perplexity: 2, Seed: 1, KL: 0.1}}},
		CKA: &record.CKA{Images: 3, Student: []string{"map 1"}, Teacher: []string{"map 1", "pooled"},
			Values: [][]float64{{1, 0.5}}},
		Probe: &record.Probe{Dataset: "other", Classes: 2, Train: 4, Test: 3, L2: 1e-3, Results: []record.ProbeScore{
			{Of: record.StudentNetwork, Width: 4, Train: 100, Test: 60}}}}
}

func TestAnalysisFile(t *testing.T) {
	want, path := analysed(t), filepath.Join(t.TempDir(), record.AnalysisFile)
	if err := want.Save(path); err != nil {
		t.Fatal(err)
	}
	got, err := record.LoadAnalysis(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.EquateNaNs()); diff != "" {
		t.Error(diff)
	}
	if l := got.LogitsOf(record.TeacherNetwork); l == nil || l.Top1 != 100 || got.LogitsOf(record.AuxHead) != nil {
		t.Errorf("the teacher's logits: %+v", l)
	}
	if _, err := record.LoadAnalysis(path + "x"); err == nil || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	if _, err := record.LoadAnalysis(t.TempDir()); err == nil || !strings.Contains(err.Error(), "not a file") {
		t.Errorf("a directory: %v", err)
	}
	if records, errs := record.LoadDir(filepath.Dir(path)); len(records) != 0 || len(errs) != 0 {
		t.Errorf("taken for a record: %v, %v", records, errs)
	}
}

// What contradicts itself is neither written nor read.
func TestAnalysisRefused(t *testing.T) {
	for _, test := range []struct {
		want string
		edit func(a *record.Analysis)
	}{
		{"schema: is 2", func(a *record.Analysis) { a.Schema = 2 }},
		{"recipe.batch_size", func(a *record.Analysis) { a.Recipe.BatchSize = 0 }},
		{`collapse[0].of: is "head"`, func(a *record.Analysis) { a.Collapse[0].Of = "head" }},
		{"collapse[1].of: is \"main\", want one of main, aux, teacher, each once",
			func(a *record.Analysis) { a.Collapse = append(a.Collapse, a.Collapse[0]) }},
		{"collapse[0]: 3 images of 1 classes", func(a *record.Analysis) { a.Collapse[0].Classes = 1 }},
		{"collapse[0].measures: nc1 is missing", func(a *record.Analysis) { delete(a.Collapse[0].Measures, record.NC1) }},
		{"logits[0]: 0 images", func(a *record.Analysis) { a.Logits[0].Images = 0 }},
		{"logits[0]: 3 images, top1 NaN", func(a *record.Analysis) { a.Logits[0].Top1 = math.NaN() }},
		{"logits[0]: bins: hold", func(a *record.Analysis) { a.Logits[0].Bins[14].Images++ }},
		{"logits[1]: offset: quantiles: must be 9", func(a *record.Analysis) { a.Logits[1].Offset.Quantiles = nil }},
		{"logits[0]: all: quantiles", func(a *record.Analysis) { slices.Reverse(a.Logits[0].All.Quantiles) }},
		{"logits[0]: all: counts: hold 7 values, there are 6", func(a *record.Analysis) { a.Logits[0].All.Counts[3]++ }},
		{"logits[0]: all: counts[0]: is -1 of 6", func(a *record.Analysis) { a.Logits[0].All.Counts[0] = -1 }},
		{"logits[0]: all: mean", func(a *record.Analysis) { a.Logits[0].All.Low = math.Inf(-1) }},
		{"logits[0]: difference: mean", func(a *record.Analysis) { a.Logits[0].Difference.SD = -1 }},
		{"logits[0]: map[1]: must be empty or 2", func(a *record.Analysis) { a.Logits[0].Map[1] = []float64{1} }},
		{"logits[1].map: has 1 rows, that of logits[0] has 2",
			func(a *record.Analysis) { a.Logits[1].Map = [][]float64{{1}} }},
		{"logits[0]: map: has 251 rows", func(a *record.Analysis) { a.Logits[0].Map = make([][]float64, 251) }},
		{"embeddings.labels[1]: is 2 of 2", func(a *record.Analysis) { a.Embeddings.Labels[1] = 2 }},
		{"embeddings.all[1]: points: are 2 for 3", func(a *record.Analysis) {
			a.Embeddings.All[1].Points = a.Embeddings.All[1].Points[:2]
		}},
		{"embeddings.all[0]: points[2]", func(a *record.Analysis) { a.Embeddings.All[0].Points[2][1] = math.NaN() }},
		{"embeddings.all[0]: kind", func(a *record.Analysis) { a.Embeddings.All[0].Kind = "umap" }},
		{"embeddings.all[0]: explained", func(a *record.Analysis) { a.Embeddings.All[0].Explained[0] = 1.1 }},
		{"embeddings.all[1]: perplexity", func(a *record.Analysis) { a.Embeddings.All[1].KL = math.Inf(1) }},
		{"cka: values[0]: has 1 columns for 2", func(a *record.Analysis) { a.CKA.Values[0] = []float64{1} }},
		{"cka: values[0]: must be 0 to 1", func(a *record.Analysis) { a.CKA.Values[0][1] = math.NaN() }},
		{"cka: 3 images; values: has 0 rows", func(a *record.Analysis) { a.CKA.Values = nil }},
		{"probe.results[0]: top-1", func(a *record.Analysis) { a.Probe.Results[0].Test = 101 }},
		{"probe: 0 training", func(a *record.Analysis) { a.Probe.Train = 0 }},
	} {
		a := analysed(t)
		test.edit(a)
		path := filepath.Join(t.TempDir(), "a.json")
		if err := a.Save(path); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v, want %q", err, test.want)
		}
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s: written all the same", test.want)
		}
	}
}

func TestAnalysisDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.json")
	for text, want := range map[string]string{
		`{"schema":1`:          "unexpected EOF",
		`{"schema":1,"of":""}`: `unknown field "of"`,
		`{"schema":3}`:         "schema: is 3, want 1",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := record.LoadAnalysis(path); err == nil || !strings.Contains(err.Error(), want) ||
			!strings.Contains(err.Error(), "make it anew with dhkd analyse") {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// The teacher's logits of the first label are 5 above the student's, which softmax does not see.
func TestMapDistance(t *testing.T) {
	a := analysed(t)
	a.LogitsOf(record.TeacherNetwork).Map = [][]float64{{7, 5}, {0.5, 1.5}}
	for _, test := range []struct {
		head    string
		centred bool
		want    float64
		ok      bool
	}{{record.MainHead, false, 2.5, true}, {record.MainHead, true, 0, true}, {record.AuxHead, false, 0, false}} {
		got, ok := a.MapDistance(test.head, test.centred)
		if ok != test.ok || ok && got != test.want {
			t.Errorf("%s, centred %t: %g, %t; want %g, %t", test.head, test.centred, got, ok, test.want, test.ok)
		}
	}
	a.LogitsOf(record.TeacherNetwork).Map = [][]float64{nil, nil}
	if _, ok := a.MapDistance(record.MainHead, false); ok {
		t.Error("without images of any label there is a distance")
	}
}
