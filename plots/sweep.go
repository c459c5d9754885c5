package plots

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

const (
	// deadChance is how many times the accuracy of guessing a run must reach not to count as dead.
	deadChance = 5
	// maxSteps is how many values of a hyper-parameter a map can show.
	maxSteps = 30
)

// AccuracyMap draws the last epoch's test accuracy over two hyper-parameters of a sweep, x across and y upwards, both
// keys of a recipe such as "method.alpha" and "optimizer.learning_rate". Runs that differ in anything else have maps
// of their own, side by side on one colour scale; runs without one of the keys are left out. A cell has the mean over
// seeds and, below it, the standard deviation; a seed is dead, which × counts, if it failed, if its loss was not
// finite, or if it ended below five times the accuracy of guessing. Dead seeds that finished are part of the mean;
// those that failed cannot be. The error is that of [Summarize] or of a bad option, or says which keys the records'
// recipes have, or that two runs want the same cell.
func AccuracyMap(records []*record.Record, x, y string, o Options) (*Figure, error) {
	s, err := Summarize(records)
	if err != nil {
		return nil, err
	}
	if o, err = o.resolve("Test accuracy by " + words(x) + " and " + words(y)); err != nil {
		return nil, err
	}
	panels, err := s.sweep(x, y)
	if err != nil {
		return nil, err
	}
	if len(panels) > maxPanels {
		return nil, fmt.Errorf("%d combinations of what is not %s and %s: too many for one figure, the limit is %d",
			len(panels), Printable(x, 60), Printable(y, 60), maxPanels)
	}
	low, high := math.Inf(1), math.Inf(-1)
	for _, p := range panels {
		for _, run := range p.cells {
			if run.Last.N > 0 {
				low, high = math.Min(low, run.Last.Mean), math.Max(high, run.Last.Mean)
			}
		}
	}
	switch {
	case low > high:
		low, high = 0, 1
	case low < 0.8*high:
		low = 0
	case high-low < 1:
		low, high = low-0.5, high+0.5
	}
	scale := amounts(low, high, "top-1 (%)")
	if low == 0 {
		scale.power = 2 // what did not collapse is near the top
	}
	var heats []*heat
	alt := "Heat maps of test top-1 accuracy in per cent."
	for _, p := range panels {
		h := p.heat(s, scale)
		heats = append(heats, h)
		alt += " " + p.title + ":" + h.alt(func(v float64) string { return fmt.Sprintf("%.1f", v) })
	}
	f := newFrame(o, fmt.Sprintf("Top-1 accuracy in per cent at the last epoch: mean and standard deviation over seeds. "+
		"× counts seeds that died: failed, loss not finite, or accuracy below %s\u00a0%%.", number(s.deadBelow())),
		s.Caption())
	return f.heats(o, alt+" "+s.Caption()+".", o.columnsFor(2), heats...), nil
}

// deadBelow is the accuracy in per cent below which a finished run has learnt next to nothing.
func (s *Summary) deadBelow() float64 {
	return deadChance * 100 / math.Max(float64(s.Data.Classes), 2*deadChance)
}

// dead is how many of the run's seeds died.
func (run *Run) dead(below float64) (n int) {
	for _, r := range run.Records {
		top1, ok := r.Value(record.MetricStudentTest, record.AtLast)
		if r.Status == record.Failed || NonFiniteEpoch(r) > 0 || r.Status == record.Completed && ok && top1 < below {
			n++
		}
	}
	return n
}

// sweepPanel is the runs that differ in two hyper-parameters alone.
type sweepPanel struct {
	title  string
	x, y   string
	xs, ys []string // values, ascending
	cells  map[[2]string]*Run
}

// sweep sorts the runs into panels, which all have the same values along their axes.
func (s *Summary) sweep(x, y string) ([]*sweepPanel, error) {
	if x == y {
		return nil, fmt.Errorf("both axes are %s: name two keys", Printable(x, 60))
	}
	byRest := map[string]*sweepPanel{}
	var panels []*sweepPanel
	settings := map[*sweepPanel]map[string]string{}
	var xs, ys []string
	known := map[string]string{}
	for _, run := range s.Students {
		keys := flatten(run.Recipe)
		maps.Copy(known, keys)
		cell := [2]string{keys[x], keys[y]}
		if cell[0] == "" || cell[1] == "" {
			continue // as cross-entropy has no alpha
		}
		xs, ys = append(xs, cell[0]), append(ys, cell[1])
		delete(keys, x)
		delete(keys, y)
		rest := fmt.Sprint(keys) // maps are printed in the order of their keys
		p := byRest[rest]
		if p == nil {
			p = &sweepPanel{x: x, y: y, cells: map[[2]string]*Run{},
				title: methodWords(run.Recipe.Method) + ", " + run.Recipe.Model.Heads()}
			byRest[rest], settings[p] = p, keys
			panels = append(panels, p)
		}
		if other := p.cells[cell]; other != nil {
			return nil, fmt.Errorf("runs %s and %s both have %s = %s and %s = %s, and nothing else tells them apart: "+
				"leave one out", other.Name, run.Name, Printable(x, 60), cell[0], Printable(y, 60), cell[1])
		}
		p.cells[cell] = run
	}
	if len(panels) == 0 {
		return nil, fmt.Errorf("no run has both %q and %q in its recipe: the keys are %s", Printable(x, 60), Printable(y, 60),
			strings.Join(slices.Sorted(maps.Keys(known)), ", "))
	}
	xs, ys = ascending(xs), ascending(ys)
	if len(xs) > maxSteps || len(ys) > maxSteps {
		return nil, fmt.Errorf("%d values of %s and %d of %s: too many for one figure, the limit is %d", len(xs),
			Printable(x, 60), len(ys), Printable(y, 60), maxSteps)
	}
	for _, p := range panels {
		p.xs, p.ys = xs, ys
		p.title = distinct(p, panels, settings)
	}
	return panels, nil
}

