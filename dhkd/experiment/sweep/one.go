package sweep

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/internal/safefile"
	"github.com/dhkd-lab/dhkd-go/dhkd/train"
)

// Ready says why a run cannot be made now, or nil: its teacher must have been trained.
func (p *Plan) Ready(dir string, run *Run) error {
	if run.After == "" {
		return nil
	}
	teacher := p.Find(run.After)
	rec, err := record.Load(record.Path(dir, teacher.Recipe))
	if err != nil {
		return fmt.Errorf("%s: its teacher, %s, is not there: %w", run.ID, run.After, err)
	}
	if rec.Status != record.Completed {
		return fmt.Errorf("%s: its teacher, %s, is %s: it comes first", run.ID, run.After, rec.Status)
	}
	return nil
}

// One makes one run of the plan, or goes on with it: what every engine's processes do. An error stays in the run's
// directory, for [Surveyor.Survey], until the next try.
func One(ctx context.Context, r *experiment.Runner, p *Plan, run *Run) (*record.Record, error) {
	note := filepath.Join(run.Dir(r.Dir), errorFile)
	err := p.Ready(r.Dir, run)
	var rec *record.Record
	if err == nil {
		rec, err = r.Run(ctx, run.Recipe)
	}
	var nonFinite *train.NonFiniteError
	switch {
	case errors.Is(err, experiment.ErrBusy): // whose directory it is
	case err == nil || errors.Is(err, train.ErrInterrupted) || errors.As(err, &nonFinite):
		os.Remove(note)
	default:
		// The error itself counts, and the process ends with it.
		_ = safefile.Write(note, func(w io.Writer) error { _, err := fmt.Fprintln(w, err); return err })
	}
	return rec, err
}
