package sweep

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/internal/claim"
	"github.com/dhkd-lab/dhkd-go/dhkd/internal/progress"
)

// local is a planned sweep of the tiny experiment, some of it replaced, and what makes it here.
func local(t *testing.T, sweep string, slots int, replace ...string) *Local {
	t.Helper()
	dir := filepath.Join(t.TempDir(), `a 100% "sweep" #[1]`)
	s := parse(t, sweep)
	check(t, os.WriteFile(s.Recipes[0], []byte(strings.NewReplacer(replace...).Replace(tiny)), 0o600))
	p, err := Expand(s)
	check(t, err)
	check(t, p.Save(dir, false))
	return &Local{Dir: dir, Plan: p, Slots: Slots(slots, nil, false), Retries: 2, Command: program(dir), Poll: 20 * time.Millisecond}
}

// wantDone checks that every run of a sweep is completed, that none of its epochs was lost, and that none was done
// twice but those that a killed process had not saved: where exactly is true, none at all.
func wantDone(t *testing.T, l *Local, exactly bool) {
	t.Helper()
	for _, s := range (&Surveyor{Dir: l.Dir, Plan: l.Plan}).Survey() {
		if s.State != Completed || s.Record.Last != s.Run.Recipe.Schedule.Epochs {
			t.Errorf("%s is %s: %s", s.Run.ID, s.State, s.Message)
		}
	}
	records, problems := record.LoadDir(l.Dir)
	if len(records) != len(l.Plan.Runs) || len(problems) > 0 {
		t.Errorf("%d records of %d runs: %v", len(records), len(l.Plan.Runs), problems)
	}
	text, err := os.ReadFile(filepath.Join(l.Dir, ledgerFile))
	check(t, err)
	times := map[string]int{}
	position, doneAt := 0, map[string]int{}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		times[fields[0]+" "+fields[1]]++
		position++
		doneAt[fields[0]] = position
	}
	for _, run := range l.Plan.Runs {
		for epoch := 1; epoch <= run.Recipe.Schedule.Epochs; epoch++ {
			n := times[run.ID+" "+strconv.Itoa(epoch)]
			if n == 0 && exactly || n > 1 {
				t.Errorf("epoch %d of %s was done %d times", epoch, run.ID, n)
			}
		}
		if run.After != "" && doneAt[run.After] > doneAt[run.ID] {
			t.Errorf("%s ended before its teacher", run.ID)
		}
	}
}

func TestLocal(t *testing.T) {
	l := local(t, "seeds: [1, 2, 3, 4]", 3)
	var out safeBuffer
	l.Show = NewDisplay(&out, progress.Auto)
	_, err := l.Run(t.Context())
	check(t, err)
	wantDone(t, l, true)
	for _, want := range []string{"slot 0: tiny/smoke/teacher-seed1\n", "tiny/smoke/kd-seed4: completed, 44.00 %, ", "9 of 9 completed | "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in %s", want, out.String())
		}
	}
	before, err := os.ReadFile(filepath.Join(l.Dir, ledgerFile))
	check(t, err)
	_, err = l.Run(t.Context()) // there is nothing left to do
	check(t, err)
	if after, _ := os.ReadFile(filepath.Join(l.Dir, ledgerFile)); string(after) != string(before) {
		t.Error("runs were made again")
	}
}

