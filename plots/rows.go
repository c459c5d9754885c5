package plots

import (
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// rowPanels are several quantities of the same rows, a panel each.
type rowPanels struct {
	labels  []string // of the rows
	colours []color.NRGBA
	hollow  []bool // rows whose marks are not filled; nil for none
	panels  []rowPanel
}

// rowPanel is one quantity; row i is centred at y = n - i - 0.5.
type rowPanel struct {
	title, label string
	values       [][]float64 // for each row: quantiles at record.QuantileLevels, or with dots the values of seeds
	dots         bool
	rows         *rowPanels
}

// figure lays the panels out, most of them side by side; in a narrow figure they stand below one another.
func (r *rowPanels) figure(f frame, o Options, alt string, most int) *Figure {
	const around, gap = vg.Length(48), vg.Length(14)
	columns := min(most, len(r.panels))
	if o.narrow() {
		columns = 1
	}
	rows := (len(r.panels) + columns - 1) / columns
	var names [][]string
	var left vg.Length
	row := vg.Length(19)
	for i, label := range r.labels {
		names = append(names, labelLines(label, (f.width-2*margin)*0.34))
		for _, text := range names[i] {
			left = max(left, barLabelStyle.Width(text)+8)
		}
		if len(names[i]) > 1 {
			row = 26
		}
	}
	height := vg.Length(len(r.labels))*row + around
	return f.figure(o, alt, vg.Length(rows)*height, func(c draw.Canvas) {
		width := (c.Max.X - c.Min.X - left - gap*vg.Length(columns-1)) / vg.Length(columns)
		for k, panel := range r.panels {
			panel.rows = r
			at := c
			at.Min.X += left + vg.Length(k%columns)*(width+gap)
			at.Max.X = at.Min.X + width
			at.Max.Y -= vg.Length(k/columns) * height
			at.Min.Y = at.Max.Y - height
			p := panel.plot()
			at = tile{panel.title, p}.drawTitle(at, vg.Point{X: at.Min.X, Y: at.Max.Y})
			at.Min.Y += 8
			p.Draw(at)
			if k%columns > 0 {
				continue
			}
			data := p.DataCanvas(at)
			_, y := p.Transforms(&data)
			for i, lines := range names {
				drawLabel(at, lines, y(float64(len(names)-i)-0.5)+1.2)
			}
		}
	})
}

func (b rowPanel) plot() *plot.Plot {
	p := newPlot()
	low, high := math.Inf(1), math.Inf(-1)
	for _, values := range b.values {
		if !b.dots { // the ends may be far out
			values = values[1 : len(values)-1]
		}
		for _, v := range values {
			low, high = math.Min(low, v), math.Max(high, v)
		}
	}
	if low > high {
		low, high = 0, 1
	}
	x := axis{}
	if x.fit(low, high); b.dots && low >= 0 {
		x.low = 0
	}
	p.X.Min, p.X.Max, p.X.Label.Text = x.low, x.high, b.label
	p.X.Tick.Marker = linearTicks{count: 4}
	p.X.LineStyle.Width, p.X.Tick.Length = 0, 2
	p.Y.Min, p.Y.Max = 0, float64(len(b.values))
	p.HideY()
	p.Add(gridLines{vertical: true})
	if x.low <= 0 && x.high > 0 {
		p.Add(verticals{{style: zeroStyle}})
	}
	p.Add(b)
	return p
}

// Plot implements [plot.Plotter].
func (b rowPanel) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	half := min(5, (y(1)-y(0))*0.26)
	for i, values := range b.values {
		middle, colour := y(float64(len(b.values)-i)-0.5), b.rows.colours[i]
		if b.dots {
			b.plotDots(c, values, x, middle, colour, b.rows.hollow != nil && b.rows.hollow[i])
			continue
		}
		n := len(values) - 1
		c.StrokeLine2(draw.LineStyle{Color: colour, Width: 0.8}, x(values[1]), middle, x(values[n-1]), middle)
		c.StrokeLine2(draw.LineStyle{Color: colour, Width: 2}, x(values[2]), middle, x(values[n-2]), middle)
		fillRectangle(c, surface, x(values[3]), middle-half, x(values[n-3]), middle+half)
		fillRectangle(c, faded(colour, 0.35), x(values[3]), middle-half, x(values[n-3]), middle+half)
		c.StrokeLine2(draw.LineStyle{Color: colour, Width: 2}, x(values[n/2]), middle-half, x(values[n/2]), middle+half)
	}
}

// plotDots draws the mean as a large dot, and each seed of several as a circle above it.
func (rowPanel) plotDots(c draw.Canvas, values []float64, x func(float64) vg.Length, middle vg.Length,
	colour color.NRGBA, hollow bool) {
	if len(values) == 0 {
		return
	}
	at := vg.Point{X: x(NewStat(values...).Mean), Y: middle}
	c.DrawGlyphNoClip(draw.GlyphStyle{Color: colour, Radius: 3, Shape: draw.CircleGlyph{}}, at)
	if hollow {
		c.DrawGlyphNoClip(draw.GlyphStyle{Color: surface, Radius: 1.7, Shape: draw.CircleGlyph{}}, at)
	}
	for _, v := range values {
		if len(values) > 1 {
			c.DrawGlyphNoClip(draw.GlyphStyle{Color: colour, Radius: 1.2, Shape: draw.CircleGlyph{}},
				vg.Point{X: x(v), Y: middle + 5})
		}
	}
}
