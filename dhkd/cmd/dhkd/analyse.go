package main

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

type analyseCmd struct {
	Runs    []string `arg:"" name:"run-dir" help:"Directories of completed runs: record.json and weights."`
	Teacher string   `placeholder:"FILE" help:"Weights to compare with in place of the run's teacher; none = nothing."`
	Probe   string   `placeholder:"NAME" help:"Train linear classifiers on the features on another data set: ${datasets}."`
	Images  int      `placeholder:"N" help:"Training images to measure collapse on (default: 10000, or all)."`
	Embed   int      `placeholder:"N" help:"Test images in the pictures (default: 1000, or all)."`
	Plain   bool     `help:"No pictures: leave PCA and t-SNE out."`
	Seed    uint64   `default:"1" placeholder:"N" help:"Seed of t-SNE."`
	Data    string   `placeholder:"PATH" help:"Your own copy of the data: a directory or file."`
	JSON    bool     `help:"Print each analysis as one line of JSON."`
	Quiet   bool     `short:"q" help:"Print no progress."`
}

func (analyseCmd) Help() string {
	return `Examples:

  dhkd analyse runs/quickstart/offline/dhkd-seed1
  dhkd analyse runs/quickstart/offline/ce-seed1 --teacher runs/quickstart/offline/teacher-seed1/weights.safetensors
  dhkd analyse runs/quickstart/offline/*-seed1 --probe fashion-mnist

Looks into trained networks: neural collapse of each head, distributions and class means of the logits, PCA and t-SNE of
the features, their linear CKA with the teacher's, and how well a linear classifier on another data set does with them.
Writes analysis.json beside the record of each run.

` + exits(exitOK, exitFailed, exitUsage, exitMissing, exitInterrupted)
}

// Run analyses.
func (c *analyseCmd) Run(ctx context.Context, out output) error {
	logf := out.logf(c.Quiet || c.JSON)
	if c.Plain {
		c.Embed = -1
	}
	var subjects []*experiment.Subject
	for _, dir := range c.Runs {
		s, err := experiment.OpenSubject(dir, experiment.AnalyseOptions{Teacher: c.Teacher, Probe: c.Probe,
			CollapseImages: c.Images, EmbedImages: c.Embed, Seed: c.Seed,
			Progress: func(what string) { logf("%s: %s", filepath.Base(dir), what) }})
		if err != nil {
			return withCode(exitUsage, err)
		}
		subjects = append(subjects, s)
	}
	r, close, err := runFlags{Data: c.Data, JSON: c.JSON, Quiet: c.Quiet}.open(ctx, out)
	if err != nil {
		return err
	}
	defer close()
	for i, s := range subjects {
		a, err := r.Analyse(ctx, s)
		if err != nil {
			return err
		}
		if err := a.Save(filepath.Join(c.Runs[i], record.AnalysisFile)); err != nil {
			return err
		}
		if c.JSON {
			err = out.jsonLine(a)
		} else {
			if i > 0 {
				fmt.Fprintln(out.stdout)
			}
			err = experiment.WriteAnalysis(out.stdout, a)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
