package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/sweep"
	"github.com/dhkd-lab/dhkd-go/dhkd/train"
)

type sweepCmd struct {
	Plan    sweepPlanCmd    `cmd:"" help:"Expand recipes, seeds and values into runs, and write them down."`
	Run     sweepRunCmd     `cmd:"" help:"Make the runs, on this machine, by Slurm or by Kubernetes."`
	Status  sweepStatusCmd  `cmd:"" help:"Say how the runs stand."`
	Collect sweepCollectCmd `cmd:"" help:"Bring the records of sweeps together, and show the results."`
	Retry   sweepRetryCmd   `cmd:"" help:"Let failed and damaged runs be made again."`
	Cost    sweepCostCmd    `cmd:"" help:"Count what the runs will compute, and estimate the hours."`
	One     sweepOneCmd     `cmd:"" help:"Make one run: what the other commands start."`
}

func (sweepCmd) Help() string {
	return `Examples:

  dhkd sweep plan quickstart --run kd,dhkd --seeds 1,2,3 --set optimizer.learning_rate=0.05,0.1 --out runs/rates
  dhkd sweep run runs/rates --jobs 2
  dhkd sweep status runs/rates
  dhkd sweep collect runs/rates --out results

A sweep is a directory with a plan, the runs' directories and their records. How a run stands is known from its record,
so a sweep may be stopped and killed at any time, and be made by several machines at once that share the directory.

` + exits(exitOK, exitFailed, exitUsage, exitMissing, exitBusy, exitInterrupted)
}

// loadPlan reads a sweep's plan.
func loadPlan(dir string) (*sweep.Plan, error) {
	p, err := sweep.Load(dir)
	return p, withCode(exitUsage, err)
}

type sweepPlanCmd struct {
	Recipes []string `arg:"" optional:"" name:"recipe" help:"Experiments: YAML files, or names of \"dhkd list recipes\"."`
	File    string   `placeholder:"YAML" help:"A sweep, in place of recipes and of the flags that say what of them."`
	Runs    []string `name:"run" placeholder:"NAME" help:"Runs of each; all by default. Their teachers are added."`
	Methods []string `name:"method" placeholder:"NAME" help:"Methods, as published, in place of that of the first run that has a teacher."`
	Seeds   []uint64 `placeholder:"N" help:"Seeds in place of the experiments' own."`
	Set     []string `placeholder:"KEY=VALUE,..." sep:"none" help:"Set a key in all runs; with several values, a run for each."`
	Name    string   `placeholder:"NAME" help:"The sweep's name; that of the directory by default."`
	Out     string   `required:"" placeholder:"DIR" help:"The sweep's directory."`
	Extend  bool     `help:"Add runs to the sweep that the directory has; those that it has must stay as they are."`
	Print   bool     `help:"Print the runs and write nothing."`
	JSON    bool     `help:"Print JSON: the plan."`
}

func (sweepPlanCmd) Help() string {
	return `Examples:

  dhkd sweep plan quickstart --seeds 1,2,3,4,5 --out runs/five-seeds
  dhkd sweep plan cifar-100-resnet56-resnet20 cifar-100-vgg13-vgg8 --run kd,dkd,dhkd --out runs/table-3
  dhkd sweep plan quickstart --run dhkd --set method.alpha=0.1,0.5,1 --set method.temperature=1,2,4 --out runs/grid
  dhkd sweep plan --file table-3.yaml --out runs/table-3

A sweep's file has the same in YAML:

  name: table-3
  recipes: [cifar-100-resnet56-resnet20, cifar-100-vgg13-vgg8]
  runs: [kd, dhkd]
  methods: [dkd, at]
  seeds: [1, 2, 3]
  set: {schedule.epochs: 120}
  grid: {optimizer.learning_rate: [0.05, 0.1]}

Runs are named as in their experiment, with the grid's values after it: kd-learning_rate0.1. A value that is a list
stands in brackets: --set schedule.milestones=[10,20],[15,25]. Teachers are trained once, as their experiment has them
but for the data. A directory that has another plan is refused.

` + exits(exitOK, exitUsage)
}

