package plots

import (
	"errors"
	"fmt"
	"image/color"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// BenchRatios draws what this project's time is of each other framework's: a row a case, a dot a framework, with the
// quartiles over rounds as a line; left of 1 this project is faster. Of a case that measures what a method adds it is
// the ratio of what is added, and the line is this project's quartiles. A case without a ratio, or with none above noise,
// is left out. It fails if there is none at all, or for a bad option.
func BenchRatios(b *record.Bench, o Options) (*Figure, error) {
	rows := ratioRows(b)
	if len(rows) == 0 {
		return nil, errors.New("the bench's record has no case that was measured in two frameworks")
	}
	if len(rows) > maxRuns {
		return nil, fmt.Errorf("%d cases: too many for one figure, the limit is %d", len(rows), maxRuns)
	}
	o, err := o.resolve("Time of a training step, against other frameworks")
	if err != nil {
		return nil, err
	}
	var keys []key
	var alt []string
	reach := 1.0
	m := b.Machine
	caption := fmt.Sprintf("%s, %d cores, %s; dhkd on %s", m.CPU, m.Cores, m.OS, m.Backend)
	for _, name := range frameworks {
		if slices.ContainsFunc(rows, func(r ratioRow) bool { _, ok := r.of[name]; return ok }) {
			keys = append(keys, key{label: name, line: draw.LineStyle{Color: frameworkColour[name], Width: 4}})
			caption += fmt.Sprintf(", %s %s", name, m.Versions[name])
		}
	}
	caption += fmt.Sprintf("; batch %d.", b.Batch)
	for _, r := range rows {
		for _, name := range frameworks {
			if q, ok := r.of[name]; ok {
				reach = math.Max(reach, math.Max(q.Median, math.Min(q.High, 2*q.Median)))
				alt = append(alt, fmt.Sprintf("%s: %.2f of %s", r.label, q.Median, name))
			}
		}
	}
	f := newFrame(o, "Ratio of the medians, below 1 where dhkd is faster: median over rounds, the line from quartile to quartile.",
		caption, keys...)
	p := newPlot()
	p.X.Min, p.X.Max = 0, reach*1.08
	p.X.Tick.Marker = linearTicks{count: 6}
	p.X.LineStyle.Width, p.X.Tick.Length = 0, 2
	p.Y.Min, p.Y.Max = 0, float64(len(rows))
	p.HideY()
	dots := ratioDots{rows, o.narrow()}
	p.Add(gridLines{vertical: true}, dots)
	height := vg.Length(18)
	if dots.narrow {
		height = 28
	}
	return &Figure{
		Alt:    "Time of dhkd as a ratio. " + strings.Join(alt, "; ") + ".",
		width:  f.width,
		height: f.height(vg.Length(len(rows))*height + 16),
		dpi:    o.DPI,
		draw: func(c draw.Canvas) {
			c = f.draw(c)
			if !dots.narrow {
				c.Min.X += dots.labelWidth() + 8
			}
			c.Max.X -= 4
			p.Draw(c)
		},
	}, nil
}

var (
	frameworks      = []string{record.PyTorchAny, record.JAXAny}
	frameworkColour = map[string]color.Color{record.PyTorchAny: others[0], record.JAXAny: others[1]}
)

type ratioRow struct {
	label string
	of    map[string]record.Quartiles // by framework
}

func ratioRows(b *record.Bench) (rows []ratioRow) {
	for _, c := range b.Cases {
		r := ratioRow{Printable(c.String(), 120), map[string]record.Quartiles{}}
		for _, name := range frameworks {
			q := c.Ratio(name)
			if c.Given {
				q = record.Quartiles{Median: c.ExtraRatio(name)}
				if q.Median > 0 {
					ours := c.Best(record.OurName).Extra()
					q.Low, q.High = q.Median*ours.Low/ours.Median, q.Median*ours.High/ours.Median
				}
			}
			if q.Median > 0 && !math.IsInf(q.Median, 1) {
				r.of[name] = q
			}
		}
		if len(r.of) > 0 {
			rows = append(rows, r)
		}
	}
	return rows
}

// ratioDots is the plotter of the rows; row i is centred at y = n - i - 0.5.
type ratioDots struct {
	rows   []ratioRow
	narrow bool // labels above the dots, not left of them
}

func (d ratioDots) labelWidth() (w vg.Length) {
	for _, r := range d.rows {
		w = max(w, barLabelStyle.Width(r.label))
	}
	return w
}

// Plot implements [plot.Plotter].
func (d ratioDots) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	row := y(1) - y(0)
	c.StrokeLine2(draw.LineStyle{Color: ink, Width: 1}, x(1), c.Min.Y, x(1), c.Max.Y)
	for i, r := range d.rows {
		middle := y(float64(len(d.rows)-i) - 0.5)
		if d.narrow {
			middle -= row * 0.22
			fillTextOnSurface(c, barLabelStyle, vg.Point{X: c.Min.X, Y: middle + row*0.24},
				shorten(r.label, barLabelStyle, c.Max.X-c.Min.X))
		} else {
			c.FillText(barLabelStyle, vg.Point{X: c.Min.X - 8 - barLabelStyle.Width(r.label),
				Y: middle - barLabelStyle.Font.Size*0.35}, r.label)
		}
		for k, name := range frameworks {
			q, ok := r.of[name]
			if !ok {
				continue
			}
			at := middle + vg.Length(1-2*k)*row*0.12
			line := draw.LineStyle{Color: frameworkColour[name], Width: 1.2}
			c.StrokeLine2(line, x(max(q.Low, p.X.Min)), at, x(min(q.High, p.X.Max)), at)
			c.DrawGlyph(draw.GlyphStyle{Color: frameworkColour[name], Radius: 3, Shape: draw.CircleGlyph{}},
				vg.Point{X: x(q.Median), Y: at})
		}
	}
}
