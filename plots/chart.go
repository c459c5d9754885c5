package plots

import (
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// chart is a panel of lines, the same in every figure that has some.
type chart struct {
	title   string
	x, y    axis
	lines   []line
	crosses []plotter.XY // where something ended badly; Y +Inf is the top
	levels  []level
	moments []moment
}

// axis is one direction of a chart.
type axis struct {
	label     string // with its unit
	low, high float64
	log       bool
	ticks     plot.Ticker // nil for round numbers
}

// line has a band around it where low and high are given, a value for each point.
type line struct {
	style     draw.LineStyle
	points    plotter.XYs
	low, high []float64
}

// level is a line across a chart, its words above the left end.
type level struct {
	at    float64
	label string
	style draw.LineStyle
}

// moment is a dotted line down a chart, its words left of the top.
type moment struct {
	at    float64
	label string
}

var (
	dashedStyle = draw.LineStyle{Color: ink, Width: 1, Dashes: []vg.Length{4, 2.5}}
	zeroStyle   = draw.LineStyle{Color: rule, Width: 1}
)

// plot builds the chart's plot.
func (ch *chart) plot() *plot.Plot {
	p := newPlot()
	for _, direction := range []struct {
		to   *plot.Axis
		from axis
	}{{&p.X, ch.x}, {&p.Y, ch.y}} {
		to, from := direction.to, direction.from
		to.Min, to.Max, to.Label.Text = from.low, from.high, from.label
		to.Tick.Marker = from.ticks
		switch {
		case from.log:
			to.Scale, to.Tick.Marker = plot.LogScale{}, logTicks{}
		case from.ticks == nil:
			to.Tick.Marker = linearTicks{count: 5}
		}
	}
	p.Add(gridLines{}, ch)
	return p
}

// Plot implements [plot.Plotter].
func (ch *chart) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	within := func(v float64) vg.Length { return y(math.Max(ch.y.low, math.Min(ch.y.high, v))) }
	at := func(pt plotter.XY) vg.Point { return vg.Point{X: x(pt.X), Y: within(pt.Y)} }
	for _, m := range ch.moments {
		c.StrokeLine2(draw.LineStyle{Color: rule, Width: 0.6, Dashes: []vg.Length{1, 2}}, x(m.at), c.Min.Y, x(m.at), c.Max.Y)
		small := textStyle(7.5, false, muted)
		c.FillText(small, vg.Point{X: x(m.at) - small.Width(m.label) - 3, Y: c.Max.Y - 8}, m.label)
	}
	for _, l := range ch.levels {
		c.StrokeLine2(l.style, c.Min.X, y(l.at), c.Max.X, y(l.at))
	}
	for _, l := range ch.lines {
		l.fillBand(c, x, within)
	}
	for _, l := range ch.lines {
		points := make([]vg.Point, len(l.points))
		for i, pt := range l.points {
			points[i] = at(pt)
		}
		switch len(points) {
		case 0:
		case 1:
			c.DrawGlyphNoClip(draw.GlyphStyle{Color: l.style.Color, Radius: 2, Shape: draw.CircleGlyph{}}, points[0])
		default:
			c.StrokeLines(l.style, points)
		}
	}
	for _, pt := range ch.crosses {
		cross(&c, at(pt), alarm)
	}
	for _, l := range ch.levels {
		c.FillText(textStyle(8.5, false, ink), vg.Point{X: c.Min.X + 4, Y: y(l.at) + 3}, l.label)
	}
}

func (l line) fillBand(c draw.Canvas, x, y func(float64) vg.Length) {
	if len(l.low) < 2 {
		return
	}
	var outline []vg.Point
	for i, pt := range l.points {
		outline = append(outline, vg.Point{X: x(pt.X), Y: y(l.high[i])})
	}
	for i := len(l.points) - 1; i >= 0; i-- {
		outline = append(outline, vg.Point{X: x(l.points[i].X), Y: y(l.low[i])})
	}
	c.FillPolygon(faded(l.style.Color, 0.18), outline)
}

