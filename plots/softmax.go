package plots

import (
	"fmt"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// LogitExample is one network's logits of one image.
type LogitExample struct {
	Label  string
	Logits []float64
}

// PaperExample is that of figure 1(a) of the paper.
var PaperExample = []LogitExample{{"teacher [2, 3, 4]", []float64{2, 3, 4}},
	{"student [−2, −1, 0]", []float64{-2, -1, 0}}}

// SoftmaxHides draws the logits of several networks, of one image, and what softmax and sigmoid make of them, as bars
// side by side: logits that differ by a constant have the same softmax, and other sigmoids (figure 1a of the paper has
// [2, 3, 4] and [-2, -1, 0]). The numbers are computed here. The error says which example has no finite logits or
// another number of classes, or what option is bad.
func SoftmaxHides(examples []LogitExample, o Options) (*Figure, error) {
	o, err := o.resolve("What softmax hides")
	if err != nil {
		return nil, err
	}
	if len(examples) == 0 || len(examples) > len(strokes)+2 {
		return nil, fmt.Errorf("%d examples: want 1 to %d", len(examples), len(strokes)+2)
	}
	bars := []*groupedBars{{title: "Logits", format: "%.0f"}, {title: "Softmax", format: "%.2f"},
		{title: "Sigmoid", format: "%.2f"}}
	var legend legend
	alt := "Bar charts."
	for _, e := range examples {
		label := Printable(e.Label, 40)
		if len(e.Logits) != len(examples[0].Logits) || len(e.Logits) < 1 || len(e.Logits) > 20 {
			return nil, fmt.Errorf("example %q: %d logits, the first has %d; want the same number, at most 20", label,
				len(e.Logits), len(examples[0].Logits))
		}
		for _, v := range e.Logits {
			if !finite(v) || v != math.Round(v) {
				bars[0].format = "%.1f"
			}
			if !finite(v) || math.Abs(v) > 1e6 {
				return nil, fmt.Errorf("example %q: logit %g: must be a number of at most a million", label, v)
			}
		}
		style := legend.style(label, false)
		style.Width = 7
		legend.add(key{label: label, line: style})
		for i, values := range [][]float64{e.Logits, softmax(e.Logits), sigmoids(e.Logits)} {
			bars[i].values, bars[i].colours = append(bars[i].values, values), append(bars[i].colours, style)
			alt += fmt.Sprintf(" %s of %s: %.2f.", bars[i].title, label, values)
		}
	}
	f := newFrame(o, "The same image seen by each network: softmax sees only how logits differ, sigmoid each as it is.",
		"Computed from the logits shown: softmax is exp z / Σ exp z, sigmoid 1 / (1 + exp(−z)).", legend.keys...)
	var tiles []tile
	for i, b := range bars {
		tiles = append(tiles, b.tile(i > 0))
	}
	return f.tiles(o, alt, o.columnsFor(3), 165, tiles), nil
}

func softmax(logits []float64) []float64 {
	most := math.Inf(-1)
	for _, z := range logits {
		most = math.Max(most, z)
	}
	result, sum := make([]float64, len(logits)), 0.0
	for i, z := range logits {
		result[i] = math.Exp(z - most)
		sum += result[i]
	}
	for i := range result {
		result[i] /= sum
	}
	return result
}

func sigmoids(logits []float64) []float64 {
	result := make([]float64, len(logits))
	for i, z := range logits {
		result[i] = 1 / (1 + math.Exp(-z))
	}
	return result
}

// groupedBars is the plotter of a group of bars for each class, with their values.
type groupedBars struct {
	title   string
	format  string
	values  [][]float64 // of a group's k-th bar, by class
	colours []draw.LineStyle
}

func (b *groupedBars) tile(probability bool) tile {
	p := newPlot()
	n := len(b.values[0])
	p.X.Min, p.X.Max = 0.4, float64(n)+0.6
	p.X.Label.Text = "class"
	p.X.Tick.Length = 0
	var ticks plot.ConstantTicks
	for i := range n {
		ticks = append(ticks, plot.Tick{Value: float64(i + 1), Label: fmt.Sprint(i + 1)})
	}
	p.X.Tick.Marker = ticks
	p.Y.Tick.Marker = linearTicks{count: 5}
	p.Y.Min, p.Y.Max, p.Y.Label.Text = 0, 1.08, "probability"
	if !probability {
		p.Y.Min, p.Y.Max = 0, 0
		for _, values := range b.values {
			for _, v := range values {
				p.Y.Min, p.Y.Max = math.Min(p.Y.Min, v), math.Max(p.Y.Max, v)
			}
		}
		room := math.Max(0.13*(p.Y.Max-p.Y.Min), 0.1)
		p.Y.Max += room
		if p.Y.Min < 0 {
			p.Y.Min -= room
		}
		p.Y.Label.Text = "logit"
	}
	p.Add(gridLines{}, b)
	return tile{b.title, p}
}

// Plot implements [plot.Plotter].
func (b *groupedBars) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	width := 0.8 / float64(len(b.values))
	for k, values := range b.values {
		for i, v := range values {
			left := float64(i+1) - 0.4 + width*float64(k)
			fillRectangle(c, b.colours[k].Color, x(left+0.03), min(y(0), y(v)), x(left+width-0.03), max(y(0), y(v)))
			style := textStyle(min(8, (x(left+width)-x(left))*0.4), false, ink)
			style.XAlign = draw.XCenter
			at := vg.Point{X: x(left + width/2), Y: y(v) + 2}
			if v < 0 {
				at.Y = y(v) - style.Font.Size - 1
			}
			c.FillText(style, at, minus(fmt.Sprintf(b.format, v)))
		}
	}
	c.StrokeLine2(draw.LineStyle{Color: rule, Width: 0.8}, c.Min.X, y(0), c.Max.X, y(0))
}
