package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/sweep"
)

type sweepCostCmd struct {
	Dir    string  `arg:"" help:"The sweep's directory."`
	Bench  string  `placeholder:"FILE" help:"Hours at the rates of this record of make bench or of scripts/gpu.sh."`
	TFLOPS float64 `name:"tflops" placeholder:"N" help:"Hours at so many TFLOP/s, which is then an assumption."`
	JSON   bool    `help:"Print a JSON object."`
}

func (sweepCostCmd) Help() string {
	return `Examples:

  dhkd sweep cost runs/table-3
  dhkd sweep cost runs/table-3 --bench gpu-records/2026-12-01/bench.json
  dhkd sweep cost runs/table-3 --tflops 10

Counts the multiply-adds of the networks of all runs, as "dhkd list models" does: three forward passes of the student a
training image, five with gradient alignment, one of the teacher, and the evaluations. Batch norm, losses and a method's own
modules come on top. Hours are of one device: from the fastest to the slowest of the record's training steps of that student, with a
teacher or without; where it has none, of all.

The longest chain is the teacher and the student that take longest: on no number of devices is the sweep done before it.

` + exits(exitOK, exitUsage)
}

// Run counts.
func (c *sweepCostCmd) Run(out output) error {
	rates, what, err := c.rates()
	if err != nil {
		return withCode(exitUsage, err)
	}
	p, err := loadPlan(c.Dir)
	if err != nil {
		return err
	}
	cost, err := p.Cost()
	if err != nil {
		return withCode(exitUsage, fmt.Errorf("sweep %s: %w", p.Name, err))
	}
	if c.JSON {
		object := map[string]any{"name": p.Name, "cost": cost, "devices": cost.Devices()}
		if what != "" {
			least, most := cost.Hours(rates)
			object["hours"] = [2]float64{least, most}
			object["rate"] = what
		}
		return out.json(object)
	}
	return printCost(out.stdout, p.Name, cost, rates, what)
}

// rates are what the flags say, and of what; "" where they say nothing.
func (c *sweepCostCmd) rates() (sweep.Rates, string, error) {
	switch {
	case c.TFLOPS != 0 && c.Bench != "":
		return sweep.Rates{}, "", errors.New("--bench and --tflops say the same thing twice: leave one out")
	case c.TFLOPS < 0 || math.IsInf(c.TFLOPS, 0) || math.IsNaN(c.TFLOPS):
		return sweep.Rates{}, "", fmt.Errorf("--tflops: must be a number above 0, is %v", c.TFLOPS)
	case c.TFLOPS > 0:
		return sweep.Rates{All: sweep.Rate{Low: c.TFLOPS * 1e12, High: c.TFLOPS * 1e12}}, fmt.Sprintf("%g TFLOP/s, an assumption", c.TFLOPS), nil
	case c.Bench == "":
		return sweep.Rates{}, "", nil
	}
	b, err := record.LoadBench(c.Bench)
	if err != nil {
		return sweep.Rates{}, "", fmt.Errorf("--bench: %w", err)
	}
	rates := sweep.RatesOf(b)
	if rates.All == (sweep.Rate{}) {
		return rates, "", fmt.Errorf("--bench: %s has no whole training step of this project", c.Bench)
	}
	return rates, fmt.Sprintf("%.3g to %.3g TFLOP/s, as measured on %s, %d cores, %s", rates.All.Low/1e12, rates.All.High/1e12,
		b.Machine.CPU, b.Machine.Cores, b.Machine.Backend), nil
}

func printCost(w io.Writer, name string, c *sweep.Cost, rates sweep.Rates, what string) error {
	head := "experiment\truns\timages\tmultiply-adds\tteacher's"
	if what != "" {
		head += "\thours"
	}
	err := table(w, head, func(w io.Writer) {
		row := func(name string, p sweep.Part) {
			work := p.Work
			fmt.Fprintf(w, "%s\t%d\t%.3g\t%.3g\t%.0f %%", name, p.Runs, work.Images, work.Total(), 100*work.Teacher/work.Total())
			if what != "" {
				fmt.Fprintf(w, "\t%s", hours(p.Hours(rates)))
			}
			fmt.Fprintln(w)
		}
		for _, e := range c.Experiments {
			row(e.Name+"/"+e.Profile, e.Part)
		}
		row(name, c.Part)
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "\nlongest chain: %s: %.3g multiply-adds", strings.Join(c.Chain.IDs, ", then "), c.Chain.Work.Total())
	if what != "" {
		fmt.Fprintf(w, ", %s hours", hours(c.Chain.Hours(rates)))
	}
	fmt.Fprintf(w, "; more than %d devices are of no use\n", c.Devices())
	if what != "" {
		fmt.Fprintf(w, "hours of one device at %s\n", what)
	}
	return nil
}

// hours in two digits, as one number where both are the same.
func hours(least, most float64) string {
	low, high := fmt.Sprintf("%.2g", least), fmt.Sprintf("%.2g", most)
	if least >= 100 {
		low = fmt.Sprintf("%.0f", least)
	}
	if most >= 100 {
		high = fmt.Sprintf("%.0f", most)
	}
	if low == high {
		return low
	}
	return low + " to " + high
}
