package golden_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomlx/compute"

	"github.com/dhkd-lab/dhkd-go/dhkd/device/devicetest"
	"github.com/dhkd-lab/dhkd-go/dhkd/internal/golden"
)

const networks = "testdata/networks"

// TestVerifyNetworks runs models and training steps on XLA.
func TestVerifyNetworks(t *testing.T) {
	var cases []string
	failed, err := golden.Verify(t.Context(), devicetest.Open(t).Backend, networks, func(r golden.Result) {
		cases = append(cases, r.Case)
		expectGood(t, r)
	})
	want := "model_resnet20_nonlinear model_resnet8 model_resnet8_c7 " +
		"train_resnet8_ga train_resnet8_ga_gc train_resnet8_plain"
	if got := strings.Join(cases, " "); failed != 0 || err != nil || got != want {
		t.Errorf("%d failed of %s, error %v", failed, got, err)
	}
}

// TestVerifyNetworksGo runs the small models on the pure Go backend. For its training steps see TestTrajectoryFloat64:
// its long float32 sums are ten times less exact, enough for a ReLU near zero to open in one run and not in another.
func TestVerifyNetworksGo(t *testing.T) {
	for _, name := range []string{"model_resnet8", "model_resnet8_c7"} {
		expectGood(t, verifyOne(t, devicetest.Go(t).Backend, filepath.Join(networks, name)))
	}
}

// TestVerifyFamilies runs a small model of each other family: where convolutions are large on XLA, else on the pure Go
// backend, which has nothing to compile.
func TestVerifyFamilies(t *testing.T) {
	verify := func(backend compute.Backend, names ...string) {
		for _, name := range names {
			expectGood(t, verifyOne(t, backend, filepath.Join("testdata/families", name)))
		}
	}
	verify(devicetest.Go(t).Backend, "model_wrn_16_1", "model_MobileNetV2_open", "model_ShuffleV1_open",
		"model_ShuffleV2_open")
	verify(devicetest.Open(t).Backend, "model_vgg8", "model_ResNet18_open")
}

func expectGood(t *testing.T, r golden.Result) {
	t.Helper()
	if w := r.Worst(); r.Failed() {
		t.Errorf("%s: %s is off by %g, tolerance %g; error: %v", r.Case, w.Name, w.Deviation, w.Tolerance, r.Err)
	}
	if len(r.Checks) < 26 {
		t.Errorf("%s: only %d checks", r.Case, len(r.Checks))
	}
}

func verifyOne(t *testing.T, backend compute.Backend, dir string) (result golden.Result) {
	t.Helper()
	if _, err := golden.Verify(t.Context(), backend, dir, func(r golden.Result) { result = r }); err != nil {
		t.Fatal(err)
	}
	return result
}

// TestVerifyNetworksNotices changes a good case in one place and expects that it fails there.
func TestVerifyNetworksNotices(t *testing.T) {
	hyper := func(name string, value any) func(f map[string]any) {
		return func(f map[string]any) { f["hyper"].(map[string]any)[name] = value }
	}
	for _, test := range []struct {
		name, source string
		edit         func(fields map[string]any)
		want         string // in the name of a check that fails, or in the error
	}{
		{"another weight", "model_resnet8_c7", func(f map[string]any) {
			p := f["params"].([]any)[0].(map[string]any)
			p["center"] = p["center"].(float64) + 1e-3
		}, "grad_f64 Float64"},
		{"another loss gradient", "model_resnet8_c7", func(f map[string]any) { f["grad_global_l2"] = 1 },
			"grad global_l2 Float32"},
		{"unknown model", "model_resnet8_c7", func(f map[string]any) { f["model"] = "resnet9" },
			`unknown model "resnet9"`},
		{"another model", "model_resnet8_c7", func(f map[string]any) { f["model"] = "wrn_16_1" }, "parameters"},
		{"special model", "model_resnet8_c7", func(f map[string]any) {
			f["constructor_extra"] = map[string]any{"width": 2}
		}, "constructor_extra"},
		{"another head", "model_resnet8_c7", func(f map[string]any) { f["aux_head"] = "nonlinear" }, "parameters"},
		{"no head", "model_resnet8_c7", func(f map[string]any) { f["aux_head"] = nil }, "parameters"},
		{"other classes", "model_resnet8_c7", func(f map[string]any) { f["num_classes"] = 8 }, "no parameter fc.weight"},
		{"no tolerance", "model_resnet8_c7", func(f map[string]any) { delete(f["tolerance"].(map[string]any), "feats") },
			"tolerance.feats"},
		{"other buffers", "model_resnet8_c7", func(f map[string]any) { f["bn_summary_order"] = []string{"a"} }, "buffers"},
		{"another learning rate", "train_resnet8_ga_gc", hyper("lr", 0.0501), "step 0 parameters"},
		{"without alignment", "train_resnet8_ga_gc", hyper("ga", false), "step 0 applied_l2"},
		{"another clip", "train_resnet8_ga_gc", hyper("gc", 2.001), "step 0 clip_scale"},
		{"bad temperature", "train_resnet8_ga_gc", hyper("T", -1), "method.temperature"},
		{"no batches", "train_resnet8_ga_gc", func(f map[string]any) { f["batches_from"] = "none" }, "batches_from"},
		{"batches elsewhere", "train_resnet8_ga_gc", func(f map[string]any) { f["batches_from"] = "../x" }, "batches_from"},
		{"unknown model to train", "train_resnet8_ga_gc", func(f map[string]any) { f["model"] = "resnet9" },
			`unknown model "resnet9"`},
		{"no features", "model_resnet8_c7", func(f map[string]any) { delete(f, "feats") }, "feats"},
		{"no steps", "train_resnet8_ga_gc", func(f map[string]any) { f["steps"] = -1 }, "steps: -1"},
		{"more steps", "train_resnet8_ga_gc", func(f map[string]any) { f["steps"] = 6 }, "want [6]"},
	} {
		t.Run(test.name, func(t *testing.T) {
			backend := devicetest.Go(t).Backend // which has nothing to compile
			if strings.HasPrefix(test.source, "train") {
				backend = devicetest.Open(t).Backend
			}
			r := verifyOne(t, backend, edited(t, test.source, test.edit))
			said := []string{}
			if r.Err != nil {
				said = append(said, r.Err.Error())
			}
			for _, check := range r.Checks {
				if check.Failed() {
					said = append(said, check.Name)
				}
			}
			if !r.Failed() || !strings.Contains(strings.Join(said, "\n"), test.want) {
				t.Errorf("it says %q, want %q", said, test.want)
			}
		})
	}
}

// edited is a copy of a case with changed fields, beside the case that holds the batches.
func edited(t *testing.T, source string, edit func(fields map[string]any)) string {
	t.Helper()
	root := t.TempDir()
	const batches = "train_resnet8_plain"
	if err := os.CopyFS(filepath.Join(root, batches), os.DirFS(filepath.Join(networks, batches))); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, "case")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(networks, source))); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "case.json")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(text, &fields); err != nil {
		t.Fatal(err)
	}
	edit(fields)
	if text, err = json.Marshal(fields); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}
