package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"text/tabwriter"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/sweep"
)

type sweepCollectCmd struct {
	Dirs    []string `arg:"" name:"dir" help:"Directories of sweeps, or of any records."`
	Out     string   `required:"" placeholder:"DIR" help:"Where the records are brought together."`
	Weights bool     `help:"Copy the trained networks too."`
	JSON    bool     `help:"Print a JSON object."`
	Quiet   bool     `short:"q" help:"Print errors only."`
}

func (sweepCollectCmd) Help() string {
	return `Examples:

  dhkd sweep collect runs/rates --out results
  dhkd sweep collect node1/runs node2/runs --out results && dhkd report results/quickstart

Copies the records of all runs that have ended, each to the place of its name, and shows the mean of each run over its
seeds. Nothing is overwritten: two records of one name that differ are an error that names both.

` + exits(exitOK, exitFailed, exitUsage)
}

// result is what the JSON says of a run over its seeds.
type result struct {
	Experiment string   `json:"experiment"`
	Profile    string   `json:"profile"`
	Run        string   `json:"run"`
	Seeds      int      `json:"seeds"` // that completed
	Failed     int      `json:"failed"`
	Top1       *float64 `json:"test_top1"`    // mean of the last epoch, per cent
	SD         *float64 `json:"test_top1_sd"` // n - 1 in the denominator; null for one seed
}

// Run collects.
func (c *sweepCollectCmd) Run(out output) error {
	collected, err := sweep.Collect(c.Out, c.Dirs, c.Weights)
	var results []result
	for _, g := range record.Groups(collected.Records) {
		mean, sd, n := g.Stat(record.MetricStudentTest, record.AtLast)
		results = append(results, result{Experiment: g.Experiment, Profile: g.Profile, Run: g.Name, Seeds: n,
			Failed: len(g.Records) - n, Top1: finite(mean), SD: finite(sd)})
	}
	if c.JSON {
		return errors.Join(err, out.json(map[string]any{"copied": collected.Copied, "records": len(collected.Records),
			"unfinished": collected.Unfinished, "results": results}))
	}
	if !c.Quiet {
		printResults(out.stdout, results)
		fmt.Fprintf(out.stdout, "\n%d records in %s, %d of them new", len(collected.Records), c.Out, collected.Copied)
		if n := len(collected.Unfinished); n > 0 {
			fmt.Fprintf(out.stdout, "; %d runs have not ended", n)
		}
		fmt.Fprintln(out.stdout)
	}
	return err
}

func finite(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

func printResults(w io.Writer, results []result) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "experiment\tprofile\trun\tlast epoch, %\tseeds\tfailed")
	for _, r := range results {
		accuracy := "-"
		if r.Top1 != nil {
			accuracy = fmt.Sprintf("%.2f", *r.Top1)
		}
		if r.SD != nil {
			accuracy += fmt.Sprintf(" ± %.2f", *r.SD)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%d\n", r.Experiment, r.Profile, r.Run, accuracy, r.Seeds, r.Failed)
	}
	table.Flush()
}

type sweepRetryCmd struct {
	Dir  string   `arg:"" help:"The sweep's directory."`
	Runs []string `name:"run" placeholder:"ID" help:"These runs alone."`
	JSON bool     `help:"Print a JSON object."`
}

func (sweepRetryCmd) Help() string {
	return `Example:

  dhkd sweep retry runs/rates && dhkd sweep run runs/rates

Sets the records of failed and damaged runs aside, under another name in the same directory, so that the runs are made
again. A damaged run goes on from its checkpoint, where it has one. Runs that ended with an error need no retry: dhkd
sweep run tries them again.

` + exits(exitOK, exitFailed, exitUsage)
}

// Run sets records aside.
func (c *sweepRetryCmd) Run(ctx context.Context, out output) error {
	p, err := loadPlan(c.Dir)
	if err != nil {
		return err
	}
	aside, err := sweep.Retry(ctx, c.Dir, p, c.Runs)
	if c.JSON {
		return errors.Join(err, out.json(map[string]any{"set_aside": aside}))
	}
	for _, path := range aside {
		fmt.Fprintf(out.stdout, "set aside: %s\n", path)
	}
	if len(aside) == 0 && err == nil {
		fmt.Fprintln(out.stdout, "no run failed or is damaged")
	}
	return err
}
