package record_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// What runs share is measured in all of them, unless they say otherwise.
func TestMeasure(t *testing.T) {
	text := strings.Replace(quickstart(t), "batch_size: 64\n", "batch_size: 64\nmeasure: {gradients: {}}\n", 1)
	text = strings.Replace(text, "    label: KD\n", "    measure: {gradients: {every: 3, terms: [ce, rest]}}\n", 1)
	text = strings.Replace(text, "    seeds: [1]\n", "    seeds: [1]\n    measure: none\n", 1)
	e, err := record.ParseExperiment("f.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	for run, want := range map[string]*record.MeasureGradients{
		"teacher": nil, "ce": {Every: record.GradientsEvery}, "kd": {Every: 3, Terms: []string{"ce", "rest"}},
	} {
		r, err := e.Resolve(run, 1)
		if err != nil {
			t.Fatal(err)
		}
		var got *record.MeasureGradients
		if r.Measure != nil {
			got = r.Measure.Gradients
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", run, diff)
		}
		printed, err := r.YAML()
		if err != nil {
			t.Fatal(err)
		}
		back, err := record.ParseRecipe("f.yaml", printed)
		if err != nil {
			t.Fatalf("%v\n%s", err, printed)
		}
		if diff := cmp.Diff(r.Measure, back.Measure); diff != "" {
			t.Errorf("%s, printed and read back: %s", run, diff)
		}
		if got != nil { // which is a copy
			got.Every = 99
			if again, _ := e.Resolve(run, 1); again.Measure.Gradients.Every == 99 {
				t.Error("two resolved recipes share memory")
			}
		}
	}
}

func TestMeasureErrors(t *testing.T) {
	for measure, want := range map[string]string{
		"{gradients: {every: -1}}":             "measure.gradients.every: must be at least 1 step, is -1",
		"{gradients: {terms: [ce]}}":           "measure.gradients.terms: names 1 losses",
		"{gradients: {terms: [ce, kl, at]}}":   "measure.gradients.terms: names 3 losses",
		"{gradients: {terms: [rest, ce]}}":     "measure.gradients.terms[0]: rest is all but the first",
		"{gradients: {terms: [ce, ce]}}":       `measure.gradients.terms[1]: "ce" is the first already`,
		"{gradients: {terms: [ce, \"\\e[\"]}}": "measure.gradients.terms[1]: must be a loss's name",
		"{collapse: {every: -1}}":              "measure.collapse.every: must be at least 1 epoch, is -1",
		"{collapse: {images: -1}}":             "measure.collapse.images: must be at least 0, is -1",
		"{gradient: {}}":                       "measure.gradient: unknown key; did you mean gradients?",
		"gradients":                            "measure: want keys with values (gradients",
	} {
		text := strings.Replace(quickstart(t), "batch_size: 64\n", "batch_size: 64\nmeasure: "+measure+"\n", 1)
		if _, err := record.ParseExperiment("f.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), "f.yaml:11:") ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", measure, err, want)
		}
	}
}

