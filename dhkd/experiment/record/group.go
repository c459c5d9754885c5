package record

import (
	"cmp"
	"encoding/csv"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"

	"gonum.org/v1/gonum/stat"
)

// Which epoch of a run a value is taken from.
const (
	AtLast = "last" // the last epoch: what the project reports
	AtBest = "best" // the epoch of the best student/test_top1: chosen on the test set, so optimistic
)

// Value is a metric at the last or at the best epoch, see [AtLast]. It is false where the run has no such epoch or
// metric.
func (r *Record) Value(metric, which string) (float64, bool) {
	epoch := r.Last
	if which == AtBest {
		epoch = r.Best
	}
	if epoch < 1 || epoch > len(r.Epochs) {
		return 0, false
	}
	v, ok := r.Epochs[epoch-1].Metrics[metric]
	return v, ok
}

// Group is the records of one run of an experiment, a record per seed. Profiles are never mixed.
type Group struct {
	Experiment, Profile, Name, Label string
	Records                          []*Record
}

// Groups collects records by run, in the order in which each run first appears.
func Groups(records []*Record) []Group {
	var groups []Group
	for _, r := range records {
		i := slices.IndexFunc(groups, func(g Group) bool { return compareRun(g.Records[0], r) == 0 })
		if i < 0 {
			i = len(groups)
			groups = append(groups, Group{Experiment: r.Recipe.Experiment, Profile: r.Recipe.Profile,
				Name: r.Recipe.Name, Label: r.Recipe.Label})
		}
		groups[i].Records = append(groups[i].Records, r)
	}
	return groups
}

// Stat is the mean and the standard deviation (n - 1 in the denominator; NaN for one seed) of a metric over the group's
// completed runs, and their number n. The mean of no runs is NaN.
func (g Group) Stat(metric, which string) (mean, sd float64, n int) {
	var values []float64
	for _, r := range g.Records {
		if v, ok := r.Value(metric, which); ok && r.Status == Completed {
			values = append(values, v)
		}
	}
	if len(values) == 0 {
		return math.NaN(), math.NaN(), 0
	}
	mean, sd = stat.MeanStdDev(values, nil)
	return mean, sd, len(values)
}

// Sort puts the experiment's records into the order of its runs; others follow by name.
func (e *Experiment) Sort(records []*Record) {
	place := func(r *Record) int {
		i := slices.IndexFunc(e.Runs, func(own Run) bool { return own.Recipe.Name == r.Recipe.Name })
		if i < 0 || r.Recipe.Experiment != e.Name {
			return len(e.Runs)
		}
		return i
	}
	slices.SortStableFunc(records, func(a, b *Record) int {
		return cmp.Or(cmp.Compare(place(a), place(b)), compare(a, b))
	})
}

// CSV writes a line per epoch of each record, with a column per metric that any of them has. A metric that a record
// lacks is empty; values that are not finite are nan, inf and -inf.
func CSV(w io.Writer, records []*Record) error {
	set := map[string]bool{}
	for _, r := range records {
		for _, e := range r.Epochs {
			for name := range e.Metrics {
				set[name] = true
			}
		}
	}
	metrics := slices.Sorted(maps.Keys(set))
	out := csv.NewWriter(w)
	head := []string{"experiment", "profile", "run", "seed", "status", "epoch", "step", "learning_rate", "seconds"}
	out.Write(append(head, metrics...)) // its error is that of out.Error
	for _, r := range records {
		for _, e := range r.Epochs {
			line := []string{r.Recipe.Experiment, r.Recipe.Profile, r.Recipe.Name, strconv.FormatUint(r.Recipe.Seed, 10),
				r.Status, strconv.Itoa(e.Epoch), strconv.Itoa(e.Step), number(e.LearningRate), number(e.Seconds)}
			for _, name := range metrics {
				cell := ""
				if v, ok := e.Metrics[name]; ok {
					cell = number(v)
				}
				line = append(line, cell)
			}
			out.Write(line)
		}
	}
	out.Flush()
	return out.Error()
}

func number(v float64) string {
	if s, ok := notFinite(v); ok {
		return s
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

func compare(a, b *Record) int {
	return cmp.Or(compareRun(a, b), cmp.Compare(a.Recipe.Seed, b.Recipe.Seed))
}

func compareRun(a, b *Record) int {
	return cmp.Or(cmp.Compare(a.Recipe.Experiment, b.Recipe.Experiment), cmp.Compare(a.Recipe.Profile, b.Recipe.Profile),
		cmp.Compare(a.Recipe.Name, b.Recipe.Name))
}
