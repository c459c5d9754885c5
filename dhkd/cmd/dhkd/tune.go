package main

import (
	"context"
	"fmt"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment"
)

type tuneCmd struct {
	Recipe        string    `arg:"" help:"An experiment: a YAML file, or one of \"dhkd list recipes\"."`
	Runs          []string  `name:"run" required:"" placeholder:"NAME" help:"Runs whose learning rate is looked for."`
	LearningRates []float64 `default:"0.05,0.1,0.2,0.3" help:"Learning rates to try."`
	Seeds         []uint64  `default:"1,2" help:"Seeds to try each with."`
	Holdout       int       `default:"5000" help:"Training images beyond the recipe's on which the rates are compared."`
	runFlags
}

func (tuneCmd) Help() string {
	return `Example:

  dhkd tune quickstart --run ce,kd,dhkd --learning-rates 0.05,0.1,0.2,0.3

Trains each run with each learning rate and seed, and compares the last epoch's accuracy on training images that no run
is trained on; test images take no part. Prints for each run the best rate and all accuracies, as YAML for the recipe.

` + exits(exitOK, exitFailed, exitUsage, exitMissing, exitBusy, exitInterrupted)
}

// Run searches.
func (c *tuneCmd) Run(ctx context.Context, out output) error {
	e, err := experiment.Open(c.Recipe)
	if err != nil {
		return withCode(exitUsage, err)
	}
	for _, name := range c.Runs {
		if _, err := e.Resolve(name, 0); err != nil {
			return withCode(exitUsage, err)
		}
	}
	r, close, err := c.open(ctx, out, e.Recipes()...)
	if err != nil {
		return err
	}
	defer close()
	search := experiment.Search{Holdout: c.Holdout, LearningRates: c.LearningRates, Seeds: c.Seeds}
	found, err := r.Tune(ctx, e, c.Runs, search)
	if err != nil {
		return err
	}
	if c.JSON {
		return out.jsonLine(found)
	}
	for _, t := range found {
		text, err := t.YAML()
		if err != nil {
			return err
		}
		fmt.Fprintf(out.stdout, "# run %s\n%s\n", t.Run, text)
	}
	return nil
}
