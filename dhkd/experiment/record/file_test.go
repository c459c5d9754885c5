package record_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// newRecord is a completed record of a run of the sample experiment, with an epoch per accuracy.
func newRecord(t testing.TB, run string, seed uint64, top1 ...float64) *record.Record {
	t.Helper()
	e, err := record.ParseExperiment("quickstart.yaml", []byte(quickstart(t)))
	if err != nil {
		t.Fatal(err)
	}
	recipe, err := e.Resolve(run, seed)
	if err != nil {
		t.Fatal(err)
	}
	r := &record.Record{Schema: record.SchemaVersion, Recipe: recipe, Status: record.Completed, Last: len(top1),
		Started: time.Date(2025, 1, 2, 3, 4, 5, 0, time.UTC)}
	best := math.Inf(-1)
	for i, v := range top1 {
		r.Epochs = append(r.Epochs, record.Epoch{Epoch: i + 1, Step: 31 * (i + 1), LearningRate: 0.05,
			Metrics: record.Metrics{record.MetricStudentTest: v, record.LossPrefix + "ce": math.Inf(1)}})
		if v > best {
			best, r.Best = v, i+1
		}
	}
	return r
}

func TestSaveLoad(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		want := &record.Record{Schema: record.SchemaVersion, Recipe: recipes.Draw(t, "recipe"), Status: record.Interrupted,
			TrainSeconds: rapid.Float64Range(0, 1e9).Draw(t, "seconds"),
			Started:      time.Unix(rapid.Int64Range(0, 1e10).Draw(t, "t"), 0).UTC()}
		values := rapid.OneOf(rapid.Float64(), rapid.SampledFrom([]float64{math.NaN(), math.Inf(1), math.Inf(-1)}))
		for i := range rapid.IntRange(0, 3).Draw(t, "epochs") {
			metrics := rapid.MapOf(rapid.SampledFrom([]string{"loss/ce", "loss/kl", "x"}), values).Draw(t, "metrics")
			want.Epochs = append(want.Epochs, record.Epoch{Epoch: i + 1, Step: i + 1, Metrics: metrics})
			want.Last++
		}
		path := record.Path(dir, want.Recipe)
		if err := want.Save(path); err != nil {
			t.Fatal(err)
		}
		got, err := record.Load(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateNaNs(), cmpopts.EquateEmpty()); diff != "" {
			t.Fatal(diff)
		}
		first, _ := os.ReadFile(path)
		if err := got.Save(path); err != nil {
			t.Fatal(err)
		}
		if second, _ := os.ReadFile(path); !bytes.Equal(first, second) {
			t.Fatal("saving what was loaded changed the file")
		}
	})
}

func TestLoadErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), record.FileName)
	if err := newRecord(t, "kd", 1, 10, 20).Save(path); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ old, new, want string }{
		{`"schema": 1`, `"schema": 2`,
			"has format 2, this program reads format 1; read it with the version that wrote it, or run again"},
		{`"schema": 1,`, ``, "has format 0"},
		{`"status": "completed"`, `"status": "finished"`, `status: unknown name "finished"; known are running,`},
		{`"status": "completed"`, `"status": "failed"`, "failure: belongs to a failed run"},
		{`"status": "completed"`, `"state": "completed"`, `unknown field "state"`},
		{`"name": "kd"`, `"name": "../kd"`, `recipe.name: "../kd" is no file name`},
		{`"last_epoch": 2`, `"last_epoch": 3`, "last_epoch: is 3, but there are 2 epochs"},
		{`"best_epoch": 2`, `"best_epoch": 3`, "best_epoch: is 3, but the last is 2"},
		{`"epoch": 2`, `"epoch": 1`, "epochs[1].epoch: is 1, want 2"},
		{`"step": 62`, `"step": 31`, "epochs[1].step: must be greater than 31, is 31"},
		{`"student/test_top1": 20`, `"student/test_top1": 101`, "must be 0 to 100 per cent, is 101"},
		{`"student/test_top1": 20`, `"student/test_top1": "nan"`, "must be 0 to 100 per cent, is NaN"},
		{`"student/test_top1": 20`, `"student/test_top1": "many"`,
			`metric "student/test_top1": "many" is neither a number nor`},
		{`"parameters": 0`, `"parameters": -1`, "parameters: must be a number of at least 0, is -1"},
		{`"train_seconds": 0`, `"train_seconds": "0"`, "at line"},
		{string(good[len(good)/2:]), "", "not valid JSON"},
		{string(good), "", "not valid JSON"},
		{string(good), "[]", "not valid JSON"},
		{string(good), "null", "has format 0"},
	} {
		text := strings.Replace(string(good), test.old, test.new, 1)
		if text == string(good) {
			t.Fatalf("%q is not in the record", test.old)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := record.Load(path)
		if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%.40q -> %.40q:\n got %v\nwant %s", test.old, test.new, err, test.want)
		}
	}
	if _, err := record.Load(path + ".gone"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	bad := newRecord(t, "kd", 1, 10)
	bad.Last = 7
	if err := bad.Save(path + ".new"); err == nil {
		t.Error("a record that contradicts itself was saved")
	}
	if _, err := os.Stat(path + ".new"); err == nil {
		t.Error("a refused record left a file")
	}
}

