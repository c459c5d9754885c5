package nb

import (
	"fmt"
	"math"

	"github.com/dhkd-lab/dhkd-go/dhkd/analysis/seeds"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// Claim says that one quantity is larger than another, seed by seed.
type Claim struct {
	Words      string // for readers
	More, Less Quantity
}

// Quantity is a number of each seed of a run, such as the accuracy at the end.
type Quantity struct {
	Run string // its name
	// Of is the number, and whether the record has it; nil is the last epoch's test accuracy, in per cent.
	Of func(*record.Record) (float64, bool)
}

// Larger claims, in these words, that one quantity is larger than another.
func Larger(words string, more, less Quantity) Claim { return Claim{words, more, less} }

// Accuracy is a run's test accuracy at its last epoch, in per cent.
func Accuracy(run string) Quantity { return Quantity{Run: run} }

// Verdicts on a claim. The 95 % confidence interval of the mean difference decides (Student's t over the seeds that have both).
const (
	Seen      = "seen"                  // it is above zero
	Opposite  = "the opposite was seen" // it is below zero
	Undecided = "undecided"             // it holds zero, or there are fewer than two seeds
)

// Claims shows a table of claims: both quantities, their difference with its interval, and the verdict that follows
// from it, whichever it is. Runs without a completed record are said to be missing.
func Claims(records []*record.Record, claims ...Claim) {
	var rows [][]any
	for _, c := range claims {
		rows = append(rows, c.row(records))
	}
	Table([]string{"claim", "claimed larger", "claimed smaller", "difference [95 %]", "seeds", "verdict"}, rows...)
}

func (c Claim) row(records []*record.Record) []any {
	more, less := c.More.bySeed(records), c.Less.bySeed(records)
	var a, b, differences []float64
	for _, r := range records { // in their order
		seed := r.Recipe.Seed
		x, ok := more[seed]
		y, both := less[seed]
		if !ok || !both {
			continue
		}
		a, b, differences = append(a, x), append(b, y), append(differences, x-y)
		delete(more, seed)
	}
	if len(a) == 0 {
		return []any{c.Words, "–", "–", "–", 0, "undecided: no runs"}
	}
	d := seeds.Summarize(differences...)
	return []any{c.Words, digits(seeds.Summarize(a...).Mean), digits(seeds.Summarize(b...).Mean), interval(d), d.N, verdict(d)}
}

// bySeed are the quantity's values of the run's completed records.
func (q Quantity) bySeed(records []*record.Record) map[uint64]float64 {
	of := q.Of
	if of == nil {
		of = TestAccuracy
	}
	values := map[uint64]float64{}
	for _, r := range records {
		if r.Recipe.Name != q.Run || r.Status != record.Completed {
			continue
		}
		if v, ok := of(r); ok && !math.IsNaN(v) && !math.IsInf(v, 0) {
			values[r.Recipe.Seed] = v
		}
	}
	return values
}

// TestAccuracy is the last epoch's, in per cent.
func TestAccuracy(r *record.Record) (float64, bool) {
	return r.Value(record.MetricStudentTest, record.AtLast)
}

// LastMetric is a metric at the last epoch that has it.
func LastMetric(name string) func(*record.Record) (float64, bool) {
	return func(r *record.Record) (float64, bool) {
		for i := r.Last - 1; i >= 0; i-- {
			if v, ok := r.Epochs[i].Metrics[name]; ok {
				return v, true
			}
		}
		return 0, false
	}
}

// Number is the same for each record: what a quantity is compared with.
func Number(v float64) func(*record.Record) (float64, bool) {
	return func(*record.Record) (float64, bool) { return v, true }
}

// MeanCosine is the cosine between the gradients of two losses in a part of the network, [record.PartBackbone] or another
// that there is one of: the mean over all measured steps of the run.
func MeanCosine(kind string) func(*record.Record) (float64, bool) {
	return overSteps(kind, func(s record.Spread) float64 { return s.Mean })
}

// ConflictShare is the share of the measured steps of the run in which that cosine was below zero, 0 to 1.
func ConflictShare(kind string) func(*record.Record) (float64, bool) {
	return overSteps(kind, func(s record.Spread) float64 { return s.Negative })
}

func overSteps(kind string, of func(record.Spread) float64) func(*record.Record) (float64, bool) {
	return func(r *record.Record) (float64, bool) {
		sum, steps := 0.0, 0
		for _, e := range r.Epochs {
			if p, ok := e.Gradients.Part(kind, ""); ok {
				sum += of(p.Cosine) * float64(p.Cosine.Steps)
				steps += p.Cosine.Steps
			}
		}
		return sum / float64(max(steps, 1)), steps > 0
	}
}

func verdict(d seeds.Summary) string {
	switch {
	case d.Low > 0:
		return Seen
	case d.High < 0:
		return Opposite
	}
	return Undecided // also where there is no interval
}

func interval(d seeds.Summary) string {
	if d.N < 2 {
		return digits(d.Mean)
	}
	format := format(d.Mean, d.Low, d.High)
	return fmt.Sprintf(format+" ["+format+", "+format+"]", d.Mean, d.Low, d.High)
}

func digits(v float64) string { return fmt.Sprintf(format(v), v) }

// format has as many digits as values need that are accuracies in per cent, or cosines.
func format(values ...float64) string {
	for _, v := range values {
		if math.Abs(v) >= 2 {
			return "%.2f"
		}
	}
	return "%.3f"
}
