package sweep

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// tiny is an experiment whose runs take no time here: their processes only write records.
const tiny = `
name: tiny
profile: smoke
dataset: {name: fashion-pairs-100, train: 96, test: 200, seed: 1}
model: {name: resnet8}
teacher: {run: teacher}
batch_size: 32
optimizer: {learning_rate: 0.05, momentum: 0.9, weight_decay: 5e-4}
schedule: {epochs: 4}
seeds: [1, 2]
runs:
  - {name: teacher, method: {name: ce}, seeds: [1]}
  - {name: ce, method: {name: ce}, teacher: none}
  - {name: kd, method: {name: kd, gamma: 0.1, alpha: 0.9, temperature: 4}}
`

// recipeFile writes an experiment and returns its path.
func recipeFile(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tiny.yaml")
	check(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// parse reads a sweep of the tiny experiment.
func parse(t testing.TB, text string) *record.Sweep {
	t.Helper()
	s, err := record.ParseSweep("sweep.yaml", []byte("name: test\nrecipes: ["+recipeFile(t, tiny)+"]\n"+text))
	check(t, err)
	return s
}

func expand(t testing.TB, text string) *Plan {
	t.Helper()
	p, err := Expand(parse(t, text))
	check(t, err)
	return p
}

// list is a line for each run, with its teacher's run.
func list(p *Plan) (lines []string) {
	for _, r := range p.Runs {
		line := strings.TrimPrefix(r.ID, "tiny/smoke/")
		if r.After != "" {
			line += " after " + strings.TrimPrefix(r.After, "tiny/smoke/")
		}
		lines = append(lines, line)
	}
	return lines
}

func TestExpand(t *testing.T) {
	for _, c := range []struct {
		sweep string
		want  []string
	}{
		{"", []string{"teacher-seed1", "ce-seed1", "ce-seed2", "kd-seed1 after teacher-seed1", "kd-seed2 after teacher-seed1"}},
		{"runs: [teacher]\nseeds: [7]", []string{"teacher-seed7"}},
		{"runs: [kd]\nseeds: [1]\ngrid: {optimizer.learning_rate: [0.1, 5e-2], alpha: [1, 0.50]}", []string{"teacher-seed1",
			"kd-learning_rate0.1-alpha1-seed1 after teacher-seed1", "kd-learning_rate0.1-alpha0.5-seed1 after teacher-seed1",
			"kd-learning_rate0.05-alpha1-seed1 after teacher-seed1", "kd-learning_rate0.05-alpha0.5-seed1 after teacher-seed1"}},
		{"runs: [teacher, kd]\nseeds: [1]\ngrid: {optimizer.learning_rate: [0.1]}",
			[]string{"teacher-seed1", "teacher-learning_rate0.1-seed1", "kd-learning_rate0.1-seed1 after teacher-seed1"}},
		// What changes the data changes the teacher's too.
		{"runs: [kd]\nseeds: [1]\ngrid: {dataset.seed: [1, 2], method.temperature: [2]}", []string{"teacher-seed1-seed1", "teacher-seed2-seed1",
			"kd-seed1-temperature2-seed1 after teacher-seed1-seed1", "kd-seed2-temperature2-seed1 after teacher-seed2-seed1"}},
		{"runs: [kd]\nseeds: [1]\nset: {dataset.train: 64}", []string{"teacher-seed1", "kd-seed1 after teacher-seed1"}},
		{"methods: [dkd, at]\nseeds: [3]", []string{"teacher-seed1", "dkd-seed3 after teacher-seed1", "at-seed3 after teacher-seed1"}},
		{"runs: [ce]\nmethods: [dkd]\nseeds: [1]", []string{"teacher-seed1", "ce-seed1", "dkd-seed1 after teacher-seed1"}},
		{"runs: [ce]\nseeds: [1]\ngrid: {model.name: [resnet20], schedule.milestones: [[1, 2], []], schedule.rate: [0.1]}",
			[]string{"ce-name-resnet20-milestones1+2-rate0.1-seed1", "ce-name-resnet20-milestones-rate0.1-seed1"}},
	} {
		p := expand(t, c.sweep)
		if diff := cmp.Diff(c.want, list(p)); diff != "" {
			t.Errorf("%s: %s", c.sweep, diff)
		}
	}
	p := expand(t, "runs: [kd]\nseeds: [1]\nset: {dataset.train: 64, schedule.epochs: 9}\ngrid: {alpha: [0.5]}")
	teacher, student := p.Runs[0].Recipe, p.Runs[1].Recipe
	if teacher.Dataset.Train != 64 || teacher.Schedule.Epochs != 4 || student.Dataset.Train != 64 || student.Schedule.Epochs != 9 ||
		student.Method.Alpha != 0.5 || student.Label != "kd (alpha 0.5)" || student.Teacher.Run != "teacher" {
		t.Errorf("%+v %+v", teacher, student)
	}
}

// A run is not left out for having the name of a teacher that is of another experiment.
func TestExpandTeacherElsewhere(t *testing.T) {
	path := recipeFile(t, strings.NewReplacer("profile: smoke", "profile: offline", "teacher: {run: teacher}",
		"teacher: {experiment: collapse, run: teacher, seed: 1, model: resnet20}").Replace(tiny))
	p, err := Expand(&record.Sweep{Name: "test", Recipes: []string{path}, Seeds: []uint64{3}})
	check(t, err)
	const elsewhere = "collapse/offline/teacher-seed1"
	want := []string{elsewhere, "tiny/offline/ce-seed3", "tiny/offline/teacher-seed3 after " + elsewhere,
		"tiny/offline/kd-seed3 after " + elsewhere}
	if diff := cmp.Diff(want, list(p)); diff != "" {
		t.Error(diff)
	}
}

func TestExpandErrors(t *testing.T) {
	other := recipeFile(t, strings.Replace(tiny, "epochs: 4", "epochs: 5", 1))
	for sweep, want := range map[string]string{
		"runs: [kdd]": `no run "kdd"`,
		"runs: [ce]\ngrid: {method.beta: [1, 2]}":          "beta",
		"runs: [ce]\ngrid: {optimizer.lr: [1, 2]}":         "unknown key",
		"runs: [ce]\ngrid: {model.name: [resnet9]}":        `unknown name "resnet9"`,
		"methods: [dkdd]":                                  "dkdd",
		"runs: [ce]\nset: {batch_size: 1}":                 "batch_size: must be at least 2",
		"runs: [ce]\ngrid: {model.head: [linear, Linear]}": "unknown name",
	} {
		_, err := Expand(parse(t, sweep))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", sweep, err, want)
		}
	}
	s := parse(t, "runs: [ce]")
	s.Recipes = append(s.Recipes, other)
	_, err := Expand(s)
	for _, part := range append(s.Recipes, "tiny/smoke/ce-seed1", "differ in schedule") {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v, want %s", err, part)
		}
	}
	s.Recipes[1] = recipeFile(t, tiny) // the same again
	if p, err := Expand(s); err != nil || len(p.Runs) != 2 {
		t.Errorf("%v %v", p, err)
	}
}

