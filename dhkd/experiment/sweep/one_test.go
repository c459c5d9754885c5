package sweep

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dhkd-lab/dhkd-go/dhkd/dataset"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/internal/claim"
)

// What a run's process ended with is known to all who look, until it is tried again.
func TestOne(t *testing.T) {
	l := local(t, "runs: [kd]\nseeds: [1]", 1)
	r := &experiment.Runner{Dir: l.Dir, Data: dataset.Options{Dir: filepath.Join(l.Dir, "nowhere")}}
	teacher, student := &l.Plan.Runs[0], &l.Plan.Runs[1]
	if _, err := One(t.Context(), r, l.Plan, student); err == nil || !strings.Contains(err.Error(), "its teacher, "+teacher.ID) {
		t.Error(err)
	}
	_, err := One(t.Context(), r, l.Plan, teacher)
	if err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Fatal(err)
	}
	surveyor := &Surveyor{Dir: l.Dir, Plan: l.Plan}
	if s := surveyor.Look(teacher); s.State != Errored || s.Message != err.Error() {
		t.Errorf("%s: %s, want %v", s.State, s.Message, err)
	}

	// Another process that finds the run taken says nothing of it.
	claimed, err := claim.Acquire(t.Context(), teacher.Dir(l.Dir), func(string) {})
	check(t, err)
	check(t, os.Remove(filepath.Join(teacher.Dir(l.Dir), errorFile)))
	if _, err := One(t.Context(), r, l.Plan, teacher); !errors.Is(err, experiment.ErrBusy) {
		t.Error(err)
	}
	if s := surveyor.Look(teacher); s.State != Running || s.Owner.PID != os.Getpid() {
		t.Errorf("%s by %v", s.State, s.Owner)
	}
	claimed.Release()
	if s := surveyor.Look(teacher); s.State != Waiting {
		t.Errorf("%s: %s", s.State, s.Message)
	}
	check(t, completed(teacher.Recipe).Save(record.Path(l.Dir, teacher.Recipe)))
	if rec, err := One(t.Context(), r, l.Plan, teacher); err != nil || rec.Status != record.Completed {
		t.Errorf("a completed run: %v", err)
	}
}
