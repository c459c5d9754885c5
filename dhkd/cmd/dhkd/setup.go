package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/dhkd-lab/dhkd-go/dhkd/device"
	"github.com/dhkd-lab/dhkd-go/dhkd/internal/jupyter"
)

type setupCmd struct {
	XLA      bool `name:"xla" help:"Install XLA only: the PJRT plugin for this machine."`
	CUDA     bool `name:"cuda" help:"XLA for an NVIDIA card (gigabytes), in place of the one for the processor."`
	Jupyter  bool `help:"Install Jupyter and the Go kernel only: in .venv and .bin of the checkout."`
	Headless bool `help:"Without JupyterLab: only what runs notebooks, in half the time and space."`
	Gopls    bool `help:"With gopls, for completion and documentation in cells; it takes a minute to build."`
	JSON     bool `help:"Print a JSON object of what is there."`
	Quiet    bool `short:"q" help:"Print errors only."`
}

func (setupCmd) Help() string {
	return `Examples:

  dhkd setup                         XLA, and Jupyter with its Go kernel
  dhkd setup --xla                   XLA only
  dhkd setup --jupyter --headless    what runs notebooks, no JupyterLab

What is there and up to date is kept, so a second call is quick. Every version is pinned.

` + exits(exitOK, exitUsage, exitMissing, exitInterrupted)
}

// setupResult is what the JSON says.
type setupResult struct {
	Plugin  string          `json:"plugin,omitempty"` // path of the PJRT plugin
	Jupyter *jupyter.Status `json:"jupyter,omitempty"`
}

// Run sets up what the flags name, or all.
func (c *setupCmd) Run(ctx context.Context, out output) error {
	both := c.XLA == c.Jupyter
	var result setupResult
	var err error
	if both || c.XLA || c.CUDA {
		if result.Plugin, err = installXLA(ctx, out, c.CUDA, c.Quiet); err != nil {
			return withCode(exitMissing, err)
		}
	}
	if (both && !c.CUDA) || c.Jupyter {
		if result.Jupyter, err = c.installJupyter(ctx, out, result.Plugin); err != nil {
			return withCode(exitMissing, err)
		}
	}
	if c.JSON {
		return out.json(result)
	}
	say := out.logf(c.Quiet)
	if result.Plugin != "" {
		say("XLA: %s", result.Plugin)
	}
	if result.Jupyter != nil {
		say("Jupyter: %s", describeJupyter(*result.Jupyter))
	}
	return nil
}

func installXLA(ctx context.Context, out output, cuda, quiet bool) (plugin string, err error) {
	kind := "cpu"
	if cuda {
		kind = "cuda"
	}
	return device.Install(ctx, kind, device.Options{Logf: out.logf(quiet)})
}

// installJupyter sets up the checkout that the working directory is in. Cells use the plugin, or the one that is found.
func (c *setupCmd) installJupyter(ctx context.Context, out output, plugin string) (*jupyter.Status, error) {
	root := checkout()
	say := out.logf(c.Quiet)
	err := jupyter.Setup(ctx, root, jupyter.Options{Lab: !c.Headless, Gopls: c.Gopls, Env: kernelEnv(ctx, plugin),
		Progress: func(line string) { say("%s", line) }})
	if err != nil {
		return nil, err
	}
	status := jupyter.Find(root)
	return &status, nil
}

// kernelEnv is the backend for the cells of notebooks, nil where there is only the Go backend.
func kernelEnv(ctx context.Context, plugin string) map[string]string {
	if plugin == "" {
		d, err := device.Open(ctx, device.Options{Offline: true, Logf: func(string, ...any) {}})
		if err != nil {
			return nil
		}
		defer d.Close()
		plugin = d.Plugin
	}
	if plugin == "" {
		return nil
	}
	return map[string]string{"GOMLX_BACKEND": "xla:" + plugin}
}

func describeJupyter(s jupyter.Status) string {
	lab := "no JupyterLab"
	if s.JupyterLab != "" {
		lab = "JupyterLab " + s.JupyterLab
	}
	return fmt.Sprintf("nbclient %s, %s, GoNB %s", orNone(s.NBClient), lab, orNone(s.GoNB))
}

func orNone(version string) string {
	if version == "" {
		return "missing"
	}
	return version
}

// checkout is the checkout of this project that the working directory is in, else the working directory.
func checkout() string {
	here, err := os.Getwd()
	if err != nil {
		return "."
	}
	for dir := here; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "notebooks", "tools", "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			return here
		}
	}
}
