package plots

import (
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// overflow is the size from which a loss is drawn as one that is not finite: no axis shows it beside others.
const overflow = 1e30

// panelData is one metric of all runs that have it.
type panelData struct {
	metric, title string
	runs          []*runCurve
	epochs        int     // of the longest recipe or record
	low, high     float64 // of the drawn values, then the ends of the axis
	log           bool
	milestones    []int
	rate          float64
	teacher       Stat
}

// runCurve is one metric of one run.
type runCurve struct {
	*Run
	look
	seeds   []plotter.XYs // a line per seed that has a value
	mean    plotter.XYs   // over all seeds, while each has a value
	broken  bool          // a seed's value was NaN or infinite
	failed  bool          // a seed's run failed
	crosses []plotter.XY  // where the crosses are
}

func newPanel(s *Summary, metric, title string) *panelData {
	p := &panelData{metric: metric, title: title, low: math.Inf(1), high: math.Inf(-1)}
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
	c := &runCurve{Run: run}
	sums, counts := map[int]float64{}, map[int]int{}
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
			sums[e.Epoch] += v
			counts[e.Epoch]++
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
		if e := int(pt.X); counts[e] == len(run.Records) {
			c.mean = append(c.mean, plotter.XY{X: pt.X, Y: sums[e] / float64(counts[e])})
		}
	}
	return c
}

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

// scaleLoss chooses the axis of a loss.
func (p *panelData) scaleLoss() {
	p.log = p.low > 0 && p.high/p.low > 10
	if p.log {
		p.low, p.high = p.low/1.15, p.high*1.15
		return
	}
	pad := (p.high - p.low) * 0.06
	if pad == 0 {
		pad = math.Max(math.Abs(p.high)*0.1, 1e-9)
	}
	p.low, p.high = p.low-pad, p.high+pad
	if p.low > 0 && p.low < 0.35*p.high {
		p.low = 0
	}
}

// plot builds the panel's plot.
func (p *panelData) plot() *plot.Plot {
	pl := newPlot()
	pl.X.Min, pl.X.Max = math.Min(1, float64(p.epochs)-0.5), float64(p.epochs)+0.02*float64(p.epochs)
	pl.X.Tick.Marker = epochTicks{}
	pl.X.Label.Text = "epoch"
	pl.Y.Min, pl.Y.Max = p.low, p.high
	pl.Y.Tick.Marker = linearTicks{count: 5}
	if p.log {
		pl.Y.Scale, pl.Y.Tick.Marker = plot.LogScale{}, logTicks{}
	}
	pl.Add(gridLines{}, p)
	return pl
}

// drawTitle writes the panel's title, when it has one, below and right of at, and returns the canvas below it.
func (p *panelData) drawTitle(c draw.Canvas, at vg.Point) draw.Canvas {
	if p.title == "" {
		return c
	}
	title := p.title
	if p.log {
		title += " (log scale)"
	}
	style := textStyle(9.5, true, ink)
	at.Y -= style.Font.Size * lineHeight
	c.FillText(style, at, title)
	c.Max.Y -= style.Font.Size*lineHeight + 5
	return c
}

// Plot implements [plot.Plotter].
func (p *panelData) Plot(c draw.Canvas, pl *plot.Plot) {
	x, y := pl.Transforms(&c)
	p.plotMilestones(c, x)
	if p.teacher.N > 0 {
		at := y(p.teacher.Mean)
		c.StrokeLine2(draw.LineStyle{Color: ink, Width: 1, Dashes: []vg.Length{4, 2.5}}, c.Min.X, at, c.Max.X, at)
	}
	at := func(pt plotter.XY) vg.Point {
		if math.IsInf(pt.Y, 1) {
			return vg.Point{X: x(pt.X), Y: c.Max.Y}
		}
		return vg.Point{X: x(pt.X), Y: y(pt.Y)}
	}
	stroke := func(style draw.LineStyle, line plotter.XYs) {
		points := make([]vg.Point, len(line))
		for i, pt := range line {
			points[i] = at(pt)
		}
		switch len(points) {
		case 0:
		case 1:
			c.DrawGlyphNoClip(draw.GlyphStyle{Color: style.Color, Radius: 2, Shape: draw.CircleGlyph{}}, points[0])
		default:
			c.StrokeLines(style, points)
		}
	}
	for _, run := range p.runs {
		if len(run.Records) > 1 {
			for _, line := range run.seeds {
				stroke(draw.LineStyle{Color: faded(run.colour, 0.4), Width: 0.7}, line)
			}
		}
	}
	for _, run := range p.runs {
		stroke(run.line(1.8), run.mean)
	}
	for _, run := range p.runs {
		for _, end := range run.crosses {
			cross(&c, at(end), alarm)
		}
	}
	if p.teacher.N > 0 {
		p.plotTeacherLabel(c, y(p.teacher.Mean))
	}
}

// plotMilestones draws a light dotted line where the learning rate fell: between a milestone's epoch and the next.
func (p *panelData) plotMilestones(c draw.Canvas, x func(float64) vg.Length) {
	style := draw.LineStyle{Color: rule, Width: 0.6, Dashes: []vg.Length{1, 2}}
	small := textStyle(7.5, false, muted)
	for i, m := range p.milestones[:min(len(p.milestones), 20)] {
		if m < 1 || m >= p.epochs {
			continue
		}
		at := x(float64(m) + 0.5)
		c.StrokeLine2(style, at, c.Min.Y, at, c.Max.Y)
		if label := "LR ×" + number(p.rate); i == 0 && p.title == "" {
			c.FillText(small, vg.Point{X: at - small.Width(label) - 3, Y: c.Max.Y - 8}, label)
		}
	}
}

func (p *panelData) plotTeacherLabel(c draw.Canvas, at vg.Length) {
	style := textStyle(8.5, false, ink)
	label := "Teacher " + p.teacher.String()
	c.FillText(style, vg.Point{X: c.Min.X + 4, Y: at + 3}, label)
}

func (s Stat) orZero() float64 {
	if s.N == 0 {
		return 0
	}
	return s.Mean
}

// epochTicks are the first epoch and round numbers after it.
type epochTicks struct{}

func (epochTicks) Ticks(min, max float64) []plot.Tick {
	step := math.Max(1, niceStep((max-min)/7))
	ticks := []plot.Tick{{Value: 1, Label: "1"}}
	for v := step; v <= max && len(ticks) < 20; v += step {
		if v > 1 && (v-1)/step > 0.45 {
			ticks = append(ticks, plot.Tick{Value: v, Label: number(v)})
		}
	}
	return ticks
}
