package plots

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/plot/plotter"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// GradientCosines draws the cosine between the gradients of two losses by epoch, a panel for each run: of the main
// head's last layer, of the backbone and of each of its stages. A line is the mean over the measured steps of all
// seeds; the band of head and backbone is one standard deviation of the steps. Below zero the losses pull apart. The
// error is that of [Summarize] or of a bad option, or says that no record has measured gradients.
func GradientCosines(records []*record.Record, o Options) (*Figure, error) {
	return partCharts(records, o, "Cosine between the gradients of two losses", "cosine",
		"Mean over the measured steps of each epoch; band, of head and backbone: one standard deviation of the steps.",
		func(p record.GradientPart) (v, spread float64) { return p.Cosine.Mean, p.Cosine.Std }, -1)
}

// ConflictShares draws the share of steps in which the gradients of two losses had a negative cosine, by epoch, as
// [GradientCosines] draws the cosines.
func ConflictShares(records []*record.Record, o Options) (*Figure, error) {
	return partCharts(records, o, "Steps in which two losses conflict", "share of steps",
		"Share of the measured steps of each epoch in which the cosine of the two gradients is below zero.",
		func(p record.GradientPart) (v, spread float64) { return p.Cosine.Negative, 0 }, 0)
}

// shownParts are the kinds of parts that have a line.
var shownParts = []string{record.PartClassifier, record.PartBackbone, record.PartStage}

func partCharts(records []*record.Record, o Options, title, label, subtitle string,
	value func(record.GradientPart) (v, spread float64), floor float64) (*Figure, error) {
	s, o, err := summarizeGradients(records, title, o)
	if err != nil {
		return nil, err
	}
	var legend legend
	var charts []*chart
	alt := "Line charts by epoch."
	for _, run := range s.Students {
		ch := &chart{title: run.Label, x: epochAxis(run.epochs()), y: axis{label: label},
			levels: []level{{style: zeroStyle}}}
		alt += " " + ch.title + ":"
		for _, part := range run.parts(shownParts...) {
			l := run.byEpoch(func(g *record.Gradients) (v, spread float64, ok bool) {
				p, ok := g.Part(part.Kind, part.Name)
				v, spread = value(p)
				return v, spread, ok
			}, floor, 1)
			if part.Kind == record.PartStage {
				l.low, l.high = nil, nil // too many bands to read
			}
			name := partWords(part)
			l.style = legend.style(name, false)
			legend.add(key{label: name, line: l.style})
			ch.lines = append(ch.lines, l)
			if n := len(l.points); n > 0 {
				alt += fmt.Sprintf(" %s from %.2f to %.2f,", name, l.points[0].Y, l.points[n-1].Y)
			}
		}
		charts = append(charts, ch)
	}
	f := newFrame(o, s.terms()+subtitle, s.Caption(), legend.keys...)
	return f.tiles(o, strings.TrimSuffix(alt, ",")+". "+s.Caption()+".", o.columnsFor(2), chartHeight(len(charts)),
		alike(charts)), nil
}

// LayerCosines draws the cosine between the gradients of two losses in every parameter, a strip for each run: rows are
// the parameters from the input on top to the head, columns epochs, means over steps and seeds. Blue agrees, brown
// conflicts. The error is that of [GradientCosines].
func LayerCosines(records []*record.Record, o Options) (*Figure, error) {
	s, o, err := summarizeGradients(records, "Cosine between the gradients of two losses, by layer", o)
	if err != nil {
		return nil, err
	}
	var maps []*heat
	alt := "Heat maps of cosines."
	reach := 0.0
	for _, run := range s.Students {
		h := &heat{title: run.Label, xLabel: "epoch", row: 7.5}
		epochs := run.layered()
		for _, e := range epochs {
			h.columns = append(h.columns, fmt.Sprint(e))
		}
		negative := 0
		for _, part := range run.parts(record.PartLayer) {
			l := run.byEpoch(func(g *record.Gradients) (v, spread float64, ok bool) {
				p, ok := g.Part(part.Kind, part.Name)
				return p.Cosine.Mean, 0, ok
			}, -1, 1)
			row := make([]float64, len(epochs))
			for j := range row {
				row[j] = math.NaN()
			}
			sum := 0.0
			for _, pt := range l.points {
				row[slices.Index(epochs, int(pt.X))] = pt.Y
				reach = math.Max(reach, math.Abs(pt.Y))
				sum += pt.Y
			}
			if sum < 0 {
				negative++
			}
			h.values, h.rows = append(h.values, row), append(h.rows, Printable(part.Name, 60))
		}
		if len(h.values) == 0 || len(epochs) == 0 {
			continue
		}
		h.sparseColumns = len(epochs) > 12
		alt += fmt.Sprintf(" %s: the mean is below 0 in %d of %d layers.", h.title, negative, len(h.values))
		maps = append(maps, h)
	}
	if len(maps) == 0 {
		return nil, fmt.Errorf("no record has gradients of layers: %s", howToMeasure)
	}
	for _, h := range maps {
		h.scale = bothSigns(math.Max(reach, 1e-3), "cosine")
	}
	f := newFrame(o, s.terms()+"Mean over the measured steps of each epoch. Blue: the losses agree; brown: they conflict.",
		s.Caption())
	return f.heats(o, alt+" "+s.Caption()+".", o.columnsFor(2), maps...), nil
}

