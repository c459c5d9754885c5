package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/plots"
)

// Judgement is what accuracies deserve to have said about them.
type Judgement struct {
	Headline string // one sentence: DHKD against the others
	// Details are further sentences: the noise, the highest mean, failures, and what the comparison cannot show.
	Details     []string
	Comparisons []Comparison // DHKD with every other finished student; empty when DHKD did not finish
}

// String is the headline and the details as one paragraph.
func (j *Judgement) String() string {
	return strings.Join(append([]string{j.Headline}, j.Details...), " ")
}

// Comparison is DHKD's mean last-epoch test accuracy less another run's.
type Comparison struct {
	Label      string  // of the other run
	Difference float64 // points; positive when DHKD is ahead
	Noise      float64 // points; a difference that is not larger cannot be told from none
	Seeds      int     // the smaller number of finished seeds of the two
}

// Outcome is 1 when DHKD is ahead by more than the noise, -1 when the other is, and 0 when they cannot be told apart.
func (c Comparison) Outcome() int {
	switch {
	case c.Difference > c.Noise:
		return 1
	case -c.Difference > c.Noise:
		return -1
	}
	return 0
}

// Verdict compares DHKD with the other runs of an experiment, and says it whichever wins. The accuracies are those of
// the last epoch, averaged over the seeds that finished. A difference counts only when it is larger than the noise: two
// standard errors of sampling the test images and, with two or more seeds, the spread between seeds. Runs of the
// authors' literal formula are reported but are no baselines. The error is that of [plots.Summarize].
func Verdict(records []*record.Record) (*Judgement, error) {
	s, err := plots.Summarize(records)
	if err != nil {
		return nil, err
	}
	return judge(s), nil
}

func judge(s *plots.Summary) *Judgement {
	j := &Judgement{}
	dhkd := subject(s)
	switch {
	case dhkd == nil:
		j.Headline = "There is no DHKD run among these records, so nothing is said about it."
	case dhkd.Last.N == 0:
		j.Headline = fmt.Sprintf("%s has no finished run to compare (%s).", dhkd.Label, dhkd.Trouble())
	default:
		for _, run := range s.Students {
			if run != dhkd && run.Last.N > 0 && !run.Recipe.Method.Literal {
				j.Comparisons = append(j.Comparisons, Comparison{
					Label:      run.Label,
					Difference: dhkd.Last.Mean - run.Last.Mean,
					Noise:      noise(dhkd.Last, run.Last, s.TestImages()),
					Seeds:      min(dhkd.Last.N, run.Last.N),
				})
			}
		}
		j.Headline = headline(dhkd, j.Comparisons)
	}
	if len(j.Comparisons) > 0 {
		j.Details = append(j.Details, aboutNoise(s, j.Comparisons)...)
	}
	j.Details = append(j.Details, aboutHighest(s, dhkd)...)
	j.Details = append(j.Details, aboutTrouble(s)...)
	j.Details = append(j.Details, aboutFairness(s, j.Comparisons)...)
	return j
}

// subject is the DHKD run that is compared: the one named "dhkd", or else the first.
func subject(s *plots.Summary) *plots.Run {
	var found *plots.Run
	for _, run := range s.Students {
		if run.Recipe.Method.Name == "dhkd" && !run.Recipe.Method.Literal && (found == nil || run.Name == "dhkd") {
			found = run
		}
	}
	return found
}

func headline(dhkd *plots.Run, comparisons []Comparison) string {
	var ahead, level, behind []string
	for _, c := range comparisons {
		text := fmt.Sprintf("%s (%s points)", c.Label, signed(c.Difference))
		switch c.Outcome() {
		case 1:
			ahead = append(ahead, text)
		case 0:
			level = append(level, text)
		case -1:
			behind = append(behind, text)
		}
	}
	var clauses []string
	if len(behind) > 0 {
		clauses = append(clauses, "is behind "+list(behind, "and"))
	}
	if len(ahead) > 0 {
		clauses = append(clauses, "is ahead of "+list(ahead, "and"))
	}
	if len(level) > 0 {
		clauses = append(clauses, "cannot be told apart from "+list(level, "or"))
	}
	if len(clauses) == 0 {
		return fmt.Sprintf("%s reaches %s %%; no other run finished, so there is nothing to compare it with.",
			dhkd.Label, dhkd.Last)
	}
	finished := ""
	if all := len(dhkd.Records); dhkd.Last.N < all {
		finished = fmt.Sprintf(" over the %d of %d seeds that finished", dhkd.Last.N, all)
	}
	return fmt.Sprintf("%s, at %s %%%s, %s.", dhkd.Label, dhkd.Last, finished, list(clauses, "and"))
}

