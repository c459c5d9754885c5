package record

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/goccy/go-yaml/ast"
)

// Experiment is what a user writes, a YAML file: what runs share at the top level, and a list of runs that give what is
// their own. The teacher is one of the runs.
//
//	name: quickstart
//	profile: offline
//	dataset: {name: fashion-pairs-100, train: 2000}
//	model: {name: resnet8}
//	teacher: {run: teacher}
//	batch_size: 64
//	optimizer: {learning_rate: 0.05, momentum: 0.9, weight_decay: 5e-4}
//	schedule: {epochs: 40, milestones: [25, 30, 35], rate: 0.1}
//	seeds: [1, 2, 3]
//	runs:
//	  - name: teacher
//	    method: {name: ce}
//	    model: {name: resnet20}
//	    seeds: [1]
//	  - name: kd
//	    method: {name: kd, gamma: 0.1, alpha: 0.9, temperature: 4}
//	    optimizer: {learning_rate: 0.1} # momentum and weight_decay are the shared ones
//
// A run without a teacher of its own learns from the shared one, unless it is the shared one; teacher: none takes it
// away. teacher: {weights: crd:resnet32x4} learns from a published network, {weights: net.pth, model: resnet20} from a
// file. teacher: {experiment: m, run: teacher, seed: 1, model: wrn_16_2} learns from a run of another experiment.
type Experiment struct {
	Name  string // a file name
	Title string // the name if none was given
	About string // free text
	Runs  []Run  // in the order of the file
}

// Run is a recipe for several seeds: its recipe's own seed is 0, and so is its teacher's.
type Run struct {
	Recipe Recipe
	Seeds  []uint64
}

// file is the top level of an experiment's YAML.
type file struct {
	Name      string     `yaml:"name"`
	Title     string     `yaml:"title"`
	About     string     `yaml:"about"`
	Profile   string     `yaml:"profile"`
	Seeds     []uint64   `yaml:"seeds"`
	Dataset   Dataset    `yaml:"dataset"`
	Teacher   *teacher   `yaml:"teacher"`
	Model     Model      `yaml:"model"`
	Optimizer Optimizer  `yaml:"optimizer"`
	Schedule  Schedule   `yaml:"schedule"`
	BatchSize int        `yaml:"batch_size"`
	Precision string     `yaml:"precision"`
	NonFinite string     `yaml:"non_finite"`
	Measure   *Measure   `yaml:"measure"`
	Runs      []ast.Node `yaml:"runs"`
}

// run is an entry of the list.
type run struct {
	Name      string    `yaml:"name"`
	Label     string    `yaml:"label"`
	Method    Method    `yaml:"method"`
	Seeds     []uint64  `yaml:"seeds"`
	Dataset   Dataset   `yaml:"dataset"`
	Teacher   *teacher  `yaml:"teacher"`
	Model     Model     `yaml:"model"`
	Optimizer Optimizer `yaml:"optimizer"`
	Schedule  Schedule  `yaml:"schedule"`
	BatchSize int       `yaml:"batch_size"`
	Precision string    `yaml:"precision"`
	NonFinite string    `yaml:"non_finite"`
	Measure   *Measure  `yaml:"measure"`
	Tuning    *Tuning   `yaml:"tuning"`
}

type teacher struct {
	Run        string `yaml:"run"`
	Experiment string `yaml:"experiment"`
	Seed       uint64 `yaml:"seed"` // with experiment alone, else the student's or the first
	Weights    string `yaml:"weights"`
	Model      string `yaml:"model"` // may be left out: it is the run's, or the published teacher's
	Cache      string `yaml:"cache"`
}

// ParseExperiment reads an experiment from YAML; name is the file's, for messages. Unknown and repeated keys, wrong
// types and values that no run could use are errors with line, column and the key's path. It reads at most 64 KiB.
func ParseExperiment(name string, data []byte) (*Experiment, error) {
	return Names{}.ParseExperiment(name, data)
}

