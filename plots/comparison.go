package plots

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// AccuracyIntervals draws a row per run: the mean over seeds of the last epoch's student/test_top1, in per cent, as a
// dot, the 95 % confidence interval of the mean (Student's t) as a line, and every finished seed as a circle. Unlike
// [AccuracyBars] its axis does not start at zero, so that small differences can be seen. Accuracies more than 10 points
// below the median stand at the left end, their values in the last column. The error is that of [Summarize] or of a bad
// option, or says that no run has finished.
func AccuracyIntervals(records []*record.Record, o Options) (*Figure, error) {
	s, o, err := summarizeForFigure(records, "Test accuracy with 95\u00a0% intervals", o)
	if err != nil {
		return nil, err
	}
	looks := looks(s.Students)
	dots := dotRows{narrow: o.narrow(), values: true}
	for _, run := range s.Students {
		row := dotRow{label: run.Label, note: run.Trouble()}
		if run.Last.N > 0 {
			row.dots = []dot{newDot(run.lastValues(), looks[run], "%.1f")}
		}
		dots.rows = append(dots.rows, row)
	}
	x, err := dots.axis("top-1 (%)")
	if err != nil {
		return nil, err
	}
	var levels []level
	if t := s.TeacherTop1; t.N > 0 && t.Mean >= x.low && t.Mean <= x.high+1 {
		x.high = math.Max(x.high, t.Mean+0.1)
		levels = append(levels, level{t.Mean, "Teacher " + t.String(), dashedStyle})
	}
	f := newFrame(o, "Top-1 accuracy at the last epoch: dot and line are the mean over seeds and its 95\u00a0% interval "+
		"(Student's t), circles the seeds.", s.Caption())
	return dots.figure(f, o, "Dot plot of test top-1 accuracy in per cent, mean over seeds and half of its interval."+
		dots.alt()+" "+s.Caption()+".", x, levels...), nil
}

// PairedDifferences draws, for each run, how much its last-epoch accuracy is above the baseline's, in points: the
// seeds that both finished are compared one by one, which takes out what a seed does to both. The dot is the mean
// difference, the line its 95 % confidence interval (Student's t on the differences), and circles are the seeds. An
// interval that holds zero has not told the two apart. baseline is a run's name; empty means kd, else ce, else the
// first run. The error is that of [Summarize] or of a bad option, or says which runs there are, or that none shares a
// finished seed with the baseline.
func PairedDifferences(records []*record.Record, baseline string, o Options) (*Figure, error) {
	s, o, err := summarizeForFigure(records, "", o)
	if err != nil {
		return nil, err
	}
	base, err := s.baseline(baseline)
	if err != nil {
		return nil, err
	}
	o.Title = cmp.Or(o.Title, "Test accuracy against "+base.Label)
	looks := looks(s.Students)
	dots := dotRows{narrow: o.narrow(), values: true}
	for _, run := range s.Students {
		if run == base {
			continue
		}
		row := dotRow{label: run.Label, note: run.Trouble()}
		if differences := run.differences(base); len(differences) > 0 {
			row.dots = []dot{newDot(differences, looks[run], "%+.2f")}
		} else {
			row.note = cmp.Or(row.note, "no finished seed in common")
		}
		dots.rows = append(dots.rows, row)
	}
	x, err := dots.axis("difference of top-1 (points)")
	if err != nil {
		return nil, fmt.Errorf("%w: against %s a run needs a finished seed that is also one of its", err, base.Name)
	}
	x.low, x.high = math.Min(x.low, -0.1), math.Max(x.high, 0.1)
	f := newFrame(o, fmt.Sprintf("Last epoch, seed by seed, less %s (%s %%): mean difference, its 95\u00a0%% interval "+
		"(Student's t), circles the seeds.", base.Label, base.Last), s.Caption())
	return dots.figure(f, o, "Dot plot of differences of top-1 accuracy from "+base.Label+" in points, mean over seeds "+
		"and half of its 95\u00a0% interval."+dots.alt()+" "+s.Caption()+".", x, level{at: 0, style: zeroStyle}), nil
}

// newDot is the mean of values with its interval.
func newDot(values []float64, l look, format string) dot {
	stat := NewStat(values...)
	half := stat.Interval()
	d := dot{value: stat.Mean, low: stat.Mean - half, high: stat.Mean + half, colour: l.colour, seeds: values}
	d.text = minus(fmt.Sprintf(format, stat.Mean))
	if stat.N > 1 {
		d.text += fmt.Sprintf(" ± %.*f", strings.Count(format, "2")+1, half)
	} else {
		d.seeds = nil
	}
	return d
}

// axis is one that shows the dots and their seeds, and the intervals as far as they leave room for that: values far
// below most, of runs that collapsed, are not on it.
func (d dotRows) axis(label string) (axis, error) {
	var values, middles []float64
	for _, r := range d.rows {
		for _, dot := range r.dots {
			values = append(append(values, dot.value), dot.seeds...)
			middles = append(middles, dot.value)
		}
	}
	if len(values) == 0 {
		return axis{}, fmt.Errorf("no run has a value to draw")
	}
	slices.Sort(middles)
	floor := middles[len(middles)/2] - 10
	low, high := math.Inf(1), math.Inf(-1)
	for _, v := range values {
		if v >= floor {
			low, high = math.Min(low, v), math.Max(high, v)
		}
	}
	room := math.Max(high-low, 0.5)
	least, most := low-room, high+room
	for _, r := range d.rows {
		for _, dot := range r.dots {
			if dot.value >= floor && !math.IsNaN(dot.low) {
				low, high = math.Min(low, math.Max(dot.low, least)), math.Max(high, math.Min(dot.high, most))
			}
		}
	}
	pad := math.Max(0.05*(high-low), 0.05)
	return axis{label: label, low: low - pad, high: high + pad}, nil
}

// lastValues are the last-epoch accuracies of the run's finished seeds.
func (run *Run) lastValues() (values []float64) {
	for _, r := range run.Done {
		top1, _ := r.Value(record.MetricStudentTest, record.AtLast)
		values = append(values, top1)
	}
	return values
}

// differences are the run's last-epoch accuracies less the other's, of the seeds that both finished.
func (run *Run) differences(other *Run) (values []float64) {
	theirs := other.lastValues()
	for i, top1 := range run.lastValues() {
		same := func(r *record.Record) bool { return r.Recipe.Seed == run.Done[i].Recipe.Seed }
		if k := slices.IndexFunc(other.Done, same); k >= 0 {
			values = append(values, top1-theirs[k])
		}
	}
	return values
}

// baseline finds a run by name.
func (s *Summary) baseline(name string) (*Run, error) {
	wanted := []string{name}
	if name == "" {
		wanted = []string{"kd", "ce", s.Students[0].Name}
	}
	var names []string
	for _, want := range wanted {
		names = nil
		for _, run := range s.Students {
			if run.Name == want {
				return run, nil
			}
			names = append(names, run.Name)
		}
	}
	return nil, fmt.Errorf("no run is called %q to compare with: there are %s", Printable(name, 60),
		strings.Join(names, ", "))
}
