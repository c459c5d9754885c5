package sweep

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Slurm has the runs of a plan made by array jobs of the batch system Slurm, a task for each run that is not done: one
// job for the teachers, and one after it for those who learn from them. A task that is preempted, whose node fails or
// whose time is over goes back into the queue, and the run goes on from where it was.
type Slurm struct {
	Dir     string // of the sweep: a path that is the same on all nodes
	Plan    *Plan
	Command []string // that makes the run whose ID follows, by [One]

	Limit     int    // tasks at once; 0 = as many as there are
	Partition string // "" = Slurm's own
	Time      string // limit of a task, as Slurm writes it, "2:00:00"; "" = the partition's
	GPUs      int    // of a task
	CPUs      int    // of a task; 0 = Slurm's own
	Memory    string // of a task, as Slurm writes it, "8G"; "" = Slurm's own
	Options   []string
	ArraySize int // of a job, at most; 0 = what this Slurm allows
}

// warning is how many seconds before its time is over a task is told to save and to go back into the queue.
const warning = 120

// Job is an array job.
type Job struct {
	ID     string   `json:"id"`              // Slurm's
	Script string   `json:"script"`          // file name
	Runs   []string `json:"runs"`            // IDs, a task each
	After  []string `json:"after,omitempty"` // jobs that come first
	text   string
	level  int
}

// Text is the job's script.
func (j Job) Text() string { return j.text }

// jobsFile and its scripts are in slurm/N of the sweep's directory, where N counts submissions.
const jobsFile = "jobs.json"

// Jobs are the jobs of the runs that are not done, for a submission whose files are in dir. Runs that another process
// works on, and those that learn from them, are left out.
func (s *Slurm) Jobs(all []Status, dir string) []Job {
	var jobs []Job
	for n, runs := range levels(all) {
		for chunk := range slices.Chunk(runs, max(1, s.ArraySize)) {
			j := Job{Script: fmt.Sprintf("job%d.sh", len(jobs)), Runs: chunk, level: n}
			j.text = s.script(j, dir)
			jobs = append(jobs, j)
		}
	}
	return jobs
}

// Submit writes the scripts and submits the jobs of all runs that are not done. Where there are none, no job is the
// result.
func (s *Slurm) Submit(ctx context.Context, all []Status) (jobs []Job, dir string, err error) {
	if s.ArraySize == 0 {
		s.ArraySize = arraySize(ctx)
	}
	if jobs = s.Jobs(all, ""); len(jobs) == 0 {
		return nil, "", nil
	}
	if dir, _, err = submission(s.Dir, "slurm"); err != nil {
		return nil, "", err
	}
	jobs = s.Jobs(all, dir)
	for i := range jobs {
		j := &jobs[i]
		path := filepath.Join(dir, j.Script)
		if err := errors.Join(write(path, j.text), writeTasks(tasks(path), j.Runs)); err != nil {
			return jobs[:i], dir, err
		}
		for _, before := range jobs[:i] {
			if before.level < j.level {
				j.After = append(j.After, before.ID)
			}
		}
		if j.ID, err = command(ctx, "sbatch", append(s.dependency(*j), path)...); err != nil {
			return jobs[:i], dir, err
		}
		j.ID, _, _ = strings.Cut(j.ID, ";") // a cluster's name may follow
		text, err := json.MarshalIndent(jobs[:i+1], "", " ")
		if err == nil {
			err = write(filepath.Join(dir, jobsFile), string(text)+"\n")
		}
		if err != nil {
			return jobs[:i+1], dir, fmt.Errorf("job %s was submitted, but: %w", j.ID, err)
		}
	}
	return jobs, dir, nil
}

// dependency are the options of sbatch that no script can hold: what it prints, and which jobs come first, however they
// end, since a teacher that failed does not concern the students of another.
func (s *Slurm) dependency(j Job) []string {
	args := []string{"--parsable"}
	if len(j.After) > 0 {
		args = append(args, "--dependency=afterany:"+strings.Join(j.After, ":"))
	}
	return args
}

