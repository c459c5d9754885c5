package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/report"
	"github.com/dhkd-lab/dhkd-go/dhkd/internal/jupyter"
)

type demoCmd struct {
	runFlags
	Seeds      []uint64 `placeholder:"N" help:"Seeds of all runs; more seeds, less noise, more minutes (default 1)."`
	Set        []string `placeholder:"KEY=VALUE" sep:"none" help:"Override a key of all recipes, as in schedule.epochs=8."`
	NoNotebook bool     `help:"Do not run the quick-start notebook."`
}

func (demoCmd) Help() string {
	return `Example:

  dhkd demo

The main job, on real images: trains a teacher and the same student six ways (cross-entropy; KD; BinaryKL; both losses
on one head; the same with the authors' literal float32 formula; DHKD with two heads), compares them, draws the figures
and the report, and runs the quick-start notebook on the records. Minutes on two cores. What is already there is kept,
so Ctrl-C and the same command again go on where it stopped.

` + exits(exitOK, exitFailed, exitUsage, exitMissing, exitBusy, exitInterrupted)
}

// quickstart is the experiment and the notebook of the demo.
const quickstart = "quickstart"

// Run does the main job.
func (c *demoCmd) Run(ctx context.Context, out output) error {
	start := time.Now()
	e, err := experiment.Open(quickstart)
	if err != nil {
		return err
	}
	recipes, err := experiment.Select(e, experiment.Selection{Seeds: c.Seeds, Set: c.Set})
	if err != nil {
		return withCode(exitUsage, err)
	}
	if recipes, err = experiment.WithTeachers(e, recipes, c.Set); err != nil {
		return withCode(exitUsage, err)
	}
	r, close, err := c.open(ctx, out)
	if err != nil {
		return err
	}
	records, err := r.RunAll(ctx, recipes)
	close() // the notebook needs the memory
	if err != nil {
		return err
	}
	reporting := time.Now()
	dir := filepath.Join(c.Out, quickstart)
	files, err := report.Write(dir, records, report.Options{Title: e.Title, Commands: []string{"make demo"}})
	if err != nil {
		return err
	}
	stages := append(r.Stages, experiment.Stage{Name: "report", All: time.Since(reporting)})
	var notebook string
	if !c.NoNotebook {
		starting := time.Now()
		if notebook, err = c.runNotebook(ctx, out, dir); err != nil {
			return err
		}
		stages = append(stages, experiment.Stage{Name: "notebook", All: time.Since(starting)})
	}
	if c.JSON {
		return out.jsonLine(map[string]any{"report": files.Report, "figures": files.Figures, "notebook": notebook,
			"stages": seconds(stages)})
	}
	fmt.Fprintln(out.stdout)
	if err := report.Text(out.stdout, records); err != nil {
		return err
	}
	if err := showStages(out.stdout, stages); err != nil {
		return err
	}
	fmt.Fprintf(out.stdout, "\nDone in %s.\n  report    %s\n  figures   %s\n  records   %s\n", since(start), files.Report,
		filepath.Join(dir, "figures"), filepath.Dir(filepath.Dir(info(c.Out, records[0]).Record)))
	if notebook != "" {
		fmt.Fprintf(out.stdout, "  notebook  %s (\"make lab\" opens JupyterLab)\n", notebook)
	}
	return nil
}

// showStages prints the time that each stage took.
func showStages(w io.Writer, stages []experiment.Stage) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\nSeconds\tall\tcompile\ttrain\tevaluate\t")
	for _, s := range stages {
		fmt.Fprintf(t, "%s\t%.1f\t", s.Name, s.All.Seconds())
		if s.Train > 0 {
			fmt.Fprintf(t, "%.1f\t%.1f\t%.1f\t", s.Compile.Seconds(), s.Train.Seconds(), s.Evaluate.Seconds())
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}

// seconds are the stages for JSON.
func seconds(stages []experiment.Stage) (all []map[string]any) {
	for _, s := range stages {
		all = append(all, map[string]any{"name": s.Name, "seconds": s.All.Seconds(), "compile": s.Compile.Seconds(),
			"train": s.Train.Seconds(), "evaluate": s.Evaluate.Seconds()})
	}
	return all
}

// runNotebook sets Jupyter up where it is missing and runs the quick start on the demo's records.
func (c *demoCmd) runNotebook(ctx context.Context, out output, dir string) (string, error) {
	root := checkout()
	say := out.logf(c.Quiet || c.JSON)
	if !jupyter.Find(root).Ready() {
		err := jupyter.Setup(ctx, root, jupyter.Options{Env: kernelEnv(ctx, ""),
			Progress: func(line string) { say("%s", line) }})
		if err != nil {
			return "", withCode(exitMissing, err)
		}
	}
	records, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "00-quickstart.ipynb")
	say("running the quick-start notebook")
	err = jupyter.RunNotebook(ctx, root, filepath.Join(root, "notebooks", "00-quickstart.md"), path,
		[]string{"DHKD_RECORDS=" + records}, io.Discard)
	return path, err
}