// Runs that fail, and processes that crash, concern nobody but the runs that learn from them.
func TestLocalFailures(t *testing.T) {
	l := local(t, "seeds: [1, 2]", 2, "name: teacher,", "name: fails,", "run: teacher", "run: fails", "name: ce, method: {name: ce}, teacher",
		"name: crashes, method: {name: ce}, teacher")
	all, err := l.Run(t.Context())
	if err == nil || err.Error() != "2 of 5 completed, 1 failed, 2 blocked: dhkd sweep status says why" {
		t.Error(err)
	}
	want := map[string]State{"fails-seed1": Failed, "crashes-seed1": Completed, "crashes-seed2": Completed, "kd-seed1": Blocked, "kd-seed2": Blocked}
	for _, s := range all {
		if name := strings.TrimPrefix(s.Run.ID, "tiny/smoke/"); s.State != want[name] {
			t.Errorf("%s is %s (%s), want %s", name, s.State, s.Message, want[name])
		}
	}
	if aside, err := Retry(t.Context(), l.Dir, l.Plan, nil); err != nil || len(aside) != 1 || filepath.Base(aside[0]) != "record-failed-1.json" {
		t.Errorf("%v %v", aside, err)
	}
	if s := (&Surveyor{Dir: l.Dir, Plan: l.Plan}).Survey()[0]; s.State != Waiting {
		t.Errorf("after retry: %s", s.State)
	}
}

// --retries counts the tries of a run that gets no further: with 0 there is one, and whatever gets on is tried again.
func TestRetries(t *testing.T) {
	for _, retries := range []int{0, 2} {
		l := local(t, "runs: [ce]\nseeds: [1]", 1)
		l.Retries = retries
		tried := filepath.Join(l.Dir, "tried")
		l.Command = func(ctx context.Context, _ *Run) *exec.Cmd {
			return exec.CommandContext(ctx, "sh", "-c", `echo >>"$1"; exit 1`, "sh", tried)
		}
		begun := newRecord(l.Plan.Runs[0].Recipe) // what was done before is no getting on
		addEpoch(begun)
		check(t, begun.Save(record.Path(l.Dir, begun.Recipe)))
		_, err := l.Run(t.Context())
		if err == nil || !strings.HasPrefix(err.Error(), "0 of 1 completed") {
			t.Error(err)
		}
		if text, _ := os.ReadFile(tried); len(text) != retries+1 {
			t.Errorf("--retries %d: tried %d times", retries, len(text))
		}

		l = local(t, "runs: [crashes]\nseeds: [1]", 1, "name: ce, method: {name: ce}, teacher",
			"name: crashes, method: {name: ce}, teacher")
		l.Retries = retries
		_, err = l.Run(t.Context())
		check(t, err)
		wantDone(t, l, true)
	}
}

// A process that does not end when it is told to is killed, and one whose standard output outlives it is not waited for:
// a sweep ends.
func TestGrace(t *testing.T) {
	l := local(t, "runs: [ce]\nseeds: [1]", 1)
	l.Retries, l.Grace = 0, 100*time.Millisecond
	begun := filepath.Join(l.Dir, "begun")
	for name, script := range map[string]string{
		"deaf":     `trap "" TERM; echo >"$1"; while :; do sleep 0.05; done`,
		"survived": `sleep 60 & echo $! >"$1"`,
	} {
		l.Command = func(ctx context.Context, _ *Run) *exec.Cmd {
			return exec.CommandContext(ctx, "sh", "-c", script, "sh", begun)
		}
		check(t, os.RemoveAll(begun))
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
				if text, err := os.ReadFile(begun); err == nil && len(text) > 0 {
					break
				}
			}
			if name == "deaf" {
				cancel()
			}
		}()
		start := time.Now()
		_, err := l.Run(ctx)
		cancel()
		if took := time.Since(start); err == nil || took > 30*time.Second {
			t.Errorf("%s: %v after %v", name, err, took)
		}
		if text, err := os.ReadFile(begun); err == nil && name == "survived" {
			pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
			check(t, err)
			kill(t, pid)
		}
	}
}

// kill ends one process. 0 and less would mean a group of them, that of the tests too.
func kill(t *testing.T, pid int) {
	t.Helper()
	if pid <= 0 {
		t.Fatalf("%d is not one process", pid)
	}
	check(t, syscall.Kill(pid, syscall.SIGKILL))
}

