package nb

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// checkout makes a directory like the repository's, with the committed records of the quick start, and goes to its
// notebooks.
func checkout(t *testing.T) {
	t.Helper()
	committed, err := filepath.Abs("../records/quickstart/offline")
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	if err := os.CopyFS(filepath.Join(root, "notebooks/records/quickstart/offline"), os.DirFS(committed)); err != nil {
		t.Fatal(err)
	}
	t.Chdir(filepath.Join(root, "notebooks"))
	t.Setenv("GONB_TMP_DIR", t.TempDir())
	t.Setenv(recordsVariable, "")
	t.Setenv(profileVariable, "")
}

// move copies the records to another place of the checkout, changed.
func move(t *testing.T, to string, change func(*record.Record) bool) {
	t.Helper()
	records, problems := record.LoadDir("records/quickstart")
	if len(problems) > 0 || len(records) == 0 {
		t.Fatal(len(records), problems)
	}
	for _, r := range records {
		if change(r) {
			if err := r.Save(record.Path(to, r.Recipe)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func all(*record.Record) bool { return true }

func TestFind(t *testing.T) {
	quickstart := Experiment{Offline: "quickstart", Paper: "cifar-100-resnet32x4-resnet8x4"}
	for _, test := range []struct {
		name       string
		experiment Experiment
		profile    string // DHKD_PROFILE
		prepare    func(t *testing.T)
		place      string
		records    int
		note       string
	}{
		{name: "committed", experiment: quickstart, place: "notebooks/records/quickstart", records: 21},
		{name: "a run and its teacher", experiment: Experiment{Offline: "quickstart", Runs: []string{"kd"}},
			place: "notebooks/records/quickstart", records: 6},
		{name: "a run without a teacher", experiment: Experiment{Offline: "quickstart", Runs: []string{"ce"}},
			place: "notebooks/records/quickstart", records: 3},
		{name: "a run whose teacher is another experiment's",
			experiment: Experiment{Offline: "literal", Runs: []string{"ce+binarykl"}}, prepare: func(t *testing.T) {
				move(t, "records", func(r *record.Record) bool {
					r.Recipe.Experiment = "literal"
					return r.Recipe.Name == "ce+binarykl"
				})
			}, place: "notebooks/records/literal", records: 3},
		{name: "own", experiment: quickstart, prepare: func(t *testing.T) { move(t, "../runs", all) },
			place: "runs/quickstart", records: 21},
		{name: "own, one missing", experiment: quickstart, prepare: func(t *testing.T) {
			move(t, "../runs", func(r *record.Record) bool { return r.Recipe.Name != "kd" })
		}, place: "notebooks/records/quickstart", records: 21,
			note: "runs/quickstart has no finished run kd: not used"},
		{name: "own, one unfinished", experiment: quickstart, prepare: func(t *testing.T) {
			move(t, "../runs", func(r *record.Record) bool {
				if r.Recipe.Name == "kd" && r.Recipe.Seed == 2 {
					r.Status = record.Interrupted
				}
				return true
			})
		}, place: "notebooks/records/quickstart", records: 21,
			note: "no finished run kd seed 2 (interrupted): not used"},
		{name: "named directory", experiment: quickstart, prepare: func(t *testing.T) {
			move(t, "elsewhere", func(r *record.Record) bool { return r.Recipe.Seed == 1 && r.Recipe.Name != "kd" })
			t.Setenv(recordsVariable, "elsewhere")
		}, place: "$DHKD_RECORDS", records: 6, note: "$DHKD_RECORDS has no finished run kd"},
		{name: "named directory of smoke size", experiment: quickstart, prepare: func(t *testing.T) {
			move(t, "elsewhere", func(r *record.Record) bool { r.Recipe.Profile = Smoke; return r.Recipe.Seed == 1 })
			t.Setenv(recordsVariable, "elsewhere")
		}, place: "$DHKD_RECORDS", records: 7},
		{name: "damaged", experiment: quickstart, prepare: func(t *testing.T) {
			path := filepath.Join("records/quickstart/offline/kd-seed1", record.FileName)
			if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, place: "notebooks/records/quickstart", records: 20,
			note: "left out: record records/quickstart/offline/kd-seed1"},
		{name: "smoke", experiment: quickstart, profile: Smoke},
		{name: "smoke, trained before", experiment: quickstart, profile: Smoke, prepare: func(t *testing.T) {
			move(t, smokeDir(), func(r *record.Record) bool { r.Recipe.Profile = Smoke; return r.Recipe.Seed == 1 })
		}, place: "this notebook", records: 7},
		{name: "paper", experiment: quickstart, profile: Paper},
		{name: "no records, trained before", experiment: quickstart, prepare: func(t *testing.T) {
			move(t, smokeDir(), func(r *record.Record) bool { r.Recipe.Profile = Smoke; return r.Recipe.Seed == 1 })
			if err := os.RemoveAll("records"); err != nil {
				t.Fatal(err)
			}
		}, place: "this notebook", records: 7},
	} {
		t.Run(test.name, func(t *testing.T) {
			checkout(t)
			t.Setenv(profileVariable, test.profile)
			if test.prepare != nil {
				test.prepare(t)
			}
			f, err := test.experiment.find(Profile(), test.profile == "")
			if err != nil {
				t.Fatal(err)
			}
			notes := strings.Join(f.notes, "; ")
			noted := strings.Contains(notes, test.note) && (test.note == "") == (notes == "")
			if f.place != test.place || len(f.records) != test.records || !noted {
				t.Errorf("%d records from %q, notes %q; want %d from %q, notes with %q", len(f.records), f.place, notes,
					test.records, test.place, test.note)
			}
		})
	}
	checkout(t)
	_, err := Experiment{Offline: "quickstart"}.find(Paper, false)
	if err == nil || !strings.Contains(err.Error(), "no experiment of the paper's size") {
		t.Errorf("an experiment without a paper's size: %v", err)
	}
	if _, err := (Experiment{Offline: "quickstart", Runs: []string{"none"}}).find(Offline, true); err == nil {
		t.Error("a run that is not there is accepted")
	}
}

func TestRecipes(t *testing.T) {
	names := func(recipes []record.Recipe) (names []string) {
		for _, r := range recipes {
			if err := r.Validate(); err != nil {
				t.Errorf("%s: %v", r.Name, err)
			}
			names = append(names, r.Name)
		}
		return names
	}
	e := Experiment{Offline: "quickstart", Paper: "cifar-100-resnet32x4-resnet8x4",
		Runs: []string{"kd", "dhkd"}, Smoke: []string{"dhkd"}}
	for profile, want := range map[string][]string{Smoke: {"teacher", "dhkd"}, Offline: {"teacher", "kd", "dhkd"}} {
		recipes, err := e.Recipes(profile)
		if err != nil {
			t.Fatal(err)
		}
		if got := names(recipes); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", profile, got, want)
		}
		for _, r := range recipes {
			small := r.Dataset.Train <= 256 && r.Schedule.Epochs <= 2
			if r.Profile != profile || small != (profile == Smoke) {
				t.Errorf("%s: profile %s, %d images, %d epochs", profile, r.Profile, r.Dataset.Train, r.Schedule.Epochs)
			}
		}
	}
	if recipes, err := e.Recipes(Paper); err != nil || len(recipes) == 0 || recipes[0].Dataset.Name != "cifar-100" {
		t.Errorf("the paper's size: %v, %v", recipes, err)
	}
}
