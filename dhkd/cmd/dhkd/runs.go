package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/dhkd-lab/dhkd-go/dhkd/dataset"
	"github.com/dhkd-lab/dhkd-go/dhkd/device"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/internal/progress"
)

// runFlags are the flags of all commands that run experiments.
type runFlags struct {
	Out   string `default:"runs" placeholder:"DIR" help:"Where runs are kept: DIR/experiment/profile/name-seedN."`
	Data  string `placeholder:"PATH" help:"Your own copy of the data: a directory or file."`
	JSON  bool   `help:"Print JSON: a line for each event, then the records' summary."`
	Quiet bool   `short:"q" help:"Print no progress."`

	acceptTeacher bool   // see experiment.Runner
	devices       string // as for devicesOf
}

// open opens the device for those recipes and returns a runner; close releases both.
func (f runFlags) open(ctx context.Context, out output, recipes ...record.Recipe) (r *experiment.Runner, close func(), err error) {
	if f.Data != "" {
		if _, err := os.Stat(f.Data); err != nil {
			return nil, nil, withCode(exitUsage, fmt.Errorf("--data: %w", err))
		}
	}
	d, err := device.Open(ctx, device.Options{Logf: out.logf(f.Quiet),
		TF32: slices.ContainsFunc(recipes, func(r record.Recipe) bool { return r.Precision == record.TF32 })})
	if err != nil {
		return nil, nil, withCode(exitMissing, err)
	}
	devices, err := devicesOf(f.devices, d)
	if err != nil {
		d.Close()
		return nil, nil, withCode(exitUsage, err)
	}
	mode, w := progress.Auto, out.stderr
	switch {
	case f.JSON:
		mode, w = progress.JSON, out.stdout
	case f.Quiet:
		mode = progress.Quiet
	}
	r = &experiment.Runner{Device: d, Dir: f.Out, Devices: devices, Progress: progress.New(w, mode),
		Data: dataset.Options{Dir: f.Data, Fetch: true}, AcceptTeacher: f.acceptTeacher}
	if !f.Quiet {
		r.Data.Progress = downloadProgress(out.stderr)
		if !f.JSON {
			fmt.Fprintf(out.stderr, "backend: %s, %s\n", d.Name, d.Description)
		}
	}
	return r, func() { r.Close(); d.Close() }, nil
}

// devicesOf reads --devices: a number of the backend's devices, or "all"; empty is one.
func devicesOf(text string, d *device.Device) (int, error) {
	there := d.Backend.NumDevices()
	n, err := strconv.Atoi(text)
	switch {
	case text == "":
		return 1, nil
	case text == "all":
		return there, nil
	case err != nil || n < 1:
		return 0, fmt.Errorf("--devices %s: must be a number of at least 1, or all", text)
	case n > there:
		return 0, fmt.Errorf("--devices %s: %s has %d, which \"dhkd doctor\" lists", text, d.Name, there)
	}
	return n, nil
}

// runInfo is what the JSON says of a finished run.
type runInfo struct {
	Run     string         `json:"run"`
	Seed    uint64         `json:"seed"`
	Status  string         `json:"status"`
	Record  string         `json:"record"`
	Weights string         `json:"weights,omitempty"`
	Epoch   int            `json:"epoch"`
	Metrics record.Metrics `json:"metrics"` // of the last epoch
	// Gradients are those of the last epoch in which they were measured: one line of text; all of them are in the record.
	Gradients *record.Gradients `json:"-"`
}

func info(dir string, r *record.Record) runInfo {
	i := runInfo{Run: r.Recipe.Name, Seed: r.Recipe.Seed, Status: r.Status, Record: record.Path(dir, r.Recipe),
		Epoch: r.Last}
	if r.Status == record.Completed {
		i.Weights = experiment.WeightsPath(dir, r.Recipe)
	}
	if n := len(r.Epochs); n > 0 {
		i.Metrics = r.Epochs[n-1].Metrics
	}
	for _, e := range r.Epochs {
		if e.Gradients != nil {
			i.Gradients = e.Gradients
		}
	}
	return i
}

// show prints finished runs: where they are, or as JSON.
func (f runFlags) show(out output, records []*record.Record) error {
	for _, r := range records {
		i := info(f.Out, r)
		if f.JSON {
			if err := out.jsonLine(i); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(out.stdout, "%s seed %d: %s, %.2f %% test top-1 after epoch %d\n  record   %s\n", i.Run, i.Seed, i.Status,
			i.Metrics[record.MetricStudentTest], i.Epoch, i.Record)
		if i.Weights != "" {
			fmt.Fprintf(out.stdout, "  weights  %s\n", i.Weights)
		}
		if i.Gradients != nil {
			fmt.Fprintf(out.stdout, "  %s\n", i.Gradients)
		}
	}
	return nil
}

// selection says which runs of an experiment a command is about.
type selection struct {
	Recipe string   `arg:"" help:"An experiment: a YAML file, or one of \"dhkd list recipes\"."`
	Runs   []string `name:"run" placeholder:"NAME" help:"Runs of it; all that fit the command by default."`
	Seeds  []uint64 `placeholder:"N" help:"Seeds in place of the experiment's own."`
	Set    []string `placeholder:"KEY=VALUE" sep:"none" help:"Override a key, as in method.alpha=0.5, with another --out."`
	Print  bool     `help:"Print the resolved recipes as YAML and run nothing."`
	// Devices is not part of a recipe: but for rounding it changes nothing.
	Devices string `placeholder:"N|all" help:"Devices of the backend that each batch is divided among (default 1)."`

	teacher *record.Teacher // in place of the experiment's, unless nil
	method  string          // in place of the first run's, unless empty
}

// recipes resolves the selected runs that fit, in the experiment's order.
func (s selection) recipes(fit func(record.Recipe) bool) (*record.Experiment, []record.Recipe, error) {
	e, err := experiment.Open(s.Recipe)
	if err != nil {
		return nil, nil, withCode(exitUsage, err)
	}
	recipes, err := experiment.Select(e, experiment.Selection{Runs: s.Runs, Seeds: s.Seeds, Set: s.Set, Fit: fit,
		Teacher: s.teacher, Method: s.method})
	return e, recipes, withCode(exitUsage, err)
}

// do runs a command's recipes, or prints them.
func (s selection) do(ctx context.Context, out output, f runFlags, fit func(record.Recipe) bool) error {
	e, recipes, err := s.recipes(fit)
	if err != nil {
		return err
	}
	if s.Print {
		return printRecipes(out.stdout, recipes)
	}
	f.devices = s.Devices
	all, err := experiment.WithTeachers(e, recipes, s.Set)
	if err != nil {
		return withCode(exitUsage, err)
	}
	r, close, err := f.open(ctx, out, recipes...)
	if err != nil {
		return err
	}
	defer close()
	records, err := r.RunAll(ctx, all)
	return errors.Join(err, f.show(out, records))
}

func printRecipes(w io.Writer, recipes []record.Recipe) error {
	for i, r := range recipes {
		text, err := r.YAML()
		if err != nil {
			return err
		}
		if i > 0 {
			fmt.Fprintln(w, "---")
		}
		fmt.Fprintf(w, "%s", text)
	}
	return nil
}

func since(start time.Time) string { return time.Since(start).Round(time.Second).String() }