// PullAndPush draws how losses move the rows of a head's last layer, by epoch: the mean pull (above zero) and push
// (below zero) of their coefficients, see [record.HeadGradients], for each image's true class and for the others, two
// panels for each run and head. Where one loss pulls and the other pushes, they conflict. The error is that of
// [GradientCosines].
func PullAndPush(records []*record.Record, o Options) (*Figure, error) {
	s, o, err := summarizeGradients(records, "How losses pull and push the classifier", o)
	if err != nil {
		return nil, err
	}
	var legend legend
	var charts [2][]*chart
	alt := "Line charts by epoch of pull and push, means."
	for _, run := range s.Students {
		for _, head := range []string{record.HeadMain, record.HeadAux} {
			for k, side := range []struct {
				title string
				of    func(record.Pull) (pull, push float64)
			}{
				{"true class", func(p record.Pull) (pull, push float64) { return p.TruePull, p.TruePush }},
				{"other classes", func(p record.Pull) (pull, push float64) { return p.OtherPull, p.OtherPush }},
			} {
				ch := &chart{title: fmt.Sprintf("%s, %s, %s", run.Label, headWords[head], side.title), x: epochAxis(run.epochs()),
					y: axis{label: "push (−), pull (+)"}, levels: []level{{style: zeroStyle}}}
				for _, term := range run.pulls(head) {
					for _, sign := range []float64{1, -1} {
						l := run.byEpoch(func(g *record.Gradients) (v, spread float64, ok bool) {
							p, ok := pullOf(g, head, term)
							pull, push := side.of(p)
							if sign < 0 {
								return -push, 0, ok
							}
							return pull, 0, ok
						}, math.Inf(-1), math.Inf(1))
						l.style = legend.style(termTitle(term), false)
						legend.add(key{label: termTitle(term), line: l.style})
						ch.lines = append(ch.lines, l)
						if n := len(l.points); n > 0 {
							alt += fmt.Sprintf(" %s, %s: %.3g at the end.", ch.title, term, l.points[n-1].Y)
						}
					}
				}
				if len(ch.lines) == 0 {
					continue
				}
				charts[k] = append(charts[k], ch)
			}
		}
	}
	own, others := alike(charts[0]), alike(charts[1])
	var tiles []tile
	for i := range own {
		tiles = append(tiles, own[i], others[i])
	}
	switch {
	case len(tiles) == 0:
		return nil, fmt.Errorf("no record has pull and push of a head: %s", howToMeasure)
	case len(tiles) > maxPanels:
		return nil, fmt.Errorf("%d panels: too many for one figure, the limit is %d; draw fewer runs", len(tiles), maxPanels)
	}
	f := newFrame(o, "Mean coefficient with which an image's feature moves the row of its true class, and each row of "+
		"another: pull above zero, push below.", s.Caption(), legend.keys...)
	return f.tiles(o, alt+" "+s.Caption()+".", o.columnsFor(2), chartHeight(len(tiles)), tiles), nil
}

var headWords = map[string]string{record.HeadMain: "main head", record.HeadAux: "auxiliary head"}

const howToMeasure = "train with measure: {gradients: {every: 10}} in the recipe"

// summarizeGradients keeps the runs that have measured gradients.
func summarizeGradients(records []*record.Record, title string, o Options) (*Summary, Options, error) {
	s, err := Summarize(records)
	if err != nil {
		return nil, o, err
	}
	s.Students = slices.DeleteFunc(s.Students, func(run *Run) bool { return len(run.parts(record.PartKinds...)) == 0 })
	switch n := len(s.Students); {
	case n == 0:
		return nil, o, fmt.Errorf("no record has the gradients of two losses: %s", howToMeasure)
	case n > maxPanels:
		return nil, o, fmt.Errorf("%d runs with gradients: too many for one figure, the limit is %d", n, maxPanels)
	}
	o, err = o.resolve(title)
	return s, o, err
}

