package nb

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/dhkd-lab/dhkd-go/dhkd/dataset"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// smokeImages are as many as are looked at of a network of smoke size: a second's work for t-SNE.
const smokeImages = 200

// Analyses are what "dhkd analyse" wrote beside the records of an experiment's runs, in the order of runs and seeds,
// from the first place that has any, see [Book.Records]. Where there are none, the runs' networks are analysed now, trained
// first if need be; those that learnt from no teacher are compared with that of the others. Teachers are not analysed.
// Which place it was is printed.
func (b *Book) Analyses(e Experiment) []*record.Analysis {
	f, err := e.findAnalyses(Profile(), byDefault())
	Check(err)
	if len(f.analyses) == 0 {
		f, err = e.analysed(b)
		Check(err)
	}
	for _, note := range f.notes {
		fmt.Println(note)
	}
	r := f.analyses[0].Recipe
	Check(report(map[string]any{"experiment": r.Experiment, "profile": r.Profile, "place": f.place,
		"files": record.AnalysisFile}))
	fmt.Printf("analyses of %s of experiment %s, profile %s, from %s\n", count(len(f.analyses), "run"), r.Experiment,
		r.Profile, f.place)
	return f.analyses
}

// foundAnalyses are those of one experiment and profile.
type foundAnalyses struct {
	analyses []*record.Analysis
	place    string   // for readers
	notes    []string // what was left out
}

// findAnalyses looks for those that are there.
func (e Experiment) findAnalyses(profile string, byDefault bool) (f foundAnalyses, err error) {
	name, err := e.name(profile)
	if err != nil {
		return f, err
	}
	want, err := e.runs(name, profile)
	if err != nil {
		return f, err
	}
	for _, p := range places(name, profile, byDefault) {
		all, problems := loadAnalyses(p.dir)
		for _, problem := range problems {
			f.notes = append(f.notes, fmt.Sprint("left out: ", problem))
		}
		for _, profile := range p.profiles {
			for _, a := range all {
				if r := a.Recipe; r.Experiment == name && r.Profile == profile && slices.Contains(want, r.Name) {
					f.analyses = append(f.analyses, a)
				}
			}
			if len(f.analyses) > 0 {
				f.place = p.name
				slices.SortStableFunc(f.analyses, func(a, b *record.Analysis) int {
					return cmp.Or(slices.Index(want, a.Recipe.Name)-slices.Index(want, b.Recipe.Name),
						cmp.Compare(a.Recipe.Seed, b.Recipe.Seed))
				})
				return f, nil
			}
		}
	}
	return f, nil
}

// loadAnalyses loads what lies below a directory, which need not be there.
func loadAnalyses(dir string) (all []*record.Analysis, problems []error) {
	walk := func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || entry.Name() != record.AnalysisFile {
			return nil // what cannot be read at all has none
		}
		if a, err := record.LoadAnalysis(path); err != nil {
			problems = append(problems, err)
		} else {
			all = append(all, a)
		}
		return nil
	}
	if err := filepath.WalkDir(dir, walk); err != nil {
		problems = append(problems, err)
	}
	return all, problems
}

// analysed analyses the runs' networks, which are trained now where they are not there.
func (e Experiment) analysed(b *Book) (f foundAnalyses, err error) {
	trained, dir, err := e.trained(b)
	if err != nil {
		return f, err
	}
	f.place = trained.place
	teacher := "" // the file of that of the runs that have one
	for _, r := range trained.records {
		if t := r.Recipe.Teacher; t != nil && t.Run != "" {
			teacher = experiment.WeightsPath(dir, record.Recipe{Experiment: cmp.Or(t.Experiment, r.Recipe.Experiment),
				Profile: r.Recipe.Profile, Name: t.Run, Seed: t.Seed})
		}
	}
	d := Open()
	defer d.Close()
	runner := &experiment.Runner{Device: d, Dir: dir, Data: dataset.Options{Fetch: true}}
	defer runner.Close()
	for _, r := range trained.records {
		if r.Status != record.Completed || experiment.WeightsPath(dir, r.Recipe) == teacher {
			continue
		}
		a, err := analyse(runner, r.Recipe, teacher)
		if err != nil {
			return f, err
		}
		f.analyses = append(f.analyses, a)
	}
	if len(f.analyses) == 0 {
		return f, fmt.Errorf("experiment %s: none of its runs was completed, so there is nothing to analyse", e.Offline)
	}
	return f, nil
}

// analyse analyses a run's network and keeps the result beside its record.
func analyse(runner *experiment.Runner, r record.Recipe, teacher string) (*record.Analysis, error) {
	o := experiment.AnalyseOptions{Seed: 1}
	if r.Profile == Smoke {
		o.EmbedImages, o.CKAImages = smokeImages, smokeImages
	}
	if r.Teacher == nil {
		o.Teacher = teacher
	}
	dir := record.Dir(runner.Dir, r)
	subject, err := experiment.OpenSubject(dir, o)
	if err != nil {
		return nil, err
	}
	a, err := runner.Analyse(context.Background(), subject)
	if err != nil {
		return nil, err
	}
	return a, a.Save(filepath.Join(dir, record.AnalysisFile))
}
