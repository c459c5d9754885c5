package plots

import (
	"image/color"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// dotRows is the plotter of rows of dots with intervals; row i is centred at y = n - i - 0.5.
type dotRows struct {
	rows   []dotRow
	narrow bool // labels above the dots, not left of them
	values bool // there is a column of the dots' values on the right
}

// dotRow has a dot for each thing that is compared, the first on top.
type dotRow struct {
	label string
	dots  []dot
	note  string // what went wrong; alone, where there is no dot
}

// dot is a value and its interval, which is a line from low to high unless those are NaN.
type dot struct {
	value, low, high float64
	colour           color.Color
	seeds            []float64 // the values behind it, as small circles
	text             string    // the value in words
}

// figure draws the rows along an axis. The levels of what they are compared with are solid lines.
func (d dotRows) figure(f frame, o Options, alt string, x axis, levels ...level) *Figure {
	p := newPlot()
	p.X.Min, p.X.Max, p.X.Label.Text = x.low, x.high, x.label
	p.X.Tick.Marker = linearTicks{count: 6}
	p.X.LineStyle.Width, p.X.Tick.Length = 0, 2
	p.Y.Min, p.Y.Max = 0, float64(len(d.rows))
	p.HideY()
	headroom := vg.Length(0)
	for _, l := range levels {
		if l.label != "" {
			headroom = 14
		}
	}
	p.Add(gridLines{vertical: true}, verticals(levels), d)
	row, below := vg.Length(18), vg.Length(16)
	if d.values {
		row = 24
	}
	if d.narrow {
		row += 12
	}
	if x.label != "" {
		below += 14
	}
	return f.figure(o, alt, vg.Length(len(d.rows))*row+below+headroom, func(c draw.Canvas) {
		if !d.narrow {
			c.Min.X += d.labelWidth() + 8
		}
		c.Max.X -= 4 + d.valueWidth()
		c.Max.Y -= headroom
		p.Draw(c)
	})
}

// verticals are levels of a figure whose values run along X.
type verticals []level

// Plot implements [plot.Plotter].
func (v verticals) Plot(c draw.Canvas, p *plot.Plot) {
	x, _ := p.Transforms(&c)
	for _, l := range v {
		c.StrokeLine2(l.style, x(l.at), c.Min.Y, x(l.at), c.Max.Y)
		style := textStyle(9, false, ink)
		left := max(c.Min.X, min(x(l.at)-style.Width(l.label)/2, c.Max.X-style.Width(l.label)))
		c.FillText(style, vg.Point{X: left, Y: c.Max.Y + 4}, l.label)
	}
}

func (d dotRows) labelWidth() (w vg.Length) {
	for _, r := range d.rows {
		for _, text := range d.lines(r.label) {
			w = max(w, barLabelStyle.Width(text))
		}
	}
	return w
}

// lines is a label left of its row: two lines where rows are high enough.
func (d dotRows) lines(label string) []string {
	if d.values {
		return labelLines(label, maxLabelWidth)
	}
	return []string{label}
}

// valueWidth is that of the column of values, with its gap.
func (d dotRows) valueWidth() (w vg.Length) {
	for _, r := range d.rows {
		for _, dot := range r.dots {
			if d.values {
				w = max(w, 8+valueStyle.Width(dot.text))
			}
		}
	}
	return w
}

// Plot implements [plot.Plotter].
func (d dotRows) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	row := y(1) - y(0)
	within := func(v float64) vg.Length { return x(math.Max(p.X.Min, math.Min(p.X.Max, v))) }
	for i, r := range d.rows {
		middle := y(float64(len(d.rows)-i) - 0.5)
		if d.narrow {
			middle -= row * 0.22
			fillTextOnSurface(c, barLabelStyle, vg.Point{X: c.Min.X, Y: middle + row*0.24},
				shorten(r.label, barLabelStyle, c.Max.X-c.Min.X))
		} else {
			drawLabel(c, d.lines(r.label), middle+1.2)
		}
		if r.note != "" && len(r.dots) == 0 {
			cross(&c, vg.Point{X: c.Min.X + 8, Y: middle}, alarm)
			fillTextOnSurface(c, troubleStyle, vg.Point{X: c.Min.X + 16, Y: middle - 4},
				shorten(r.note, troubleStyle, c.Max.X-c.Min.X-16))
		}
		for k, dot := range r.dots {
			at := middle + row*0.24*(vg.Length(len(r.dots)-1)/2-vg.Length(k))
			if !math.IsNaN(dot.low) {
				c.StrokeLine2(draw.LineStyle{Color: dot.colour, Width: 1.4}, within(dot.low), at, within(dot.high), at)
			}
			for _, v := range dot.seeds {
				if v >= p.X.Min && v <= p.X.Max {
					drawCircle(c, vg.Point{X: x(v), Y: at - 5}, dot.colour)
				}
			}
			if dot.value < p.X.Min { // an arrow points to it
				c.FillPolygon(dot.colour, []vg.Point{{X: c.Min.X, Y: at}, {X: c.Min.X + 7, Y: at + 4}, {X: c.Min.X + 7, Y: at - 4}})
			}
			c.DrawGlyph(draw.GlyphStyle{Color: dot.colour, Radius: 3, Shape: draw.CircleGlyph{}},
				vg.Point{X: x(dot.value), Y: at})
			if r.note != "" {
				left := max(c.Min.X+12, within(dot.high)+8, within(slices.Max(append(dot.seeds, dot.value)))+8)
				fillTextOnSurface(c, troubleStyle, vg.Point{X: left, Y: at - 4}, shorten(r.note, troubleStyle, c.Max.X-left))
			}
			if d.values {
				c.FillText(valueStyle, vg.Point{X: c.Max.X + 8, Y: at - valueStyle.Font.Size*0.4}, dot.text)
			}
		}
	}
}

// drawLabel writes a row's label left of the canvas.
func drawLabel(c draw.Canvas, lines []string, middle vg.Length) {
	const leading = 11.5
	base := middle - barLabelStyle.Font.Size*0.5 + vg.Length(len(lines)-1)*leading/2
	for i, text := range lines {
		at := vg.Point{X: c.Min.X - 8 - barLabelStyle.Width(text), Y: base - vg.Length(i)*leading}
		c.FillText(barLabelStyle, at, text)
	}
}

// drawCircle is a seed's value.
func drawCircle(c draw.Canvas, at vg.Point, colour color.Color) {
	c.DrawGlyphNoClip(draw.GlyphStyle{Color: colour, Radius: 2.1, Shape: draw.CircleGlyph{}}, at)
	c.DrawGlyphNoClip(draw.GlyphStyle{Color: surface, Radius: 1.25, Shape: draw.CircleGlyph{}}, at)
}

// alt is the rows in words.
func (d dotRows) alt() string {
	var words strings.Builder
	for _, r := range d.rows {
		words.WriteString(" " + r.label + ":")
		for _, dot := range r.dots {
			words.WriteString(" " + dot.text)
		}
		if r.note != "" {
			words.WriteString(" " + r.note)
		}
		words.WriteString(".")
	}
	return words.String()
}
