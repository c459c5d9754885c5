package record_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

func names(records []*record.Record) []string {
	var names []string
	for _, r := range records {
		names = append(names, fmt.Sprint(r.Recipe.Name, " ", r.Recipe.Seed))
	}
	return names
}

func TestGroups(t *testing.T) {
	interrupted, smoke := newRecord(t, "kd", 3, 99), newRecord(t, "kd", 4, 99)
	interrupted.Status = record.Interrupted
	smoke.Recipe.Profile = "smoke"
	groups := record.Groups([]*record.Record{newRecord(t, "kd", 1, 10, 30, 20), newRecord(t, "ce", 1, 5),
		newRecord(t, "kd", 2, 10, 22), interrupted, smoke})
	var got []string
	for _, g := range groups {
		lastMean, lastSD, n := g.Stat(record.MetricStudentTest, record.AtLast)
		bestMean, _, _ := g.Stat(record.MetricStudentTest, record.AtBest)
		got = append(got, fmt.Sprintf("%s %s %q: %d records, %.0f +- %.3f (%d), best %.0f",
			g.Profile, g.Name, g.Label, len(g.Records), lastMean, lastSD, n, bestMean))
	}
	want := []string{ // the standard deviation of 20 and 22 is sqrt 2
		`offline kd "KD": 3 records, 21 +- 1.414 (2), best 26`,
		`offline ce "CE": 1 records, 5 +- NaN (1), best 5`,
		`smoke kd "KD": 1 records, 99 +- NaN (1), best 99`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if mean, sd, n := groups[0].Stat("no such metric", record.AtLast); !math.IsNaN(mean) || !math.IsNaN(sd) || n != 0 {
		t.Errorf("a metric that nobody has: %g +- %g (%d)", mean, sd, n)
	}
	if v, ok := (&record.Record{}).Value(record.MetricStudentTest, record.AtBest); ok {
		t.Errorf("value of a record without epochs: %g", v)
	}
}

func TestCSV(t *testing.T) {
	a, b := newRecord(t, "kd", 1, 10, 20.5), newRecord(t, "ce", 2, 30)
	a.Epochs[1].Metrics["loss/kl"] = math.NaN()
	var out strings.Builder
	if err := record.CSV(&out, []*record.Record{a, b}); err != nil {
		t.Fatal(err)
	}
	want := `experiment,profile,run,seed,status,epoch,step,learning_rate,seconds,loss/ce,loss/kl,student/test_top1
quickstart,offline,kd,1,completed,1,31,0.05,0,inf,,10
quickstart,offline,kd,1,completed,2,62,0.05,0,inf,nan,20.5
quickstart,offline,ce,2,completed,1,31,0.05,0,inf,,30
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
	if err := record.CSV(full{}, []*record.Record{a}); err == nil {
		t.Error("a full disk was not noticed")
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }
