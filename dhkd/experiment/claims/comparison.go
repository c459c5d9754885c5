package claims

import (
	"fmt"
	"math"

	"github.com/dhkd-lab/dhkd-go/dhkd/analysis/seeds"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// Comparison says that one quantity is larger than another, seed by seed.
type Comparison struct {
	Words      string // for readers
	More, Less Quantity
	// Least is the smallest difference that would count, in the unit of the quantities; 0 = any.
	Least float64
	// Beside is for a comparison that stands beside a claim and takes no part in the verdict on it.
	Beside bool
}

// Larger claims, in these words, that one quantity is larger than another.
func Larger(words string, more, less Quantity) Comparison {
	return Comparison{Words: words, More: more, Less: less}
}

// Verdict is what the 95 % confidence interval of a mean difference over seeds says of it.
type Verdict string

// The verdicts. The interval is that of [seeds.Summarize], of the differences of the seeds that both runs have.
const (
	Seen      Verdict = "seen"                  // the interval is above zero
	Opposite  Verdict = "the opposite was seen" // it is below zero
	NotSeen   Verdict = "not seen"              // it is below the least difference that would count, and holds zero
	Undecided Verdict = "undecided"             // it holds both zero and that difference, or there are fewer than two seeds
	NoRuns    Verdict = "no runs yet"           // there is no seed that both runs have completed
)

// Result is what records say about a comparison.
type Result struct {
	Comparison
	Pairs              []Pair
	MeanMore, MeanLess float64 // over the pairs; NaN where there are none
	Difference         seeds.Summary
	Verdict            Verdict
}

// Pair is a seed that both runs have completed.
type Pair struct {
	More, Less           *record.Record
	MoreValue, LessValue float64
}

// Of compares the quantities of the records.
func (c Comparison) Of(records []*record.Record) Result {
	more, moreValues := c.More.bySeed(records)
	less, lessValues := c.Less.bySeed(records)
	result := Result{Comparison: c}
	var a, b, differences []float64
	for _, r := range records { // in their order
		seed := r.Recipe.Seed
		if more[seed] != r || less[seed] == nil {
			continue
		}
		x, y := moreValues[seed], lessValues[seed]
		result.Pairs = append(result.Pairs, Pair{r, less[seed], x, y})
		a, b, differences = append(a, x), append(b, y), append(differences, x-y)
	}
	result.MeanMore, result.MeanLess = seeds.Summarize(a...).Mean, seeds.Summarize(b...).Mean
	result.Difference = seeds.Summarize(differences...)
	result.Verdict = c.verdict(result.Difference)
	return result
}

func (c Comparison) verdict(d seeds.Summary) Verdict {
	switch {
	case d.N == 0:
		return NoRuns
	case d.Low > 0:
		return Seen
	case d.High < 0:
		return Opposite
	case d.High < c.Least:
		return NotSeen
	}
	return Undecided // also where there is no interval
}

// Interval is the mean difference with its interval, "2.71 [2.10, 3.32]", or what there is of them.
func (r Result) Interval() string {
	d := r.Difference
	switch d.N {
	case 0:
		return "–"
	case 1:
		return Digits(d.Mean)
	}
	format := format(d.Mean, d.Low, d.High)
	return fmt.Sprintf(format+" ["+format+", "+format+"]", d.Mean, d.Low, d.High)
}

// Digits writes a quantity with as many digits as accuracies in per cent need, or cosines; "–" for NaN.
func Digits(v float64) string {
	if math.IsNaN(v) {
		return "–"
	}
	return fmt.Sprintf(format(v), v)
}

func format(values ...float64) string {
	for _, v := range values {
		if math.Abs(v) >= 2 {
			return "%.2f"
		}
	}
	return "%.3f"
}
