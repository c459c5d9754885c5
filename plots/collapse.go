package plots

import (
	"fmt"
	"math"

	"gonum.org/v1/plot/vg/draw"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// collapsePanels are the measures that figures show.
var collapsePanels = []struct{ measure, title, label string }{
	{record.NC1, "NC1: within classes", "trace(ΣW pinv ΣB) / C"},
	{record.NC2Norms, "NC2: mean lengths", "SD / mean"},
	{record.NC2Angles, "NC2: mean angles", "SD of cosines"},
	{record.NC3, "NC3: head to means", "distance, 0 to 2"},
	{record.NC4, "NC4: nearest mean", "share that disagrees"},
	{record.ETFClassifier, "Head to simplex ETF", "distance, 0 to √2"},
}

// NeuralCollapse draws the measures of neural collapse by epoch, NC1 to NC4 and the classifier's distance from a
// simplex ETF, a panel each and a line per run: solid for the main head, dotted for the auxiliary head. All are 0 at
// full collapse. Line and band are as in [TrainingCurves]. The error is that of [Summarize] or of a bad option, or
// says that no record has them.
func NeuralCollapse(records []*record.Record, o Options) (*Figure, error) {
	var panels []metricPanel
	for _, m := range collapsePanels {
		panels = append(panels, metricPanel{title: m.title, label: m.label, metrics: []string{
			record.CollapseMetric(record.MainHead, m.measure), record.CollapseMetric(record.AuxHead, m.measure)}})
	}
	return metricCurves(records, o, "Neural collapse during training",
		"Measured on training images; all measures are 0 at full collapse.",
		"measures of neural collapse by epoch, as "+record.CollapseMetric(record.MainHead, record.NC1)+
			"; those at the end are in the figure collapse-measures, which dhkd analyse makes numbers for", panels,
		key{label: "auxiliary head", line: draw.LineStyle{Color: ink, Width: 1.8, Dashes: strokes[2]}})
}

// CollapseMeasures draws the measures of neural collapse of trained networks: a row for each run and head, a panel for
// each measure, a dot for the mean over seeds and a small one for each seed. All are 0 at full collapse. The error
// says which run has none and how to get them, or what option is bad.
func CollapseMeasures(analyses []*record.Analysis, o Options) (*Figure, error) {
	o, _, caption, err := resolveAnalyses(analyses, "Neural collapse", o)
	if err != nil {
		return nil, err
	}
	rows := rowPanels{}
	for _, m := range collapsePanels {
		rows.panels = append(rows.panels, rowPanel{title: m.title, label: m.label, dots: true})
	}
	place, seen := map[string]int{}, map[string]bool{} // rows by label, teachers by digest
	for i, a := range analyses {
		if len(a.Collapse) == 0 {
			return nil, lacking(a, "measures of neural collapse", "")
		}
		run := labelOf(a.Recipe)
		colour := colourOf(a.Recipe.Method, i)
		for _, c := range a.Collapse {
			label := fmt.Sprintf("%s, %s", run, headWords[c.Of])
			colour := colour
			if c.Of == record.TeacherNetwork {
				label, colour = "Teacher", others[0]
				if a.Teacher != nil {
					if seen[a.Teacher.SHA256] {
						continue
					}
					seen[a.Teacher.SHA256] = true
				}
			}
			i, ok := place[label]
			if !ok {
				i = len(rows.labels)
				place[label] = i
				rows.labels, rows.colours = append(rows.labels, label), append(rows.colours, colour)
				rows.hollow = append(rows.hollow, c.Of == record.AuxHead)
				for k := range rows.panels {
					rows.panels[k].values = append(rows.panels[k].values, nil)
				}
			}
			for k, m := range collapsePanels {
				if v := c.Measures[m.measure]; finite(v) && math.Abs(v) < overflow {
					rows.panels[k].values[i] = append(rows.panels[k].values[i], v)
				}
			}
		}
	}
	if len(rows.labels) > maxRuns {
		return nil, fmt.Errorf("%d heads: too many for one figure, the limit is %d", len(rows.labels), maxRuns)
	}
	alt := "Dot plots of measures of neural collapse."
	for k, m := range collapsePanels {
		alt += " " + m.title + ":"
		for i, label := range rows.labels {
			alt += fmt.Sprintf(" %s %.3g;", label, NewStat(rows.panels[k].values[i]...).Mean)
		}
	}
	f := newFrame(o, "Measured on training images; all measures are 0 at full collapse. Small dots are seeds, rings "+
		"auxiliary heads.", caption)
	return rows.figure(f, o, alt+" "+caption+".", 3), nil
}
