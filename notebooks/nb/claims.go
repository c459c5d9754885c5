package nb

import (
	"slices"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/claims"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// Claim says that one quantity is larger than another, seed by seed. See package claims, which also has the paper's claims.
type Claim = claims.Comparison

// Quantity is a number of each seed of a run, such as the accuracy at the end.
type Quantity = claims.Quantity

// Larger claims, in these words, that one quantity is larger than another.
func Larger(words string, more, less Quantity) Claim { return claims.Larger(words, more, less) }

// Accuracy is a run's test accuracy at its last epoch, in per cent.
func Accuracy(run string) Quantity { return claims.Accuracy(run) }

// OfPaper are the comparisons by which one of the paper's claims is tested in its main setting, as in the reproduction
// report: "i" is that two losses on one head are worse than one. See [claims.Paper]. Runs are found by their names alone, of
// whichever experiment the records are.
func OfPaper(number string) []Claim {
	all := slices.Clone(claims.Numbered(number).Tests[0].Comparisons)
	for i := range all {
		all[i].More.Experiment, all[i].Less.Experiment = "", ""
	}
	return all
}

// Claims shows a table of claims: both quantities, their difference with its 95 % interval, and the verdict that follows
// from it, whichever it is. Runs without a completed record are said to be missing.
func Claims(records []*record.Record, all ...Claim) {
	var rows [][]any
	for _, c := range all {
		rows = append(rows, row(c.Of(records)))
	}
	Table([]string{"claim", "claimed larger", "claimed smaller", "difference [95 %]", "seeds", "verdict"}, rows...)
}

func row(r claims.Result) []any {
	return []any{r.Words, claims.Digits(r.MeanMore), claims.Digits(r.MeanLess), r.Interval(), r.Difference.N, string(r.Verdict)}
}

// TestAccuracy is the last epoch's, in per cent.
func TestAccuracy(r *record.Record) (float64, bool) { return claims.TestAccuracy(r) }

// LastMetric is a metric at the last epoch that has it.
func LastMetric(name string) func(*record.Record) (float64, bool) { return claims.LastMetric(name) }

// Number is the same for each record: what a quantity is compared with.
func Number(v float64) func(*record.Record) (float64, bool) { return claims.Number(v) }

// MeanCosine is the cosine between the gradients of two losses in a part of the network, [record.PartBackbone] or another
// that there is one of: the mean over all measured steps of the run.
func MeanCosine(kind string) func(*record.Record) (float64, bool) { return claims.MeanCosine(kind) }

// ConflictShare is the share of the measured steps of the run in which that cosine was below zero, 0 to 1.
func ConflictShare(kind string) func(*record.Record) (float64, bool) {
	return claims.ConflictShare(kind)
}
