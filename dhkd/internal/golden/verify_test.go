package golden_test

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dhkd-lab/dhkd-go/dhkd/device/devicetest"
	"github.com/dhkd-lab/dhkd-go/dhkd/internal/golden"
)

func verify(t *testing.T, dir string) (results []golden.Result, failed int, err error) {
	failed, err = golden.Verify(t.Context(), devicetest.Go(t).Backend, dir, func(r golden.Result) {
		results = append(results, r)
	})
	return results, failed, err
}

func TestVerifyData(t *testing.T) {
	results, failed, err := verify(t, "testdata")
	if err != nil || failed != 0 || len(results) != 1 {
		t.Fatalf("%d failed: %+v, error %v", failed, results, err)
	}
	if r := results[0]; r.Case != "data_mini" || r.Group != "data" || len(r.Checks) != 7 || r.Absolute > 2e-6 {
		t.Errorf("%+v", r)
	}
}

// TestVerifyNotices changes a good case in one place and expects that it fails there.
func TestVerifyNotices(t *testing.T) {
	tests := []struct {
		name, source string
		edit         func(fields map[string]any)
		want         string // in the worst check's name or the error
	}{
		{"another rate", "schedule", func(f map[string]any) {
			f["schedules"].([]any)[0].(map[string]any)["initial"] = 0.051
		}, "cifar_default"},
		{"impossible tolerance", "schedule", func(f map[string]any) {
			f["tolerance"].(map[string]any)["value"] = "nan"
		}, "tolerance.value: NaN is no tolerance"},
		{"unknown schedule", "schedule", func(f map[string]any) {
			f["schedules"].([]any)[0].(map[string]any)["name"] = "none"
		}, `tensor "none"`},
		{"another value", "losses_example_3class", func(f map[string]any) {
			f["values"].(map[string]any)["student_a_teacher_b/bkl_T2"] = 5.48
		}, "student_a_teacher_b/bkl_T2"},
		{"unknown term", "losses_n4_c3", func(f map[string]any) {
			f["terms"].(map[string]any)["focal_T2"] = map[string]any{}
		}, `term "focal_T2": unknown loss`},
		{"no temperature", "losses_n4_c3", func(f map[string]any) {
			f["terms"] = map[string]any{"kd": nil}
		}, `term "kd": it has no temperature`},
		{"another temperature", "losses_sweep_T1", func(f map[string]any) { f["T"] = 1.001 }, "bkl"},
		{"no terms", "losses_n4_c3", func(f map[string]any) { f["terms"] = map[string]any{} }, "names no terms"},
		{"unsupported", "schedule", func(f map[string]any) { f["group"] = "baseline" }, "not supported yet"},
		{"another mean", "../../internal/golden/testdata/data_mini", func(f map[string]any) {
			f["mean"] = []float64{0.5071, 0.4877, 0.4408}
		}, "normalised_f32"},
		{"another padding", "../../internal/golden/testdata/data_mini", func(f map[string]any) {
			f["augment"] = "pad with 5 zero pixels"
		}, "augmented_u8"},
		{"a good file called damaged", "../../internal/golden/testdata/data_mini", func(f map[string]any) {
			f["bad_files"] = map[string]any{"mini.bin": "it is fine"}
		}, "mini.bin is refused"},
		{"no group", "schedule", func(f map[string]any) { delete(f, "group") }, "not a reference case"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "case")
			source := filepath.Join("..", "..", "testdata", "golden", test.source)
			if err := os.CopyFS(dir, os.DirFS(source)); err != nil {
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
			test.edit(fields)
			if text, err = json.Marshal(fields); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, text, 0o644); err != nil {
				t.Fatal(err)
			}
			results, failed, err := verify(t, dir) // a case's own directory is accepted too
			if err != nil || failed != 1 || len(results) != 1 || !results[0].Failed() {
				t.Fatalf("%d failed: %+v, error %v", failed, results, err)
			}
			said := results[0].Worst().Name
			if results[0].Err != nil {
				said = results[0].Err.Error()
			}
			if !strings.Contains(said, test.want) {
				t.Errorf("it says %q, want %q", said, test.want)
			}
		})
	}
}

func TestVerifyNothing(t *testing.T) {
	for _, dir := range []string{t.TempDir(), filepath.Join(t.TempDir(), "missing")} {
		if results, failed, err := verify(t, dir); err == nil {
			t.Errorf("%s: %d failed, %+v; want an error", dir, failed, results)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := golden.Verify(ctx, devicetest.Go(t).Backend, "testdata", func(golden.Result) {}); err == nil {
		t.Error("a cancelled run ends without an error")
	}
}

func TestResult(t *testing.T) {
	var r golden.Result
	if !r.Failed() {
		t.Error("a case without a comparison passes")
	}
	inf, nan := math.Inf(1), math.NaN()
	r.MaxAbsolute("equal", []float64{1, inf, nan}, []float64{1, inf, nan}, 1e-9)
	r.MaxRelative("near", []float64{200.02, 0.01}, []float64{200, 0}, 1e-3)
	r.PerEntry("per entry", []float64{100.1, 0.5}, []float64{100, 0.5}, 2e-3, 0)
	if w := r.Worst(); r.Failed() || w.Name != "per entry" || math.Abs(w.Deviation-0.5) > 1e-9 {
		t.Errorf("%+v, worst %+v", r, w)
	}
	for _, bad := range [][]float64{{nan}, {inf}, {-inf}, {1, 1}, {1.1}} {
		for name, compare := range map[string]func(r *golden.Result){
			"MaxAbsolute": func(r *golden.Result) { r.MaxAbsolute("bad", bad, []float64{1}, 1e-3) },
			"MaxRelative": func(r *golden.Result) { r.MaxRelative("bad", bad, []float64{1}, 1e-3) },
			"PerEntry":    func(r *golden.Result) { r.PerEntry("bad", bad, []float64{1}, 1e-3, 0) },
		} {
			failing := r
			if compare(&failing); !failing.Failed() || failing.Worst().Name != "bad" {
				t.Errorf("%s: %v instead of 1 passes", name, bad)
			}
		}
	}
}
