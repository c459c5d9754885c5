package nb

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/claims"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// finished is a completed run of one epoch.
func finished(run string, seed uint64, top1 float64) *record.Record {
	return &record.Record{Recipe: record.Recipe{Name: run, Seed: seed}, Status: record.Completed, Last: 1,
		Epochs: []record.Epoch{{Epoch: 1, Metrics: record.Metrics{record.MetricStudentTest: top1}}}}
}

// Two seeds at differences of 1 and 3: mean 2, standard error 1, Student's t 12.706 at one degree of freedom.
func TestClaims(t *testing.T) {
	records := []*record.Record{finished("a", 1, 51), finished("a", 2, 53), finished("b", 1, 50), finished("b", 2, 50)}
	for _, test := range []struct {
		claim Claim
		want  []any
	}{
		{Larger("one", Accuracy("a"), Accuracy("b")), []any{"one", "52.00", "50.00", "2.00 [-10.71, 14.71]", 2, "undecided"}},
		{Larger("two", Accuracy("a"), Accuracy("c")), []any{"two", "–", "–", "–", 0, "no runs yet"}},
	} {
		if diff := cmp.Diff(test.want, row(test.claim.Of(records))); diff != "" {
			t.Error(diff)
		}
	}
}

// The paper's claims are those of the report, and records of any experiment will do.
func TestOfPaper(t *testing.T) {
	all := OfPaper("iv")
	if len(all) != 2 || all[1].Less.Run != "dual-binarykl-aligned" || all[1].Less.Experiment != "" {
		t.Errorf("%+v", all)
	}
	if claims.Numbered("iv").Tests[0].Comparisons[1].Less.Experiment != "ablation" {
		t.Error("the report's own were changed")
	}
}
