package experiment

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/dhkd-lab/dhkd-go/dhkd/device/devicetest"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/internal/claim"
	"github.com/dhkd-lab/dhkd-go/dhkd/internal/progress"
	"github.com/dhkd-lab/dhkd-go/dhkd/train"
)

// tiny is an experiment of seconds, most of which go into compilation.
const tiny = `
name: tiny
profile: smoke
dataset: {name: fashion-pairs-100, train: 96, test: 200, seed: 1}
model: {name: resnet8}
teacher: {run: teacher}
batch_size: 32
optimizer: {learning_rate: 0.05, momentum: 0.9, weight_decay: 5e-4}
schedule: {epochs: 3, milestones: [2], rate: 0.1, evaluate_every: 1}
seeds: [1]
runs:
  - {name: teacher, method: {name: ce}}
  - {name: kd, method: {name: kd, gamma: 0.1, alpha: 0.9, temperature: 4}}
  - {name: stops, method: {name: ce+binarykl, gamma: 1, alpha: 1, temperature: 1, literal: true},
     optimizer: {learning_rate: 1}}
  - {name: goes-on, method: {name: ce+binarykl, gamma: 1, alpha: 1, temperature: 1, literal: true},
     optimizer: {learning_rate: 1}, non_finite: continue}
  - name: dhkd
    model: {aux_head: nonlinear}
    dataset: {augment: crop-flip, pad: 2}
    method: {name: dhkd, gamma: 1, alpha: 1, temperature: 2, align: true}
`

// shared keeps its programs from test to test.
var shared Runner

// newRunner returns the shared runner, set to an empty directory.
func newRunner(t *testing.T) *Runner {
	t.Helper()
	shared.Device, shared.Dir, shared.Progress = devicetest.Open(t), t.TempDir(), nil
	return &shared
}

func openTiny(t *testing.T) *record.Experiment {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tiny.yaml")
	check(t, os.WriteFile(path, []byte(tiny), 0o600))
	e, err := Open(path)
	check(t, err)
	return e
}

func resolve(t *testing.T, e *record.Experiment, name string) record.Recipe {
	t.Helper()
	recipe, err := e.Resolve(name, 1)
	check(t, err)
	return recipe
}

// Wherever a run is interrupted, it ends as if it had not been, bit for bit.
func TestInterrupted(t *testing.T) {
	r, recipe := newRunner(t), resolve(t, openTiny(t), "teacher")
	want := reference(t, r, recipe)
	for i, at := range []struct {
		name        string
		epoch, step int // finished ones, as the record and the note of the next part say
		arm         func(h *hooks, cancel func())
	}{
		{"before the first step", 0, 0, func(_ *hooks, cancel func()) { cancel() }},
		{"at the end of an epoch", 1, 0, func(h *hooks, cancel func()) { h.epoch = onEpoch(1, cancel) }},
		{"in an epoch", 1, 2, func(h *hooks, cancel func()) { h.step = onStep(2, 2, cancel) }},
		{"after the last step of an epoch", 1, 3, func(h *hooks, cancel func()) { h.step = onStep(2, 3, cancel) }},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		h := newHooks(r)
		at.arm(h, cancel)
		rec, err := r.Run(ctx, recipe)
		if !errors.Is(err, train.ErrInterrupted) || err.Error() != "teacher seed 1: interrupted; everything is saved" {
			t.Fatalf("%s: %v", at.name, err)
		}
		if i == 0 {
			continue
		}
		stored, err := record.Load(record.Path(r.Dir, recipe))
		check(t, err)
		if diff := cmp.Diff(rec, stored, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: the record returned (-) and the one stored: %s", at.name, diff)
		}
		if rec.Status != record.Interrupted || rec.Last != at.epoch || rec.Resumed != i-1 {
			t.Errorf("%s: %s after epoch %d, resumed %d times", at.name, rec.Status, rec.Last, rec.Resumed)
		}
		if !strings.Contains(h.done, "run the same command again to continue") {
			t.Errorf("%s: %q", at.name, h.done)
		}
	}
	newHooks(r).step = onStep(3, 1, func() {
		stored, err := record.Load(record.Path(r.Dir, recipe))
		check(t, err)
		if stored.Status != record.Running || stored.Last != 1 {
			t.Errorf("while it runs again: %s after epoch %d", stored.Status, stored.Last)
		}
	})
	rec, err := r.Run(t.Context(), recipe)
	check(t, err)
	if rec.Status != record.Completed || rec.Resumed != 3 {
		t.Errorf("%s, resumed %d times", rec.Status, rec.Resumed)
	}
	compare(t, want, r, recipe)
	checkEvents(t, record.Dir(r.Dir, recipe), rec)
}

// The same of dropout, augmentation and gradient alignment, with programs compiled anew. The teacher must still be the
// one that it was.
func TestInterruptedDHKD(t *testing.T) {
	r, e := newRunner(t), openTiny(t)
	teacher, recipe := resolve(t, e, "teacher"), resolve(t, e, "dhkd")
	records, err := r.RunAll(t.Context(), []record.Recipe{teacher, recipe})
	check(t, err)
	if ref := records[1].Teacher; ref == nil || ref.Top1 != records[0].Epochs[2].Metrics[record.MetricStudentTest] ||
		ref.Model != "resnet8" || ref.SHA256 != digest(t, WeightsPath(r.Dir, teacher)) {
		t.Errorf("teacher: %+v", ref)
	}
	want := reference(t, r, recipe)

	ctx, cancel := context.WithCancel(t.Context())
	newHooks(r).step = onStep(2, 2, cancel)
	if _, err := r.Run(ctx, recipe); !errors.Is(err, train.ErrInterrupted) {
		t.Fatal(err)
	}
	fresh := &Runner{Device: r.Device, Dir: r.Dir}
	defer fresh.Close()

	network, metadata, err := LoadNetwork(WeightsPath(r.Dir, teacher))
	check(t, err)
	original := read(t, WeightsPath(r.Dir, teacher))
	metadata["note"] = "another file"
	check(t, train.SaveNetwork(WeightsPath(r.Dir, teacher), network, metadata))
	before := snapshot(t, record.Dir(r.Dir, recipe))
	_, err = fresh.Run(t.Context(), recipe)
	wantError(t, err, "dhkd seed 1", "teacher", "not those that it was started with", record.Dir(r.Dir, recipe), "move")
	unchanged(t, record.Dir(r.Dir, recipe), before)

	check(t, os.WriteFile(WeightsPath(r.Dir, teacher), original, 0o600))
	_, err = fresh.Run(t.Context(), recipe)
	check(t, err)
	compare(t, want, r, recipe)
}

