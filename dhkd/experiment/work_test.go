package experiment

import (
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// workOf is the work of a run of a recipe after changes.
func workOf(t *testing.T, name, run string, set ...string) (Work, record.Recipe) {
	t.Helper()
	e, err := Open(name)
	if err != nil {
		t.Fatal(err)
	}
	recipes, err := Select(e, Selection{Runs: []string{run}, Seeds: []uint64{1}, Set: set})
	if err != nil {
		t.Fatal(err)
	}
	works, err := WorkOf(recipes)
	if err != nil {
		t.Fatal(err)
	}
	return works[0], recipes[0]
}

// The literature counts 40.8 million multiply-adds for resnet20 and 125.8 for resnet56.
func TestWorkByHand(t *testing.T) {
	const student, teacher, images, tests = 40.8e6, 125.8e6, 240 * 50_000, 10_000
	evaluation := 24*tests*student + tests*teacher // every tenth epoch, and the teacher once
	for run, want := range map[string]Work{
		"ce":   {images, 3 * images * student, 0, 24 * tests * student},
		"kd":   {images, 3 * images * student, images * teacher, evaluation},
		"dhkd": {images, 5 * images * student, images * teacher, evaluation}, // aligned
	} {
		got, _ := workOf(t, "cifar-100-resnet56-resnet20", run)
		for name, pair := range map[string][2]float64{"images": {got.Images, want.Images}, "student": {got.Student, want.Student},
			"teacher": {got.Teacher, want.Teacher}, "evaluation": {got.Evaluation, want.Evaluation}} {
			if math.Abs(pair[0]-pair[1]) > 1e-3*pair[1] {
				t.Errorf("%s: %s is %.5g, want %.5g", run, name, pair[0], pair[1])
			}
		}
	}
}

// The bench counts the networks of its steps by itself: a batch of it is an epoch of so many images.
func TestWorkIsThatOfTheBench(t *testing.T) {
	bench, err := record.LoadBench(filepath.Join("..", "internal", "bench", "record.json"))
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, c := range bench.Cases {
		name := map[int]string{16: "fashion-pairs-100", 32: "cifar-100"}[c.Size]
		method, aligned := strings.CutSuffix(c.Method, "-aligned")
		if c.Given || name == "" || method != "ce" && method != "kd" && method != "dhkd" {
			continue
		}
		_, recipe := workOf(t, "cifar-100-resnet56-resnet20", method)
		recipe.Dataset = record.Dataset{Name: name, Train: bench.Batch, Augment: "none"}
		recipe.Model.Name, recipe.Method.Align, recipe.Schedule.Epochs = c.Student, aligned, 1
		if recipe.Teacher != nil {
			recipe.Teacher.Model, recipe.Teacher.Cache = c.Teacher, record.CacheNone
		}
		works, err := WorkOf([]record.Recipe{recipe})
		if err != nil {
			t.Fatal(err)
		}
		if got := 2e-9 * (works[0].Student + works[0].Teacher); math.Abs(got-c.GFLOP) > 1e-9*c.GFLOP {
			t.Errorf("%v: %v GFLOP a step, the record has %v", c, got, c.GFLOP)
		}
		compared++
	}
	if compared < 3 {
		t.Fatalf("only %d cases were compared", compared)
	}
}

func TestWorkOfCachedLogits(t *testing.T) {
	none, recipe := workOf(t, "cifar-100-resnet56-resnet20", "kd", "dataset.pad=1", "teacher.cache=none", "dataset.train=1000")
	views, _ := workOf(t, "cifar-100-resnet56-resnet20", "kd", "dataset.pad=1", "teacher.cache=views", "dataset.train=1000")
	// Nine crops, mirrored or not, in place of an image in each epoch.
	if want := none.Teacher * 18 / float64(recipe.Schedule.Epochs); math.Abs(views.Teacher-want) > 1e-9*want {
		t.Errorf("the teacher's work is %v with its logits computed before, want %v", views.Teacher, want)
	}
	if views.Student != none.Student || views.Evaluation != none.Evaluation {
		t.Errorf("other work changed too: %+v, was %+v", views, none)
	}
}

func TestWorkThatIsNotKnown(t *testing.T) {
	_, recipe := workOf(t, "cifar-100-resnet56-resnet20", "kd")
	folder, file := recipe, recipe
	folder.Dataset.Name = "image-folder"
	file.Teacher = &record.Teacher{Weights: "teacher.safetensors"}
	for want, r := range map[string]record.Recipe{"image-folder has is not known": folder, "the network of teacher.safetensors": file} {
		if _, err := WorkOf([]record.Recipe{r}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}