// Run plans.
func (c *sweepPlanCmd) Run(out output) error {
	s, err := c.sweep()
	if err != nil {
		return withCode(exitUsage, err)
	}
	p, err := sweep.Expand(s)
	if err != nil {
		return withCode(exitUsage, err)
	}
	if !c.Print {
		if err := p.Save(c.Out, c.Extend); errors.Is(err, sweep.ErrOtherPlan) {
			return withCode(exitUsage, err)
		} else if err != nil {
			return err
		}
	}
	if c.JSON {
		return out.json(p)
	}
	if c.Print {
		for _, r := range p.Runs {
			fmt.Fprintln(out.stdout, r.ID)
		}
		return nil
	}
	fmt.Fprintf(out.stdout, "%d runs planned in %s; make them with dhkd sweep run %s\n", len(p.Runs), c.Out, c.Out)
	return nil
}

// sweep is what the file or the flags ask for.
func (c *sweepPlanCmd) sweep() (*record.Sweep, error) {
	if c.File != "" {
		if len(c.Recipes)+len(c.Runs)+len(c.Methods)+len(c.Seeds)+len(c.Set) > 0 || c.Name != "" {
			return nil, errors.New("--file says it all: leave the recipes, --run, --method, --seeds, --set and --name out, " +
				"or write them into the file")
		}
		data, err := os.ReadFile(c.File)
		if err != nil {
			return nil, fmt.Errorf("--file: %w", err)
		}
		return record.ParseSweep(c.File, data)
	}
	s := &record.Sweep{Name: c.Name, Recipes: c.Recipes, Runs: c.Runs, Methods: c.Methods, Seeds: c.Seeds}
	if len(s.Recipes) == 0 {
		return nil, errors.New("name recipes to make a sweep of, or give a --file")
	}
	if s.Name == "" {
		dir, err := filepath.Abs(c.Out)
		if err != nil {
			return nil, err
		}
		s.Name = strings.ToLower(filepath.Base(dir))
	}
	for _, text := range c.Set {
		axis, err := record.ParseAxis("--set", text)
		if err != nil {
			return nil, err
		}
		if len(axis.Values) == 1 {
			s.Set = append(s.Set, axis)
		} else {
			s.Grid = append(s.Grid, axis)
		}
	}
	return s, nil
}

type sweepOneCmd struct {
	Dir           string `arg:"" help:"The sweep's directory."`
	ID            string `arg:"" optional:"" help:"The run, as dhkd sweep status names it."`
	Tasks         string `placeholder:"FILE" help:"In place of the ID: a file with a run in each line."`
	Index         int    `default:"-1" placeholder:"N" help:"The run's line in that file, counted from 0."`
	Data          string `placeholder:"PATH" help:"Your own copy of the data: a directory or file."`
	AcceptTeacher bool   `help:"As for dhkd distill."`
	Devices       string `placeholder:"N|all" help:"As for dhkd distill."`
	JSON          bool   `help:"Print JSON: a line for each event, then the record's summary."`
	Quiet         bool   `short:"q" help:"Print no progress."`
}

func (sweepOneCmd) Help() string {
	return `Example:

  dhkd sweep one runs/rates quickstart/offline/kd-seed1

Makes one run of a sweep, or goes on with it. Its teacher must have been trained.

` + exits(exitOK, exitFailed, exitUsage, exitMissing, exitBusy, exitNotFinite, exitInterrupted)
}

// Run makes the run. SIGTERM may come more than once, from whoever started this and from the batch system: saving goes
// on.
func (c *sweepOneCmd) Run(ctx context.Context, out output) error {
	again := make(chan os.Signal, 1)
	signal.Notify(again, syscall.SIGTERM, syscall.SIGPIPE) // the second: who listens to standard output may be gone
	defer signal.Stop(again)
	p, err := loadPlan(c.Dir)
	if err != nil {
		return err
	}
	if (c.ID == "") == (c.Tasks == "") {
		return withCode(exitUsage, errors.New("name one run, or give --tasks and --index"))
	}
	if c.Tasks != "" {
		if c.ID, err = sweep.Task(c.Tasks, c.Index); err != nil {
			return withCode(exitUsage, err)
		}
	}
	run := p.Find(c.ID)
	if run == nil {
		return withCode(exitUsage, fmt.Errorf("sweep %s has no run %q: dhkd sweep status %s lists them", p.Name, c.ID,
			c.Dir))
	}
	if err := p.Ready(c.Dir, run); err != nil {
		return err
	}
	f := runFlags{Out: c.Dir, Data: c.Data, JSON: c.JSON, Quiet: c.Quiet, acceptTeacher: c.AcceptTeacher,
		devices: c.Devices}
	r, close, err := f.open(ctx, out, run.Recipe)
	if err != nil {
		return err
	}
	defer close()
	rec, err := sweep.One(ctx, r, p, run)
	var nonFinite *train.NonFiniteError
	if errors.As(err, &nonFinite) { // another try would end the same way
		err = withCode(exitNotFinite, err)
	}
	if rec == nil {
		return err
	}
	return errors.Join(err, f.show(out, []*record.Record{rec}))
}

