package claims

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/dhkd-lab/dhkd-go/dhkd/analysis/seeds"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// Judgement is what records say about a claim.
type Judgement struct {
	Claim
	Tests []Tested // in the claim's order, those without runs too
}

// Tested is a test with its results.
type Tested struct {
	Test
	Results []Result
	missing []string
	// Verdict on the comparisons that are not beside the claim: seen if all are; the opposite if that of all was; not seen
	// if one of them is not, or its opposite was; no runs yet if none has any; else undecided.
	Verdict Verdict
}

// Judge tests the paper's claims. Records of other experiments and profiles than those of the tests are left alone. The
// error names two records that cannot be compared.
func Judge(records []*record.Record) ([]Judgement, error) {
	var judgements []Judgement
	for _, c := range Paper() {
		j := Judgement{Claim: c}
		for _, t := range c.Tests {
			tested, err := t.of(records)
			if err != nil {
				return nil, err
			}
			j.Tests = append(j.Tests, tested)
		}
		judgements = append(judgements, j)
	}
	return judgements, nil
}

func (t Test) of(records []*record.Record) (Tested, error) {
	records = slices.DeleteFunc(slices.Clone(records), func(r *record.Record) bool {
		return r.Recipe.Profile != t.Profile
	})
	tested := Tested{Test: t}
	for _, c := range t.Comparisons {
		for _, q := range []*Quantity{&c.More, &c.Less} {
			if q.Experiment == "" {
				q.Experiment = t.Experiment
			}
			if used, _ := q.bySeed(records); len(used) == 0 {
				tested.missing = append(tested.missing, name(*q))
			}
		}
		result := c.Of(records)
		for _, p := range result.Pairs {
			if what := difference(p.More, p.Less); what != "" {
				return Tested{}, fmt.Errorf("runs %s and %s of seed %d cannot be compared: their %s differs",
					name(c.More), name(c.Less), p.More.Recipe.Seed, what)
			}
		}
		tested.Results = append(tested.Results, result)
	}
	tested.Verdict = together(tested.Counted())
	return tested, nil
}

func name(q Quantity) string { return q.Experiment + "/" + q.Run }

// difference is what two runs must have in common to be compared, and have not; empty where there is nothing.
func difference(a, b *record.Record) string {
	switch {
	case a.Recipe.Dataset != b.Recipe.Dataset:
		return "dataset"
	case a.Data.Test != b.Data.Test || a.Data.Evaluation != b.Data.Evaluation:
		return "set of evaluated images"
	case !maps.Equal(a.Data.SHA256, b.Data.SHA256):
		return "SHA-256 of the data"
	case a.Recipe.Model.Name != b.Recipe.Model.Name:
		return "network"
	case a.Recipe.Schedule.Epochs != b.Recipe.Schedule.Epochs:
		return "number of epochs"
	case a.Teacher != nil && b.Teacher != nil && a.Teacher.SHA256 != b.Teacher.SHA256:
		return "teacher"
	}
	return ""
}

// Counted are the results that are not beside the claim.
func (t Tested) Counted() (counted []Result) {
	for _, r := range t.Results {
		if !r.Beside {
			counted = append(counted, r)
		}
	}
	return counted
}

// together is the verdict on a claim of several parts.
func together(parts []Result) Verdict {
	n := map[Verdict]int{}
	for _, p := range parts {
		n[p.Verdict]++
	}
	switch len(parts) {
	case n[Seen]:
		return Seen
	case n[Opposite]:
		return Opposite
	case n[NoRuns]:
		return NoRuns
	}
	if n[Opposite]+n[NotSeen] > 0 {
		return NotSeen
	}
	return Undecided
}

// Missing are the runs, as "EXPERIMENT/RUN", that no record is of, those of comparisons beside the claim included.
func (t Tested) Missing() []string {
	missing := slices.Clone(t.missing)
	slices.Sort(missing)
	return slices.Compact(missing)
}

// Needed is the number of seeds with which a paired test would probably find the least difference that counts, see
// [seeds.Needed], where a comparison of several seeds is undecided; 0 elsewhere, and where that is not known.
func (r Result) Needed() int {
	d := r.Difference
	if r.Verdict != Undecided || r.Least == 0 || math.IsNaN(d.SD) {
		return 0
	}
	n, err := seeds.Needed(d.SD, r.Least)
	if err != nil {
		return 0
	}
	return n
}
