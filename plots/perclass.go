package plots

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// PerClass draws a bar for each class's top-1 accuracy, the best class on top, with the 95 % interval that so few
// images allow (Wilson 1927), and the accuracy of all images as a dashed line. The error is that of an evaluation that
// contradicts itself, of too many classes, or of a bad option.
func PerClass(e *record.Evaluation, o Options) (*Figure, error) {
	o, err := resolveEvaluation(e, "Accuracy by class", o)
	if err != nil {
		return nil, err
	}
	bars := newClassBars(e.Scores)
	if len(bars.order) > maxClasses {
		return nil, fmt.Errorf("%d classes: too many for a figure, the limit is %d", len(bars.order), maxClasses)
	}
	f := newFrame(o, "Top-1 accuracy in per cent of each label's images. Thin line: its 95 % interval (Wilson).",
		evaluationCaption(e))
	p := newPlot()
	p.X.Min, p.X.Max = 0, 100
	p.X.Tick.Marker = linearTicks{count: 5}
	p.X.LineStyle.Width, p.X.Tick.Length = 0, 2
	p.X.Label.Text = "top-1 (%)"
	p.Y.Min, p.Y.Max = 0, float64(len(bars.order))
	p.HideY()
	p.Add(gridLines{vertical: true}, bars)
	const headroom = 14
	return f.figure(o, perClassAlt(e, bars), vg.Length(len(bars.order))*bars.row+30+headroom, func(c draw.Canvas) {
		c.Min.X += bars.labels.width() + 6
		c.Max.X -= bars.valueWidth() + 6
		c.Max.Y -= headroom
		p.Draw(c)
	}), nil
}

// classBars is the plotter of the bars; the i-th class of the order is centred at y = n - i - 0.5.
type classBars struct {
	record.Scores
	order  []int // labels that have images, by falling accuracy
	row    vg.Length
	labels labels
}

func newClassBars(s record.Scores) classBars {
	b := classBars{Scores: s}
	for label, c := range s.Classes {
		if c.Images > 0 {
			b.order = append(b.order, label)
		}
	}
	slices.SortStableFunc(b.order, func(x, y int) int { return cmp.Compare(*s.Classes[y].Top1, *s.Classes[x].Top1) })
	b.row = min(20, 760/vg.Length(len(b.order)))
	b.labels = newLabels(classNames(s), b.row, 9)
	return b
}

func (b classBars) value(label int) string { return fmt.Sprintf("%.1f", *b.Classes[label].Top1) }

func (b classBars) valueWidth() vg.Length { return b.labels.style.Width("100.0") }

// Plot implements [plot.Plotter].
func (b classBars) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	style := b.labels.style
	for i, label := range b.order {
		middle, top1 := y(float64(len(b.order)-i)-0.5), *b.Classes[label].Top1
		half := b.row * 0.36
		fillRectangle(c, accuracyColour, x(0), middle-half, x(top1), middle+half)
		if b.row >= 3 {
			low, high := wilson(top1/100, b.Classes[label].Images)
			thin, halo := min(0.9, b.row*0.14), min(2.2, b.row*0.4)
			for _, line := range []draw.LineStyle{{Color: surface, Width: halo}, {Color: ink, Width: thin}} {
				c.StrokeLine2(line, x(100*low), middle, x(100*high), middle)
			}
		}
		if text := b.labels.text(i, label); text != "" {
			base := middle - style.Font.Size*0.5
			c.FillText(style, vg.Point{X: x(0) - 5 - style.Width(text), Y: base}, text)
			value := b.value(label)
			c.FillText(style, vg.Point{X: c.Max.X + 6 + b.valueWidth() - style.Width(value), Y: base}, value)
		}
	}
	c.StrokeLine2(draw.LineStyle{Color: rule, Width: 0.8}, x(0), c.Min.Y, x(0), c.Max.Y)
	c.StrokeLine2(dashedStyle, x(b.Top1), c.Min.Y, x(b.Top1), c.Max.Y+2)
	text, all := fmt.Sprintf("all images %.2f", b.Top1), textStyle(9, false, ink)
	left := max(c.Min.X, min(x(b.Top1)-all.Width(text)/2, c.Max.X-all.Width(text)))
	c.FillText(all, vg.Point{X: left, Y: c.Max.Y + 4}, text)
}

// wilson is the 95 % score interval of a share of n images (E. B. Wilson 1927).
func wilson(share float64, n int) (low, high float64) {
	const z = 1.959964
	count := float64(n)
	centre := (share + z*z/(2*count)) / (1 + z*z/count)
	half := z / (1 + z*z/count) * math.Sqrt(share*(1-share)/count+z*z/(4*count*count))
	return math.Max(0, centre-half), math.Min(1, centre+half)
}

// perClassAlt is the figure in words: the best and the worst classes where there are many.
func perClassAlt(e *record.Evaluation, b classBars) string {
	words := fmt.Sprintf("Bar chart of top-1 accuracy by class; all images %.2f %%.", e.Top1)
	for i, label := range b.order {
		if i >= 10 && i < len(b.order)-10 {
			continue
		}
		words += fmt.Sprintf(" %s: %s.", Printable(e.ClassName(label), 40), b.value(label))
	}
	return words + " " + evaluationCaption(e) + "."
}
