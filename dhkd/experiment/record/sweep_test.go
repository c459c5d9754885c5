package record

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseSweep(t *testing.T) {
	s, err := ParseSweep("sweep.yaml", []byte(`
name: table-3
recipes: [quickstart, mine.yaml]
runs: [kd]
methods: [dkd]
seeds: [1, 18446744073709551615]
set: {schedule.epochs: 12, schedule.milestones: [5, 10], model.name: resnet8}
grid:
  optimizer.learning_rate: [0.10, 5e-2]
  method.align: [true, false]
  schedule.milestones2: [[1, 2], []]
`))
	if err != nil {
		t.Fatal(err)
	}
	want := &Sweep{Name: "table-3", Recipes: []string{"quickstart", "mine.yaml"}, Runs: []string{"kd"}, Methods: []string{"dkd"},
		Seeds: []uint64{1, 1<<64 - 1},
		Set: []Axis{{"schedule.epochs", []string{"12"}}, {"schedule.milestones", []string{"[5,10]"}},
			{"model.name", []string{`"resnet8"`}}},
		Grid: []Axis{{"optimizer.learning_rate", []string{"0.1", "0.05"}}, {"method.align", []string{"true", "false"}},
			{"schedule.milestones2", []string{"[1,2]", "[]"}}}}
	if diff := cmp.Diff(want, s); diff != "" {
		t.Error(diff)
	}
}

func TestParseSweepErrors(t *testing.T) {
	for text, want := range map[string]string{
		"recipes: [a]":                                         "sweep.yaml: name: \"\" is no file name",
		"{name: x}":                                            "sweep.yaml: recipes: is missing",
		"{name: x, recipes: [a], run: [b]}":                    "sweep.yaml:1:25: run: unknown key; did you mean runs?",
		"{name: x, recipes: [a, a]}":                           `recipes[1]: "a" is listed twice`,
		"{name: x, recipes: [a], seeds: [1, 1]}":               "seeds[1]: 1 is listed twice",
		"{name: x, recipes: [a], grid: [1]}":                   "grid: want keys of a recipe with values",
		"{name: x, recipes: [a], grid: {b.c: 1}}":              `grid.b.c: want a list of values, such as [0.1, 0.05], found "1"`,
		"{name: x, recipes: [a], grid: {b.c: []}}":             "grid.b.c: lists no value",
		"{name: x, recipes: [a], grid: {b: [1, 1.]}}":          "grid.b: lists 1 twice",
		"{name: x, recipes: [a], grid: {b: [null]}}":           "grid.b: want a value, such as 0.1, found nothing",
		"{name: x, recipes: [a], grid: {seed: [1]}}":           "grid.seed: cannot be set",
		"{name: x, recipes: [a], set: {b: 1}, grid: {b: [1]}}": "grid.b: is given twice",
		"{name: x, recipes: [&a b]}":                           "anchors",
		"name: [":                                              "sweep.yaml",
	} {
		_, err := ParseSweep("sweep.yaml", []byte(text))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

func TestParseAxis(t *testing.T) {
	for text, want := range map[string]Axis{
		"optimizer.learning_rate=0.1,5e-2":  {"optimizer.learning_rate", []string{"0.1", "0.05"}},
		"schedule.milestones=[10, 20],[15]": {"schedule.milestones", []string{"[10,20]", "[15]"}},
		"model.name=resnet8":                {"model.name", []string{`"resnet8"`}},
	} {
		got, err := ParseAxis("--set", text)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v %s", text, err, diff)
		}
	}
	for _, text := range []string{"a", "a=", "=1", "a=[", "a={b: *c}"} {
		if _, err := ParseAxis("--set", text); err == nil || !strings.HasPrefix(err.Error(), "--set "+text+":") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func FuzzParseSweep(f *testing.F) {
	f.Add("name: x\nrecipes: [a]\ngrid: {b.c: [1, 5e-4, [x], {y: z}]}")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSweep("x", []byte(text))
		if err == nil && s.Validate() != nil {
			t.Errorf("parsed, but not valid: %v", s.Validate())
		}
	})
}
