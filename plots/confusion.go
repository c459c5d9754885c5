package plots

import (
	"fmt"
	"math"

	"gonum.org/v1/plot"

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
	return f.heats(o, confusionAlt(e), 1, confusionMap(e.Scores)), nil
}

func confusionMap(s record.Scores) *heat {
	h := &heat{rows: classNames(s), columns: classNames(s), xLabel: "prediction", yLabel: "label", scale: shares,
		aspect: 1}
	for label, row := range s.Confusion {
		h.values = append(h.values, make([]float64, len(row)))
		for prediction, images := range row {
			h.values[label][prediction] = 100 * float64(images) / math.Max(1, float64(s.Classes[label].Images))
		}
	}
	if len(s.Classes) <= 20 {
		h.text = func(label, prediction int) []string {
			switch share := h.values[label][prediction]; {
			case share == 0:
				return nil
			case share > 99.95:
				return []string{"100"}
			default:
				return []string{fmt.Sprintf("%.1f", share)}
			}
		}
		h.bold = func(label, prediction int) bool { return label == prediction }
	}
	return h
}

// shares is the scale of shares in per cent.
var shares = func() *scale {
	s := &scale{stops: blues, high: 100, power: 0.5}
	for _, share := range []float64{0, 1, 5, 10, 25, 50, 100} {
		s.ticks = append(s.ticks, plot.Tick{Value: share, Label: number(share) + " %"})
	}
	return s
}()

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
