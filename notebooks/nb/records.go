package nb

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// Experiment says which runs a notebook is about.
type Experiment struct {
	// Offline is the experiment of the offline profile, of which smoke runs are a small part: "quickstart", or a file.
	Offline string
	Paper   string   // that of the paper's profile, "cifar-100-resnet32x4-resnet8x4"; empty = there is none
	Runs    []string // the runs, without their teachers; nil = all
	Smoke   []string // those to train at smoke size; nil = Runs
}

// Records are the experiment's records for [Profile], with those of teachers that are runs of it, from the first place that has any: the
// directory that DHKD_RECORDS names, your own runs (runs/EXPERIMENT, if all of them have ended), and those of the
// repository (notebooks/records/EXPERIMENT). Where there are none the runs are trained, see [Book.Train]. Which place
// it was is printed.
func (b *Book) Records(e Experiment) []*record.Record {
	found, err := e.find(Profile(), byDefault())
	Check(err)
	if len(found.records) == 0 {
		found, _, err = e.trained(b)
		Check(err)
	}
	for _, note := range found.notes {
		fmt.Println(note)
	}
	r := found.records[0].Recipe
	Check(report(map[string]any{"experiment": r.Experiment, "profile": r.Profile, "place": found.place}))
	fmt.Printf("%s of experiment %s, profile %s, from %s\n", count(len(found.records), "record"), r.Experiment,
		r.Profile, found.place)
	return found.records
}

// found are records of one experiment and profile.
type found struct {
	records []*record.Record
	place   string   // for readers
	notes   []string // what was left out
}

// place is a directory where records may be.
type place struct {
	dir, name string
	profiles  []string // those to look for, in order
	whole     bool     // only if every run is there
}

// byDefault says that nobody has named the profile.
func byDefault() bool { return os.Getenv(profileVariable) == "" }

// places are where records of an experiment may be, the first of them first.
func places(name, profile string, byDefault bool) []place {
	if profile == Smoke {
		return []place{{smokeDir(), "this notebook", []string{Smoke}, true}}
	}
	places := []place{
		{filepath.Join("..", "runs", name), "runs/" + name, []string{profile}, true},
		{filepath.Join("records", name), "notebooks/records/" + name, []string{profile}, false},
	}
	if own := os.Getenv(recordsVariable); own != "" {
		profiles := []string{profile}
		if byDefault {
			profiles = []string{Offline, Paper, Smoke}
		}
		places = slices.Insert(places, 0, place{own, "$" + recordsVariable, profiles, false})
	}
	if byDefault {
		places = append(places, place{smokeDir(), "this notebook", []string{Smoke}, true})
	}
	return places
}

// find looks for records that are there. byDefault says that nobody has named the profile.
func (e Experiment) find(profile string, byDefault bool) (found, error) {
	name, err := e.name(profile)
	if err != nil {
		return found{}, err
	}
	want, err := e.runs(name, profile)
	if err != nil {
		return found{}, err
	}
	var notes []string
	for _, p := range places(name, profile, byDefault) {
		if _, err := os.Stat(p.dir); err != nil {
			continue
		}
		f := p.load(name, want)
		notes = append(notes, f.notes...)
		if len(f.records) > 0 {
			f.notes = notes
			return f, nil
		}
	}
	return found{notes: notes}, nil
}