// thousand is a grid of 1,000 students and their teachers.
const thousand = "runs: [ce, kd]\nseeds: [1, 2, 3, 4, 5]\n" +
	"grid: {optimizer.learning_rate: [0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7], optimizer.weight_decay: [0, 1e-4, 2e-4, 5e-4, 1e-3]," +
	" optimizer.momentum: [0.9, 0.95]}"

func TestThousand(t *testing.T) {
	start := cpuTime(t)
	p := expand(t, thousand)
	dir := t.TempDir()
	check(t, p.Save(dir, false))
	took := cpuTime(t) - start
	t.Logf("%d runs planned and written in %v of a core's time", len(p.Runs), took)
	if len(p.Runs) != 1001 {
		t.Errorf("%d runs", len(p.Runs))
	}
	if took > 5*time.Second {
		t.Errorf("planning took %v of a core's time", took)
	}
	again := expand(t, thousand)
	if again.digest() != p.Digest {
		t.Error("the same sweep makes another plan")
	}
	seen := map[string]bool{"": true}
	for _, r := range p.Runs {
		if seen[r.ID] || !seen[r.After] {
			t.Errorf("%s is there twice, or comes before its teacher", r.ID)
		}
		seen[r.ID] = true
		check(t, experiment.Check(r.Recipe))
	}
}

// cpuTime is what this process has used of cores' time, which does not depend on what else the machine does.
func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var usage syscall.Rusage
	check(t, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// The plans of all recipes that are part of the program are whole.
func TestExpandAllRecipes(t *testing.T) {
	s := &record.Sweep{Name: "all", Recipes: experiment.Recipes(), Seeds: []uint64{1}}
	p, err := Expand(s)
	check(t, err)
	of := map[string]int{}
	for _, r := range p.Runs {
		of[r.Recipe.Experiment]++
		if r.Recipe.Teacher != nil && r.Recipe.Teacher.Weights == "" && p.Find(r.After) == nil {
			t.Errorf("%s has no teacher", r.ID)
		}
	}
	if got := slices.Sorted(maps.Keys(of)); !slices.Equal(got, slices.Sorted(slices.Values(experiment.Recipes()))) {
		t.Errorf("runs of %v", got)
	}
	dir := t.TempDir()
	check(t, p.Save(dir, false))
	loaded, err := Load(dir)
	check(t, err)
	if diff := cmp.Diff(p, loaded); diff != "" {
		t.Error(diff)
	}
}
