package plots

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// maxTerms is how many loss terms one figure can show.
const maxTerms = 12

// TrainingCurves draws student/test_top1 in per cent by epoch, a thick line per run: the mean over seeds, for as long
// as every seed has a value. Where a run has several seeds each is a thin line. A cross ends a run that failed, dotted
// vertical lines are the milestones of the learning rate, and the teacher's accuracy is a dashed line. The error is
// that of [Summarize] or of a bad option, or says that no record has an epoch.
func TrainingCurves(records []*record.Record, o Options) (*Figure, error) {
	s, err := summarizeForFigure(records)
	if err != nil {
		return nil, err
	}
	o, err = o.resolve("Test accuracy during training")
	if err != nil {
		return nil, err
	}
	panel := newPanel(s, record.MetricStudentTest, "")
	if len(panel.runs) == 0 {
		return nil, fmt.Errorf("no record has an epoch with %s yet: nothing to draw", record.MetricStudentTest)
	}
	subtitle := "Top-1 accuracy in per cent by epoch."
	alt := "Line chart of test top-1 accuracy in per cent by epoch."
	for _, run := range panel.runs {
		first, last := run.ends()
		alt += fmt.Sprintf(" %s: from %.1f to %.1f.", run.Label, first, last)
	}
	panel.teacher = s.TeacherTop1
	panel.low = 0
	panel.high = math.Max(panel.high, panel.teacher.orZero()) * 1.06
	return curves(s, o, subtitle, alt, []*panelData{panel})
}

// LossCurves draws every loss term by epoch, a panel per term: means over the epoch's batches, before the method's
// weights. A panel is logarithmic where its values are positive and span more than a factor of 10. A line ends at the
// epoch before the one where its term was NaN or infinite, and a cross marks the end. The error is that of [Summarize]
// or of a bad option, or says that no record has a loss term.
func LossCurves(records []*record.Record, o Options) (*Figure, error) {
	s, err := summarizeForFigure(records)
	if err != nil {
		return nil, err
	}
	o, err = o.resolve("Loss terms during training")
	if err != nil {
		return nil, err
	}
	terms := lossTerms(s)
	switch {
	case len(terms) == 0:
		return nil, fmt.Errorf("no record has a metric that starts with %q yet: nothing to draw", record.LossPrefix)
	case len(terms) > maxTerms:
		return nil, fmt.Errorf("%d loss terms: too many for one figure, the limit is %d", len(terms), maxTerms)
	}
	alt := "Line charts of each loss term by epoch."
	var panels []*panelData
	for _, term := range terms {
		panel := newPanel(s, term, lossTitle(term))
		panel.scaleLoss()
		panels = append(panels, panel)
		alt += fmt.Sprintf(" %s:", panel.title)
		for i, run := range panel.runs {
			if i > 0 {
				alt += ","
			}
			first, last := run.ends()
			alt += fmt.Sprintf(" %s from %.3g to %.3g", run.Label, first, last)
			if run.broken {
				alt += " and then not finite"
			}
		}
		alt += "."
	}
	return curves(s, o, "Mean over the training batches of each epoch, before the method's weights.", alt, panels)
}

// curves lays panels out under one frame.
func curves(s *Summary, o Options, subtitle, alt string, panels []*panelData) (*Figure, error) {
	f := newFrame(o, subtitle, s.Caption(), keys(s, panels)...)
	columns, height := 1, vg.Length(250)
	if len(panels) > 1 {
		height = 165
		if !o.narrow() {
			columns = 2
		}
	} else if o.narrow() {
		height = 210
	}
	rows := (len(panels) + columns - 1) / columns
	grid := make([][]*plot.Plot, rows)
	for i := range grid {
		grid[i] = make([]*plot.Plot, columns)
		for j := range grid[i] {
			if k := i*columns + j; k < len(panels) {
				grid[i][j] = panels[k].plot()
			}
		}
	}
	return &Figure{
		Alt:    alt + " " + s.Caption() + ".",
		width:  f.width,
		height: f.height(vg.Length(rows) * height),
		dpi:    o.DPI,
		draw: func(c draw.Canvas) {
			c = f.draw(c)
			c.Max.X -= 4
			tiles := draw.Tiles{Rows: rows, Cols: columns, PadX: 22, PadY: 14}
			canvases := plot.Align(grid, tiles, c)
			for k, panel := range panels {
				row, column := k/columns, k%columns
				corner := vg.Point{X: c.Max.X, Y: c.Min.Y}
				for other := range panels {
					if other%columns == column {
						corner.X = min(corner.X, canvases[other/columns][column].Min.X)
					}
					if other/columns == row {
						corner.Y = max(corner.Y, canvases[row][other%columns].Max.Y)
					}
				}
				grid[row][column].Draw(panel.drawTitle(canvases[row][column], corner))
			}
		},
	}, nil
}

// keys is the legend of the runs that any of the panels shows.
func keys(s *Summary, panels []*panelData) []key {
	shown := map[*Run]bool{}
	broken, failed := false, false
	for _, p := range panels {
		for _, r := range p.runs {
			shown[r.Run] = true
			broken, failed = broken || r.broken, failed || r.failed
		}
	}
	looks := looks(s.Students)
	var result []key
	for _, run := range s.Students {
		if shown[run] {
			result = append(result, key{label: run.Label, line: looks[run].line(1.8)})
		}
	}
	switch {
	case broken && failed:
		result = append(result, key{label: "failed, or not finite from here", marker: alarm})
	case broken:
		result = append(result, key{label: "not finite from here", marker: alarm})
	case failed:
		result = append(result, key{label: "failed", marker: alarm})
	}
	return result
}

func (l look) line(width vg.Length) draw.LineStyle {
	return draw.LineStyle{Color: l.colour, Width: width, Dashes: l.dashes}
}

// lossTerms are the names of the metrics that are loss terms: the usual ones first.
func lossTerms(s *Summary) []string {
	found := map[string]bool{}
	for _, run := range s.Students {
		for _, r := range run.Records {
			for _, e := range r.Epochs {
				for name := range e.Metrics {
					if strings.HasPrefix(name, record.LossPrefix) {
						found[name] = true
					}
				}
			}
		}
	}
	order := func(name string) int {
		if i := slices.Index(usualTerms, name); i >= 0 {
			return i
		}
		return len(usualTerms)
	}
	return slices.SortedFunc(maps.Keys(found), func(a, b string) int {
		if d := order(a) - order(b); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
}

var usualTerms = []string{"loss/ce", "loss/kl", "loss/binarykl", "loss/binarykl_norm"}

func lossTitle(metric string) string {
	switch metric {
	case "loss/ce":
		return "Cross-entropy"
	case "loss/kl":
		return "KL divergence"
	case "loss/binarykl":
		return "BinaryKL"
	case "loss/binarykl_norm":
		return "BinaryKL-Norm"
	}
	return Printable(strings.TrimPrefix(metric, record.LossPrefix), 30)
}