// ParseExperiment is [ParseExperiment] that also refuses names of data sets, models and methods that are not listed.
func (n Names) ParseExperiment(name string, data []byte) (*Experiment, error) {
	doc, root, err := parseYAML(name, data)
	if err != nil {
		return nil, err
	}
	shared := file{NonFinite: "stop", Dataset: Dataset{Augment: "none"}, Model: Model{AuxHead: "none"}}
	if err := doc.decode(root, reflect.ValueOf(&shared).Elem(), ""); err != nil {
		return nil, err
	}
	if !fileName.MatchString(shared.Name) { // before the runs, whose problem it is not
		return nil, doc.errorAt(nil, "name", "%s", (Recipe{Experiment: shared.Name}).check(n).message)
	}
	if len(shared.Runs) == 0 {
		return nil, doc.errorAt(nil, "runs", "lists no run")
	}
	if !printable(shared.Title) {
		return nil, doc.errorAt(nil, "title", "must be one line of printable characters")
	}
	e := &Experiment{Name: shared.Name, Title: shared.Title, About: shared.About}
	if e.Title == "" {
		e.Title = e.Name
	}
	for i, node := range shared.Runs {
		own, err := doc.decodeRun(node, i, &shared)
		if err != nil {
			return nil, err
		}
		if e.run(own.Recipe.Name) != nil {
			return nil, doc.errorAt(nil, fmt.Sprintf("runs[%d].name", i), "a run before it has the name %q too", own.Recipe.Name)
		}
		e.Runs = append(e.Runs, own)
	}
	for i := range e.Runs {
		path := fmt.Sprintf("runs[%d]", i)
		if p := e.linkTeacher(n, &e.Runs[i].Recipe); p != nil {
			return nil, doc.problemAt(path, *p)
		}
		if p := e.Runs[i].Recipe.check(n); p != nil {
			return nil, doc.problemAt(path, *p)
		}
		if at := path + ".method.temperature"; doc.positions[at] != nil && e.Runs[i].Recipe.Method.Temperature == 0 {
			return nil, doc.errorAt(nil, at, "must be greater than 0 (leave it out where the method has none)")
		}
		if p := checkSeeds(e.Runs[i].Seeds); p != nil {
			return nil, doc.problemAt(path, *p)
		}
	}
	if _, err := e.ordered(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return e, nil
}

// Resolve returns the recipe of a run with a seed. It need not be one of the listed seeds.
func (e *Experiment) Resolve(name string, seed uint64) (Recipe, error) {
	own := e.run(name)
	if own == nil {
		var names []string
		for _, r := range e.Runs {
			names = append(names, r.Recipe.Name)
		}
		return Recipe{}, fmt.Errorf("experiment %s has no run %q; %s", e.Name, name, suggest(name, names))
	}
	r := own.Recipe.clone()
	r.Seed = seed
	if from := e.teacherOf(r); from != nil {
		// The teacher of the same seed, or its first where it was trained with fewer seeds than the students.
		if slices.Contains(from.Seeds, seed) {
			r.Teacher.Seed = seed
		} else if len(from.Seeds) > 0 {
			r.Teacher.Seed = from.Seeds[0]
		}
	}
	return r, nil
}

// Recipes returns every run with each of its seeds in the order of the file, but a teacher before the runs that learn
// from it.
func (e *Experiment) Recipes() []Recipe {
	runs, err := e.ordered()
	if err != nil { // only of an Experiment that was not parsed
		runs = e.Runs
	}
	var recipes []Recipe
	for _, own := range runs {
		for _, seed := range own.Seeds {
			if r, err := e.Resolve(own.Recipe.Name, seed); err == nil {
				recipes = append(recipes, r)
			}
		}
	}
	return recipes
}

func (e *Experiment) run(name string) *Run {
	for i := range e.Runs {
		if e.Runs[i].Recipe.Name == name {
			return &e.Runs[i]
		}
	}
	return nil
}

// teacherOf is the run of this experiment that a recipe learns from, or nil.
func (e *Experiment) teacherOf(r Recipe) *Run {
	if r.Teacher == nil || r.Teacher.Experiment != "" {
		return nil
	}
	return e.run(r.Teacher.Run)
}

// ordered returns the runs with teachers first, and an error when two runs learn from each other.
func (e *Experiment) ordered() ([]Run, error) {
	var runs []Run
	state := map[string]int{} // 1 = its teachers are being visited, 2 = done
	var visit func(own *Run) error
	visit = func(own *Run) error {
		name := own.Recipe.Name
		switch state[name] {
		case 1:
			return fmt.Errorf("run %s learns from itself through its teachers", name)
		case 2:
			return nil
		}
		state[name] = 1
		if from := e.teacherOf(own.Recipe); from != nil {
			if err := visit(from); err != nil {
				return err
			}
		}
		state[name] = 2
		runs = append(runs, *own)
		return nil
	}
	for i := range e.Runs { // runs that others learn from come first of all
		if slices.ContainsFunc(e.Runs, func(o Run) bool { return e.teacherOf(o.Recipe) == &e.Runs[i] }) {
			if err := visit(&e.Runs[i]); err != nil {
				return nil, err
			}
		}
	}
	for i := range e.Runs {
		if err := visit(&e.Runs[i]); err != nil {
			return nil, err
		}
	}
	return runs, nil
}

// decodeRun decodes an entry of the list onto what the runs share.
func (d *document) decodeRun(node ast.Node, i int, shared *file) (Run, error) {
	own := run{Seeds: shared.Seeds, Dataset: shared.Dataset, Teacher: shared.Teacher, Model: shared.Model,
		Optimizer: shared.Optimizer, Schedule: shared.Schedule, BatchSize: shared.BatchSize, Precision: shared.Precision,
		NonFinite: shared.NonFinite, Measure: shared.Measure}
	if err := d.decode(node, reflect.ValueOf(&own).Elem(), fmt.Sprintf("runs[%d]", i)); err != nil {
		return Run{}, err
	}
	if own.Label == "" {
		own.Label = own.Name
	}
	r := Recipe{Experiment: shared.Name, Name: own.Name, Label: own.Label, Profile: shared.Profile, Dataset: own.Dataset,
		Model: own.Model, Method: own.Method, Optimizer: own.Optimizer, Schedule: own.Schedule, BatchSize: own.BatchSize,
		NonFinite: own.NonFinite, Measure: own.Measure.clone(), Tuning: own.Tuning}
	r.SetPrecision(own.Precision)
	r.Measure.complete()
	if t := own.Teacher; t != nil && (t.Run != own.Name || t.Experiment != "" ||
		d.positions[fmt.Sprintf("runs[%d].teacher", i)] != nil) {
		r.Teacher = &Teacher{Run: t.Run, Experiment: t.Experiment, Seed: t.Seed, Weights: t.Weights, Model: t.Model, Cache: t.Cache}
		d.replaceTeacher(fmt.Sprintf("runs[%d].teacher", i), r.Teacher)
	}
	return Run{Recipe: r.clone(), Seeds: slices.Clone(own.Seeds)}, nil
}

// replaceTeacher takes the shared teacher's run or weights away where the run gives the other.
func (d *document) replaceTeacher(path string, t *Teacher) {
	own := func(key string) bool { return d.positions[path+"."+key] != nil }
	switch {
	case own("weights") && !own("run"):
		t.Run, t.Experiment, t.Seed = "", "", 0
	case own("run") && !own("weights") && t.Weights != "":
		t.Weights = ""
	default:
		return
	}
	if !own("model") { // the shared one is that of another network
		t.Model = ""
	}
}

// linkTeacher fills in the model of a recipe's teacher from the run that trains it, or from the published ones.
func (e *Experiment) linkTeacher(known Names, r *Recipe) *problem {
	if r.Teacher == nil {
		return nil
	}
	if t := r.Teacher; t.Weights != "" {
		if t.Run != "" {
			return &problem{"teacher.weights", "a teacher is a run or weights: both are given"}
		}
		published := known.Teachers[t.Weights]
		if t.Model == "" {
			t.Model = published
		}
		switch {
		case t.Model == "":
			return &problem{"teacher.model", "is missing: name the network that the weights are of"}
		case published != "" && t.Model != published:
			return &problem{"teacher.model", fmt.Sprintf("is %q, but %s is a %q", t.Model, t.Weights, published)}
		}
		return nil
	}
	if t := r.Teacher; t.Experiment != "" { // which is not known here
		switch {
		case t.Experiment == e.Name:
			return &problem{"teacher.experiment", "is this one: leave it out"}
		case t.Model == "":
			return &problem{"teacher.model", fmt.Sprintf("is missing: name the network that run %s of experiment %s trains", t.Run,
				t.Experiment)}
		}
		return nil
	}
	if r.Teacher.Seed != 0 {
		return &problem{"teacher.seed", "is that of a run of another experiment (teacher.experiment): leave it out"}
	}
	from := e.run(r.Teacher.Run)
	if from == nil {
		var names []string
		for _, own := range e.Runs {
			names = append(names, own.Recipe.Name)
		}
		return &problem{"teacher.run", fmt.Sprintf("no run is named %q; %s", r.Teacher.Run, suggest(r.Teacher.Run, names))}
	}
	if r.Teacher.Model == "" {
		r.Teacher.Model = from.Recipe.Model.Name
	}
	if r.Teacher.Model != from.Recipe.Model.Name {
		return &problem{"teacher.model",
			fmt.Sprintf("is %q, but run %s trains %q", r.Teacher.Model, r.Teacher.Run, from.Recipe.Model.Name)}
	}
	return nil
}

// checkSeeds returns the first problem of a run's seeds: each makes a run with a directory of its own.
func checkSeeds(seeds []uint64) *problem {
	if len(seeds) == 0 {
		return &problem{"seeds", "is missing: give seeds for all runs at the top level, or for this run"}
	}
	if len(seeds) > 100 {
		return &problem{"seeds", fmt.Sprintf("lists %d seeds, at most 100 are allowed", len(seeds))}
	}
	for i, seed := range seeds {
		if slices.Contains(seeds[:i], seed) {
			return &problem{fmt.Sprintf("seeds[%d]", i), fmt.Sprintf("%d is listed twice", seed)}
		}
	}
	return nil
}

// problemAt is the error of a run's problem: at the run's own key, else at the shared key that gave the value.
func (d *document) problemAt(run string, p problem) error {
	shared := d.positions[run+"."+p.path] == nil && d.positions[p.path] != nil && p.path != "name"
	if shared || p.path == "profile" {
		return d.errorAt(nil, p.path, "%s", p.message)
	}
	return d.errorAt(nil, run+"."+p.path, "%s", p.message)
}