type sweepStatusCmd struct {
	Dir  string `arg:"" help:"The sweep's directory."`
	All  bool   `help:"List completed runs too."`
	JSON bool   `help:"Print a JSON object."`
}

func (sweepStatusCmd) Help() string {
	return `Example:

  dhkd sweep status runs/rates

Says how the runs stand, from their records, and what of the sweep is in Slurm's queue, where it was submitted there. A
run on another machine that has died is shown as running: that takes a minute to find out, which dhkd sweep run does.

` + exits(exitOK, exitFailed, exitUsage)
}

// runStatus is what the JSON says of a run.
type runStatus struct {
	ID      string      `json:"id"`
	State   sweep.State `json:"state"`
	Epoch   int         `json:"epoch"`
	Epochs  int         `json:"epochs"`
	Top1    *float64    `json:"test_top1,omitempty"` // per cent, of the last epoch
	Owner   string      `json:"owner,omitempty"`
	Message string      `json:"message,omitempty"`
}

func newRunStatus(s sweep.Status) runStatus {
	i := runStatus{ID: s.Run.ID, State: s.State, Epochs: s.Run.Recipe.Schedule.Epochs, Message: s.Message}
	if s.State == sweep.Running {
		i.Owner = s.Owner.String()
	}
	if s.Record != nil {
		i.Epoch = s.Record.Last
		if v, ok := s.Record.Value(record.MetricStudentTest, record.AtLast); ok {
			i.Top1 = &v
		}
	}
	return i
}

// Run shows the status. A run that failed or is damaged makes the exit code 1.
func (c *sweepStatusCmd) Run(ctx context.Context, out output) error {
	p, err := loadPlan(c.Dir)
	if err != nil {
		return err
	}
	all := (&sweep.Surveyor{Dir: c.Dir, Plan: p}).Survey()
	counts := sweep.Count(all)
	queue, queueErr := sweep.Queue(ctx, c.Dir)
	ended, _ := sweep.Ended(ctx, c.Dir) // many Slurms keep no accounts
	if c.JSON {
		runs := make([]runStatus, len(all))
		for i, s := range all {
			runs[i] = newRunStatus(s)
		}
		object := map[string]any{"name": p.Name, "digest": p.Digest, "counts": counts, "runs": runs}
		if queue != nil {
			object["slurm_queue"] = queue
		}
		if ended != nil {
			object["slurm_ended"] = ended
		}
		err = out.json(object)
	} else {
		printStatus(out.stdout, p, all, c.All)
		printSlurm(out.stdout, queue, ended, queueErr)
	}
	if err == nil && counts.Trouble() {
		return fmt.Errorf("sweep %s: %v", p.Name, counts)
	}
	return err
}

func printStatus(w io.Writer, p *sweep.Plan, all []sweep.Status, completed bool) {
	fmt.Fprintf(w, "%s: %v\n", p.Name, sweep.Count(all))
	for _, s := range all {
		if s.State == sweep.Completed && !completed {
			continue
		}
		i := newRunStatus(s)
		line := fmt.Sprintf("  %-9s  %s", i.State, i.ID)
		if i.Epoch > 0 {
			line += fmt.Sprintf("  epoch %d/%d", i.Epoch, i.Epochs)
		}
		if i.Top1 != nil {
			line += fmt.Sprintf("  %.2f %%", *i.Top1)
		}
		for _, more := range []string{i.Owner, i.Message} {
			if more != "" {
				line += "  " + more
			}
		}
		fmt.Fprintln(w, line)
	}
}