// A full disk ends the sweep with what was wrong; when there is room again it goes on, and nothing is lost.
func TestLocalDiskFull(t *testing.T) {
	l := local(t, "runs: [ce]\nseeds: [1, 2, 3, 4, 5, 6, 7, 8]", 2)
	full := filepath.Join(l.Dir, diskFull)
	check(t, os.WriteFile(full, nil, 0o600))
	_, err := l.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "errors in a row: 0 of 8 completed") ||
		!strings.Contains(err.Error(), "file too large") {
		t.Error(err)
	}
	check(t, os.Remove(full))
	_, err = l.Run(t.Context())
	check(t, err)
	wantDone(t, l, true)
}

// When its context ends, processes save and end; the same call goes on.
func TestLocalInterrupted(t *testing.T) {
	l := local(t, "seeds: [1, 2, 3]", 2)
	slow := filepath.Join(l.Dir, slowFile)
	check(t, os.WriteFile(slow, nil, 0o600))
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		waitForLedger(t, l.Dir, 10) // two runs are done, two others are not
		cancel()
	}()
	_, err := l.Run(ctx)
	if err == nil || !strings.HasPrefix(err.Error(), "interrupted: ") {
		t.Fatal(err)
	}
	stopped := 0
	for _, s := range l.all {
		if s.State == Stopped && s.Record.Status != record.Interrupted || s.State == Running {
			t.Errorf("%s is %s, its record %s", s.Run.ID, s.State, s.Record.Status)
		}
		if s.State == Stopped {
			stopped++
		}
	}
	if stopped == 0 {
		t.Errorf("no run was stopped: %+v", Count(l.all))
		for _, s := range l.all {
			text, _ := os.ReadFile(filepath.Join(s.Run.Dir(l.Dir), LogFile))
			t.Logf("%s %s %s", s.Run.ID, s.State, text)
		}
	}
	check(t, os.Remove(slow))
	_, err = l.Run(t.Context())
	check(t, err)
	wantDone(t, l, true)
}

func waitForLedger(t *testing.T, dir string, entries int) {
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if text, err := os.ReadFile(filepath.Join(dir, ledgerFile)); err == nil && strings.Count(string(text), "\n") >= entries {
			return
		}
	}
	t.Error("the sweep does not get on")
}

// Processes of runs are killed, the controller is killed with no time to say anything, another is started: nothing is
// lost.
func TestKilled(t *testing.T) {
	l := local(t, "seeds: [1, 2, 3, 4]", 3)
	slow := filepath.Join(l.Dir, slowFile)
	check(t, os.WriteFile(slow, nil, 0o600))
	for i := range 3 {
		c, output := startController(t, l.Dir)
		waitForLedger(t, l.Dir, 4*(i+1))
		var pids []int
		for deadline := time.Now().Add(10 * time.Second); len(pids) == 0; pids = running(t, l) {
			if time.Now().After(deadline) {
				t.Fatalf("nothing runs: %s", output)
			}
		}
		kill(t, pids[0]) // its run is tried again
		waitForLedger(t, l.Dir, 4*(i+1)+3)
		check(t, c.Process.Kill())
		c.Wait()
		for deadline := time.Now().Add(10 * time.Second); len(running(t, l)) > 0; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("processes outlive the controller: %v\n%s", running(t, l), output)
			}
		}
	}
	check(t, os.Remove(slow))
	c, output := startController(t, l.Dir)
	if err := c.Wait(); err != nil {
		t.Errorf("%v\n%s", err, output)
	}
	wantDone(t, l, false)
}

// running are the processes that work on runs of a sweep. The owner of a claim that is just being written is not known.
func running(t *testing.T, l *Local) (pids []int) {
	for _, s := range (&Surveyor{Dir: l.Dir, Plan: l.Plan}).Survey() {
		if s.State == Running && s.Owner.PID > 0 {
			pids = append(pids, s.Owner.PID)
		}
	}
	return pids
}

// Two controllers share a sweep: each run is made once.
func TestTwoControllers(t *testing.T) {
	l := local(t, "seeds: [1, 2, 3, 4, 5, 6]", 3)
	a, outA := startController(t, l.Dir)
	b, outB := startController(t, l.Dir)
	errA, errB := a.Wait(), b.Wait()
	if errA != nil || errB != nil {
		t.Errorf("%v\n%s\n%v\n%s", errA, outA, errB, outB)
	}
	wantDone(t, l, true)
}

