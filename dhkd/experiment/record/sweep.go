package record

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
)

// Sweep is what a user writes, a YAML file, to have many runs made.
//
//	name: table-3
//	recipes: [cifar-100-resnet56-resnet20, mine.yaml]   # experiments: names, or files
//	runs: [ce, kd, dhkd]         # of each; all but the teachers by default, unless methods are given
//	methods: [dkd, at]           # as published, each in place of that of the first run that has a teacher
//	seeds: [1, 2, 3]             # in place of the runs' own
//	set: {schedule.epochs: 120}  # in all runs
//	grid:                        # all combinations; the values become part of the runs' names
//	  optimizer.learning_rate: [0.05, 0.1]
//	  method.alpha: [0.5, 1]
//
// The teachers that the runs learn from are added, each once.
type Sweep struct {
	Name    string // a file name
	Recipes []string
	Runs    []string
	Methods []string
	Seeds   []uint64
	Set     []Axis // each with one value
	Grid    []Axis // in the order of the file
}

// Axis is a key of a recipe and the values that it takes, as JSON, which is YAML too.
type Axis struct {
	Key    string
	Values []string
}

// Limits of a sweep, against slips of the pen.
const (
	maxAxes   = 8
	maxValues = 1000
)

// ParseSweep reads a sweep from YAML as strictly as [ParseExperiment] reads an experiment; name is the file's, for
// messages.
func ParseSweep(name string, data []byte) (*Sweep, error) {
	doc, root, err := parseYAML(name, data)
	if err != nil {
		return nil, err
	}
	var file struct {
		Name    string   `yaml:"name"`
		Recipes []string `yaml:"recipes"`
		Runs    []string `yaml:"runs"`
		Methods []string `yaml:"methods"`
		Seeds   []uint64 `yaml:"seeds"`
		Set     ast.Node `yaml:"set"`
		Grid    ast.Node `yaml:"grid"`
	}
	if err := doc.decode(root, reflect.ValueOf(&file).Elem(), ""); err != nil {
		return nil, err
	}
	s := &Sweep{Name: file.Name, Recipes: file.Recipes, Runs: file.Runs, Methods: file.Methods, Seeds: file.Seeds}
	if s.Set, err = doc.axes(file.Set, "set", func(node ast.Node, path string) ([]string, error) {
		value, err := doc.json(node, path)
		return []string{value}, err
	}); err != nil {
		return nil, err
	}
	if s.Grid, err = doc.axes(file.Grid, "grid", doc.values); err != nil {
		return nil, err
	}
	if p := s.check(); p != nil {
		return nil, doc.errorAt(nil, p.path, "%s", p.message)
	}
	return s, nil
}

// Validate says which field of the sweep has a value that no sweep can have, or nil.
func (s *Sweep) Validate() error {
	if p := s.check(); p != nil {
		return fmt.Errorf("%s: %s", p.path, p.message)
	}
	return nil
}

