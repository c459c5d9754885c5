package plots

import (
	"fmt"
	"image"
	"image/color"
	"math"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// maxClasses is how many classes a figure can show: at more its picture would have less than a dot for each.
const maxClasses = 2000

// Confusion draws the confusion matrix of an evaluation as a heat map: a row for each label, a column for each
// prediction, and in a cell the share of the row's images, in per cent. The colours follow the square root of the
// share, so that a confusion of one image in a hundred can be seen. Up to 20 classes the cells have numbers. The error
// is that of an evaluation that contradicts itself, of too many classes, or of a bad option.
func Confusion(e *record.Evaluation, o Options) (*Figure, error) {
	if o.Width == 0 && len(e.Classes) > manyClasses {
		o.Width = manyClassesWidth
	}
	o, err := resolveEvaluation(e, "Confusion matrix", o)
	if err != nil {
		return nil, err
	}
	if len(e.Classes) > maxClasses {
		return nil, fmt.Errorf("%d classes: too many for a figure, the limit is %d", len(e.Classes), maxClasses)
	}
	f := newFrame(o, "Share of each label's images in per cent: rows are labels, columns predictions.",
		evaluationCaption(e))
	m := newConfusionMap(e.Scores, f.width-2*margin)
	return &Figure{
		Alt:    confusionAlt(e),
		width:  f.width,
		height: f.height(m.side + m.labels.width() + 26),
		dpi:    o.DPI,
		draw:   func(c draw.Canvas) { m.draw(f.draw(c)) },
	}, nil
}

type confusionMap struct {
	record.Scores
	labels classLabels
	side   vg.Length // of the square
}

const scaleWidth = vg.Length(50) // of the colour scale with its gap and its numbers

func newConfusionMap(s record.Scores, width vg.Length) confusionMap {
	m := confusionMap{Scores: s}
	for range 2 { // the labels depend on the size of a row, and that on the labels
		m.labels = newClassLabels(s, max(width*0.75, m.side)/vg.Length(len(s.Classes)), 8.5)
		m.side = width - 16 - m.labels.width() - 4 - scaleWidth
	}
	m.labels = newClassLabels(s, m.side/vg.Length(len(s.Classes)), m.labels.style.Font.Size)
	return m
}

// share is that of a cell in its row, in per cent.
func (m confusionMap) share(label, prediction int) float64 {
	return 100 * float64(m.Confusion[label][prediction]) / math.Max(1, float64(m.Classes[label].Images))
}

func (m confusionMap) draw(c draw.Canvas) {
	n := len(m.Classes)
	cell := m.side / vg.Length(n)
	left, top := c.Min.X+16+m.labels.width()+4, c.Max.Y
	square := vg.Rectangle{Min: vg.Point{X: left, Y: top - m.side}, Max: vg.Point{X: left + m.side, Y: top}}
	c.DrawImage(square, m.picture())
	frame := draw.LineStyle{Color: rule, Width: 0.6}
	c.StrokeLines(frame, []vg.Point{square.Min, {X: square.Max.X, Y: square.Min.Y}, square.Max,
		{X: square.Min.X, Y: square.Max.Y}, square.Min})
	for i := range n {
		text := m.labels.text(i, i)
		if text == "" {
			continue
		}
		style, size := m.labels.style, m.labels.style.Font.Size
		c.FillText(style, vg.Point{X: left - 4 - style.Width(text), Y: top - (vg.Length(i)+0.5)*cell - size*0.5}, text)
		style.Rotation = math.Pi / 2
		style.XAlign = draw.XRight
		style.YAlign = draw.YCenter
		c.FillText(style, vg.Point{X: left + (vg.Length(i)+0.5)*cell, Y: square.Min.Y - 4}, text)
	}
	if n <= 20 {
		m.drawNumbers(c, left, top, cell)
	}
	axis := textStyle(9, false, muted)
	axis.XAlign = draw.XCenter
	c.FillText(axis, vg.Point{X: left + m.side/2, Y: square.Min.Y - m.labels.width() - 20}, "prediction")
	axis.Rotation = math.Pi / 2
	axis.YAlign = draw.YTop
	c.FillText(axis, vg.Point{X: c.Min.X, Y: top - m.side/2}, "label")
	drawShareScale(c, square.Max.X+12, square.Min.Y+m.side/2, top)
}

// picture has a square of dots for each cell, so that no viewer blurs it much.
func (m confusionMap) picture() image.Image {
	n := len(m.Classes)
	dots := max(1, 1000/n)
	picture := image.NewNRGBA(image.Rect(0, 0, n*dots, n*dots))
	for label := range n {
		for prediction := range n {
			colour := shareColour(m.share(label, prediction))
			for y := label * dots; y < (label+1)*dots; y++ {
				for x := prediction * dots; x < (prediction+1)*dots; x++ {
					picture.SetNRGBA(x, y, colour)
				}
			}
		}
	}
	return picture
}

func (m confusionMap) drawNumbers(c draw.Canvas, left, top, cell vg.Length) {
	for label, row := range m.Confusion {
		for prediction, images := range row {
			if images == 0 {
				continue
			}
			share := m.share(label, prediction)
			colour := color.Color(ink)
			if share > 32 {
				colour = surface
			}
			style := textStyle(min(9, cell*0.34), label == prediction, colour)
			text := fmt.Sprintf("%.1f", share)
			if share > 99.95 {
				text = "100"
			}
			c.FillText(style, vg.Point{X: left + (vg.Length(prediction)+0.5)*cell - style.Width(text)/2,
				Y: top - (vg.Length(label)+0.5)*cell - style.Font.Size*0.5}, text)
		}
	}
}

// shareColour goes from white through blue to a dark blue, lightness falling steadily, by the square root of the share.
func shareColour(percent float64) color.NRGBA {
	stops := []color.NRGBA{{0xFF, 0xFF, 0xFF, 0xFF}, {0xB5, 0xD6, 0xEC, 0xFF}, {0x4E, 0x9A, 0xCC, 0xFF},
		{0x00, 0x5F, 0x9A, 0xFF}, {0x06, 0x2A, 0x4F, 0xFF}}
	at := math.Sqrt(math.Min(1, percent/100)) * float64(len(stops)-1)
	i := min(int(at), len(stops)-2)
	mix := func(a, b uint8) uint8 { return uint8(math.Round(float64(a) + (at-float64(i))*(float64(b)-float64(a)))) }
	a, b := stops[i], stops[i+1]
	return color.NRGBA{mix(a.R, b.R), mix(a.G, b.G), mix(a.B, b.B), 0xFF}
}

// drawShareScale draws the colours beside their shares.
func drawShareScale(c draw.Canvas, left, bottom, top vg.Length) {
	const width, steps = 10, 100
	height := top - bottom
	for i := range steps {
		at := float64(i) / steps
		low := bottom + height*vg.Length(at)
		fillRectangle(c, shareColour(100*at*at), left, low, left+width, min(top, low+height/steps+0.5))
	}
	style := textStyle(8, false, muted)
	for _, share := range []float64{0, 1, 5, 10, 25, 50, 100} {
		y := bottom + height*vg.Length(math.Sqrt(share/100))
		c.StrokeLine2(draw.LineStyle{Color: rule, Width: 0.6}, left+width, y, left+width+3, y)
		c.FillText(style, vg.Point{X: left + width + 5, Y: y - 4}, number(share)+" %")
	}
}

func fillRectangle(c draw.Canvas, colour color.Color, left, bottom, right, top vg.Length) {
	c.FillPolygon(colour, []vg.Point{{X: left, Y: bottom}, {X: right, Y: bottom}, {X: right, Y: top}, {X: left, Y: top}})
}

// confusionAlt names the most frequent confusions.
func confusionAlt(e *record.Evaluation) string {
	words := fmt.Sprintf("Confusion matrix of %d classes; %.2f %% of the images are on the diagonal.",
		len(e.Classes), e.Top1)
	for _, c := range e.MostConfused(10) {
		words += fmt.Sprintf(" %s taken for %s: %d of %d images.", Printable(e.ClassName(c.Label), 40),
			Printable(e.ClassName(c.Prediction), 40), c.Images, e.Classes[c.Label].Images)
	}
	return words + " " + evaluationCaption(e) + "."
}
