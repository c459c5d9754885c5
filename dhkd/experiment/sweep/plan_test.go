package sweep

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/report"
)

func TestSave(t *testing.T) {
	dir := t.TempDir()
	recipe := recipeFile(t, tiny)
	plan := func(sweep string) *Plan {
		s, err := record.ParseSweep("sweep.yaml", fmt.Appendf(nil, "name: test\nrecipes: [%s]\n%s", recipe, sweep))
		check(t, err)
		p, err := Expand(s)
		check(t, err)
		return p
	}
	one := plan("runs: [ce]\nseeds: [1]")
	check(t, one.Save(dir, false))
	check(t, plan("runs: [ce]\nseeds: [1]").Save(dir, false)) // the same again
	for _, c := range []struct {
		sweep  string
		extend bool
		want   string
	}{
		{"runs: [ce]\nseeds: [2]", true, "its run tiny/smoke/ce-seed1 is not in this one"},
		{"runs: [ce]\nseeds: [1]\nset: {batch_size: 16}", true, "its run tiny/smoke/ce-seed1 has another batch_size"},
		{"runs: [ce]\nseeds: [1, 2]", false, "--extend"},
	} {
		err := plan(c.sweep).Save(dir, c.extend)
		if !errors.Is(err, ErrOtherPlan) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v, want %s", c.sweep, err, c.want)
		}
		if p, err := Load(dir); err != nil || p.Digest != one.Digest {
			t.Errorf("the plan was changed (%v)", err)
		}
	}
	check(t, plan("runs: [ce]\nseeds: [2, 1]").Save(dir, true))
	if p, err := Load(dir); err != nil || len(p.Runs) != 2 {
		t.Errorf("extended: %v %v", p, err)
	}
}

// Of two sweeps that are planned in one directory at the same time, one is there, whole, and the other is refused.
func TestSaveAtOnce(t *testing.T) {
	for range 20 {
		dir := t.TempDir()
		plans := []*Plan{expand(t, "runs: [ce]"), expand(t, "runs: [kd]")}
		errs := make([]error, 2)
		var both sync.WaitGroup
		for i, p := range plans {
			both.Go(func() { errs[i] = p.Save(dir, false) })
		}
		both.Wait()
		winner := 0
		if errs[0] != nil {
			winner = 1
		}
		if errs[winner] != nil || !errors.Is(errs[1-winner], ErrOtherPlan) {
			t.Fatal(errs)
		}
		if p, err := Load(dir); err != nil || p.Digest != plans[winner].Digest {
			t.Fatal(err)
		}
	}
}

func TestLoadDamaged(t *testing.T) {
	dir := t.TempDir()
	check(t, expand(t, "").Save(dir, false))
	path := filepath.Join(dir, PlanFile)
	whole, err := os.ReadFile(path)
	check(t, err)
	for _, c := range []struct{ text, want string }{
		{string(whole[:len(whole)/2]), "not valid JSON"},
		{strings.Replace(string(whole), `"learning_rate": 0.05`, `"learning_rate": 0.5`, 1), "not those that were planned"},
		{strings.Replace(string(whole), `"schema": 1`, `"schema": 2`, 1), "format 2"},
		{strings.Replace(string(whole), `"name": "test"`, `"names": "test"`, 1), "unknown field"},
	} {
		check(t, os.WriteFile(path, []byte(c.text), 0o600))
		if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
	if _, err := Load(t.TempDir()); err == nil || !strings.Contains(err.Error(), "holds no sweep") {
		t.Error(err)
	}
}

// A thousand records are surveyed and reported in seconds.
func TestThousandRecords(t *testing.T) {
	p := expand(t, thousand)
	dir, to := t.TempDir(), t.TempDir()
	check(t, p.Save(dir, false))
	for _, r := range p.Runs { // not by Save, which waits for the disk
		text, err := json.Marshal(completed(r.Recipe))
		check(t, err)
		check(t, os.MkdirAll(r.Dir(dir), 0o755))
		check(t, os.WriteFile(record.Path(dir, r.Recipe), text, 0o600))
	}
	start := cpuTime(t)
	p, err := Load(dir)
	check(t, err)
	if counts := Count((&Surveyor{Dir: dir, Plan: p}).Survey()); counts[Completed] != len(p.Runs) {
		t.Error(counts)
	}
	var text strings.Builder
	records, problems := record.LoadDir(dir)
	check(t, errors.Join(problems...))
	check(t, report.Text(&text, records))
	took := cpuTime(t) - start
	if took > 10*time.Second {
		t.Errorf("took %v of a core's time", took)
	}
	collected, err := Collect(to, []string{dir}, false)
	check(t, err)
	if len(records) != len(p.Runs) || len(collected.Records) != len(p.Runs) || collected.Copied != len(p.Runs) {
		t.Errorf("%d records, %d collected, %d copied", len(records), len(collected.Records), collected.Copied)
	}
	t.Logf("%d records surveyed and reported in %v of a core's time; with collecting them %v", len(p.Runs), took, cpuTime(t)-start)
	if n := strings.Count(text.String(), "learning_rate0.05-"); n < 20 {
		t.Errorf("the report names %d runs of 0.05:\n%s", n, text.String())
	}
}
