package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/sweep"
	"github.com/dhkd-lab/dhkd-go/dhkd/internal/progress"
)

type sweepRunCmd struct {
	Dir           string   `arg:"" help:"The sweep's directory."`
	Engine        string   `enum:"local,slurm,kubernetes" default:"local" help:"local: processes on this machine; slurm: array jobs; kubernetes: an Indexed Job."`
	Jobs          int      `short:"j" placeholder:"N" help:"local: runs at once (default: the number of devices, or 1)."`
	Devices       []string `placeholder:"ID" help:"local: devices to share out, by CUDA_VISIBLE_DEVICES."`
	SharedCores   bool     `help:"local: do not give each run cores of its own."`
	Retries       int      `default:"2" help:"local: tries more for a run whose process ends with an error and gets no further; kubernetes: for each run."`
	Limit         int      `placeholder:"N" help:"slurm, kubernetes: tasks or pods at once."`
	Partition     string   `placeholder:"NAME" help:"slurm: partition."`
	Time          string   `placeholder:"H:MM:SS" help:"slurm: time limit of a task, which goes on in another when it is over."`
	GPUs          int      `name:"gpus" placeholder:"N" help:"slurm, kubernetes: GPUs of a task or pod."`
	CPUs          int      `name:"cpus" placeholder:"N" help:"slurm, kubernetes: cores of a task or pod."`
	Memory        string   `placeholder:"SIZE" help:"slurm, kubernetes: memory of a task or pod, such as 8G, or 8Gi for Kubernetes."`
	Sbatch        []string `placeholder:"OPTION" sep:"none" help:"slurm: an option more for sbatch, such as --sbatch=--account=me."`
	DryRun        bool     `help:"slurm, kubernetes: print the scripts or the manifest and submit nothing. local: print the runs that would be made."`
	Data          string   `placeholder:"PATH" help:"Your own copy of the data: a directory or file."`
	AcceptTeacher bool     `help:"As for dhkd distill."`
	DevicesEach   string   `placeholder:"N|all" help:"Devices that the batches of each run are divided among, as --devices of dhkd distill."`
	JSON          bool     `help:"Print JSON: a line for each event."`
	Quiet         bool     `short:"q" help:"Print errors only."`

	Kubernetes kubernetesFlags `embed:""`
}

func (sweepRunCmd) Help() string {
	return `Examples:

  dhkd sweep run runs/table-3 --jobs 4                  four runs at once, each with a quarter of the cores
  dhkd sweep run runs/table-3 --devices 0,1,2,3         a run on each of four GPUs
  dhkd sweep run runs/table-3 --engine slurm --partition gpu --gpus 1 --time 4:00:00 --limit 16
  dhkd sweep run runs/imagenet --engine slurm --gpus 4 --devices-each all     a task's GPUs share its batches
  dhkd sweep run runs/table-3 --engine slurm --dry-run  shows the scripts
  dhkd sweep run /data/runs/table-3 --engine kubernetes --image IMAGE --volume CLAIM --gpus 1 --limit 16

Makes all runs that are not completed, teachers first. Ctrl-C lets each run finish its step and save; the same command
goes on, also after a crash, or after the sweep was extended. Completed and failed runs are kept. What a run's process
says is in log.txt in the run's directory.

Machines that share the directory may all run the sweep: each run is claimed by one process. When a machine dies, others
take its runs over after a minute without a sign of life.

With Slurm the command submits jobs and ends; the directory must have the same path on all nodes. A task that is
preempted or whose time is over saves, goes back into the queue and goes on from there.

With Kubernetes the command writes the manifest of an Indexed Job, a pod for each run, and says how to create it;
--apply creates it by kubectl. The directory is on a volume, mounted at the same path (--mount) here and in the pods. A
job has the runs that can be made now: when the teachers are done, the same command makes the job of their students. See
docs/kubernetes.md.

` + exits(exitOK, exitFailed, exitUsage, exitMissing, exitBusy, exitInterrupted)
}