func (s *Sweep) check() *problem {
	if !fileName.MatchString(s.Name) {
		return &problem{"name", fmt.Sprintf("%q is no file name: use up to 100 of a-z 0-9 . _ + -, the first a letter or "+
			"digit", s.Name)}
	}
	if len(s.Recipes) == 0 {
		return &problem{"recipes", "is missing: name experiments, or their files"}
	}
	for path, list := range map[string][]string{"recipes": s.Recipes, "runs": s.Runs, "methods": s.Methods} {
		for i, name := range list {
			if slices.Contains(list[:i], name) {
				return &problem{fmt.Sprintf("%s[%d]", path, i), fmt.Sprintf("%q is listed twice", name)}
			}
		}
	}
	if len(s.Seeds) > 0 {
		if p := checkSeeds(s.Seeds); p != nil {
			return p
		}
	}
	if len(s.Grid) > maxAxes {
		return &problem{"grid", fmt.Sprintf("has %d keys, at most %d are allowed", len(s.Grid), maxAxes)}
	}
	seen := map[string]bool{}
	for i, axis := range slices.Concat(s.Set, s.Grid) {
		section := "set"
		if i >= len(s.Set) {
			section = "grid"
		}
		path := section + "." + axis.Key
		switch {
		case slices.Contains([]string{"experiment", "name", "label", "seed", "teacher.run", "teacher.seed"}, axis.Key):
			return &problem{path, "cannot be set: it says which run a run is (for seeds there is seeds)"}
		case seen[axis.Key]:
			return &problem{path, "is given twice"}
		case len(axis.Values) == 0:
			return &problem{path, "lists no value"}
		case len(axis.Values) > maxValues:
			return &problem{path, fmt.Sprintf("lists %d values, at most %d are allowed", len(axis.Values), maxValues)}
		}
		seen[axis.Key] = true
		for j, value := range axis.Values {
			if slices.Contains(axis.Values[:j], value) {
				return &problem{path, fmt.Sprintf("lists %s twice", value)}
			}
		}
	}
	return nil
}

// ParseAxis reads KEY=VALUE,VALUE as it is written on a command line; a value may be a list, in brackets. Flag is its
// name.
func ParseAxis(flag, text string) (Axis, error) {
	key, list, ok := strings.Cut(text, "=")
	name := flag + " " + text
	if !ok || key == "" || list == "" {
		return Axis{}, fmt.Errorf("%s: write KEY=VALUE or KEY=VALUE,VALUE, as in optimizer.learning_rate=0.1,0.05", name)
	}
	doc, root, err := parseYAML(name, []byte("["+list+"]"))
	if err != nil {
		return Axis{}, err
	}
	values, err := doc.values(root, key)
	return Axis{key, values}, err
}

// axes reads the entries of a mapping from a recipe's keys to values.
func (d *document) axes(node ast.Node, path string, read func(node ast.Node, path string) ([]string, error)) (
	axes []Axis, err error) {
	if node == nil {
		return nil, nil
	}
	mapping, ok := node.(*ast.MappingNode)
	if !ok {
		return nil, d.errorAt(nil, path, "want keys of a recipe with values, such as optimizer.learning_rate, found %s",
			describe(node))
	}
	for _, entry := range mapping.Values {
		key := entry.Key.GetToken()
		at := path + "." + key.Value
		d.positions[at] = key.Position
		values, err := read(entry.Value, at)
		if err != nil {
			return nil, err
		}
		axes = append(axes, Axis{key.Value, values})
	}
	return axes, nil
}

// values reads a list of values.
func (d *document) values(node ast.Node, path string) (values []string, err error) {
	list, ok := node.(*ast.SequenceNode)
	if !ok {
		return nil, d.errorAt(nil, path, "want a list of values, such as [0.1, 0.05], found %s", describe(node))
	}
	for _, item := range list.Values {
		value, err := d.json(item, path)
		if err != nil {
			return nil, err
		}
		values = append(values, value)
	}
	return values, nil
}

// json is a value as JSON. The library takes 5e-4 for text, so numbers are read here.
func (d *document) json(node ast.Node, path string) (string, error) {
	if list, ok := node.(*ast.SequenceNode); ok {
		values, err := d.values(list, path)
		return "[" + strings.Join(values, ",") + "]", err
	}
	if text, ok := plain(node); ok {
		if _, err := strconv.ParseUint(text, 10, 64); err == nil {
			return text, nil
		}
		if f, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(f) && !math.IsInf(f, 0) {
			text, err := json.Marshal(f)
			return string(text), err
		}
	}
	var value any
	if err := yaml.NodeToValue(node, &value); err != nil {
		return "", d.errorAt(nil, path, "%s", oneLine(err.Error()))
	}
	text, err := json.Marshal(value)
	if err != nil || value == nil {
		return "", d.errorAt(nil, path, "want a value, such as 0.1, found %s", describe(node))
	}
	return string(text), nil
}
