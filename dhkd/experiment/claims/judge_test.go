package claims

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// of is a completed run of an experiment of the offline profile.
func of(experiment, run string, seed uint64, top1 float64) *record.Record {
	r := finished(run, seed, top1)
	r.Recipe.Experiment, r.Recipe.Profile = experiment, ProfileOffline
	return r
}

// runs are a run's seeds 1, 2 and so on.
func runs(experiment, run string, top1 ...float64) (records []*record.Record) {
	for i, v := range top1 {
		records = append(records, of(experiment, run, uint64(i+1), v))
	}
	return records
}

func judge(t *testing.T, number string, records ...[]*record.Record) Tested {
	t.Helper()
	var all []*record.Record
	for _, r := range records {
		all = append(all, r...)
	}
	judgements, err := Judge(all)
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range judgements {
		if j.Number == number {
			return j.Tests[0]
		}
	}
	t.Fatalf("no claim %s", number)
	return Tested{}
}

func TestJudge(t *testing.T) {
	one := runs("m", "ce+binarykl", 60, 61, 62)
	high, higher := []float64{65, 66, 67.1}, []float64{70, 71, 72.1}
	low, same := []float64{50, 51, 52.1}, []float64{60, 61.5, 61.6}
	for _, test := range []struct {
		name    string
		records [][]*record.Record
		want    Verdict
	}{
		{"nothing", nil, NoRuns},
		{"one run", [][]*record.Record{one}, NoRuns},
		{"both parts", [][]*record.Record{one, runs("m", "ce", high...), runs("m", "binarykl", higher...)}, Seen},
		{"neither", [][]*record.Record{one, runs("m", "ce", low...), runs("m", "binarykl", low...)}, Opposite},
		{"a part refuted", [][]*record.Record{one, runs("m", "ce", high...), runs("m", "binarykl", low...)}, NotSeen},
		{"a part refuted, the other missing", [][]*record.Record{one, runs("m", "ce", low...)}, NotSeen},
		{"a part missing", [][]*record.Record{one, runs("m", "ce", high...)}, Undecided},
		{"a part undecided", [][]*record.Record{one, runs("m", "ce", high...), runs("m", "binarykl", same...)}, Undecided},
		{"one seed", [][]*record.Record{one, runs("m", "ce", 65), runs("m", "binarykl", 66)}, Undecided},
	} {
		if got := judge(t, "i", test.records...).Verdict; got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
	if got := judge(t, "i", one).Missing(); !cmp.Equal(got, []string{"m/binarykl", "m/ce"}) {
		t.Errorf("missing: %v", got)
	}
}

// The runs of another experiment have part in a comparison that names it, and in no other.
func TestJudgeAcrossExperiments(t *testing.T) {
	norm, binary := runs("m", "dhkd-unaligned", 65, 66, 67), runs("ablation", "dual-binarykl", 60, 61, 62.1)
	tested := judge(t, "iv", norm, binary)
	if r := tested.Results[0]; r.Verdict != Seen || r.Pairs[2].Less != binary[2] {
		t.Errorf("%+v", r)
	}
	for _, r := range runs("m", "dual-binarykl", 60, 61, 62.1) {
		if tested := judge(t, "iv", norm, []*record.Record{r}); tested.Verdict != NoRuns {
			t.Errorf("a run of experiment m is taken for one of ablation: %+v", tested.Results[0])
		}
	}
}

// Profiles are never mixed, and runs that differ in more than the method are refused.
func TestJudgeIsStrict(t *testing.T) {
	ce, one := runs("m", "ce", 65, 66, 67), runs("m", "ce+binarykl", 60, 61, 62.1)
	for _, r := range ce {
		r.Recipe.Profile = "smoke"
	}
	for _, r := range one {
		r.Teacher = &record.TeacherRef{SHA256: "1"}
	}
	if tested := judge(t, "i", ce, one); tested.Verdict != NoRuns {
		t.Errorf("runs of smoke size beside those of the offline profile: %s", tested.Verdict)
	}
	for want, change := range map[string]func(*record.Record){
		"dataset":          func(r *record.Record) { r.Recipe.Dataset.Train = 100 },
		"evaluated images": func(r *record.Record) { r.Data.Evaluation = "holdout" },
		"SHA-256":          func(r *record.Record) { r.Data.SHA256 = map[string]string{"images": "0"} },
		"network":          func(r *record.Record) { r.Recipe.Model.Name = "resnet20" },
		"number of epochs": func(r *record.Record) { r.Recipe.Schedule.Epochs = 100 },
		"teacher":          func(r *record.Record) { r.Teacher = &record.TeacherRef{SHA256: "2"} },
	} {
		ce := runs("m", "ce", 65, 66, 67)
		change(ce[1])
		_, err := Judge(append(ce, one...))
		if err == nil || !strings.Contains(err.Error(), "m/ce and m/ce+binarykl of seed 2 cannot be compared") ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("another %s: %v", want, err)
		}
	}
}

// A standard deviation of 0.5 points needs 52 seeds for 0.2 points: (1.96 + 0.84)^2 0.5^2/0.2^2 = 49.1 by the normal
// distribution, and three more by Student's.
func TestNeeded(t *testing.T) {
	tested := judge(t, "i", runs("m", "ce", 60, 60.5, 61), runs("m", "ce+binarykl", 60, 60, 60))
	if got := tested.Results[0].Needed(); got < 50 || got > 53 {
		t.Errorf("%d seeds, want about 52", got)
	}
	if got := tested.Results[1].Needed(); got != 0 {
		t.Errorf("%d seeds of runs that are not there", got)
	}
}
