package plots

import (
	"errors"
	"fmt"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// Growth draws what training steps cost as networks and batches grow, on logarithmic axes, where what is proportional is
// a line of slope 1, as the dotted lines are: seconds to compile by nodes, and times by batch and by multiply-adds. It
// fails if the record has nothing of two sizes, or for a bad option.
func Growth(g *record.Growth, o Options) (*Figure, error) {
	panels, keys := growthPanels(g)
	if len(panels) == 0 {
		return nil, errors.New("the record has nothing that grows: no two sizes of anything")
	}
	o, err := o.resolve("How a training step grows")
	if err != nil {
		return nil, err
	}
	m := g.Machine
	caption := fmt.Sprintf("%s, %d cores, %s; %s, %s.", m.CPU, m.Cores, m.OS, m.Backend, m.Versions["Go"])
	if g.Note != "" {
		caption += " " + g.Note + "."
	}
	f := newFrame(o, "Time of all cores. Both axes are logarithmic. Dotted: proportional. In brackets: the exponent fitted to "+
		"all points.", caption, keys...)
	var tiles []tile
	for _, p := range panels {
		tiles = append(tiles, tile{p.title, p.plot()})
	}
	alt := "Line charts on logarithmic axes."
	for _, fit := range g.Fits() {
		alt += fmt.Sprintf(" %s: exponent %.2f.", fit.What, fit.Exponent)
	}
	return f.tiles(o, alt+" "+caption, o.columnsFor(2), 200, tiles), nil
}

// growthPanel is a plotter of lines on logarithmic axes.
type growthPanel struct {
	title, x, y string
	lines       []growthLine
}

type growthLine struct {
	points plotter.XYs
	style  draw.LineStyle // of no width: points alone
}

// growthPanels are those that a record has anything for, and their legend.
func growthPanels(g *record.Growth) (panels []*growthPanel, keys []key) {
	colours := 0
	compiled := &growthPanel{title: "Compilation of DHKD's aligned step", x: "nodes of the graph", y: "CPU s"}
	depths := growthLine{style: draw.LineStyle{Color: palette["dhkd"], Width: 1.5}}
	others := growthLine{style: draw.LineStyle{Color: rule}}
	for _, c := range g.Compiled {
		at := plotter.XY{X: float64(c.Nodes), Y: c.Spent()}
		if c.Depth > 0 {
			depths.points = append(depths.points, at)
		} else {
			others.points = append(others.points, at)
		}
	}
	if compiled.add(others, depths) {
		panels = append(panels, compiled)
		keys = append(keys, key{label: "resnets by depth" + exponent(g, "by depth: CPU seconds to compile, by nodes"),
			line: depths.style})
		if len(others.points) > 0 {
			keys = append(keys, key{label: "all pairs" + exponent(g, "all steps: CPU seconds to compile, by nodes"),
				line: draw.LineStyle{Color: rule, Width: 4}})
		}
	}
	networks := &growthPanel{title: "Networks' steps", x: "images of a batch", y: "CPU ms"}
	layers := &growthPanel{title: "Layers, forward and backward", x: "images of a batch", y: "CPU ms"}
	work := &growthPanel{title: "Networks' steps at all batches", x: "billions of multiply-adds", y: "CPU ms"}
	for _, s := range g.Series() {
		line, byWork := growthLine{}, growthLine{}
		for _, t := range s.Points {
			line.points = append(line.points, plotter.XY{X: s.X(t), Y: t.Spent()})
			byWork.points = append(byWork.points, plotter.XY{X: t.Work / 1e9, Y: t.Spent()})
		}
		if s.By != "batch" || len(line.points) < 2 {
			continue
		}
		line.style = draw.LineStyle{Color: accents[colours%len(accents)], Width: 1.5}
		colours++
		byWork.style.Color = line.style.Color
		if s.Layer {
			line.style.Dashes = strokes[1]
			layers.add(line)
		} else {
			networks.add(line)
			work.add(byWork)
		}
		keys = append(keys, key{label: s.Name + exponent(g, s.Name+": CPU ms by batch"), line: line.style})
	}
	for _, p := range []*growthPanel{networks, layers, work} {
		if len(p.lines) > 0 {
			panels = append(panels, p)
		}
	}
	return panels, keys
}

// exponent is that of a fit, in brackets, or empty.
func exponent(g *record.Growth, what string) string {
	for _, f := range g.Fits() {
		if f.What == what {
			return fmt.Sprintf(" (%.2f)", f.Exponent)
		}
	}
	return ""
}

// add adds lines that have points, and says whether there are any.
func (p *growthPanel) add(lines ...growthLine) bool {
	for _, l := range lines {
		if len(l.points) > 0 {
			p.lines = append(p.lines, l)
		}
	}
	return len(p.lines) > 0
}

func (p *growthPanel) plot() *plot.Plot {
	pl := newPlot()
	low, high := plotter.XY{X: math.Inf(1), Y: math.Inf(1)}, plotter.XY{}
	for _, l := range p.lines {
		for _, at := range l.points {
			low.X, low.Y = math.Min(low.X, at.X), math.Min(low.Y, at.Y)
			high.X, high.Y = math.Max(high.X, at.X), math.Max(high.Y, at.Y)
		}
	}
	pl.X.Min, pl.X.Max, pl.Y.Min, pl.Y.Max = low.X/1.1, high.X*1.1, low.Y/1.2, high.Y*1.2
	pl.X.Scale, pl.Y.Scale = plot.LogScale{}, plot.LogScale{}
	pl.X.Tick.Marker, pl.Y.Tick.Marker = logTicks{}, logTicks{}
	pl.X.Label.Text, pl.Y.Label.Text = p.x, p.y
	pl.Add(gridLines{}, p)
	return pl
}

// Plot implements [plot.Plotter].
func (p *growthPanel) Plot(c draw.Canvas, pl *plot.Plot) {
	x, y := pl.Transforms(&c)
	dotted := draw.LineStyle{Color: rule, Width: 0.6, Dashes: []vg.Length{1, 2}}
	for _, l := range p.lines {
		first := l.points[0]
		if l.style.Width > 0 && len(l.points) > 1 {
			last := l.points[len(l.points)-1].X
			c.StrokeLines(dotted, c.ClipLinesXY([]vg.Point{{X: x(first.X), Y: y(first.Y)},
				{X: x(last), Y: y(first.Y * last / first.X)}})...)
		}
		points := make([]vg.Point, len(l.points))
		for i, at := range l.points {
			points[i] = vg.Point{X: x(at.X), Y: y(at.Y)}
			c.DrawGlyph(draw.GlyphStyle{Color: l.style.Color, Radius: 2.2, Shape: draw.CircleGlyph{}}, points[i])
		}
		if l.style.Width > 0 {
			c.StrokeLines(l.style, points)
		}
	}
}
