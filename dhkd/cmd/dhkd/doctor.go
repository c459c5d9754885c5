package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/dhkd-lab/dhkd-go/dhkd/dataset"
	"github.com/dhkd-lab/dhkd-go/dhkd/device"
	"github.com/dhkd-lab/dhkd-go/dhkd/internal/jupyter"
)

type doctorCmd struct {
	JSON bool `help:"Print a JSON object."`
}

func (doctorCmd) Help() string {
	return `Example:

  dhkd doctor

Shown are the machine, the backend that networks run on and how it was chosen, data sets, Jupyter and its Go kernel,
and, for all that is missing, the command that mends it. Nothing is installed or changed. Only a machine on which
nothing can run is an error: without XLA there is the slow Go backend, and data sets can be fetched.

` + exits(exitOK, exitMissing)
}

// diagnosis is what the JSON says.
type diagnosis struct {
	Version  versionInfo    `json:"version"`
	Device   device.Doctor  `json:"device"`
	Datasets []dataset.Info `json:"datasets"`
	Jupyter  jupyter.Status `json:"jupyter"`
	JPEG     string         `json:"jpeg"` // what decodes such files
}

// Run examines the machine.
func (c *doctorCmd) Run(ctx context.Context, out output) error {
	root := checkout()
	d := diagnosis{versions(), device.Examine(ctx, root), dataset.List(), jupyter.Find(root), describeJPEG()}
	if c.JSON {
		if err := out.json(d); err != nil {
			return err
		}
	} else if err := printDiagnosis(out.stdout, d); err != nil {
		return err
	}
	if d.Device.Error != "" {
		return withCode(exitMissing, errors.New(d.Device.Error))
	}
	return nil
}

func printDiagnosis(out io.Writer, d diagnosis) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) {
		if text := fmt.Sprintf(format, args...); strings.TrimSpace(text) != "" {
			fmt.Fprintf(w, "%s\t%s\n", name, strings.TrimSpace(text))
		}
	}
	line("dhkd", "%s %s", d.Version.DHKD, d.Version.Commit)
	line("go", "%s %s/%s", d.Device.Go, d.Device.OS, d.Device.Arch)
	line("machine", "%s, %d cores, %.1f GB of memory", d.Device.CPU, d.Device.Cores, float64(d.Device.MemoryMB)/1024)
	line("backend", "%s, %s", d.Device.Backend, d.Device.Description)
	if d.Device.Plugin != "" {
		line("plugin", "%s, PJRT API %s", d.Device.Plugin, d.Device.API)
	}
	line("kernels", "%s", d.Device.Kernels)
	for _, name := range d.Device.Devices {
		line("device", "%s", name)
	}
	for _, attempt := range d.Device.Tried {
		line("tried", "%s", attempt)
	}
	for _, name := range slices.Sorted(maps.Keys(d.Device.Environment)) {
		line("environment", "%s=%s", name, d.Device.Environment[name])
	}
	for _, dir := range d.Device.Caches {
		line("cache", "%s", dir)
	}
	for _, info := range d.Datasets {
		line("data set", "%s: %s", info.Name, foundOr(info))
	}
	line("JPEG", "%s", d.JPEG)
	line("jupyter", "%s", describeJupyter(d.Jupyter))
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(out)
	for _, check := range d.Device.Checks {
		fmt.Fprintf(out, "%-7s  %s: %s\n", check.Status, check.Name, check.Detail)
		if check.Fix != "" {
			fmt.Fprintf(out, "         mend it with: %s\n", check.Fix)
		}
	}
	return nil
}

// describeJPEG says what decodes JPEG files, and what would be faster.
func describeJPEG() string {
	name, why := dataset.JPEGDecoder()
	if name == dataset.GoJPEG {
		return "Go's decoder; " + why
	}
	return fmt.Sprintf("%s (%s)", name, why)
}