// distinct is a panel's title: what other panels have otherwise is added where the titles are the same.
func distinct(p *sweepPanel, panels []*sweepPanel, settings map[*sweepPanel]map[string]string) string {
	title := p.title
	var extra []string
	for _, other := range panels {
		if other == p || !strings.HasPrefix(other.title, p.title) {
			continue
		}
		for _, key := range slices.Sorted(maps.Keys(settings[p])) {
			if v := settings[p][key]; settings[other][key] != v {
				if text := words(key) + " " + v; !slices.Contains(extra, text) {
					extra = append(extra, text)
				}
			}
		}
	}
	if len(extra) > 0 {
		title += ", " + strings.Join(extra, ", ")
	}
	return title
}

// heat is the panel's map, the largest y on top.
func (p *sweepPanel) heat(s *Summary, scale *scale) *heat {
	h := &heat{title: p.title, columns: p.xs, xLabel: words(p.x), yLabel: words(p.y), scale: scale, aspect: 0.62}
	var runs [][]*Run
	for _, y := range slices.Backward(p.ys) {
		h.rows = append(h.rows, y)
		row, of := make([]float64, len(p.xs)), make([]*Run, len(p.xs))
		for j, x := range p.xs {
			row[j] = math.NaN()
			if run := p.cells[[2]string{x, y}]; run != nil {
				row[j], of[j] = run.Last.Mean, run
			}
		}
		h.values, runs = append(h.values, row), append(runs, of)
	}
	h.text = func(i, j int) []string { return runs[i][j].cellText(s.deadBelow()) }
	return h
}

// cellText is the run's accuracy and what became of its seeds.
func (run *Run) cellText(below float64) (lines []string) {
	if run == nil {
		return nil
	}
	if run.Last.N > 0 {
		lines = append(lines, fmt.Sprintf("%.1f", run.Last.Mean))
	}
	if run.Last.N > 1 {
		lines = append(lines, fmt.Sprintf("± %.1f", run.Last.SD))
	}
	if n := run.dead(below); n > 0 {
		lines = append(lines, fmt.Sprintf("× %d of %d", n, len(run.Records)))
	} else if run.Last.N == 0 {
		lines = append(lines, "not finished")
	}
	return lines
}

// flatten is a recipe's keys with their values, without those that name a run or its seed.
func flatten(r record.Recipe) map[string]string {
	encoded, err := json.Marshal(r)
	if err != nil {
		return nil // a checked recipe has only numbers that JSON has
	}
	var tree map[string]any
	decoder := json.NewDecoder(strings.NewReader(string(encoded)))
	decoder.UseNumber()
	if decoder.Decode(&tree) != nil {
		return nil
	}
	keys := map[string]string{}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		if fields, ok := v.(map[string]any); ok {
			for name, field := range fields {
				walk(strings.TrimPrefix(path+"."+name, "."), field)
			}
			return
		}
		keys[path] = Printable(fmt.Sprint(v), 60)
	}
	walk("", tree)
	for key := range keys {
		if slices.Contains([]string{"experiment", "name", "label", "profile", "seed", "teacher.seed"}, key) ||
			strings.HasPrefix(key, "tuning.") {
			delete(keys, key)
		}
	}
	return keys
}

// ascending sorts values, each once: numbers by their size.
func ascending(values []string) []string {
	value := func(s string) (v float64) {
		if _, err := fmt.Sscan(s, &v); err != nil {
			return math.Inf(1)
		}
		return v
	}
	slices.SortFunc(values, func(a, b string) int { return cmp.Or(cmp.Compare(value(a), value(b)), cmp.Compare(a, b)) })
	return slices.Compact(values)
}

// words is a recipe's key for readers: "optimizer.learning_rate" is the learning rate.
func words(key string) string {
	if key == "method.temperature" {
		return "temperature T"
	}
	key = Printable(key, 60)
	return strings.ReplaceAll(key[strings.LastIndex(key, ".")+1:], "_", " ")
}

// methodWords names the method's losses.
func methodWords(m record.Method) string {
	name := Printable(m.Name, 30)
	if title, ok := methodTitles[name]; ok {
		name = title
	}
	if m.Literal {
		name += " (literal)"
	}
	return name
}

var methodTitles = map[string]string{"ce": "CE", "kd": "KD", "dhkd": "DHKD (BinaryKL-Norm)", "binarykl": "BinaryKL",
	"ce+binarykl": "CE + BinaryKL", "ce+binarykl-norm": "CE + BinaryKL-Norm", "dual-binarykl": "CE + BinaryKL"}