// script is a job's script.
func (s *Slurm) script(j Job, dir string) string {
	array := fmt.Sprintf("0-%d", len(j.Runs)-1)
	if s.Limit > 0 {
		array += fmt.Sprintf("%%%d", s.Limit)
	}
	options := []string{"--job-name=" + s.Plan.Name, "--array=" + array, output(dir),
		"--open-mode=append", "--requeue", "--ntasks=1", fmt.Sprintf("--signal=B:USR1@%d", warning)}
	for _, o := range []struct {
		format string
		value  any
		given  bool
	}{
		{"--partition=%v", s.Partition, s.Partition != ""}, {"--time=%v", s.Time, s.Time != ""},
		{"--gpus-per-task=%v", s.GPUs, s.GPUs > 0}, {"--cpus-per-task=%v", s.CPUs, s.CPUs > 0},
		{"--mem=%v", s.Memory, s.Memory != ""},
	} {
		if o.given {
			options = append(options, fmt.Sprintf(o.format, o.value))
		}
	}
	var text strings.Builder
	text.WriteString("#!/bin/bash\n")
	for _, option := range append(options, s.Options...) {
		fmt.Fprintf(&text, "#SBATCH %s\n", option)
	}
	var words []string
	for _, word := range s.Command {
		words = append(words, quote(word))
	}
	fmt.Fprintf(&text, `
run=$(sed -n "$((SLURM_ARRAY_TASK_ID + 1))p" %s)
[ -n "$run" ] || { echo "no run for task $SLURM_ARRAY_TASK_ID" >&2; exit 2; }
%s "$run" &
child=$!

# SIGTERM comes when the task is preempted, requeued or cancelled, SIGUSR1 (to this script alone) before its time is
# over. The run saves and ends. In the last case nobody but this script puts it back into the queue.
code=0 over=
trap 'signalled=1; kill -TERM "$child" 2>/dev/null' TERM
trap 'signalled=1 over=1; kill -TERM "$child" 2>/dev/null' USR1
while :; do
	signalled=
	wait "$child"
	status=$?
	[ "$status" = 127 ] || code=$status # 127: it was waited for before the signal came
	[ -n "$signalled" ] || break
done
[ -z "$over" ] || [ "$code" != 130 ] || scontrol requeue "$SLURM_JOB_ID"
exit "$code"
`, quote(tasks(filepath.Join(dir, j.Script))), strings.Join(words, " "))
	return text.String()
}

// tasks is the file with the runs of a script's tasks.
func tasks(script string) string { return strings.TrimSuffix(script, ".sh") + ".tasks" }

func quote(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }

// output is the option that names a task's log, as a script must have it: sbatch cuts a directory with a space in two,
// unless the whole option is in quotes, and replaces what follows a %.
func output(dir string) string {
	option := "--output=" + filepath.Join(strings.ReplaceAll(dir, "%", "%%"), "%A_%a.log")
	if strings.ContainsAny(option, " \t\"'#") {
		return `"` + strings.ReplaceAll(option, `"`, `\"`) + `"`
	}
	return option
}

// arraySize is how many tasks this Slurm allows a job.
func arraySize(ctx context.Context) int {
	text, err := command(ctx, "scontrol", "show", "config")
	if err == nil {
		for line := range strings.Lines(text) {
			if key, value, ok := strings.Cut(line, "="); ok && strings.TrimSpace(key) == "MaxArraySize" {
				if n, err := strconv.Atoi(strings.TrimSpace(value)); err == nil && n > 1 {
					return n - 1
				}
			}
		}
	}
	return 1000 // one less than the value that it has unless set
}

// Queue are the numbers of tasks of a sweep's jobs that are in Slurm's queue, by Slurm's name of their state, RUNNING
// or PENDING. It is nil where nothing was submitted.
func Queue(ctx context.Context, dir string) (map[string]int, error) {
	jobs, err := submitted(dir)
	if err != nil || len(jobs) == 0 {
		return nil, err
	}
	text, err := command(ctx, "squeue", "--noheader", "--array", "--format=%F %T", "--jobs="+strings.Join(jobs, ","))
	if err != nil && strings.Contains(err.Error(), "Invalid job id") { // of one that has been forgotten
		text, err = "", nil
	}
	if err != nil {
		return nil, err
	}
	queue := map[string]int{}
	for line := range strings.Lines(text) {
		if fields := strings.Fields(line); len(fields) == 2 && slices.Contains(jobs, fields[0]) {
			queue[fields[1]]++
		}
	}
	return queue, nil
}

// Ended are the numbers of a sweep's tasks that have ended, by Slurm's name of their state, TIMEOUT or OUT_OF_MEMORY,
// where Slurm keeps accounts.
func Ended(ctx context.Context, dir string) (map[string]int, error) {
	jobs, err := submitted(dir)
	if err != nil || len(jobs) == 0 {
		return nil, err
	}
	text, err := command(ctx, "sacct", "--noheader", "--allocations", "--parsable2", "--format=JobID,State",
		"--jobs="+strings.Join(jobs, ","))
	if err != nil {
		return nil, err
	}
	states := map[string]int{}
	for line := range strings.Lines(text) {
		_, state, ok := strings.Cut(strings.TrimSpace(line), "|")
		state, _, _ = strings.Cut(state, " ") // "CANCELLED by 0"
		if ok && state != "RUNNING" && state != "PENDING" && state != "REQUEUED" {
			states[state]++
		}
	}
	return states, nil
}

// submitted are the IDs of a sweep's jobs.
func submitted(dir string) (ids []string, err error) {
	files, err := fs.Glob(os.DirFS(dir), "slurm/*/"+jobsFile) // not filepath.Glob: dir may hold a [
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		path := filepath.Join(dir, file)
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		var jobs []Job
		if err := json.Unmarshal(data, &jobs); err != nil {
			return nil, fmt.Errorf("%s: %w; move it away if its jobs have ended", path, err)
		}
		for _, j := range jobs {
			if !slices.Contains(ids, j.ID) {
				ids = append(ids, j.ID)
			}
		}
	}
	return ids, nil
}