// A run that another machine works on is left alone until that machine gives no sign of life, whatever its clock says.
func TestOtherMachine(t *testing.T) {
	l := local(t, "runs: [ce]\nseeds: [1]", 1)
	run := &l.Plan.Runs[0]
	check(t, os.MkdirAll(run.Dir(l.Dir), 0o755))
	path := filepath.Join(run.Dir(l.Dir), ".claim-3")
	tomorrow := time.Now().Add(24 * time.Hour)
	beat := func(n int) {
		text := fmt.Sprintf(`{"host": "far", "pid": 1, "machine": "another", "since": %q, "beat": %d}`, tomorrow.Format(time.RFC3339), n)
		check(t, os.WriteFile(path, []byte(text), 0o644))
		check(t, os.Chtimes(path, tomorrow, tomorrow))
	}
	beat(0)
	done := make(chan error)
	go func() { _, err := l.Run(t.Context()); done <- err }()
	for i := range 100 { // longer than the patience
		time.Sleep(claim.Beat)
		beat(i + 1)
	}
	if _, err := os.Stat(filepath.Join(l.Dir, ledgerFile)); err == nil {
		t.Error("the run was taken from a living process")
	}
	dead := time.Now()
	check(t, <-done)
	if waited := time.Since(dead); waited < claim.Patience {
		t.Errorf("taken over after %v", waited)
	}
	wantDone(t, l, true)
}

// A record that is cut in half is no result, and is said; a run with a checkpoint goes on from there (see package
// experiment).
func TestDamaged(t *testing.T) {
	l := local(t, "runs: [ce]\nseeds: [1, 2]", 1)
	path := record.Path(l.Dir, l.Plan.Runs[0].Recipe)
	check(t, completed(l.Plan.Runs[0].Recipe).Save(path))
	whole, err := os.ReadFile(path)
	check(t, err)
	check(t, os.Truncate(path, int64(len(whole)/2)))
	all, err := l.Run(t.Context())
	if err == nil || !strings.HasPrefix(err.Error(), "1 of 2 completed, 1 damaged") {
		t.Error(err)
	}
	if all[0].State != Damaged || !strings.Contains(all[0].Message, path) {
		t.Errorf("%s: %s", all[0].State, all[0].Message)
	}
	if half, _ := os.ReadFile(path); len(half) != len(whole)/2 {
		t.Error("the damaged record was changed")
	}
	aside, err := Retry(t.Context(), l.Dir, l.Plan, []string{l.Plan.Runs[0].ID})
	check(t, err)
	if len(aside) != 1 || filepath.Base(aside[0]) != "record-damaged-1.json" {
		t.Error(aside)
	}
	_, err = l.Run(t.Context())
	check(t, err)
	wantDone(t, l, true)
	if half, _ := os.ReadFile(aside[0]); len(half) != len(whole)/2 {
		t.Error("what was set aside was changed")
	}
	if _, err := Retry(t.Context(), l.Dir, l.Plan, []string{l.Plan.Runs[0].ID}); err == nil || !strings.Contains(err.Error(), "nothing to retry") {
		t.Error(err)
	}
}

// A run of another recipe under the same name is neither taken for the plan's nor touched.
func TestOtherRecipe(t *testing.T) {
	l := local(t, "runs: [ce]\nseeds: [1]", 1)
	other := l.Plan.Runs[0].Recipe
	other.BatchSize = 16
	check(t, completed(other).Save(record.Path(l.Dir, other)))
	all, err := l.Run(t.Context())
	if err == nil || all[0].State != Damaged || !strings.Contains(all[0].Message, "it differs in batch_size") {
		t.Errorf("%v %+v", err, all[0])
	}
	if _, err := Retry(t.Context(), l.Dir, l.Plan, nil); err == nil || !strings.Contains(err.Error(), "batch_size") {
		t.Error(err)
	}
}
