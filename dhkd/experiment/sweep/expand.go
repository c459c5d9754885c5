package sweep

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// maxRuns is the limit of a plan, against slips of the pen.
const maxRuns = 100_000

// Expand resolves a sweep into the runs that it asks for and those of the teachers that they learn from. A run is named
// as its experiment names it, followed by the values that the grid gives it, "kd-learning_rate0.1": names depend on the
// run alone.
func Expand(s *record.Sweep) (*Plan, error) {
	if err := s.Validate(); err != nil {
		return nil, fmt.Errorf("sweep %s: %w", s.Name, err)
	}
	x := expansion{sweep: s, runs: map[string]*planned{}}
	for _, name := range s.Recipes {
		e, err := experiment.Open(name)
		if err != nil {
			return nil, err
		}
		if err := x.experiment(name, e); err != nil {
			return nil, err
		}
	}
	return x.plan(), nil
}

// expansion is a plan in the making.
type expansion struct {
	sweep *record.Sweep
	runs  map[string]*planned
	order []*planned
}

type planned struct {
	Run
	from     string // the recipe's name or file
	selected bool   // and not only some run's teacher
	depth    int    // of teachers before it
}

// experiment adds the runs of one experiment.
func (x *expansion) experiment(name string, e *record.Experiment) error {
	for _, point := range combinations(x.sweep.Grid) {
		for _, selection := range x.selections(e) {
			selection.Set = assignments(x.sweep.Set, point)
			recipes, err := experiment.Select(e, selection)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			for _, r := range recipes {
				if err := x.add(name, e, r, point); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// selections are what of an experiment is wanted. Without names, runs that others learn from are not: their turn comes
// where they are needed.
func (x *expansion) selections(e *record.Experiment) (all []experiment.Selection) {
	if s := x.sweep; len(s.Runs) > 0 || len(s.Methods) == 0 {
		selection := experiment.Selection{Runs: s.Runs, Seeds: s.Seeds}
		if len(s.Runs) == 0 {
			selection.Fit = func(r record.Recipe) bool {
				return !slices.ContainsFunc(e.Runs, func(other record.Run) bool {
					t := other.Recipe.Teacher
					return t != nil && t.Experiment == "" && t.Run == r.Name
				})
			}
		}
		all = append(all, selection)
	}
	for _, method := range x.sweep.Methods {
		all = append(all, experiment.Selection{Method: method, Seeds: x.sweep.Seeds,
			Fit: func(r record.Recipe) bool { return r.Teacher != nil }})
	}
	return all
}

// add adds a run, and before it the one that trains its teacher.
func (x *expansion) add(from string, e *record.Experiment, r record.Recipe, point []record.Axis) error {
	r.Name += suffix(point, x.sweep.Grid)
	if text := values(point, x.sweep.Grid, " "); len(text) > 0 {
		r.Label += " (" + strings.Join(text, ", ") + ")"
	}
	// A teacher is trained on the data of its student, so its name says which these are too.
	var shared []record.Axis
	for _, axis := range point {
		if strings.HasPrefix(axis.Key, "dataset.") {
			shared = append(shared, axis)
		}
	}
	run := &planned{Run: Run{Recipe: r}, from: from, selected: true}
	if r.Teacher != nil && r.Teacher.Weights == "" {
		all, err := experiment.WithTeachers(e, []record.Recipe{r}, assignments(x.sweep.Set, shared))
		if err != nil {
			return fmt.Errorf("%s: %w", from, err)
		}
		after := ""
		for depth, teacher := range all[:len(all)-1] {
			teacher.Name += suffix(shared, x.sweep.Grid)
			if teacher.Teacher != nil && teacher.Teacher.Weights == "" {
				teacher.Teacher.Run += suffix(shared, x.sweep.Grid)
			}
			t := &planned{Run: Run{Recipe: teacher, After: after}, from: from, depth: depth}
			if err := x.put(t); err != nil {
				return err
			}
			after = t.ID
		}
		run.Recipe.Teacher = new(*r.Teacher)
		run.Recipe.Teacher.Run += suffix(shared, x.sweep.Grid)
		run.After, run.depth = after, len(all)-1
	}
	return x.put(run)
}

// put adds a run unless it is there. The same name for two different runs is an error, but a run that was asked for
// takes the place of the one that would be trained as a teacher.
func (x *expansion) put(p *planned) error {
	p.ID = ID(p.Recipe)
	if err := experiment.Check(p.Recipe); err != nil {
		return fmt.Errorf("%s: run %s: %w", p.from, p.ID, err)
	}
	old := x.runs[p.ID]
	switch {
	case old == nil:
		if len(x.order) == maxRuns {
			return fmt.Errorf("sweep %s has more than %d runs: make it smaller", x.sweep.Name, maxRuns)
		}
		x.runs[p.ID] = p
		x.order = append(x.order, p)
	case p.selected && !old.selected:
		p.depth = max(p.depth, old.depth)
		*old = *p
	case p.selected && old.selected:
		if field := experiment.Differs(old.Recipe, p.Recipe); field != "" {
			return fmt.Errorf("run %s of %s and that of %s differ in %s: give them other names", p.ID, p.from,
				old.from, field)
		}
	}
	return nil
}

// plan puts teachers first, else the runs as they were asked for.
func (x *expansion) plan() *Plan {
	teaches := map[string]int{}
	for _, run := range x.order {
		teaches[run.After] = -1
	}
	slices.SortStableFunc(x.order, func(a, b *planned) int {
		return cmp.Or(a.depth-b.depth, teaches[a.ID]-teaches[b.ID])
	})
	p := &Plan{Name: x.sweep.Name}
	for _, run := range x.order {
		p.Runs = append(p.Runs, run.Run)
	}
	return p
}

// combinations are the points of a grid, the last axis running fastest. That of no axes has one point.
func combinations(grid []record.Axis) [][]record.Axis {
	points := [][]record.Axis{nil}
	for _, axis := range grid {
		var more [][]record.Axis
		for _, point := range points {
			for _, value := range axis.Values {
				more = append(more, append(slices.Clone(point), record.Axis{Key: axis.Key, Values: []string{value}}))
			}
		}
		points = more
	}
	return points
}

// assignments are axes of one value in the form of --set.
func assignments(axes ...[]record.Axis) (set []string) {
	for _, axis := range slices.Concat(axes...) {
		set = append(set, axis.Key+"="+axis.Values[0])
	}
	return set
}

// suffix is what a point adds to the name of a run.
func suffix(point, grid []record.Axis) string {
	var text strings.Builder
	for _, value := range values(point, grid, "") {
		text.WriteString("-" + strings.Map(func(r rune) rune {
			switch {
			case r >= 'a' && r <= 'z', r >= '0' && r <= '9', strings.ContainsRune("._+-", r):
				return r
			case r >= 'A' && r <= 'Z':
				return r - 'A' + 'a'
			case r == ',':
				return '+'
			}
			return -1
		}, value))
	}
	return text.String()
}

// values are a point's keys and values. A key is as short as the keys of the grid allow.
func values(point, grid []record.Axis, between string) (texts []string) {
	short := func(key string) string { return key[strings.LastIndexByte(key, '.')+1:] }
	for _, axis := range point {
		key := short(axis.Key)
		for _, other := range grid {
			if other.Key != axis.Key && short(other.Key) == key {
				key = axis.Key
			}
		}
		var text string
		if json.Unmarshal([]byte(axis.Values[0]), &text) != nil { // no text
			texts = append(texts, key+between+axis.Values[0])
		} else if between == "" {
			texts = append(texts, key+"-"+text)
		} else {
			texts = append(texts, key+between+text)
		}
	}
	return texts
}
