package plots

import (
	"image/color"
	"math"
	"strconv"
	"strings"

	xfont "golang.org/x/image/font"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// The neutral colours of every figure.
var (
	ink     = color.NRGBA{0x1F, 0x23, 0x28, 0xFF} // text, the teacher
	muted   = color.NRGBA{0x59, 0x63, 0x6E, 0xFF} // captions, tick labels: 6:1 on white
	grid    = color.NRGBA{0xE3, 0xE6, 0xEA, 0xFF}
	rule    = color.NRGBA{0x8C, 0x95, 0x9F, 0xFF} // base lines, learning-rate milestones
	surface = color.NRGBA{0xFF, 0xFF, 0xFF, 0xFF}
	alarm   = color.NRGBA{0xA4, 0x0E, 0x26, 0xFF} // words about failures
)

// palette gives each method its colour: Okabe and Ito's set (Color Universal Design, 2008).
var palette = map[string]color.NRGBA{
	"ce":                  {0x56, 0xB4, 0xE9, 0xFF}, // sky blue
	"kd":                  {0x00, 0x72, 0xB2, 0xFF}, // blue
	"binarykl":            {0xCC, 0x79, 0xA7, 0xFF}, // reddish purple
	"ce+binarykl":         {0xE6, 0x9F, 0x00, 0xFF}, // orange
	"ce+binarykl literal": {0xD5, 0x5E, 0x00, 0xFF}, // vermilion
	"dhkd":                {0x00, 0x9E, 0x73, 0xFF}, // bluish green
}

// others are for methods that have no colour of their own.
var others = []color.NRGBA{
	{0x7A, 0x82, 0x8B, 0xFF}, {0x5B, 0x3F, 0x9E, 0xFF}, {0x8A, 0x5A, 0x2B, 0xFF}, {0x9B, 0xB0, 0x2E, 0xFF},
}

// accents are for what is no method: as many as a figure needs, in this order, which groupStyle relies on.
var accents = []color.NRGBA{palette["kd"], palette["ce+binarykl literal"], palette["dhkd"], palette["binarykl"],
	palette["ce+binarykl"], palette["ce"], others[2], others[0], others[1], others[3]}

// strokes tell runs of one colour apart.
var strokes = [][]vg.Length{nil, {5, 2}, {1.5, 2}, {6, 2, 1.5, 2}}

// maxGroups is how many classes a scatter can colour so that they can be told apart.
const maxGroups = 10

// groupStyle is the k-th class's: of three shapes by turns, so that no two of one shape have similar colours.
func groupStyle(k int) draw.GlyphStyle {
	shapes := []draw.GlyphDrawer{draw.CircleGlyph{}, draw.BoxGlyph{}, draw.PyramidGlyph{}}
	return draw.GlyphStyle{Color: accents[k%len(accents)], Radius: 2.1, Shape: shapes[k%len(shapes)]}
}

// look is how one run is drawn in every figure.
type look struct {
	colour color.NRGBA
	dashes []vg.Length
}

// looks gives every run its colour by method, and its dashes by how often the method has come before.
func looks(runs []*Run) map[*Run]look {
	colours := map[string]color.NRGBA{}
	seen := map[string]int{}
	result := map[*Run]look{}
	for _, run := range runs {
		key := methodKey(run.Recipe.Method)
		if _, ok := colours[key]; !ok {
			colours[key] = colourOf(run.Recipe.Method, len(colours))
		}
		result[run] = look{colour: colours[key], dashes: strokes[seen[key]%len(strokes)]}
		seen[key]++
	}
	return result
}

func colourOf(m record.Method, position int) color.NRGBA {
	if c, ok := palette[methodKey(m)]; ok {
		return c
	}
	return others[position%len(others)]
}

func faded(c color.Color, opacity float64) color.NRGBA {
	n := color.NRGBAModel.Convert(c).(color.NRGBA)
	n.A = uint8(opacity * 255)
	return n
}

// textStyle is Liberation Sans, drawn from the left end of its base line.
func textStyle(size vg.Length, bold bool, c color.Color) text.Style {
	f := font.Font{Typeface: "Liberation", Variant: "Sans", Size: size}
	if bold {
		f.Weight = xfont.WeightBold
	}
	return text.Style{Color: c, Font: f, XAlign: draw.XLeft, YAlign: draw.YBottom, Handler: plot.DefaultTextHandler}
}

// newPlot is a plot without a frame: horizontal grid lines and tick labels are drawn by the caller's data and axes.
func newPlot() *plot.Plot {
	p := plot.New()
	p.BackgroundColor = nil
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.Label.TextStyle.Font = textStyle(9, false, muted).Font
		axis.Label.TextStyle.Color = muted
		axis.Tick.Label.Font = textStyle(8.5, false, muted).Font
		axis.Tick.Label.Color = muted
		axis.LineStyle = draw.LineStyle{Color: rule, Width: 0.6}
		axis.Tick.LineStyle = draw.LineStyle{Color: rule, Width: 0.6}
		axis.Tick.Length = 3
		axis.Padding = 0
	}
	p.Y.LineStyle.Width = 0
	p.Y.Tick.Length = 0
	p.X.Label.Padding = 3
	return p
}