// load reads the records of the wanted runs of an experiment, all of one profile.
func (p place) load(name string, want []string) found {
	f := found{place: p.name}
	all, problems := record.LoadDir(p.dir)
	for _, problem := range problems {
		f.notes = append(f.notes, fmt.Sprint("left out: ", problem))
	}
	for _, profile := range p.profiles {
		var missing []string
		f.records = nil
		for _, r := range all {
			if r.Recipe.Experiment != name || r.Recipe.Profile != profile || !slices.Contains(want, r.Recipe.Name) {
				continue
			}
			if r.Status == record.Completed || r.Status == record.Failed {
				f.records = append(f.records, r)
			} else {
				missing = append(missing, fmt.Sprintf("%s seed %d (%s)", r.Recipe.Name, r.Recipe.Seed, r.Status))
			}
		}
		if len(f.records) == 0 {
			continue
		}
		for _, run := range want {
			if !slices.ContainsFunc(f.records, func(r *record.Record) bool { return r.Recipe.Name == run }) {
				missing = append(missing, run)
			}
		}
		if len(missing) > 0 {
			text := fmt.Sprintf("%s has no finished run %s", p.name, strings.Join(missing, ", "))
			if p.whole {
				f.records = nil
				text += ": not used"
			}
			f.notes = append(f.notes, text)
		}
		return f
	}
	return f
}

// trained are the runs, trained now: at smoke size, or as large as DHKD_PROFILE asks for. They lie in dir.
func (e Experiment) trained(b *Book) (f found, dir string, err error) {
	profile := os.Getenv(profileVariable)
	f.place, dir = "runs", filepath.Join("..", "runs")
	if profile == "" || profile == Smoke {
		profile, f.place, dir = Smoke, "this notebook", smokeDir()
		fmt.Println("No records: runs are trained at smoke size, which shows that the code works, and nothing else.")
	}
	recipes, err := e.Recipes(profile)
	if err != nil {
		return f, dir, err
	}
	for _, r := range b.Train(dir, recipes...) {
		if r.Recipe.Experiment == recipes[len(recipes)-1].Experiment { // not a teacher of another experiment
			f.records = append(f.records, r)
		}
	}
	return f, dir, nil
}

// Recipes are the recipes of the experiment for a profile, teachers first: all seeds of the runs, or at smoke size one
// seed of a few images and epochs.
func (e Experiment) Recipes(profile string) ([]record.Recipe, error) {
	name, err := e.name(profile)
	if err != nil {
		return nil, err
	}
	x, err := experiment.Open(name)
	if err != nil {
		return nil, err
	}
	selection := experiment.Selection{Runs: e.Runs}
	if profile == Smoke {
		selection.Seeds = []uint64{1}
		if e.Smoke != nil {
			selection.Runs = e.Smoke
		}
	}
	recipes, err := experiment.Select(x, selection)
	if err != nil {
		return nil, err
	}
	if recipes, err = experiment.WithTeachers(x, recipes, nil); err != nil {
		return nil, err
	}
	if profile == Smoke {
		for i := range recipes {
			recipes[i] = shrink(recipes[i])
		}
	}
	return recipes, nil
}

// shrink makes a recipe that takes seconds.
func shrink(r record.Recipe) record.Recipe {
	r.Profile, r.Tuning = Smoke, nil
	r.Dataset.Train, r.Dataset.Test, r.Dataset.Holdout = 256, 500, 0
	r.Schedule = record.Schedule{Epochs: 2, EvaluateEvery: 1}
	return r
}

// name is the experiment's for a profile.
func (e Experiment) name(profile string) (string, error) {
	if profile != Paper {
		return e.Offline, nil
	}
	if e.Paper == "" {
		return "", fmt.Errorf("%s=%s: there is no experiment of the paper's size for experiment %s", profileVariable,
			Paper, e.Offline)
	}
	return e.Paper, nil
}

// runs lists the wanted runs and their teachers, as far as these are runs of the same experiment.
func (e Experiment) runs(name, profile string) ([]string, error) {
	recipes, err := Experiment{Offline: name, Paper: name, Runs: e.Runs, Smoke: e.Smoke}.Recipes(profile)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, r := range recipes {
		if r.Experiment == name && !slices.Contains(names, r.Name) {
			names = append(names, r.Name)
		}
	}
	return names, nil
}

// smokeDir is where runs of smoke size are kept until the kernel ends.
func smokeDir() string {
	tmp := os.Getenv("GONB_TMP_DIR")
	if tmp == "" {
		tmp = filepath.Join(os.TempDir(), "dhkd-notebooks")
	}
	return filepath.Join(tmp, "runs")
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