func TestBusy(t *testing.T) {
	r, recipe := newRunner(t), resolve(t, openTiny(t), "teacher")
	want := reference(t, r, recipe)
	var busy error
	newHooks(r).step = onStep(2, 1, func() {
		_, busy = (&Runner{Device: r.Device, Dir: r.Dir}).Run(t.Context(), recipe)
	})
	_, err := r.Run(t.Context(), recipe)
	check(t, err)
	if !errors.Is(busy, ErrBusy) {
		t.Error(busy)
	}
	wantError(t, busy, record.Dir(r.Dir, recipe), "another process is working on this run",
		"wait for it, or choose another")
	compare(t, want, r, recipe)
}

// A completed run is not done again.
func TestCompleted(t *testing.T) {
	r, recipe := newRunner(t), resolve(t, openTiny(t), "teacher")
	first, err := r.Run(t.Context(), recipe)
	check(t, err)
	before := snapshot(t, record.Dir(r.Dir, recipe))
	newHooks(r).step = func(progress.Update) { t.Error("it trains") }
	recipe.Label = "another label"
	again, err := r.Run(t.Context(), recipe)
	check(t, err)
	if diff := cmp.Diff(first, again); diff != "" {
		t.Error(diff)
	}
	unchanged(t, record.Dir(r.Dir, recipe), before)
	for _, name := range []string{CheckpointFile, WeightsFile, record.FileName} {
		_, err := os.Stat(filepath.Join(record.Dir(r.Dir, recipe), name))
		if missing := err != nil; missing != (name == CheckpointFile) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// outcome is what must not depend on how often a run was stopped.
type outcome struct {
	weights []byte
	epochs  []record.Epoch
}

// reference runs the recipe without a stop, unless it has been, and moves its directory away.
func reference(t *testing.T, r *Runner, recipe record.Recipe) outcome {
	t.Helper()
	_, err := r.Run(t.Context(), recipe)
	check(t, err)
	o := outcomeOf(t, r, recipe)
	check(t, os.Rename(record.Dir(r.Dir, recipe), filepath.Join(r.Dir, "reference-"+recipe.Name)))
	return o
}

func outcomeOf(t *testing.T, r *Runner, recipe record.Recipe) outcome {
	t.Helper()
	rec, err := record.Load(record.Path(r.Dir, recipe))
	check(t, err)
	for i := range rec.Epochs {
		rec.Epochs[i].Seconds = 0
	}
	return outcome{read(t, WeightsPath(r.Dir, recipe)), rec.Epochs}
}

func compare(t *testing.T, want outcome, r *Runner, recipe record.Recipe) {
	t.Helper()
	got := outcomeOf(t, r, recipe)
	if diff := cmp.Diff(want.epochs, got.epochs, cmpopts.EquateNaNs()); diff != "" {
		t.Error("epochs: ", diff)
	}
	if !bytes.Equal(want.weights, got.weights) {
		t.Error("the weights differ")
	}
}

// hooks observe a runner.
type hooks struct {
	progress.Progress
	step, epoch func(progress.Update)
	done        string
}

func newHooks(r *Runner) *hooks {
	none := func(progress.Update) {}
	h := &hooks{Progress: progress.New(io.Discard, progress.Quiet), step: none, epoch: none}
	r.Progress = h
	return h
}

func (h *hooks) Step(u progress.Update)  { h.step(u) }
func (h *hooks) Epoch(u progress.Update) { h.epoch(u) }
func (h *hooks) Done(message string)     { h.done = message }

func onStep(epoch, step int, f func()) func(progress.Update) {
	return func(u progress.Update) {
		if u.Epoch == epoch && u.Step == step {
			f()
		}
	}
}

func onEpoch(epoch int, f func()) func(progress.Update) {
	return func(u progress.Update) {
		if u.Epoch == epoch {
			f()
		}
	}
}

// snapshot is the content of every file of a directory, but those that say who works there.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	check(t, filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && !claim.IsFile(entry.Name()) {
			files[path] = string(read(t, path))
		}
		return err
	}))
	return files
}

func unchanged(t *testing.T, dir string, before map[string]string) {
	t.Helper()
	after := snapshot(t, dir)
	for path, content := range before {
		if after[path] != content {
			t.Errorf("%s was changed", path)
		}
		delete(after, path)
	}
	for path := range after {
		t.Errorf("%s was made", path)
	}
}

// wantError checks that an error is one line that says all of the parts.
func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Error("no error")
		return
	}
	for _, part := range append(parts, "") {
		if !strings.Contains(err.Error(), part) || strings.Contains(err.Error(), "\n") {
			t.Errorf("want one line with %q: %v", part, err)
		}
	}
}

func digest(t *testing.T, path string) string {
	t.Helper()
	d, err := fileSHA256(path)
	check(t, err)
	return d
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	check(t, err)
	return data
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
