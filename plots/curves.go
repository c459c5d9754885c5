package plots

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// maxTerms is how many loss terms one figure can show.
const maxTerms = 12

// TrainingCurves draws student/test_top1 in per cent by epoch, a thick line per run: the mean over seeds, for as long
// as every seed has a value. From three seeds on there is a band, the mean's 95 % interval (Student's t); with two, or
// where some went wrong, each is a thin line. A cross ends a run that failed, dotted vertical lines are the milestones
// of the learning rate, and the teacher's accuracy is a dashed line. The error is that of [Summarize] or of a bad
// option, or says that no record has an epoch.
func TrainingCurves(records []*record.Record, o Options) (*Figure, error) {
	s, o, err := summarizeForFigure(records, "Test accuracy during training", o)
	if err != nil {
		return nil, err
	}
	panel := newPanel(s, record.MetricStudentTest, "", "top-1 (%)")
	if len(panel.runs) == 0 {
		return nil, fmt.Errorf("no record has an epoch with %s yet: nothing to draw", record.MetricStudentTest)
	}
	panels := []*panelData{panel}
	subtitle := "Top-1 accuracy by epoch." + bandWords(panels)
	alt := "Line chart of test top-1 accuracy in per cent by epoch."
	for _, run := range panel.runs {
		first, last := run.ends()
		alt += fmt.Sprintf(" %s: from %.1f to %.1f.", run.Label, first, last)
	}
	panel.teacher = s.TeacherTop1
	ch := panel.chart()
	ch.y.low, ch.y.high = 0, math.Max(panel.high, panel.teacher.orZero())*1.06
	return curves(s, o, subtitle, alt, panels, []tile{ch.tile()})
}

// LossCurves draws every loss term by epoch, a panel per term: means over the epoch's batches, before the method's
// weights. A panel is logarithmic where its values are positive and span more than a factor of 10. A line ends at the
// epoch before the one where its term was NaN or infinite, and a cross marks the end. The error is that of [Summarize]
// or of a bad option, or says that no record has a loss term.
func LossCurves(records []*record.Record, o Options) (*Figure, error) {
	s, o, err := summarizeForFigure(records, "Loss terms during training", o)
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
	var tiles []tile
	for _, term := range terms {
		panel := newPanel(s, term, lossTitle(term), "loss")
		panels, tiles = append(panels, panel), append(tiles, panel.lossChart().tile())
		alt += panel.alt()
	}
	return curves(s, o, "Mean over the training batches of each epoch, before the method's weights."+bandWords(panels),
		alt, panels, tiles)
}

// bandWords explains the bands, where there are any, and the thin lines beside them.
func bandWords(panels []*panelData) string {
	text, lines := "", ""
	for _, panel := range panels {
		for _, run := range panel.runs {
			switch {
			case run.banded():
				text = " Line and band: mean over seeds with its 95\u00a0% interval (Student's t)"
			case len(run.Records) > 1:
				lines = "; thin lines: seeds"
			}
		}
	}
	if text == "" {
		return ""
	}
	return text + lines + "."
}

// metricPanel is a panel of a figure of metrics.
type metricPanel struct {
	title, label string
	metrics      []string // the first is drawn as the run is, the others dotted
	zero         bool     // is marked
}

// metricCurves draws metrics of the records by epoch, a panel for each that some record has. lacking says in an error
// what there is none of and how to get it.
func metricCurves(records []*record.Record, o Options, title, subtitle, lacking string, panels []metricPanel,
	extra ...key) (*Figure, error) {
	s, o, err := summarizeForFigure(records, title, o)
	if err != nil {
		return nil, err
	}
	var drawn []*panelData
	var tiles []tile
	alt := "Line charts by epoch."
	for _, of := range panels {
		panel := newPanel(s, of.metrics[0], of.title, of.label)
		for _, metric := range of.metrics[1:] {
			panel.dot(newPanel(s, metric, of.title, of.label))
		}
		if len(panel.runs) == 0 {
			continue
		}
		ch := panel.chart()
		if of.zero {
			ch.levels = append(ch.levels, level{at: 0, style: zeroStyle})
		}
		ch.y.fit(ch.extent())
		drawn, tiles = append(drawn, panel), append(tiles, ch.tile())
		alt += panel.alt()
	}
	if len(drawn) == 0 {
		return nil, fmt.Errorf("no record has %s", lacking)
	}
	return curves(s, o, subtitle+bandWords(drawn), alt, drawn, tiles, extra...)
}

// dot adds the runs of another metric, dotted.
func (p *panelData) dot(other *panelData) {
	for _, run := range other.runs {
		run.dashes = strokes[2]
		run.label += ", auxiliary head"
		p.runs = append(p.runs, run)
		p.epochs = max(p.epochs, other.epochs)
	}
}

// alt says where each run starts and ends.
func (p *panelData) alt() string {
	words := " " + p.title + ":"
	for i, run := range p.runs {
		if i > 0 {
			words += ","
		}
		first, last := run.ends()
		words += fmt.Sprintf(" %s from %.3g to %.3g", run.label, first, last)
		if run.broken {
			words += " and then not finite"
		}
	}
	return words + "."
}

// curves lays panels out under one frame.
func curves(s *Summary, o Options, subtitle, alt string, panels []*panelData, tiles []tile,
	extra ...key) (*Figure, error) {
	f := newFrame(o, subtitle, s.Caption(), append(keys(s, panels), extra...)...)
	height := vg.Length(250)
	switch {
	case len(panels) > 1:
		height = 165
	case o.narrow():
		height = 210
	}
	return f.tiles(o, alt+" "+s.Caption()+".", o.columnsFor(2), height, tiles), nil
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

// lossTitles are the panels' titles of loss terms.
var lossTitles = map[string]string{
	"ce": "Cross-entropy", "kl": "KL divergence", "binarykl": "BinaryKL", "binarykl_norm": "BinaryKL-Norm",
	"mse": "Mean squared error", "tckd": "DKD, target class", "nckd": "DKD, other classes",
	"inter": "DIST, over the classes", "intra": "DIST, over the images", "ctkd": "CTKD",
	"at": "AT", "catkd": "CAT-KD", "crd": "CRD", "fitnet": "FitNet", "ofd": "OFD", "pkt": "PKT", "reviewkd": "ReviewKD",
	"rkd_distance": "RKD, distances", "rkd_angle": "RKD, angles", "simkd": "SimKD", "sp": "SP", "vid": "VID",
}

func lossTitle(metric string) string {
	term := strings.TrimPrefix(metric, record.LossPrefix)
	if title, ok := lossTitles[term]; ok {
		return title
	}
	return Printable(term, 30)
}
