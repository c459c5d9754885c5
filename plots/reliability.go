package plots

import (
	"fmt"
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

var (
	accuracyColour  = palette["kd"]
	confidenceStyle = draw.LineStyle{Color: palette["ce+binarykl literal"], Width: 1.5}
	gapColour       = color.NRGBA{0xF2, 0xC4, 0x9B, 0xFF} // its colour, faded
)

// Reliability draws the reliability diagram of an evaluation (Guo et al. 2017, figure 1): for each bin of confidence
// how often its predictions are right, and how far that is from their mean confidence; below it, the share of the
// images in each bin. The title's number is the expected calibration error. The error is that of an evaluation that
// contradicts itself or of a bad option.
func Reliability(e *record.Evaluation, o Options) (*Figure, error) {
	if o.Width == 0 {
		o.Width = 5.5 // near a square
	}
	o, err := resolveEvaluation(e, "Reliability", o)
	if err != nil {
		return nil, err
	}
	subtitle := "No image has a prediction: no image's logits are finite."
	if e.ECE != nil {
		subtitle = fmt.Sprintf("Expected calibration error %s: the mean gap between confidence and accuracy, weighted by "+
			"images, in %d bins. Mean confidence %s, accuracy %s.", percent(*e.ECE), len(e.Bins), percent(e.Confidence()),
			percent(predictedAccuracy(e.Scores)))
	}
	f := newFrame(o, subtitle, evaluationCaption(e),
		key{label: "accuracy", line: draw.LineStyle{Color: accuracyColour, Width: 7}},
		key{label: "mean confidence", line: confidenceStyle},
		key{label: "gap", line: draw.LineStyle{Color: gapColour, Width: 7}},
		key{label: "perfect calibration", line: dashedStyle})
	diagram, shares := reliabilityPlot(e.Bins, reliabilityBars(e.Bins)), reliabilityPlot(e.Bins, newShares(e.Bins))
	diagram.Y.Max, diagram.Y.Label.Text = 100, "accuracy (%)"
	shares.Y.Max, shares.Y.Label.Text = newShares(e.Bins).limit(), "images (%)"
	shares.Y.Tick.Marker = linearTicks{count: 3}
	shares.X.Label.Text = "confidence (%)"
	inner := f.width - 2*margin
	upper, lower := inner*0.78, inner*0.26
	return f.figure(o, reliabilityAlt(e, subtitle), upper+lower, func(c draw.Canvas) {
		c.Max.X -= 10
		middle := c.Min.Y + lower
		top, bottom := c, c
		top.Min.Y, bottom.Max.Y = middle+6, middle
		left := max(leftOf(diagram, top), leftOf(shares, bottom)) // the same bins above one another
		for p, canvas := range map[*plot.Plot]draw.Canvas{diagram: top, shares: bottom} {
			canvas.Min.X += left - leftOf(p, canvas)
			p.Draw(canvas)
		}
	}), nil
}

// predictedAccuracy is that of the images that have a prediction, which confidence can be compared with.
func predictedAccuracy(s record.Scores) float64 {
	return s.Top1 / 100 * float64(s.Images) / float64(s.Images-s.NonFinite)
}

func reliabilityPlot(bins []record.Bin, content plot.Plotter) *plot.Plot {
	p := newPlot()
	p.X.Min, p.X.Max, p.Y.Min = 0, 100, 0
	p.X.Tick.Marker, p.Y.Tick.Marker = linearTicks{count: 5}, linearTicks{count: 5}
	p.Add(gridLines{}, content)
	return p
}

// leftOf is the width of what is left of a plot's data: labels of the axis.
func leftOf(p *plot.Plot, c draw.Canvas) vg.Length { return p.DataCanvas(c).Min.X - c.Min.X }

// reliabilityBars is the plotter of the diagram.
type reliabilityBars []record.Bin

// Plot implements [plot.Plotter].
func (bins reliabilityBars) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	for _, b := range bins {
		if b.Images == 0 {
			continue
		}
		left, right := x(100*b.Low)+0.6, x(100*b.High)-0.6
		accuracy, confidence := y(100*b.Accuracy), y(100*b.Confidence)
		fillRectangle(c, accuracyColour, left, y(0), right, accuracy)
		fillRectangle(c, gapColour, left, min(accuracy, confidence), right, max(accuracy, confidence))
		c.StrokeLine2(confidenceStyle, left, confidence, right, confidence)
		c.StrokeLine2(draw.LineStyle{Color: accuracyColour, Width: 1.5}, left, accuracy, right, accuracy)
	}
	c.StrokeLine2(dashedStyle, x(0), y(0), x(100), y(100))
}

// binShares is the plotter of the share of the predictions in each bin, in per cent.
type binShares struct {
	bins []record.Bin
	all  int
}

func newShares(bins []record.Bin) binShares {
	s := binShares{bins: bins}
	for _, b := range bins {
		s.all += b.Images
	}
	return s
}

func (s binShares) share(b record.Bin) float64 {
	return 100 * float64(b.Images) / math.Max(1, float64(s.all))
}

func (s binShares) limit() float64 {
	most := 1.0
	for _, b := range s.bins {
		most = math.Max(most, s.share(b))
	}
	return most * 1.08
}

// Plot implements [plot.Plotter].
func (s binShares) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	for _, b := range s.bins {
		if b.Images > 0 {
			fillRectangle(c, rule, x(100*b.Low)+0.6, y(0), x(100*b.High)-0.6, y(s.share(b)))
		}
	}
}

// reliabilityAlt is the figure in words.
func reliabilityAlt(e *record.Evaluation, subtitle string) string {
	words := "Reliability diagram. " + subtitle
	for _, b := range e.Bins {
		if b.Images > 0 {
			words += fmt.Sprintf(" Confidence %.0f to %.0f %%: %d images, accuracy %.1f %%.", 100*b.Low, 100*b.High, b.Images,
				100*b.Accuracy)
		}
	}
	return words + " " + evaluationCaption(e) + "."
}
