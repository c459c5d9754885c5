package claims

import (
	"fmt"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// finished is a completed run of one epoch.
func finished(run string, seed uint64, top1 float64) *record.Record {
	return &record.Record{Recipe: record.Recipe{Name: run, Seed: seed}, Status: record.Completed, Last: 1,
		Epochs: []record.Epoch{{Epoch: 1, Metrics: record.Metrics{record.MetricStudentTest: top1}}}}
}

// Two seeds at differences of 1 and 3: mean 2, standard error 1, Student's t 12.706 at one degree of freedom.
func TestComparison(t *testing.T) {
	records := []*record.Record{
		finished("a", 1, 51), finished("a", 2, 53), finished("a", 3, 99), // its partner failed
		finished("b", 1, 50), finished("b", 2, 50), finished("b", 3, 0),
		finished("c", 1, 41.1), finished("c", 2, 43),
		finished("alone", 1, 10), finished("dead", 1, math.NaN()),
		finished("a", 4, 0), // of another experiment
	}
	records[5].Status = record.Failed
	records[len(records)-1].Recipe.Experiment = "other"
	loss := func(r *record.Record) (float64, bool) { return 1 / float64(r.Recipe.Seed), r.Recipe.Name == "a" }
	for _, test := range []struct {
		name       string
		more, less Quantity
		least      float64
		want       string
	}{
		{"all of it below what counts", Accuracy("a"), Accuracy("b"), 15, "52.00 50.00 2.00 [-10.71, 14.71] 2 not seen"},
		{"undecided", Accuracy("a"), Accuracy("b"), 0, "52.00 50.00 2.00 [-10.71, 14.71] 2 undecided"},
		{"seen", Accuracy("a"), Accuracy("c"), 0.2, "52.00 42.05 9.95 [9.31, 10.59] 2 seen"},
		{"opposite", Accuracy("c"), Accuracy("a"), 0.2, "42.05 52.00 -9.95 [-10.59, -9.31] 2 the opposite was seen"},
		{"one seed", Accuracy("a"), Accuracy("alone"), 0.2, "51.00 10.00 41.00 1 undecided"},
		{"not a number", Accuracy("a"), Accuracy("dead"), 0.2, "– – – 0 no runs yet"},
		{"no such run", Accuracy("a"), Accuracy("nobody"), 0.2, "– – – 0 no runs yet"},
		{"another quantity", Quantity{Run: "a"}.In(""), Quantity{Run: "a", Of: loss}, 0,
			"50.75 0.521 50.23 [-14.08, 114.53] 4 undecided"},
		{"another experiment", Accuracy("a").In("other"), Accuracy("b"), 0, "– – – 0 no runs yet"},
		{"none at all", Quantity{Run: "a", Of: Number(0)}, Quantity{Run: "a", Of: Number(0)}, 0.2,
			"0.000 0.000 0.000 [0.000, 0.000] 4 not seen"},
	} {
		r := Comparison{More: test.more, Less: test.less, Least: test.least}.Of(records)
		got := fmt.Sprint(Digits(r.MeanMore), " ", Digits(r.MeanLess), " ", r.Interval(), " ", len(r.Pairs), " ", r.Verdict)
		if got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

// Asked the other way round, a comparison has the opposite answer; the order of the records and a number added to both
// sides change nothing.
func TestComparisonProperties(t *testing.T) {
	opposite := map[Verdict]Verdict{Seen: Opposite, Opposite: Seen, Undecided: Undecided, NoRuns: NoRuns}
	rapid.Check(t, func(t *rapid.T) {
		var records, shifted []*record.Record
		values := rapid.SliceOfN(rapid.IntRange(30, 50), 0, 8).Draw(t, "accuracies")
		for i, v := range values {
			name, seed := []string{"a", "b"}[i%2], uint64(i/2)
			records = append(records, finished(name, seed, float64(v)))
			shifted = append([]*record.Record{finished(name, seed, float64(v)+16)}, shifted...)
		}
		c := Larger("", Accuracy("a"), Accuracy("b"))
		there, back := c.Of(records), Larger("", Accuracy("b"), Accuracy("a")).Of(records)
		if back.Verdict != opposite[there.Verdict] || len(there.Pairs) != len(values)/2 ||
			math.Abs(there.Difference.Mean+back.Difference.Mean) > 1e-9 {
			t.Errorf("%v and back %v", there.Difference, back.Difference)
		}
		other := c.Of(shifted)
		if diff := cmp.Diff(there.Difference, other.Difference, cmpopts.EquateApprox(0, 1e-9), cmpopts.EquateNaNs()); diff != "" {
			t.Errorf("records in another order, and 16 points higher: %s", diff)
		}
	})
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
}
