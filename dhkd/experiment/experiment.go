// Package experiment turns recipes into records: it loads the data and the teacher, trains, evaluates, and keeps in each run's
// directory its record, checkpoint, weights and TensorBoard events, so that any run can be interrupted and continued.
package experiment

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/dhkd-lab/dhkd-go/dhkd/dataset"
	"github.com/dhkd-lab/dhkd-go/dhkd/device"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/internal/claim"
	"github.com/dhkd-lab/dhkd-go/dhkd/internal/progress"
	"github.com/dhkd-lab/dhkd-go/dhkd/train"
)

// Files in a run's directory beside [record.FileName].
const (
	CheckpointFile = "checkpoint.safetensors" // while the run is not finished
	WeightsFile    = "weights.safetensors"    // of the trained network, after the last epoch
	EventsDir      = "events"                 // for TensorBoard
)

// saveInterval is how much work a killed run may lose. An interrupted or failed one loses none.
var saveInterval = 15 * time.Second

// ErrBusy is returned when another process works in the run's directory, on this machine or on one that shares it, or has
// taken the run over from this one.
var ErrBusy = claim.ErrBusy

// Runner runs recipes. It keeps the data and the compiled programs of the last run for the next one that can use them.
type Runner struct {
	Device   *device.Device
	Dir      string          // records go to Dir/experiment/profile/name-seedN/
	Devices  int             // that each batch is divided among, of the backend's; 0 = one
	Data     dataset.Options // where data are and whether to fetch them; its counts and seed are the recipe's
	Progress Progress        // nil = none; see [NewProgress]
	// AcceptTeacher uses published weights as a teacher even where their accuracy is not the published one, or their data
	// set is another.
	AcceptTeacher bool

	// Stages is what the runner has done so far: data that it loaded, and runs that were not there yet.
	Stages []Stage

	data       *dataset.Set
	dataKey    string
	trainer    *train.Trainer
	trainerKey string
	teacher    *teacherFile       // of the last run that had one
	logits     *viewLogits        // of the last teacher whose logits were computed before
	checked    map[string]float64 // accuracies that were compared with published ones, by SHA-256
}

// Stage is a part of a runner's work and the time it took: in all, and of a run in compiling programs (or loading kept
// ones), in training steps and in evaluating. The rest of a run is setting up, the teacher's evaluation and writing files.
type Stage struct {
	Name                          string
	All, Compile, Train, Evaluate time.Duration
}

// Progress shows how runs get on; Update is where a run stands.
type (
	Progress = progress.Progress
	Update   = progress.Update
)

// NewProgress shows progress on w: a live line on a terminal, a line per epoch elsewhere.
func NewProgress(w io.Writer) Progress { return progress.New(w, progress.Auto) }

// Run returns the record of the recipe's run: made anew, continued from a checkpoint, or as it is when the run has ended.
// The teacher's run must have been completed (see [Runner.RunAll]). When ctx ends the step in progress is finished, all is
// saved, and the error is [train.ErrInterrupted]. A loss that is NaN or infinite ends the run where the recipe says so: its
// record is saved as failed and the error is a [train.NonFiniteError].
func (r *Runner) Run(ctx context.Context, recipe record.Recipe) (*record.Record, error) {
	if err := recipe.Validate(); err != nil {
		return nil, fmt.Errorf("recipe of run %s: %w", recipe.Name, err)
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("%s: %w", title(recipe), train.ErrInterrupted)
	}
	if r.Progress == nil {
		r.Progress = progress.New(io.Discard, progress.Quiet)
	}
	dir := record.Dir(r.Dir, recipe)
	old, err := existing(dir, recipe)
	if err != nil {
		return nil, err
	}
	if old != nil && old.Ended() {
		return r.keep(old, dir)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	claimed, err := claim.Acquire(ctx, dir, r.Progress.Note)
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%s: %w", title(recipe), train.ErrInterrupted)
	case errors.Is(err, ErrBusy):
		return nil, fmt.Errorf("%s: %w: wait for it, or choose another directory", dir, err)
	case err != nil:
		return nil, err
	}
	defer claimed.Release()
	if old, err = existing(dir, recipe); err != nil { // what it is now that nobody else changes it
		return nil, err
	}
	if old != nil && old.Ended() {
		return r.keep(old, dir)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-claimed.Lost():
			cancel()
		case <-ctx.Done():
		}
	}()
	job := &job{Runner: r, recipe: recipe, dir: dir, claim: claimed, record: old}
	return job.run(ctx)
}

// keep returns the record of a run that has ended before.
func (r *Runner) keep(old *record.Record, dir string) (*record.Record, error) {
	r.Progress.Note(fmt.Sprintf("%s: already %s, kept (%s)", title(old.Recipe), old.Status, dir))
	return old, failure(old)
}

// RunAll runs an experiment's recipes in order, teachers first, and returns the records in that order. A run that fails by
// a loss that is not finite is recorded as failed, and the others go on.
func (r *Runner) RunAll(ctx context.Context, recipes []record.Recipe) ([]*record.Record, error) {
	var records []*record.Record
	var failures []error
	for _, recipe := range recipes {
		rec, err := r.Run(ctx, recipe)
		if rec != nil {
			records = append(records, rec)
		}
		var nonFinite *train.NonFiniteError
		if errors.As(err, &nonFinite) {
			failures = append(failures, err)
		} else if err != nil {
			return records, errors.Join(append(failures, err)...)
		}
	}
	return records, errors.Join(failures...)
}

// existing returns the record in a run's directory, or nil. Nothing of a run with another recipe is touched.
func existing(dir string, recipe record.Recipe) (*record.Record, error) {
	path := filepath.Join(dir, record.FileName)
	old, err := record.Load(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if field := Differs(old.Recipe, recipe); field != "" {
		return nil, fmt.Errorf("%s holds a run with another recipe (it differs in %s): choose another directory, "+
			"or move this one away", dir, field)
	}
	return old, nil
}

// Differs names the first field in which two recipes' runs differ, or "". Labels do not change a run.
func Differs(a, b record.Recipe) string {
	a.Label, a.Tuning = b.Label, b.Tuning
	fields := func(r record.Recipe) map[string]json.RawMessage {
		if len(r.Schedule.Milestones) == 0 {
			r.Schedule.Milestones = nil
		}
		text, _ := json.Marshal(r)
		var m map[string]json.RawMessage
		_ = json.Unmarshal(text, &m)
		return m
	}
	ma, mb := fields(a), fields(b)
	for _, name := range []string{"dataset", "teacher", "model", "method", "optimizer", "schedule", "batch_size", "seed",
		"non_finite", "measure"} {
		if string(ma[name]) != string(mb[name]) {
			return name
		}
	}
	return ""
}

// failure is the error of a run that was recorded as failed.
func failure(r *record.Record) error {
	if r.Status != record.Failed {
		return nil
	}
	return fmt.Errorf("%s: %w", title(r.Recipe), &train.NonFiniteError{
		Term: r.Failure.Term, Epoch: r.Failure.Epoch, Step: r.Failure.Step, Message: r.Failure.Message,
	})
}

func title(r record.Recipe) string { return fmt.Sprintf("%s seed %d", r.Name, r.Seed) }
