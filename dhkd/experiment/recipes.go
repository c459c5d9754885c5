package experiment

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"sync"

	"github.com/dhkd-lab/dhkd-go/dhkd/dataset"
	"github.com/dhkd-lab/dhkd-go/dhkd/distill"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/weights/teachers"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

//go:embed recipes/*.yaml
var recipes embed.FS

// Recipes lists the experiments that are part of the program.
func Recipes() []string {
	files, _ := fs.Glob(recipes, "recipes/*.yaml")
	names := make([]string, len(files))
	for i, f := range files {
		names[i] = strings.TrimSuffix(path.Base(f), ".yaml")
	}
	return names
}

// Source is the YAML of an experiment: one of [Recipes], or else a file.
func Source(nameOrPath string) ([]byte, error) {
	if data, err := recipes.ReadFile("recipes/" + nameOrPath + ".yaml"); err == nil {
		return data, nil
	}
	data, err := os.ReadFile(nameOrPath)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no experiment %q: neither a file nor one of %s", nameOrPath, strings.Join(Recipes(), ", "))
	}
	return data, err
}

// Open reads an experiment, one of [Recipes] or a file, and checks its names of data sets, models and methods, and its methods'
// hyper-parameters.
func Open(nameOrPath string) (*record.Experiment, error) {
	data, err := Source(nameOrPath)
	if err != nil {
		return nil, err
	}
	known := names()
	known.Teachers = map[string]string{}
	published, err := teachers.List()
	if err != nil {
		return nil, err
	}
	for _, t := range published {
		known.Teachers[t.Reference] = t.Model
	}
	e, err := known.ParseExperiment(nameOrPath, data)
	if err != nil {
		return nil, err
	}
	for _, run := range e.Runs {
		if err := checkMethod(run.Recipe); err != nil {
			return nil, fmt.Errorf("%s: run %s: %w", nameOrPath, run.Recipe.Name, err)
		}
	}
	return e, nil
}

// Check says what is wrong with a recipe, names of data sets, models and methods included, or nil.
func Check(r record.Recipe) error {
	if err := names().Validate(r); err != nil {
		return err
	}
	return checkMethod(r)
}

// names are those of data sets, models and methods.
var names = sync.OnceValue(func() record.Names {
	known := record.Names{Models: zoo.Names(), Methods: distill.Names()}
	for _, info := range dataset.List() {
		known.Datasets = append(known.Datasets, info.Name)
	}
	return known
})