// extent is the range of all finite values that the chart shows along Y, those of its levels too.
func (ch *chart) extent() (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	take := func(v float64) {
		if finite(v) {
			low, high = math.Min(low, v), math.Max(high, v)
		}
	}
	for _, l := range ch.lines {
		for i, pt := range l.points {
			take(pt.Y)
			if i < len(l.low) {
				take(l.low[i])
				take(l.high[i])
			}
		}
	}
	for _, l := range ch.levels {
		take(l.at)
	}
	if low > high {
		low, high = 0, 1
	}
	return low, high
}

// fit gives an axis room around the values from low to high; a linear one starts at zero where it comes near.
func (a *axis) fit(low, high float64) {
	if a.log {
		a.low, a.high = math.Max(low, leastOfLog)/1.15, math.Max(high, leastOfLog)*1.15
		return
	}
	pad := (high - low) * 0.06
	if pad == 0 {
		pad = math.Max(math.Abs(high)*0.1, 1e-9)
	}
	a.low, a.high = low-pad, high+pad
	if a.low > 0 && a.low < 0.35*a.high || low == 0 {
		a.low = 0
	}
}

// leastOfLog is the smallest value that a logarithmic axis shows.
const leastOfLog = 1e-300

// epochAxis is for charts by epoch.
func epochAxis(last int) axis {
	end := float64(max(last, 1))
	return axis{label: "epoch", low: math.Min(1, end-0.5), high: end + 0.02*end, ticks: epochTicks{}}
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

// tile is a plot of a figure of several, with a title above it unless that is empty.
type tile struct {
	title string
	plot  *plot.Plot
}

func (ch *chart) tile() tile {
	t := tile{ch.title, ch.plot()}
	if ch.y.log && t.title != "" {
		t.title += " (log scale)"
	}
	return t
}

// alike are the charts as tiles, their vertical axes the same, with zero on them.
func alike(charts []*chart) (tiles []tile) {
	low, high := 0.0, 0.0
	for _, ch := range charts {
		l, h := ch.extent()
		low, high = math.Min(low, l), math.Max(high, h)
	}
	for _, ch := range charts {
		ch.y.fit(low, high)
		tiles = append(tiles, ch.tile())
	}
	return tiles
}

// tiles lays plots out under a frame, their axes aligned. columns is a limit; rows have the given height.
func (f frame) tiles(o Options, alt string, columns int, height vg.Length, tiles []tile) *Figure {
	columns = min(columns, len(tiles))
	rows := (len(tiles) + columns - 1) / columns
	grid := make([][]*plot.Plot, rows)
	for i := range grid {
		grid[i] = make([]*plot.Plot, columns)
		for j := range grid[i] {
			if k := i*columns + j; k < len(tiles) {
				grid[i][j] = tiles[k].plot
			}
		}
	}
	return f.figure(o, alt, vg.Length(rows)*height, func(c draw.Canvas) {
		c.Max.X -= 4
		canvases := plot.Align(grid, draw.Tiles{Rows: rows, Cols: columns, PadX: 22, PadY: 14}, c)
		for k, t := range tiles {
			row, column := k/columns, k%columns
			corner := vg.Point{X: c.Max.X, Y: c.Min.Y}
			for other := range tiles {
				if other%columns == column {
					corner.X = min(corner.X, canvases[other/columns][column].Min.X)
				}
				if other/columns == row {
					corner.Y = max(corner.Y, canvases[row][other%columns].Max.Y)
				}
			}
			t.plot.Draw(t.drawTitle(canvases[row][column], corner))
		}
	})
}

// tileTitle is the style of the titles of panels, of every kind.
var tileTitle = textStyle(9.5, true, ink)

// drawTitle writes the title below and right of at, and returns the canvas below it.
func (t tile) drawTitle(c draw.Canvas, at vg.Point) draw.Canvas {
	if t.title == "" {
		return c
	}
	at.Y -= tileTitle.Font.Size * lineHeight
	c.FillText(tileTitle, at, shorten(t.title, tileTitle, c.Max.X-at.X))
	c.Max.Y -= tileTitle.Font.Size*lineHeight + 5
	return c
}

// columnsFor is how many panels stand side by side in a figure, at most.
func (o Options) columnsFor(most int) int {
	if o.narrow() {
		return max(1, most/2)
	}
	return most
}
