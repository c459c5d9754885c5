package main

import (
	"context"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

type distillCmd struct {
	selection
	runFlags
}

func (distillCmd) Help() string {
	return `Examples:

  dhkd distill quickstart --run dhkd
  dhkd distill quickstart --run dhkd,kd --seeds 1,2,3
  dhkd distill quickstart --run dhkd --set method.alpha=0.1 --out runs/alpha0.1

Trains the experiment's students that learn from a teacher, and the teacher first where it has not been trained. Ctrl-C
finishes the step and saves; the same command continues. A run that is finished is kept.

` + exits(exitOK, exitFailed, exitUsage, exitMissing, exitBusy, exitInterrupted)
}

// Run distils.
func (c *distillCmd) Run(ctx context.Context, out output) error {
	return c.do(ctx, out, c.runFlags, func(r record.Recipe) bool { return r.Teacher != nil })
}
