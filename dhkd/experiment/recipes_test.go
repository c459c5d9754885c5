package experiment

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dhkd-lab/dhkd-go/dhkd/dataset"
	"github.com/dhkd-lab/dhkd-go/dhkd/device/devicetest"
	"github.com/dhkd-lab/dhkd-go/dhkd/distill"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// Every recipe of the program can be run as far as can be known without running it.
func TestRecipes(t *testing.T) {
	shapes := map[string]dataset.Info{}
	for _, info := range dataset.List() {
		shapes[info.Name] = info
	}
	if len(Recipes()) == 0 {
		t.Error("no recipes")
	}
	type network struct {
		record.Model
		dataset string
	}
	built := map[network]bool{}
	for _, name := range Recipes() {
		e, err := Open(name)
		check(t, err)
		if e.Name != name {
			t.Errorf("%s is called %s", name, e.Name)
		}
		done := map[string]bool{}
		for _, recipe := range e.Recipes() {
			check(t, recipe.Validate())
			method, err := distill.New(recipe.Method)
			check(t, err)
			needs := method.Needs()
			if needs.Teacher != (recipe.Teacher != nil) {
				t.Errorf("%s: %s: method %s has teacher %v", name, recipe.Name, recipe.Method.Name, recipe.Teacher)
			}
			if recipe.Teacher != nil && recipe.Teacher.Experiment != "" {
				_, teacher, err := teacherRecipe(e, recipe)
				check(t, err)
				if teacher.Model.Name != recipe.Teacher.Model || teacher.Profile != recipe.Profile ||
					teacher.Dataset.Name != recipe.Dataset.Name || teacher.Dataset.Seed != recipe.Dataset.Seed {
					t.Errorf("%s: %s: teacher %+v is %+v", name, recipe.Name, recipe.Teacher, teacher)
				}
			} else if recipe.Teacher != nil && recipe.Teacher.Weights == "" && !done[teacherWeights("", recipe)] {
				t.Errorf("%s: %s comes before its teacher", name, recipe.Name)
			}
			done[WeightsPath("", recipe)] = true
			if needs.AuxHead != (recipe.Model.AuxHead != "none") {
				t.Errorf("%s: %s: method %s and model %+v", name, recipe.Name, recipe.Method.Name, recipe.Model)
			}
			info, ok := shapes[recipe.Dataset.Name]
			if !ok || recipe.Dataset.Train > info.Train || recipe.Dataset.Test > info.Test {
				t.Errorf("%s: %s: data %+v", name, recipe.Name, recipe.Dataset)
			}
			train := recipe.Dataset.Train
			if train == 0 {
				train = info.Train
			}
			if train%recipe.BatchSize == 1 {
				t.Errorf("%s: %s: the last batch has one image", name, recipe.Name)
			}
			if built[network{recipe.Model, info.Name}] {
				continue
			}
			built[network{recipe.Model, info.Name}] = true
			m, err := model(recipe.Model, info.Classes)
			check(t, err)
			_, err = m.Undrawn(devicetest.Go(t).Backend, [3]int{info.Shape[1], info.Shape[2], info.Shape[0]})
			check(t, err)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mine.yaml")
	for _, c := range []struct{ old, new, want string }{
		{"batch_size: 32", "batch_sise: 32", "mine.yaml:7:1: batch_sise: unknown key; did you mean batch_size?"},
		{"name: resnet8}", "name: resnet9}", `mine.yaml:5:15: model.name: unknown name "resnet9"; did you mean resnet8?`},
		{"name: fashion-pairs-100", "name: fashion-pair", "mine.yaml:4:17: dataset.name: unknown name \"fashion-pair\""},
		{"{name: kd, gamma", "{name: k, gamma", `method.name: unknown name "k"; did you mean kd?`},
		{"gamma: 0.1, alpha: 0.9, temperature: 4", "gamma: 0.1, alpha: 0.9", "temperature"},
		{"{name: ce}}", "{name: ce, alpha: 1}}", "alpha: method ce has no such hyper-parameter"},
		{"name: tiny", "name: [", "mine.yaml:"},
	} {
		check(t, os.WriteFile(path, []byte(strings.Replace(tiny, c.old, c.new, 1)), 0o600))
		_, err := Open(path)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), filepath.Dir(path)) {
			t.Errorf("%s: %v", c.new, err)
		}
	}
	_, err := Open("quickstrat")
	wantError(t, err, `no experiment "quickstrat"`, "quickstart")
}
