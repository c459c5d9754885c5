package experiment_test

import (
	"maps"
	"math"
	"testing"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// result is a mean over seeds in per cent; the standard deviation of one seed is not known, 0.
type result struct {
	mean, sd float64
	seeds    int
}

// yardsticks are results of PyTorch 2.15 on a CPU, by experiment and run. The pairing, the seeds and the teacher were its own.
var yardsticks = map[string]map[string]result{
	"c2": {
		"teacher":        {52.4, 0, 1},
		"ce":             {51.68, 0.19, 3},
		"kd":             {54.64, 0.19, 3},
		"ce+binarykl":    {54.80, 0.20, 3},
		"dhkd-unaligned": {55.62, 0.69, 3},
		"dhkd":           {55.15, 0.27, 3},
	},
	"m": {
		"teacher":     {65.55, 0, 1},
		"ce":          {63.19, 0.21, 3},
		"kd":          {64.55, 0.34, 3},
		"ce+binarykl": {65.65, 0.13, 3},
		"dhkd":        {66.11, 0, 1},
	},
}

// TestYardstick compares committed records with PyTorch runs of the same settings. The records are of runs that take
// minutes, so they are made once, with scripts/evidence.sh, and not by the test. Two results differ when they are further
// apart than three standard errors: the spread over seeds of both, of which a single seed has the other's, and 0.5 points of
// sampling error for each of the two sets of 10,000 test pairs.
func TestYardstick(t *testing.T) {
	const samplingError = 0.5
	for of, yardstick := range yardsticks {
		records, problems := record.LoadDir("../../notebooks/records/" + of)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		missing := maps.Clone(yardstick)
		for _, g := range record.Groups(records) {
			name := g.Records[0].Recipe.Name
			want, ok := yardstick[name]
			if !ok {
				continue // a run that PyTorch did not make
			}
			delete(missing, name)
			mean, sd, n := g.Stat(record.MetricStudentTest, record.AtLast)
			if n < want.seeds {
				t.Errorf("%s: %s: %d seeds, want %d", of, name, n, want.seeds)
			}
			if n < 2 {
				sd = want.sd
			} else if want.seeds < 2 {
				want.sd = sd
			}
			variance := sd*sd/float64(n) + want.sd*want.sd/float64(want.seeds) + 2*samplingError*samplingError
			limit := 3 * math.Sqrt(variance)
			t.Logf("%s: %-14s %.2f ± %.2f (%d), PyTorch %.2f ± %.2f (%d): %+.2f of at most %.2f", of, name, mean, sd, n,
				want.mean, want.sd, want.seeds, mean-want.mean, limit)
			if math.Abs(mean-want.mean) > limit {
				t.Errorf("%s: %s: %.2f %% differs from PyTorch's %.2f %% by more than the noise, %.2f points", of, name,
					mean, want.mean, limit)
			}
		}
		for name := range missing {
			t.Errorf("%s: there is no record of run %s", of, name)
		}
	}
}

// TestCommittedRecords: committed records are of runs that the program's recipes describe as they are now.
func TestCommittedRecords(t *testing.T) {
	records, problems := record.LoadDir("../../notebooks/records")
	if len(problems) > 0 || len(records) == 0 {
		t.Fatalf("%d records, %v", len(records), problems)
	}
	for _, r := range records {
		e, err := experiment.Open(r.Recipe.Experiment)
		if err != nil {
			t.Fatal(err)
		}
		recipe, err := e.Resolve(r.Recipe.Name, r.Recipe.Seed)
		if err != nil {
			t.Errorf("%s: %v", r.Recipe.Experiment, err)
		} else if field := experiment.Differs(r.Recipe, recipe); field != "" || r.Recipe.Profile != recipe.Profile {
			t.Errorf("%s: %s seed %d (profile %s): the recipe differs from the record's in %q", r.Recipe.Experiment,
				r.Recipe.Name, r.Recipe.Seed, r.Recipe.Profile, field)
		}
	}
}
