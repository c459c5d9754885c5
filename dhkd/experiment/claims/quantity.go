package claims

import (
	"math"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// Quantity is a number of each seed of a run, such as the accuracy at the end.
type Quantity struct {
	Run string // its name
	// Experiment is the run's, where records of several are looked through; "" = whichever has a run of the name.
	Experiment string
	// Of is the number, and whether the record has it; nil is the last epoch's test accuracy, in per cent.
	Of func(*record.Record) (float64, bool)
}

// Accuracy is a run's test accuracy at its last epoch, in per cent.
func Accuracy(run string) Quantity { return Quantity{Run: run} }

// In is the quantity of the run of another experiment.
func (q Quantity) In(experiment string) Quantity {
	q.Experiment = experiment
	return q
}

// bySeed are the completed records of the run that have the quantity, by seed, and its values. Of two records of one seed
// the later one counts.
func (q Quantity) bySeed(records []*record.Record) (map[uint64]*record.Record, map[uint64]float64) {
	of := q.Of
	if of == nil {
		of = TestAccuracy
	}
	used, values := map[uint64]*record.Record{}, map[uint64]float64{}
	for _, r := range records {
		if r.Status != record.Completed || r.Recipe.Name != q.Run ||
			q.Experiment != "" && r.Recipe.Experiment != q.Experiment {
			continue
		}
		if v, ok := of(r); ok && !math.IsNaN(v) && !math.IsInf(v, 0) {
			used[r.Recipe.Seed], values[r.Recipe.Seed] = r, v
		}
	}
	return used, values
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
