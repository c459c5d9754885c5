package main

import (
	"context"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

type trainCmd struct {
	selection
	runFlags
}

func (trainCmd) Help() string {
	return `Examples:

  dhkd train quickstart --run teacher
  dhkd train my.yaml --run ce --seeds 1,2,3 --set optimizer.learning_rate=0.1 --out runs/lr0.1

Trains the experiment's runs that have no teacher: teachers, and students for comparison. Ctrl-C finishes the step and
saves; the same command continues. A run that is finished is kept.

With --devices N each batch is divided among N devices of the backend. The results are those of one device but for
rounding, so a run may go on with another N. batch_size must be a multiple of N.

` + exits(exitOK, exitFailed, exitUsage, exitMissing, exitBusy, exitInterrupted)
}

// Run trains.
func (c *trainCmd) Run(ctx context.Context, out output) error {
	return c.do(ctx, out, c.runFlags, func(r record.Recipe) bool { return r.Teacher == nil })
}
