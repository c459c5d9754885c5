package experiment

import (
	"encoding/json"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"

	"github.com/dhkd-lab/dhkd-go/dhkd/distill"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/train"
	"github.com/dhkd-lab/dhkd-go/dhkd/weights"
)

// TestPredictor: the file of a student that predicts through modules of its method has them, so that it is evaluated as it
// was in its run; a file that lacks one is refused by its name; and the student alone is no teacher.
func TestPredictor(t *testing.T) {
	r, e := newRunner(t), openTiny(t)
	recipe := resolve(t, e, "dhkd")
	recipe.Name, recipe.Method.With = "dhkd+simkd", []record.Method{distill.Defaults("vid"), distill.Defaults("simkd")}
	records, err := r.RunAll(t.Context(), []record.Recipe{resolve(t, e, "teacher"), recipe})
	check(t, err)
	path := WeightsPath(r.Dir, recipe)
	evaluate := func(path string) (*record.Evaluation, error) {
		c, err := OpenCandidate(path, EvaluateOptions{})
		if err != nil {
			return nil, err
		}
		return r.Evaluate(t.Context(), c)
	}
	result, err := evaluate(path)
	check(t, err)
	check(t, result.Validate())
	last := records[1].Epochs[2].Metrics
	if *result.Difference != 0 || result.Top1 != last[record.MetricStudentTest] {
		t.Errorf("top-1 %g, recorded %g", result.Top1, last[record.MetricStudentTest])
	}
	if loss := last[record.MetricTestLoss]; math.Abs(*result.CrossEntropy-loss) > 1e-5*loss {
		t.Errorf("cross-entropy %g, recorded %g", *result.CrossEntropy, loss)
	}

	n, metadata, err := LoadNetwork(path)
	check(t, err)
	of := func(prefix string) (names []string, trained int) {
		for name, value := range n.Weights {
			if strings.HasPrefix(name, prefix) {
				names = append(names, name)
				if !strings.Contains(name, ".running_") {
					trained += value.Size()
				}
			}
		}
		slices.Sort(names)
		return names, trained
	}
	modules, _ := of("method.")
	if !slices.Contains(modules, "method.2.transfer.0.weight") || len(modules) != 3*5 {
		t.Errorf("modules %v", modules)
	}
	if classifier, _ := of("teacher."); !slices.Equal(classifier, []string{"teacher.bias", "teacher.weight"}) {
		t.Errorf("classifier %v", classifier)
	}
	_, own := of("fc.")
	_, aux := of("fc2.")
	if unused := result.Parameters - result.InferenceParameters; unused != own+aux || result.Parameters <= records[1].Parameters {
		t.Errorf("%d parameters, %d unused, the student's own heads have %d", result.Parameters, unused, own+aux)
	}

	damaged := filepath.Join(t.TempDir(), "damaged.safetensors")
	for want, damage := range map[string]func(n *train.Network, metadata map[string]string){
		"missing method.2.transfer.6.weight": func(n *train.Network, _ map[string]string) {
			delete(n.Weights, "method.2.transfer.6.weight")
		},
		"missing teacher.bias": func(n *train.Network, _ map[string]string) { delete(n.Weights, "teacher.bias") },
		"tensor teacher.weight has shape": func(n *train.Network, _ map[string]string) {
			n.Weights["teacher.weight"] = tensors.FromValue([]float32{1})
		},
		"not known method.0.x": func(n *train.Network, _ map[string]string) {
			n.Weights["method.0.x"] = tensors.FromValue([]float32{1})
		},
		"recipe in the metadata does not say": func(_ *train.Network, m map[string]string) { delete(m, "recipe") },
		"its student, or no teacher": func(_ *train.Network, m map[string]string) {
			text, _ := json.Marshal(resolve(t, e, "kd"))
			m["recipe"] = string(text)
		},
		"cannot be used: it lacks modules": func(_ *train.Network, m map[string]string) { m["incomplete"] = "it lacks modules" },
	} {
		n := *n
		n.Weights = maps.Clone(n.Weights)
		changed := maps.Clone(metadata)
		damage(&n, changed)
		check(t, train.SaveNetwork(damaged, &n, changed))
		if _, err := evaluate(damaged); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}

	student := resolve(t, e, "kd")
	student.Teacher = &record.Teacher{Model: "resnet8", Run: recipe.Name, Seed: 1}
	file := student
	file.Name, file.Teacher = "kd-of-file", &record.Teacher{Model: "resnet8", Weights: path}
	for _, recipe := range []record.Recipe{student, file} {
		if _, err := r.Run(t.Context(), recipe); err == nil || !strings.Contains(err.Error(), "nor one to export") {
			t.Errorf("as a teacher: %v", err)
		}
	}
}

// TestConvertKeepsItsFile: a teacher that is in the cache already is not written again; one of which more is known now is.
func TestConvertKeepsItsFile(t *testing.T) {
	t.Setenv("DHKD_CACHE", t.TempDir())
	r, recipe := newRunner(t), resolve(t, openTiny(t), "teacher")
	_, err := r.Run(t.Context(), recipe)
	check(t, err)
	n, _, err := LoadNetwork(WeightsPath(r.Dir, recipe))
	check(t, err)
	teacher := &teacherFile{network: n, sha256: "0",
		published: &weights.Info{Architecture: "resnet8", Classes: 100, AuxHead: "none"}}
	var before os.FileInfo
	for i, kept := range []bool{false, true, false, true} {
		if i == 2 {
			teacher.published.Licence = "MIT"
		}
		path, err := convert(teacher)
		check(t, err)
		after, err := os.Stat(path)
		check(t, err)
		if i > 0 && os.SameFile(before, after) != kept {
			t.Errorf("call %d: kept %v", i, !kept)
		}
		before = after
	}
}
