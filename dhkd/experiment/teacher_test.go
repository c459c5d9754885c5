package experiment

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"

	"github.com/dhkd-lab/dhkd-go/dhkd/device/devicetest"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/train"
	"github.com/dhkd-lab/dhkd-go/dhkd/weights"
	"github.com/dhkd-lab/dhkd-go/dhkd/weights/teachers"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

// untrained writes the state dict of a resnet8 with the initial values of a seed.
func untrained(t *testing.T, path string, seed uint64) {
	t.Helper()
	m, err := zoo.New(zoo.Config{Name: "resnet8", Classes: 100})
	check(t, err)
	initial, err := m.Initial(devicetest.Go(t).Backend, [3]int{16, 16, 3}, seed)
	check(t, err)
	values := map[string]*tensors.Tensor{}
	for _, w := range initial {
		values[w.Name] = w.Value
	}
	check(t, weights.ExportStateDict(path, values, nil))
}

// A teacher of another experiment is that experiment's run, trained once for all that learn from it.
func TestTeacherOfAnotherExperiment(t *testing.T) {
	e, err := Open("literal")
	check(t, err)
	selected, err := Select(e, Selection{Runs: []string{"ce+binarykl", "dual-binarykl"}, Seeds: []uint64{2}})
	check(t, err)
	all, err := WithTeachers(e, selected, nil)
	check(t, err)
	if len(all) != 3 || all[0].Experiment != "collapse" || all[0].Seed != 1 || all[0].Teacher != nil {
		t.Fatalf("%d recipes, the first %+v", len(all), all[0])
	}
	for _, student := range all[1:] {
		if got, want := teacherWeights("d", student), WeightsPath("d", all[0]); got != want {
			t.Errorf("%s learns from %s, want %s", student.Name, got, want)
		}
	}
	selected[0].Teacher.Experiment = "no-such"
	_, err = WithTeachers(e, selected[:1], nil)
	wantError(t, err, "run ce+binarykl: teacher.experiment: no experiment \"no-such\"")
}

// A teacher that is a file is trained by no run, and must stay the same while a run is continued.
func TestTeacherIsAFile(t *testing.T) {
	t.Setenv("DHKD_CACHE", t.TempDir())
	path := filepath.Join(t.TempDir(), "net.safetensors")
	untrained(t, path, 1)
	teacher, err := FindTeacher(t.Context(), path, "", teachers.Options{})
	check(t, err)
	if *teacher != (record.Teacher{Model: "resnet8", Weights: path}) {
		t.Fatalf("%+v", teacher)
	}
	e := openTiny(t)
	selected, err := Select(e, Selection{Runs: []string{"kd"}, Teacher: teacher})
	check(t, err)
	all, err := WithTeachers(e, selected, nil)
	check(t, err)
	if len(all) != 1 || *all[0].Teacher != *teacher {
		t.Fatalf("%d recipes, teacher %+v", len(all), all[0].Teacher)
	}

	r := newRunner(t)
	ctx, cancel := context.WithCancel(t.Context())
	newHooks(r).step = onStep(2, 1, cancel)
	if _, err := r.Run(ctx, all[0]); !errors.Is(err, train.ErrInterrupted) {
		t.Fatal(err)
	}
	untrained(t, path, 2)
	_, err = r.Run(t.Context(), all[0])
	if err == nil || !strings.Contains(err.Error(), "are not those that it was started with") {
		t.Fatal(err)
	}
	untrained(t, path, 1)
	rec, err := r.Run(t.Context(), all[0])
	check(t, err)
	if ref := rec.Teacher; rec.Resumed != 1 || ref.SHA256 != digest(t, path) || ref.Reference != path ||
		ref.Checkpoint != "net.safetensors" || ref.Published != nil {
		t.Errorf("resumed %d times, teacher %+v", rec.Resumed, ref)
	}
	check(t, os.Remove(path))
	recipe := all[0]
	recipe.Seed = 2
	if _, err := r.Run(t.Context(), recipe); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestFindTeacher(t *testing.T) {
	t.Setenv("DHKD_CACHE", t.TempDir())
	two := filepath.Join(t.TempDir(), "two.safetensors")
	check(t, weights.SaveSafetensors(two, map[string]*tensors.Tensor{"w": tensors.FromValue([]float32{1})}, nil))
	for _, c := range []struct{ ref, model, want string }{
		{"crd:ResNet50", "", "ResNet50"},
		{"anything", "wrn_28_4", "wrn_28_4"}, // another depth and width than are listed
		{"anything", "resnet9", `unknown model "resnet9"`},
		{"crd:nothing", "", `no teacher is called "crd:nothing"`},
		{two, "", "fits no network of dhkd list models"},
	} {
		got, err := FindTeacher(t.Context(), c.ref, c.model, teachers.Options{Offline: true})
		if err == nil && got.Model != c.want || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %s: %+v, %v", c.ref, c.model, got, err)
		}
	}
}
