package report

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"gonum.org/v1/gonum/stat"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/plots"
)

// row is a line of the table of results, the same in HTML, Markdown and on a terminal.
type row struct {
	Run          *plots.Run
	Label        string
	Method       string // "dhkd", "ce+binarykl, literal"
	IsTeacher    bool
	LearningRate string
	Chosen       string // how the learning rate was chosen
	Last, Best   string // "55.6 ± 0.7"
	Seeds        string // finished of all: "3", "2 of 3"
	ToCE         string // last epoch less that of CE, in points; empty for CE itself and for the teacher
	WithinNoise  bool   // of ToCE
	Time         string // mean wall time of training with evaluation
	Speed        string // mean images per second
	Status       string // "completed", or what went wrong
	Trouble      bool
}

// rows are the teacher, when its record is there, and every student.
func rows(s *plots.Summary) []row {
	var baseline *plots.Run
	for _, run := range s.Students {
		if run.Recipe.Method.Name == "ce" && run.Last.N > 0 && (baseline == nil || run.Name == "ce") {
			baseline = run
		}
	}
	var result []row
	if s.Teacher != nil {
		r := newRow(s.Teacher)
		r.IsTeacher = true
		result = append(result, r)
	}
	for _, run := range s.Students {
		r := newRow(run)
		if baseline != nil && run != baseline && run.Last.N > 0 {
			difference := run.Last.Mean - baseline.Last.Mean
			r.ToCE = signed(difference)
			limit := noise(run.Last, baseline.Last, s.TestImages())
			r.WithinNoise = difference <= limit && -difference <= limit
		}
		result = append(result, r)
	}
	return result
}

func newRow(run *plots.Run) row {
	r := row{
		Run:          run,
		Label:        run.Label,
		Method:       plots.Printable(run.Recipe.Method.Name, 30),
		LearningRate: strconv.FormatFloat(run.Recipe.LearningRate(), 'g', 6, 64),
		Chosen:       chosen(run.Recipe),
		Last:         run.Last.String(),
		Best:         run.Best.String(),
		Seeds:        strconv.Itoa(run.Last.N),
		Status:       "completed",
	}
	if run.Recipe.Method.Literal {
		r.Method += ", literal"
	}
	if all := len(run.Records); run.Last.N < all {
		r.Seeds = fmt.Sprintf("%d of %d", run.Last.N, all)
	}
	if trouble := run.Trouble(); trouble != "" {
		r.Status, r.Trouble = trouble, true
	}
	var seconds, speeds []float64
	for _, rec := range run.Records {
		seconds = append(seconds, rec.TrainSeconds)
		if rec.ImagesPerSecond > 0 {
			speeds = append(speeds, rec.ImagesPerSecond)
		}
	}
	r.Time, r.Speed = duration(stat.Mean(seconds, nil)), "–"
	if len(speeds) > 0 {
		if speed := stat.Mean(speeds, nil); speed < 1e9 {
			r.Speed = plots.Thousands(int(speed + 0.5))
		}
	}
	return r
}

// chosen says how the recipe came to its learning rate.
func chosen(recipe record.Recipe) string {
	t := recipe.Tuning
	if t == nil {
		return "given"
	}
	if len(t.Candidates) == 0 {
		return "a search without candidates"
	}
	mean := func(c record.TuningAccuracy) float64 { return plots.NewStat(c.Top1...).Mean }
	best := slices.MaxFunc(t.Candidates, func(a, b record.TuningAccuracy) int { return cmp.Compare(mean(a), mean(b)) })
	verdict := "best"
	if mean(best) != bestMean(t, recipe.Optimizer.LearningRate) {
		verdict = "not the best"
	}
	seeds := "1 seed"
	if n := len(t.Seeds); n != 1 {
		seeds = fmt.Sprintf("%d seeds", n)
	}
	return fmt.Sprintf("%s of %d on %s held-out images, %s", verdict, len(t.Candidates), plots.Thousands(t.Holdout), seeds)
}

// bestMean is the mean held-out accuracy of a learning rate; NaN when it was not a candidate.
func bestMean(t *record.Tuning, rate float64) float64 {
	for _, c := range t.Candidates {
		if c.LearningRate == rate {
			return plots.NewStat(c.Top1...).Mean
		}
	}
	return plots.NewStat().Mean
}

// duration writes seconds as "22 s", "3 min 42 s" or "2 h 5 min".
func duration(seconds float64) string {
	if !(seconds >= 0 && seconds < 1e9) {
		return "–"
	}
	n := int(seconds + 0.5)
	switch {
	case n < 100:
		return fmt.Sprintf("%d s", n)
	case n < 3600:
		return fmt.Sprintf("%d min %d s", n/60, n%60)
	}
	return fmt.Sprintf("%d h %d min", n/3600, n%3600/60)
}
