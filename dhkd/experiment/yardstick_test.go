package experiment_test

import (
	"math"
	"testing"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// TestYardstick compares the committed records of the recipe c2 with PyTorch runs of the same setting (PyTorch 2.15, CPU; the
// pairing, the seeds and the teacher were its own). The records are of runs that take minutes, so they are made once, with
//
//	dhkd train c2 --out R && dhkd distill c2 --out R
//
// and not by the test. Two results differ when they are further apart than three standard errors: the spread over seeds of
// both, and 0.5 points of sampling error for each of the two sets of 10,000 test pairs.
func TestYardstick(t *testing.T) {
	const samplingError = 0.5
	yardstick := map[string]struct {
		mean, sd float64
		seeds    int
	}{
		"teacher":        {52.4, 0, 1},
		"ce":             {51.68, 0.19, 3},
		"kd":             {54.64, 0.19, 3},
		"ce+binarykl":    {54.80, 0.20, 3},
		"dhkd-unaligned": {55.62, 0.69, 3},
		"dhkd":           {55.15, 0.27, 3},
	}
	records, problems := record.LoadDir("../../notebooks/records/c2")
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	groups := record.Groups(records)
	if len(groups) != len(yardstick) {
		t.Fatalf("the records are of %d runs, want %d", len(groups), len(yardstick))
	}
	for _, g := range groups {
		name := g.Records[0].Recipe.Name
		want, ok := yardstick[name]
		if !ok {
			t.Errorf("there is no yardstick for run %s", name)
			continue
		}
		mean, sd, n := g.Stat(record.MetricStudentTest, record.AtLast)
		if n != want.seeds {
			t.Errorf("%s: %d seeds, want %d", name, n, want.seeds)
		}
		if n < 2 {
			sd = 0
		}
		variance := (sd*sd+want.sd*want.sd)/float64(n) + 2*samplingError*samplingError
		limit := 3 * math.Sqrt(variance)
		t.Logf("%-14s %.2f ± %.2f, PyTorch %.2f ± %.2f: %+.2f of at most %.2f", name, mean, sd, want.mean, want.sd, mean-want.mean, limit)
		if math.Abs(mean-want.mean) > limit {
			t.Errorf("%s: %.2f %% differs from PyTorch's %.2f %% by more than the noise, %.2f points", name, mean, want.mean, limit)
		}
	}
}