// aboutNoise says how large a difference must be, and what was not measured.
func aboutNoise(s *plots.Summary, comparisons []Comparison) []string {
	if s.TestImages() == 0 {
		return []string{"The records do not say how many test images there were, so no difference can be judged."}
	}
	low, high := math.Inf(1), 0.0
	fewest, most := math.MaxInt, 0
	for _, c := range comparisons {
		low, high = min(low, c.Noise), max(high, c.Noise)
		fewest, most = min(fewest, c.Seeds), max(most, c.Seeds)
	}
	size := fmt.Sprintf("about %.1f", low)
	if fmt.Sprintf("%.1f", low) != fmt.Sprintf("%.1f", high) {
		size += fmt.Sprintf(" to %.1f", high)
	}
	images := plots.Thousands(s.TestImages()) + " test images"
	switch {
	case most == 1:
		return []string{fmt.Sprintf("With one seed a run and %s, differences below %s points "+
			"(two standard errors of sampling) cannot be told apart; "+
			"how much the accuracy varies from seed to seed was not measured.", images, size)}
	case fewest == 1:
		return []string{fmt.Sprintf("With %s and one seed in some runs, differences below %s points cannot be told apart; "+
			"where a run has one seed, how much it varies from seed to seed was not measured.", images, size)}
	}
	seeds := fmt.Sprintf("%d seeds a run", fewest)
	if fewest != most {
		seeds = fmt.Sprintf("%d or more seeds a run", fewest)
	}
	return []string{fmt.Sprintf("With %s and %s, differences below %s points (sampling error and spread over seeds) "+
		"cannot be told apart.", seeds, images, size)}
}

// aboutHighest says whose mean is the highest when that is not DHKD's.
func aboutHighest(s *plots.Summary, dhkd *plots.Run) []string {
	var best *plots.Run
	for _, run := range s.Students {
		if run.Last.N > 0 && (best == nil || run.Last.Mean > best.Last.Mean) {
			best = run
		}
	}
	if best == nil || best == dhkd {
		return nil
	}
	return []string{fmt.Sprintf("The highest mean is that of %s, %s %%.", best.Label, best.Last)}
}

// aboutTrouble reports every run that did not go as planned.
func aboutTrouble(s *plots.Summary) []string {
	var sentences []string
	for _, run := range s.Students {
		trouble := run.Trouble()
		if trouble == "" {
			continue
		}
		formula := ""
		if run.Recipe.Method.Literal && !strings.Contains(strings.ToLower(run.Label), "literal") {
			formula = ", the authors' literal float32 formula"
		}
		sentence := run.Label + formula + ": " + trouble
		for _, r := range run.Records {
			if r.Status == record.Failed && r.Failure.Term != "" {
				sentence += fmt.Sprintf(", where the loss term %s was not finite", plots.Printable(r.Failure.Term, 30))
				break
			}
		}
		if run.Last.N > 0 {
			sentence += fmt.Sprintf("; last epoch %s %%, best epoch %s %%", run.Last, run.Best)
		} else if top1 := reached(run); top1 > 0 {
			sentence += fmt.Sprintf("; until then its best epoch was at %.1f %%", top1)
		}
		sentences = append(sentences, sentence+".")
	}
	return sentences
}

// reached is the best accuracy of any epoch of any seed.
func reached(run *plots.Run) (top1 float64) {
	for _, r := range run.Records {
		best, _ := r.Value(record.MetricStudentTest, record.AtBest)
		top1 = max(top1, best)
	}
	return top1
}

// aboutFairness says what stands between these numbers and a general claim.
func aboutFairness(s *plots.Summary, comparisons []Comparison) []string {
	var sentences []string
	if s.Profile == "smoke" {
		sentences = append(sentences, "This is a smoke run: it shows that the program works, not which method is better.")
	}
	if len(comparisons) == 0 {
		return sentences
	}
	var untuned, edge []string
	epochs := map[int]bool{}
	for _, run := range s.Students {
		if run.Last.N == 0 || run.Recipe.Method.Literal {
			continue
		}
		epochs[run.Recipe.Schedule.Epochs] = true
		switch t := run.Recipe.Tuning; {
		case t == nil:
			untuned = append(untuned, run.Label)
		case atEdge(t, run.Recipe.Optimizer.LearningRate):
			edge = append(edge, run.Label)
		}
	}
	if len(untuned) > 0 {
		sentences = append(sentences, fmt.Sprintf("The learning rate of %s was given, not chosen by a search: "+
			"a difference may be the learning rate's.", list(untuned, "and")))
	}
	if len(edge) > 0 {
		sentences = append(sentences, fmt.Sprintf("The learning rate of %s is the smallest or the largest that was tried: "+
			"a better one may lie beyond.", list(edge, "and")))
	}
	if len(epochs) > 1 {
		sentences = append(sentences, "The runs were not trained for the same number of epochs.")
	}
	return sentences
}

// atEdge says whether the rate is an end of the range that was searched.
func atEdge(t *record.Tuning, rate float64) bool {
	if len(t.Candidates) == 0 {
		return true
	}
	byRate := func(a, b record.TuningAccuracy) int { return cmp.Compare(a.LearningRate, b.LearningRate) }
	low, high := slices.MinFunc(t.Candidates, byRate), slices.MaxFunc(t.Candidates, byRate)
	return rate <= low.LearningRate || rate >= high.LearningRate
}

// signed writes +3.9, −0.4 or ±0.0.
func signed(v float64) string {
	s := fmt.Sprintf("%+.1f", v)
	if s == "+0.0" || s == "-0.0" {
		return "±0.0"
	}
	return strings.Replace(s, "-", "−", 1)
}

// list joins "a", "a and b", "a, b and c".
func list(items []string, word string) string {
	if len(items) < 2 {
		return strings.Join(items, "")
	}
	last := len(items) - 1
	return strings.Join(items[:last], ", ") + " " + word + " " + items[last]
}
