package sweep

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

func TestCollect(t *testing.T) {
	p := expand(t, "runs: [ce, kd]\nseeds: [1, 2]")
	a, b, to := t.TempDir(), t.TempDir(), t.TempDir()
	for i, r := range p.Runs {
		dir := a
		if i%2 == 1 {
			dir = b
		}
		check(t, completed(r.Recipe).Save(record.Path(dir, r.Recipe)))
		check(t, os.WriteFile(experiment.WeightsPath(dir, r.Recipe), []byte(r.ID), 0o600))
	}
	unfinished := newRecord(p.Runs[0].Recipe)
	unfinished.Recipe.Seed = 9
	check(t, unfinished.Save(record.Path(a, unfinished.Recipe)))
	for _, new := range []int{len(p.Runs), 0} { // the second time there is nothing to do
		c, err := Collect(to, []string{a, filepath.Join(b, "tiny")}, true)
		check(t, err)
		if c.Copied != new || len(c.Records) != len(p.Runs) || len(c.Unfinished) != 1 {
			t.Errorf("%d copied, %d records, %d unfinished", c.Copied, len(c.Records), len(c.Unfinished))
		}
	}
	for _, r := range p.Runs {
		if text, err := os.ReadFile(experiment.WeightsPath(to, r.Recipe)); err != nil || string(text) != r.ID {
			t.Errorf("weights of %s: %s %v", r.ID, text, err)
		}
	}

	// The same name with another content, and a record that is cut in half: both are said, the rest is collected.
	other := completed(p.Runs[0].Recipe)
	other.Resumed = 1
	c := t.TempDir()
	check(t, other.Save(record.Path(c, other.Recipe)))
	cut := record.Path(c, p.Runs[1].Recipe)
	check(t, completed(p.Runs[1].Recipe).Save(cut))
	check(t, os.Truncate(cut, 300))
	more := completed(p.Runs[2].Recipe)
	more.Recipe.Seed = 8
	check(t, more.Save(record.Path(c, more.Recipe)))
	before, err := os.ReadFile(record.Path(to, other.Recipe))
	check(t, err)
	collected, err := Collect(to, []string{c}, false)
	for _, want := range []string{record.Path(to, other.Recipe), record.Path(c, other.Recipe), "have the same name and differ", cut} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if collected.Copied != 1 || len(collected.Records) != len(p.Runs)+1 {
		t.Errorf("%d copied, %d records", collected.Copied, len(collected.Records))
	}
	if after, _ := os.ReadFile(record.Path(to, other.Recipe)); string(after) != string(before) {
		t.Error("a record was overwritten")
	}

	// Two sources that differ are both named, not only the copy of the first.
	_, err = Collect(t.TempDir(), []string{a, c}, false)
	for _, want := range []string{record.Path(a, other.Recipe), record.Path(c, other.Recipe)} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	// Collecting into where the records are changes nothing.
	if c, err := Collect(a, []string{a}, true); err != nil || c.Copied != 0 {
		t.Errorf("%+v %v", c, err)
	}
}
