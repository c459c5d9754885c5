package experiment

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/distill"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// Selection picks runs of an experiment.
type Selection struct {
	Runs  []string // names; all that fit when empty
	Seeds []uint64 // in place of each run's own when not empty
	Set   []string // overrides, "optimizer.learning_rate=0.1"
	// Teacher, unless nil, is in place of the teacher of each run that has one.
	Teacher *record.Teacher
	// Method, unless empty, is in place of the method of the first run that fits, with its published hyper-parameters;
	// the run is named after it.
	Method string
	Fit    func(record.Recipe) bool // nil = all
}

// Select resolves the selected runs, in the experiment's order.
func Select(e *record.Experiment, s Selection) ([]record.Recipe, error) {
	var selected []record.Recipe
	for _, run := range e.Runs {
		if len(s.Runs) > 0 && !slices.Contains(s.Runs, run.Recipe.Name) {
			continue
		}
		if s.Fit != nil && !s.Fit(run.Recipe) {
			if len(s.Runs) > 0 {
				return nil, fmt.Errorf("run %s is not one for this command: dhkd train is for runs without a teacher, "+
					"dhkd distill for runs with one", run.Recipe.Name)
			}
			continue
		}
		seeds := run.Seeds
		if len(s.Seeds) > 0 {
			seeds = s.Seeds
		}
		for _, seed := range seeds {
			recipe, err := e.Resolve(run.Recipe.Name, seed)
			if err != nil {
				return nil, err
			}
			if s.Teacher != nil && recipe.Teacher != nil {
				cache := recipe.Teacher.Cache
				recipe.Teacher = new(*s.Teacher)
				recipe.Teacher.Cache = cmp.Or(recipe.Teacher.Cache, cache)
			}
			if s.Method != "" {
				recipe = withMethod(recipe, s.Method)
			}
			if recipe, err = Override(recipe, s.Set); err != nil {
				return nil, err
			}
			selected = append(selected, recipe)
		}
		if s.Method != "" {
			break
		}
	}
	for _, name := range s.Runs {
		if _, err := e.Resolve(name, 0); err != nil {
			return nil, err
		}
	}
	if len(selected) == 0 {
		return nil, fmt.Errorf("experiment %s has no run for this command", e.Name)
	}
	return selected, nil
}

// withMethod is the run with another method, as published, and with what that needs of teacher and head.
func withMethod(r record.Recipe, name string) record.Recipe {
	r.Name, r.Label, r.Method, r.Tuning = name, name, distill.Defaults(name), nil
	m, err := distill.New(r.Method)
	if err != nil {
		return r // [Override] says so
	}
	if !m.Needs().Teacher {
		r.Teacher = nil
	}
	switch {
	case !m.Needs().AuxHead:
		r.Model.AuxHead = string(dhkd.NoAuxHead)
	case r.Model.AuxHead == string(dhkd.NoAuxHead):
		r.Model.AuxHead = string(dhkd.LinearAuxHead)
	}
	return r
}

// WithTeachers puts before the recipes those of the teachers that they learn from, each once, with the overrides of what they
// share: the data set.
func WithTeachers(e *record.Experiment, recipes []record.Recipe, set []string) ([]record.Recipe, error) {
	var shared []string
	for _, s := range set {
		if strings.HasPrefix(s, "dataset.") {
			shared = append(shared, s)
		}
	}
	var all []record.Recipe
	known := map[string]bool{}
	var add func(e *record.Experiment, r record.Recipe) error
	add = func(e *record.Experiment, r record.Recipe) error {
		if key := fmt.Sprintf("%s/%s-seed%d", r.Experiment, r.Name, r.Seed); known[key] {
			return nil
		} else {
			known[key] = true
		}
		if r.Teacher != nil && r.Teacher.Weights == "" {
			of, teacher, err := teacherRecipe(e, r)
			if err != nil {
				return err
			}
			if teacher, err = Override(teacher, shared); err != nil {
				return err
			}
			if err := add(of, teacher); err != nil {
				return err
			}
		}
		all = append(all, r)
		return nil
	}
	for _, r := range recipes {
		if err := add(e, r); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// teacherRecipe is the recipe of the run that trains a recipe's teacher, and the experiment that it is of.
func teacherRecipe(e *record.Experiment, r record.Recipe) (*record.Experiment, record.Recipe, error) {
	if r.Teacher.Experiment != "" {
		var err error
		if e, err = Open(r.Teacher.Experiment); err != nil {
			return nil, record.Recipe{}, fmt.Errorf("run %s: teacher.experiment: %w", r.Name, err)
		}
	}
	teacher, err := e.Resolve(r.Teacher.Run, r.Teacher.Seed)
	return e, teacher, err
}

// Override returns the recipe with keys set as in "method.alpha=0.1", or "alpha=0.1" for short. Values are YAML. What
// results must be a valid recipe.
func Override(r record.Recipe, set []string) (record.Recipe, error) {
	if len(set) == 0 {
		return r, checkMethod(r)
	}
	text, err := r.YAML()
	if err != nil {
		return r, err
	}
	var tree map[string]any
	if err := yaml.Unmarshal(text, &tree); err != nil {
		return r, err
	}
	for _, assignment := range set {
		key, value, ok := strings.Cut(assignment, "=")
		if !ok {
			return r, fmt.Errorf("--set %s: write KEY=VALUE, as in optimizer.learning_rate=0.1", assignment)
		}
		var parsed any
		if err := yaml.Unmarshal([]byte(value), &parsed); err != nil {
			return r, fmt.Errorf("--set %s: the value is not YAML: %w", assignment, err)
		}
		if slices.Contains(distill.HyperParameterNames(r.Method.Name), key) {
			key = "method." + key
		}
		node, path := tree, strings.Split(key, ".")
		for _, name := range path[:len(path)-1] {
			if node[name] == nil && path[0] == "measure" { // which a recipe need not have
				node[name] = map[string]any{}
			}
			child, ok := node[name].(map[string]any)
			if !ok {
				return r, fmt.Errorf("--set %s: the recipe has no section %q", assignment, name)
			}
			node = child
		}
		node[path[len(path)-1]] = parsed
	}
	if text, err = yaml.Marshal(tree); err != nil {
		return r, err
	}
	changed, err := record.ParseRecipe("--set "+strings.Join(set, " "), text)
	if err != nil {
		return r, err
	}
	if changed.Precision != r.Precision {
		changed.SetPrecision(changed.Precision)
	}
	if err := checkMethod(changed); err != nil {
		return r, fmt.Errorf("--set %s: %w", strings.Join(set, " "), err)
	}
	return changed, nil
}
