package nb

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// finished is a completed run of one epoch.
func finished(run string, seed uint64, top1 float64) *record.Record {
	return &record.Record{Recipe: record.Recipe{Name: run, Seed: seed}, Status: record.Completed, Last: 1,
		Epochs: []record.Epoch{{Epoch: 1, Metrics: record.Metrics{record.MetricStudentTest: top1}}}}
}

// Two seeds at differences of 1 and 3: mean 2, standard error 1, Student's t 12.706 at one degree of freedom.
func TestClaims(t *testing.T) {
	records := []*record.Record{
		finished("a", 1, 51), finished("a", 2, 53), finished("a", 3, 99), // its partner failed
		finished("b", 1, 50), finished("b", 2, 50), finished("b", 3, 0),
		finished("c", 1, 41.1), finished("c", 2, 43),
		finished("alone", 1, 10), finished("dead", 1, math.NaN()),
	}
	records[5].Status = record.Failed
	loss := func(r *record.Record) (float64, bool) { return 1 / float64(r.Recipe.Seed), r.Recipe.Name == "a" }
	for _, test := range []struct {
		name  string
		claim Claim
		want  []any
	}{
		{"undecided", Claim{"", Quantity{Run: "a"}, Quantity{Run: "b"}},
			[]any{"", "52.00", "50.00", "2.00 [-10.71, 14.71]", 2, Undecided}},
		{"seen", Claim{"", Quantity{Run: "a"}, Quantity{Run: "c"}},
			[]any{"", "52.00", "42.05", "9.95 [9.31, 10.59]", 2, Seen}},
		{"opposite", Claim{"", Quantity{Run: "c"}, Quantity{Run: "a"}},
			[]any{"", "42.05", "52.00", "-9.95 [-10.59, -9.31]", 2, Opposite}},
		{"one seed", Claim{"", Quantity{Run: "a"}, Quantity{Run: "alone"}},
			[]any{"", "51.00", "10.00", "41.00", 1, Undecided}},
		{"not a number", Claim{"", Quantity{Run: "a"}, Quantity{Run: "dead"}},
			[]any{"", "–", "–", "–", 0, "undecided: no runs"}},
		{"another quantity", Claim{"", Quantity{"a", nil}, Quantity{"a", loss}},
			[]any{"", "67.67", "0.611", "67.06 [-1.02, 135.13]", 3, Undecided}},
	} {
		if diff := cmp.Diff(test.want, test.claim.row(records)); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
	}
}

func TestLastMetric(t *testing.T) {
	r := finished("a", 1, 50)
	r.Epochs[0].Metrics["x"] = 3
	r.Epochs, r.Last = append(r.Epochs, record.Epoch{Epoch: 2, Metrics: record.Metrics{}}), 2
	if v, ok := LastMetric("x")(r); v != 3 || !ok {
		t.Errorf("%g, %v, want that of the last epoch that has it, 3", v, ok)
	}
	if _, ok := LastMetric("y")(r); ok {
		t.Error("a metric that no epoch has")
	}
}

// Two epochs of 3 and 1 measured steps: the mean over the steps is 0.75 0.4 + 0.25 (-0.2), and so of the shares.
func TestGradientQuantities(t *testing.T) {
	part := func(steps int, mean, negative float64) *record.Gradients {
		return &record.Gradients{Steps: steps, Parts: []record.GradientPart{{Kind: record.PartBackbone,
			Cosine: record.Spread{Steps: steps, Mean: mean, Negative: negative}}}}
	}
	r := &record.Record{Epochs: []record.Epoch{{Gradients: part(3, 0.4, 0)}, {}, {Gradients: part(1, -0.2, 1)}}}
	if v, ok := MeanCosine(record.PartBackbone)(r); math.Abs(v-0.25) > 1e-12 || !ok {
		t.Errorf("mean cosine %g, %v, want 0.25", v, ok)
	}
	if v, ok := ConflictShare(record.PartBackbone)(r); v != 0.25 || !ok {
		t.Errorf("share %g, %v, want 0.25", v, ok)
	}
	if _, ok := MeanCosine(record.PartClassifier)(r); ok {
		t.Error("a part that was not measured has a cosine")
	}
	if v, ok := Number(3)(nil); v != 3 || !ok {
		t.Errorf("%g, %v, want 3", v, ok)
	}
}
