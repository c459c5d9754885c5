package main

import (
	"context"
	"fmt"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment"
)

type evaluateCmd struct {
	Weights string `arg:"" help:"A trained network: weights.safetensors of a run."`
	runFlags
}

func (evaluateCmd) Help() string {
	return `Example:

  dhkd evaluate runs/quickstart/offline/dhkd-seed1/weights.safetensors

Evaluates a network on the test images of the data set that it was trained on, and compares the accuracy with the one in
the file.

` + exits(exitOK, exitFailed, exitUsage, exitMissing, exitInterrupted)
}

// Run evaluates.
func (c *evaluateCmd) Run(ctx context.Context, out output) error {
	network, metadata, err := experiment.LoadNetwork(c.Weights)
	if err != nil {
		return withCode(exitUsage, err)
	}
	r, close, err := c.open(ctx, out)
	if err != nil {
		return err
	}
	defer close()
	e, err := r.Evaluate(ctx, network, metadata)
	if err != nil {
		return err
	}
	if c.JSON {
		return out.jsonLine(e)
	}
	fmt.Fprintf(out.stdout, "%s on %s: %.2f %% top-1, cross-entropy %.4f, on %d test images",
		e.Model, e.Dataset, e.Top1, e.Loss, e.Images)
	if e.AuxTop1 != nil {
		fmt.Fprintf(out.stdout, "; auxiliary head %.2f %%", *e.AuxTop1)
	}
	fmt.Fprintf(out.stdout, "\nrecorded when it was trained: %s %%\n", e.Recorded)
	return nil
}