// parts are the run's parts of these kinds, in the order of the kinds and of the network.
func (run *Run) parts(kinds ...string) (parts []record.GradientPart) {
	for _, kind := range kinds {
		for _, e := range run.measurements() {
			for _, p := range e.Gradients.Parts {
				same := func(q record.GradientPart) bool { return q.Kind == p.Kind && q.Name == p.Name }
				if p.Kind == kind && !slices.ContainsFunc(parts, same) {
					parts = append(parts, p)
				}
			}
		}
	}
	return parts
}

// measurements are the epochs of all seeds that have gradients.
func (run *Run) measurements() (epochs []record.Epoch) {
	for _, r := range run.Records {
		for _, e := range r.Epochs {
			if e.Gradients != nil {
				epochs = append(epochs, e)
			}
		}
	}
	return epochs
}

// measured are the epochs in which a seed has gradients.
func (run *Run) measured() []int {
	return run.epochsWith(func(_ *record.Record, e record.Epoch) bool { return e.Gradients != nil })
}

// layered are those of them in which a seed has layers, or would have them if its gradients were numbers.
func (run *Run) layered() []int {
	return run.epochsWith(func(r *record.Record, e record.Epoch) bool {
		return e.Gradients != nil && (record.KeepsLayers(e.Epoch, r.Recipe.Schedule.Epochs) ||
			slices.ContainsFunc(e.Gradients.Parts, func(p record.GradientPart) bool { return p.Kind == record.PartLayer }))
	})
}

// epochsWith are the epochs of which that is true for a seed.
func (run *Run) epochsWith(is func(*record.Record, record.Epoch) bool) (epochs []int) {
	for _, r := range run.Records {
		for _, e := range r.Epochs {
			if !slices.Contains(epochs, e.Epoch) && is(r, e) {
				epochs = append(epochs, e.Epoch)
			}
		}
	}
	slices.Sort(epochs)
	return epochs
}

func (run *Run) epochs() int { return slices.Max(append(run.measured(), 1)) }

func termTitle(term string) string { return lossTitle(record.LossPrefix + term) }

// terms says whose gradients are compared.
func (s *Summary) terms() string {
	var pairs []string
	for _, run := range s.Students {
		for _, e := range run.measurements() {
			if len(e.Gradients.Terms) < 2 {
				continue
			}
			pair := termTitle(e.Gradients.Terms[0]) + " and " + termTitle(e.Gradients.Terms[1])
			if !slices.Contains(pairs, pair) {
				pairs = append(pairs, pair)
			}
		}
	}
	return strings.Join(pairs, "; ") + ". "
}

// byEpoch is a value by epoch: the mean over the seeds that have it. Its band is the spread of the steps, of all seeds
// taken together, where there is any, between floor and ceiling.
func (run *Run) byEpoch(value func(*record.Gradients) (v, spread float64, ok bool), floor, ceiling float64) (l line) {
	spread := false
	for _, epoch := range run.measured() {
		var values []float64
		within := 0.0
		for _, r := range run.Records {
			if epoch > len(r.Epochs) {
				continue
			}
			if v, sd, ok := value(r.Epochs[epoch-1].Gradients); ok && drawable(v) && drawable(sd) {
				values = append(values, v)
				within += sd * sd
				spread = spread || sd > 0
			}
		}
		if len(values) == 0 {
			continue
		}
		mean := NewStat(values...)
		variance := within / float64(len(values))
		if len(values) > 1 {
			variance += mean.SD * mean.SD
		}
		sd := math.Sqrt(variance)
		l.points = append(l.points, plotter.XY{X: float64(epoch), Y: mean.Mean})
		l.low, l.high = append(l.low, math.Max(floor, mean.Mean-sd)), append(l.high, math.Min(ceiling, mean.Mean+sd))
	}
	if !spread {
		l.low, l.high = nil, nil
	}
	return l
}

// pulls are the losses that act on a head.
func (run *Run) pulls(head string) (terms []string) {
	for _, e := range run.measurements() {
		for _, h := range e.Gradients.Heads {
			for _, p := range h.Losses {
				if h.Head == head && !slices.Contains(terms, p.Term) {
					terms = append(terms, p.Term)
				}
			}
		}
	}
	return terms
}

func pullOf(g *record.Gradients, head, term string) (record.Pull, bool) {
	if g == nil {
		return record.Pull{}, false
	}
	for _, h := range g.Heads {
		if i := slices.IndexFunc(h.Losses, func(p record.Pull) bool { return p.Term == term }); h.Head == head && i >= 0 {
			return h.Losses[i], true
		}
	}
	return record.Pull{}, false
}

// partWords names a part for readers.
func partWords(p record.GradientPart) string {
	if p.Kind == record.PartClassifier {
		return "head (last layer)"
	}
	return Printable(strings.ReplaceAll(p.Title(), "_", " "), 40)
}
