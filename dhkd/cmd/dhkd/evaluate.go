package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/term"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/plots"
)

type evaluateCmd struct {
	Weights string `arg:"" help:"A trained network: weights.safetensors of a run."`
	Dataset string `placeholder:"NAME" help:"Another data set than the network was trained on: ${datasets}."`
	Split   string `enum:"test,train" default:"test" help:"Images: test or train."`
	Head    string `enum:"main,aux" default:"main" help:"Head: main, or aux for the auxiliary one."`
	Latency bool   `help:"Measure latencies too: one image a call, and a large batch."`
	Figures string `placeholder:"DIR" help:"Draw reliability, confusion and per_class, as .png and .svg."`
	Out     string `placeholder:"FILE" help:"Write the JSON to a file."`
	Data    string `placeholder:"PATH" help:"Your own copy of the data: a directory or file."`
	JSON    bool   `help:"Print the evaluation as one JSON object, confusion matrix and all."`
	Quiet   bool   `short:"q" help:"Print no progress."`
}

func (evaluateCmd) Help() string {
	return `Examples:

  dhkd evaluate runs/quickstart/offline/dhkd-seed1/weights.safetensors
  dhkd evaluate runs/quickstart/offline/dhkd-seed1/weights.safetensors --head aux --latency
  dhkd evaluate runs/quickstart/offline/dhkd-seed1/weights.safetensors --figures figures --out evaluation.json

Evaluates a network on the test images of the data set that it was trained on, and compares the accuracy with the one in
the file. The calibration error is ECE = sum over 15 bins of n_b/n |accuracy_b - confidence_b| (Guo et al. 2017): how
far, on average, the probability that the network gives its answer is from how often such answers are right. Images
whose logits are NaN or infinite count as wrong. Latency is from images on the host to logits on the host.

` + exits(exitOK, exitFailed, exitUsage, exitMissing, exitInterrupted)
}

// Run evaluates.
func (c *evaluateCmd) Run(ctx context.Context, out output) error {
	progress, clear := evaluationProgress(out.stderr, c.Quiet)
	candidate, err := experiment.OpenCandidate(c.Weights, experiment.EvaluateOptions{
		Dataset: c.Dataset, Split: c.Split, Head: c.Head, Latency: c.Latency, Progress: progress})
	if err != nil {
		return withCode(exitUsage, err)
	}
	r, close, err := runFlags{Data: c.Data, JSON: c.JSON, Quiet: c.Quiet}.open(ctx, out)
	if err != nil {
		return err
	}
	defer close()
	e, err := r.Evaluate(ctx, candidate)
	clear()
	if err != nil {
		return err
	}
	if c.Out != "" {
		if err := e.Save(c.Out); err != nil {
			return err
		}
	}
	if c.Figures != "" {
		if err := drawEvaluation(c.Figures, e); err != nil {
			return err
		}
	}
	if c.JSON {
		return out.jsonLine(e)
	}
	return experiment.WriteEvaluation(out.stdout, e)
}

func drawEvaluation(dir string, e *record.Evaluation) error {
	for name, draw := range map[string]func(*record.Evaluation, plots.Options) (*plots.Figure, error){
		"reliability": plots.Reliability, "confusion": plots.Confusion, "per_class": plots.PerClass,
	} {
		figure, err := draw(e, plots.Options{})
		if err != nil {
			return err
		}
		for _, extension := range []string{".png", ".svg"} {
			if err := figure.Save(filepath.Join(dir, name+extension)); err != nil {
				return err
			}
		}
	}
	return nil
}

// evaluationProgress counts images on one line of a terminal, which clear empties; elsewhere it says nothing.
func evaluationProgress(w io.Writer, quiet bool) (progress func(done, total int), clear func()) {
	if f, ok := w.(*os.File); quiet || !ok || !term.IsTerminal(int(f.Fd())) {
		return nil, func() {}
	}
	return func(done, total int) { fmt.Fprintf(w, "\r%d of %d images", done, total) },
		func() { fmt.Fprint(w, "\r\033[K") }
}