// Run makes the runs.
func (c *sweepRunCmd) Run(ctx context.Context, out output) error {
	p, err := loadPlan(c.Dir)
	if err != nil {
		return err
	}
	if c.Jobs < 0 || c.Retries < 0 || c.Limit < 0 || c.GPUs < 0 || c.CPUs < 0 {
		return withCode(exitUsage, errors.New("--jobs, --retries, --limit, --gpus and --cpus must not be negative"))
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	switch c.Engine {
	case "slurm":
		return c.slurm(ctx, out, p, program)
	case "kubernetes":
		return c.kubernetes(ctx, out, p)
	}
	return c.local(ctx, out, p, program)
}

// one is the command line that makes the run whose ID follows.
func (c *sweepRunCmd) one(program, dir string) []string {
	args := []string{program, "sweep", "one", dir}
	if c.Data != "" {
		args = append(args, "--data", c.Data)
	}
	if c.AcceptTeacher {
		args = append(args, "--accept-teacher")
	}
	if c.DevicesEach != "" {
		args = append(args, "--devices", c.DevicesEach)
	}
	return args
}

func (c *sweepRunCmd) local(ctx context.Context, out output, p *sweep.Plan, program string) error {
	if c.DryRun {
		for _, s := range (&sweep.Surveyor{Dir: c.Dir, Plan: p}).Survey() {
			if s.State != sweep.Completed {
				fmt.Fprintf(out.stdout, "%-9s  %s\n", s.State, s.Run.ID)
			}
		}
		return nil
	}
	jobs := c.Jobs
	if jobs == 0 {
		jobs = max(1, len(c.Devices))
	}
	mode, w := progress.Auto, out.stderr
	switch {
	case c.JSON:
		mode, w = progress.JSON, out.stdout
	case c.Quiet:
		mode = progress.Quiet
	}
	l := &sweep.Local{Dir: c.Dir, Plan: p, Slots: sweep.Slots(jobs, c.Devices, !c.SharedCores), Retries: c.Retries,
		Show: sweep.NewDisplay(w, mode)}
	l.Command = func(ctx context.Context, run *sweep.Run) *exec.Cmd {
		args := append(c.one(program, c.Dir), "--json", run.ID)
		return exec.CommandContext(ctx, args[0], args[1:]...)
	}
	_, err := l.Run(ctx)
	return err
}

func (c *sweepRunCmd) slurm(ctx context.Context, out output, p *sweep.Plan, program string) error {
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return err
	}
	if c.Data != "" {
		if c.Data, err = filepath.Abs(c.Data); err != nil {
			return err
		}
	}
	s := &sweep.Slurm{Dir: dir, Plan: p, Command: c.one(program, dir), Limit: c.Limit, Partition: c.Partition,
		Time: c.Time, GPUs: c.GPUs, CPUs: c.CPUs, Memory: c.Memory, Options: c.Sbatch}
	all := (&sweep.Surveyor{Dir: c.Dir, Plan: p}).Survey()
	if c.DryRun {
		s.ArraySize = 1000
		for i, j := range s.Jobs(all, filepath.Join(dir, "slurm", "N")) {
			fmt.Fprintf(out.stdout, "# job %d, %d runs\n%s\n", i, len(j.Runs), j.Text())
		}
		return nil
	}
	queue, err := sweep.Queue(ctx, c.Dir)
	if errors.Is(err, exec.ErrNotFound) {
		return withCode(exitMissing, fmt.Errorf("there is no Slurm here: %w", err))
	}
	if err != nil {
		return err
	}
	if len(queue) > 0 {
		return withCode(exitBusy, fmt.Errorf("jobs of this sweep are in the queue already (%s): wait for them, or "+
			"scancel them", states(queue)))
	}
	jobs, _, err := s.Submit(ctx, all)
	left := unfinished(all)
	if errors.Is(err, exec.ErrNotFound) {
		err = withCode(exitMissing, fmt.Errorf("there is no Slurm here: %w", err))
	}
	if c.JSON {
		return errors.Join(err, out.json(jobs))
	}
	if len(jobs) == 0 && err == nil {
		fmt.Fprintf(out.stdout, "nothing to submit: %v\n", sweep.Count(all))
	}
	for _, j := range jobs {
		left -= len(j.Runs)
		fmt.Fprintf(out.stdout, "job %s: %d runs\n", j.ID, len(j.Runs))
	}
	if left > 0 && err == nil {
		fmt.Fprintf(out.stdout, "%d runs are left out: other processes work on them or on their teachers; submit again when "+
			"these are done\n", left)
	}
	return err
}

// unfinished is the number of runs that are to be made.
func unfinished(all []sweep.Status) int {
	n := len(all)
	for _, state := range []sweep.State{sweep.Completed, sweep.Failed, sweep.Damaged, sweep.Blocked} {
		n -= sweep.Count(all)[state]
	}
	return n
}

// printSlurm says what Slurm says of a sweep's jobs.
func printSlurm(w io.Writer, queue, ended map[string]int, err error) {
	switch {
	case err != nil:
		fmt.Fprintf(w, "Slurm's queue cannot be seen from here: %v\n", err)
	case queue != nil:
		fmt.Fprintf(w, "Slurm's queue: %s\n", states(queue))
	}
	if len(ended) > 0 {
		fmt.Fprintf(w, "Slurm's accounts: %s\n", states(ended))
	}
}

// states is "2 RUNNING, 3 PENDING".
func states(n map[string]int) string {
	text := ""
	for _, state := range slices.Sorted(maps.Keys(n)) {
		if text != "" {
			text += ", "
		}
		text += fmt.Sprintf("%d %s", n[state], state)
	}
	if text == "" {
		return "empty"
	}
	return text
}
