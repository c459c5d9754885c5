package plots

import (
	"math"
	"slices"

	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg/draw"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// overflow is the size from which a loss is drawn as one that is not finite: no axis shows it beside others.
const overflow = 1e30

// bandSeeds is from how many seeds on their spread is drawn as a band: two have next to no interval of their mean.
const bandSeeds = 3

// panelData is one metric of all runs that have it.
type panelData struct {
	metric, title string
	label         string // of the vertical axis
	runs          []*runCurve
	epochs        int     // of the longest recipe or record
	low, high     float64 // of the seeds' values
	milestones    []int
	rate          float64
	teacher       Stat
}

// runCurve is one metric of one run.
type runCurve struct {
	*Run
	look
	label   string        // the run's, in words
	seeds   []plotter.XYs // a line per seed that has a value
	mean    plotter.XYs   // over all seeds, while each has a value
	low     []float64     // of the mean's 95 % interval, for each of its points; nil where the seeds are drawn
	high    []float64
	broken  bool         // a seed's value was NaN or infinite
	failed  bool         // a seed's run failed
	crosses []plotter.XY // where the crosses are
}

func newPanel(s *Summary, metric, title, label string) *panelData {
	p := &panelData{metric: metric, title: title, label: label, low: math.Inf(1), high: math.Inf(-1)}
	looks := looks(s.Students)
	for _, run := range s.Students {
		c := newRunCurve(run, metric)
		c.look = looks[run]
		if len(c.seeds) == 0 && !c.broken {
			continue
		}
		p.runs = append(p.runs, c)
		for _, line := range c.seeds {
			for _, pt := range line {
				p.low, p.high = math.Min(p.low, pt.Y), math.Max(p.high, pt.Y)
			}
			p.epochs = max(p.epochs, int(line[len(line)-1].X))
		}
		schedule := run.Recipe.Schedule
		if len(p.runs) == 1 {
			p.milestones, p.rate = schedule.Milestones, schedule.Rate
		} else if !slices.Equal(p.milestones, schedule.Milestones) || p.rate != schedule.Rate {
			p.milestones = nil // they differ: one set of lines would mislead
		}
	}
	if p.low > p.high {
		p.low, p.high = 0, 1
	}
	p.epochs = max(p.epochs, 1)
	return p
}

func newRunCurve(run *Run, metric string) *runCurve {
	c := &runCurve{Run: run, label: run.Label}
	values := map[int][]float64{} // by epoch
	for _, r := range run.Records {
		var line plotter.XYs
		broken := false
		for _, e := range r.Epochs {
			v, ok := e.Metrics[metric]
			if !ok {
				continue
			}
			if math.IsNaN(v) || math.Abs(v) > overflow {
				broken = true
				break
			}
			line = append(line, plotter.XY{X: float64(e.Epoch), Y: v})
			values[e.Epoch] = append(values[e.Epoch], v)
		}
		failed := r.Status == record.Failed
		c.broken, c.failed = c.broken || broken, c.failed || failed
		if len(line) > 0 {
			c.seeds = append(c.seeds, line)
			if broken || failed {
				c.crosses = append(c.crosses, line[len(line)-1])
			}
		} else if broken {
			c.crosses = append(c.crosses, plotter.XY{X: 1, Y: math.Inf(1)})
		}
	}
	if len(c.seeds) == 0 {
		return c
	}
	for _, pt := range c.seeds[0] {
		of := values[int(pt.X)]
		if len(of) < len(run.Records) {
			continue
		}
		stat := NewStat(of...)
		c.mean = append(c.mean, plotter.XY{X: pt.X, Y: stat.Mean})
		if half := stat.Interval(); run.banded() {
			c.low, c.high = append(c.low, stat.Mean-half), append(c.high, stat.Mean+half)
		}
	}
	return c
}

// banded says whether the seeds' spread is a band: those that died and others have none in common.
func (run *Run) banded() bool { return len(run.Records) >= bandSeeds && run.Trouble() == "" }

// ends are the first and the last value of the mean, or of the first seed where no epoch has all.
func (c *runCurve) ends() (first, last float64) {
	line := c.mean
	if len(line) == 0 && len(c.seeds) > 0 {
		line = c.seeds[0]
	}
	if len(line) == 0 {
		return math.NaN(), math.NaN()
	}
	return line[0].Y, line[len(line)-1].Y
}

// chart draws the runs: each seed as a thin line, or, where a run has enough seeds and all went well, the interval of
// their mean as a band.
func (p *panelData) chart() *chart {
	ch := &chart{title: p.title, x: epochAxis(p.epochs), y: axis{label: p.label}}
	for i, m := range p.milestones[:min(len(p.milestones), 20)] {
		if m < 1 || m >= p.epochs {
			continue
		}
		mark := moment{at: float64(m) + 0.5} // between a milestone's epoch and the next
		if i == 0 && p.title == "" {
			mark.label = "LR ×" + number(p.rate)
		}
		ch.moments = append(ch.moments, mark)
	}
	if p.teacher.N > 0 {
		ch.levels = append(ch.levels, level{p.teacher.Mean, "Teacher " + p.teacher.String(), dashedStyle})
	}
	for _, run := range p.runs {
		if len(run.Records) < 2 {
			continue
		}
		for _, seed := range run.seeds {
			if len(run.low) == 0 {
				ch.lines = append(ch.lines, line{style: draw.LineStyle{Color: faded(run.colour, 0.4), Width: 0.7}, points: seed})
			}
		}
	}
	for _, run := range p.runs {
		ch.lines = append(ch.lines, line{run.line(1.8), run.mean, run.low, run.high})
	}
	for _, run := range p.runs {
		ch.crosses = append(ch.crosses, run.crosses...)
	}
	return ch
}

// lossChart chooses the axis of a loss.
func (p *panelData) lossChart() *chart {
	ch := p.chart()
	ch.y.log = p.low >= leastOfLog && p.high/p.low > 10
	ch.y.fit(p.low, p.high)
	return ch
}

func (s Stat) orZero() float64 {
	if s.N == 0 {
		return 0
	}
	return s.Mean
}
