package main

import (
	"context"

	"github.com/dhkd-lab/dhkd-go/dhkd/internal/jupyter"
)

type labCmd struct {
	Args []string `arg:"" optional:"" passthrough:"" help:"Passed on to jupyter lab."`
}

func (labCmd) Help() string {
	return `Examples:

  dhkd lab
  dhkd lab --no-browser --port 8889

It needs "dhkd setup --jupyter" before, and runs in a checkout of the project. Ctrl-C ends it.

` + exits(exitOK, exitUsage, exitMissing)
}

// Run opens JupyterLab.
func (c *labCmd) Run(ctx context.Context) error {
	return withCode(exitMissing, jupyter.Lab(ctx, checkout(), c.Args...))
}