func TestLoadDir(t *testing.T) {
	dir := t.TempDir()
	for _, r := range []*record.Record{newRecord(t, "kd", 10, 1), newRecord(t, "kd", 9, 1),
		newRecord(t, "dhkd", 1, 1), newRecord(t, "ce", 2, 1)} {
		if err := r.Save(record.Path(dir, r.Recipe)); err != nil {
			t.Fatal(err)
		}
	}
	if err := newRecord(t, "ce", 2, 1).Save(filepath.Join(dir, "z", record.FileName)); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"cut/record.json": `{"schema": 1, "rec`,
		"new/record.json": `{"schema": 9}`, "new/other.json": "{"} {
		path := filepath.Join(dir, name)
		os.MkdirAll(filepath.Dir(path), 0o755)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	records, errs := record.LoadDir(dir)
	if diff := cmp.Diff([]string{"ce 2", "dhkd 1", "kd 9", "kd 10"}, names(records)); diff != "" {
		t.Error(diff)
	}
	wants := []string{"cut/record.json: not valid JSON",
		"new/record.json: has format 9", "z/record.json: the same run as in "}
	if len(errs) != len(wants) {
		t.Fatalf("errors: %v", errs)
	}
	for i, want := range wants {
		if !strings.Contains(filepath.ToSlash(errs[i].Error()), want) {
			t.Errorf("error %q lacks %q", errs[i], want)
		}
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	if linked, _ := record.LoadDir(link); len(linked) != len(records) {
		t.Errorf("through a link: %v", names(linked))
	}
	if records, errs := record.LoadDir(filepath.Join(dir, "gone")); len(records) != 0 || len(errs) != 1 {
		t.Errorf("missing directory: %v, %v", records, errs)
	}
	e, _ := record.ParseExperiment("quickstart.yaml", []byte(quickstart(t)))
	e.Sort(records)
	if diff := cmp.Diff([]string{"ce 2", "kd 9", "kd 10", "dhkd 1"}, names(records)); diff != "" {
		t.Error(diff)
	}
}

func FuzzLoad(f *testing.F) {
	good, err := json.Marshal(newRecord(f, "dhkd", 1, 10, 20))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"schema": 1, "epochs": [{"metrics": {"a": "nan", "b": null}}]}`))
	path := filepath.Join(f.TempDir(), record.FileName)
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := record.Load(path)
		if err != nil {
			return
		}
		if err := r.Save(path); err != nil {
			t.Fatal(err)
		}
		back, err := record.Load(path)
		if err != nil || !cmp.Equal(r, back, cmpopts.EquateNaNs(), cmpopts.EquateEmpty()) {
			t.Fatalf("%v\n%s", err, cmp.Diff(r, back, cmpopts.EquateNaNs(), cmpopts.EquateEmpty()))
		}
	})
}