// Of collapse, only how often is filled in: how many images there are is not known yet.
func TestMeasureCollapse(t *testing.T) {
	text := strings.Replace(quickstart(t), "batch_size: 64\n", "batch_size: 64\nmeasure: {collapse: {}}\n", 1)
	e, err := record.ParseExperiment("f.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	r, err := e.Resolve("kd", 1)
	if err != nil {
		t.Fatal(err)
	}
	want := &record.Measure{Collapse: &record.MeasureCollapse{Every: record.CollapseEvery}}
	if diff := cmp.Diff(want, r.Measure); diff != "" {
		t.Error(diff)
	}
	r.Measure.Collapse.Every = 99
	if again, _ := e.Resolve("kd", 1); again.Measure.Collapse.Every == 99 {
		t.Error("two resolved recipes share memory")
	}
}

// gradients are what a valid record says.
func gradients() *record.Gradients {
	spread := record.Spread{Steps: 3, Mean: 0.1, Std: 0.2, Min: -0.2, Max: 0.3, Negative: 0.25}
	share := record.Spread{Steps: 4, Mean: 0.4, Min: 0.4, Max: 0.4}
	return &record.Gradients{Steps: 5, NonFinite: 1, Terms: []string{"ce", "binarykl"},
		Parts: []record.GradientPart{{Kind: record.PartWhole, Cosine: spread, Dot: 1e-3},
			{Kind: record.PartClassifierWeight, Cosine: spread}, {Kind: record.PartStage, Name: "layer1", Cosine: spread}},
		Disjoint: []string{"fc2.weight"}, RowsNegative: &share, Coefficient: &record.Spread{Steps: 4, Mean: 2, Max: 7},
		Heads: []record.HeadGradients{{Head: record.HeadMain, Losses: []record.Pull{{Term: "ce", TruePull: 0.9, OtherPush: 0.1}},
			Oppose: &record.Oppositions{All: 0.3, True: 0.2, Other: 0.31}}},
	}
}

func TestGradientsRoundTrip(t *testing.T) {
	r := newRecord(t, "kd", 1, 10, 20)
	r.Epochs[1].Gradients = gradients()
	path := filepath.Join(t.TempDir(), record.FileName)
	if err := r.Save(path); err != nil {
		t.Fatal(err)
	}
	back, err := record.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(gradients(), back.Epochs[1].Gradients); diff != "" || back.Epochs[0].Gradients != nil {
		t.Error(diff)
	}
	want := "gradients of ce and binarykl (5 steps): mean cosine classifier weight 0.10 (25 % below 0), " +
		"whole 0.10 (25 % below 0)"
	if got := back.Epochs[1].Gradients.String(); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	if p, ok := back.Epochs[1].Gradients.Part(record.PartStage, "layer1"); !ok || p.Title() != "layer1" {
		t.Errorf("%+v", p)
	}
	if _, ok := back.Epochs[0].Gradients.Part(record.PartWhole, ""); ok {
		t.Error("an epoch without a measured step has a part")
	}
}

func TestGradientsErrors(t *testing.T) {
	for want, damage := range map[string]func(g *record.Gradients){
		"gradients.steps: must be at least 1":                func(g *record.Gradients) { g.Steps = 0 },
		"gradients.steps: must be at least 1 and non_finite": func(g *record.Gradients) { g.NonFinite = 6 },
		"gradients.terms: must be one or two":                func(g *record.Gradients) { g.Terms = nil },
		`unknown kind "head" of part "head"`:                 func(g *record.Gradients) { g.Parts[0].Kind = "head" },
		`unknown kind "stage" of part "stage"`:               func(g *record.Gradients) { g.Parts[2].Name = "" },
		"whole is there twice":                               func(g *record.Gradients) { g.Parts[1] = g.Parts[0] },
		"layer1: cosine: min, mean and max":                  func(g *record.Gradients) { g.Parts[2].Cosine.Max = 1.1 },
		"layer1: cosine: steps: must be 1 to 5, is 6":        func(g *record.Gradients) { g.Parts[2].Cosine.Steps = 6 },
		"layer1: cosine: std":                                func(g *record.Gradients) { g.Parts[2].Cosine.Std = -1 },
		"layer1: cosine: negative":                           func(g *record.Gradients) { g.Parts[2].Cosine.Negative = 2 },
		"rows_negative: min, mean and max":                   func(g *record.Gradients) { g.RowsNegative.Min = -1 },
		"coefficient: min, mean and max":                     func(g *record.Gradients) { g.Coefficient.Mean = 8 },
		"heads: third: unknown head":                         func(g *record.Gradients) { g.Heads[0].Head = "third" },
		"heads: main: ce: pull and push":                     func(g *record.Gradients) { g.Heads[0].Losses[0].TruePull = -1 },
		"heads: main: oppose":                                func(g *record.Gradients) { g.Heads[0].Oppose.True = 1.5 },
	} {
		r := newRecord(t, "kd", 1, 10, 20)
		r.Epochs[1].Gradients = gradients()
		damage(r.Epochs[1].Gradients)
		err := r.Validate()
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "epochs[1].gradients.") {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// TestKeepsLayers: all epochs of a short run; of any run the first and the last, and few enough at equal distances.
func TestKeepsLayers(t *testing.T) {
	for epochs := 1; epochs <= 1000; epochs++ {
		var kept []int
		for epoch := 1; epoch <= epochs; epoch++ {
			if record.KeepsLayers(epoch, epochs) {
				kept = append(kept, epoch)
			}
		}
		n := len(kept)
		if kept[0] != 1 || kept[n-1] != epochs || n > record.MostLayerEpochs+1 || n < min(epochs, record.MostLayerEpochs/2) ||
			epochs <= record.MostLayerEpochs && n != epochs {
			t.Fatalf("of %d epochs: %v", epochs, kept)
		}
		for i := 2; i < n-1; i++ {
			if kept[i]-kept[i-1] != kept[1]-kept[0] {
				t.Fatalf("of %d epochs: %v", epochs, kept)
			}
		}
	}
}