// gridLines draws a line across the plot at every tick of the Y axis, or of the X axis.
type gridLines struct{ vertical bool }

func (g gridLines) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	style := draw.LineStyle{Color: grid, Width: 0.6}
	axis := p.Y
	if g.vertical {
		axis = p.X
	}
	for _, t := range axis.Tick.Marker.Ticks(axis.Min, axis.Max) {
		if t.IsMinor() || t.Value < axis.Min || t.Value > axis.Max {
			continue
		}
		if g.vertical {
			c.StrokeLine2(style, x(t.Value), c.Min.Y, x(t.Value), c.Max.Y)
		} else {
			c.StrokeLine2(style, c.Min.X, y(t.Value), c.Max.X, y(t.Value))
		}
	}
}

// linearTicks are at most about count round numbers between min and max.
type linearTicks struct{ count int }

func (l linearTicks) Ticks(min, max float64) []plot.Tick {
	step := niceStep((max - min) / float64(l.count))
	var ticks []plot.Tick
	for i := math.Ceil(min/step - 1e-9); i*step <= max+step*1e-9 && len(ticks) <= 2*l.count; i++ {
		v := i*step + 0 // no negative zero
		ticks = append(ticks, plot.Tick{Value: v, Label: number(v)})
	}
	return ticks
}

// logTicks are powers of ten, with 2 and 5 between them when the range is short.
type logTicks struct{}

func (logTicks) Ticks(min, max float64) []plot.Tick {
	low, high := math.Floor(math.Log10(min)), math.Ceil(math.Log10(max))
	every := math.Max(1, math.Ceil((high-low)/6))
	factors := []float64{1}
	if max/min <= 100 {
		factors = []float64{1, 2, 5}
	}
	var ticks []plot.Tick
	for d := low; d <= high; d += every {
		for _, f := range factors {
			if v := f * math.Pow(10, d); v >= min*(1-1e-9) && v <= max*(1+1e-9) {
				ticks = append(ticks, plot.Tick{Value: v, Label: number(v)})
			}
		}
	}
	return ticks
}

// niceStep is the smallest of 1, 2, 5 times a power of ten that is at least step.
func niceStep(step float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(step)))
	for _, f := range []float64{1, 2, 5, 10} {
		if f*power >= step*(1-1e-9) {
			return f * power
		}
	}
	return 10 * power
}

// number writes a tick's value: 0.05, 2000, 1e-05.
func number(v float64) string {
	return minus(strconv.FormatFloat(v, 'g', 6, 64))
}

// minus gives a number its minus sign.
func minus(number string) string { return strings.Replace(number, "-", "−", 1) }
