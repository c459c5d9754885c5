package nb

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// analysed puts an analysis without parts beside where a run's record is.
func analysed(t *testing.T, dir, profile, run string, seed uint64) {
	t.Helper()
	e := Experiment{Offline: "quickstart", Runs: []string{run}}
	recipes, err := e.Recipes(Offline)
	if err != nil {
		t.Fatal(err)
	}
	r := recipes[len(recipes)-1]
	r.Profile, r.Seed = profile, seed
	at := record.Dir(dir, r)
	if err := os.MkdirAll(at, 0o755); err != nil {
		t.Fatal(err)
	}
	a := &record.Analysis{Schema: record.AnalysisSchema, Recipe: r}
	if err := a.Save(filepath.Join(at, record.AnalysisFile)); err != nil {
		t.Fatal(err)
	}
}

func TestFindAnalyses(t *testing.T) {
	checkout(t)
	quickstart := Experiment{Offline: "quickstart", Runs: []string{"kd", "dhkd"}}
	find := func(profile string, want ...string) foundAnalyses {
		t.Helper()
		f, err := quickstart.findAnalyses(profile, profile == Offline)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, a := range f.analyses {
			got = append(got, filepath.Base(record.Dir("", a.Recipe)))
		}
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("profile %s: %q, want %q", profile, got, want)
		}
		return f
	}
	find(Offline)
	analysed(t, smokeDir(), Smoke, "kd", 1)
	find(Offline, "kd-seed1")
	for _, seed := range []uint64{2, 1} {
		analysed(t, "records", Offline, "dhkd", seed)
		analysed(t, "records", Offline, "kd", seed)
	}
	analysed(t, "records", Offline, "ce", 1) // nobody asked for it
	if f := find(Offline, "kd-seed1", "kd-seed2", "dhkd-seed1", "dhkd-seed2"); f.place != "notebooks/records/quickstart" {
		t.Errorf("from %s", f.place)
	}
	find(Smoke, "kd-seed1")
	damaged := filepath.Join("records/quickstart/offline/kd-seed2", record.AnalysisFile)
	if err := os.WriteFile(damaged, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := find(Offline, "kd-seed1", "dhkd-seed1", "dhkd-seed2")
	if len(f.notes) != 1 || !strings.Contains(f.notes[0], damaged) {
		t.Errorf("notes %q", f.notes)
	}
}
