package sweep

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

func TestSlurmJobs(t *testing.T) {
	l := local(t, "seeds: [1, 2, 3]", 1)
	s := &Slurm{Dir: l.Dir, Plan: l.Plan, Command: []string{"/my programs/dhkd", "sweep", "one", "it's"}, Limit: 8, Partition: "gpu",
		Time: "2:00:00", GPUs: 1, CPUs: 4, Memory: "8G", Options: []string{"--account=me"}, ArraySize: 4}
	survey := func() []Status { return (&Surveyor{Dir: l.Dir, Plan: l.Plan}).Survey() }
	jobs := s.Jobs(survey(), "/sweep/slurm/1")
	var runs [][]string
	for _, j := range jobs {
		runs = append(runs, j.Runs)
	}
	id := func(name string) string { return "tiny/smoke/" + name }
	want := [][]string{{id("teacher-seed1"), id("ce-seed1"), id("ce-seed2"), id("ce-seed3")}, {id("kd-seed1"), id("kd-seed2"), id("kd-seed3")}}
	if fmt.Sprint(runs) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", runs, want)
	}
	for _, line := range []string{"#!/bin/bash", "#SBATCH --job-name=test", "#SBATCH --array=0-3%8", "#SBATCH --output=/sweep/slurm/1/%A_%a.log",
		"#SBATCH --open-mode=append", "#SBATCH --requeue", "#SBATCH --signal=B:USR1@120", "#SBATCH --partition=gpu", "#SBATCH --time=2:00:00",
		"#SBATCH --gpus-per-task=1", "#SBATCH --cpus-per-task=4", "#SBATCH --mem=8G", "#SBATCH --account=me",
		`'/my programs/dhkd' 'sweep' 'one' 'it'\''s' "$run" &`} {
		if !strings.Contains(jobs[0].Text(), line+"\n") {
			t.Errorf("%q is not in\n%s", line, jobs[0].Text())
		}
	}
	if text := s.Jobs(survey(), `/a 100% "sweep"`)[0].Text(); !strings.Contains(text, `#SBATCH "--output=/a 100%% \"sweep\"/%A_%a.log"`+"\n") {
		t.Error(text)
	}
	if !strings.Contains(jobs[1].Text(), "--array=0-2%8\n") {
		t.Error(jobs[1].Text())
	}

	// What is done is not asked for again, and those whose teacher is done wait for no job.
	check(t, completed(l.Plan.Runs[0].Recipe).Save(record.Path(l.Dir, l.Plan.Runs[0].Recipe)))
	s.ArraySize = 100
	if jobs := s.Jobs(survey(), ""); len(jobs) != 1 || len(jobs[0].Runs) != 6 {
		t.Errorf("%+v", jobs)
	}
	for _, r := range l.Plan.Runs {
		check(t, completed(r.Recipe).Save(record.Path(l.Dir, r.Recipe)))
	}
	if jobs := s.Jobs(survey(), ""); len(jobs) != 0 {
		t.Errorf("%+v", jobs)
	}
}

// The script is one that bash takes, picks the run of its task, and says how that ended.
func TestSlurmScript(t *testing.T) {
	if _, err := exec.LookPath("bash"); err != nil {
		skip(t, err)
	}
	l := local(t, "runs: [ce]\nseeds: [1, 2]", 1)
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	// It ends with 130 on SIGTERM, as dhkd does when it has saved.
	check(t, os.WriteFile(program, []byte("#!/bin/bash\necho \"$@\" >>"+dir+"/said\ntrap 'sleep 0.2; exit 130' TERM\n"+
		"[ ! -e "+dir+"/wait ] || for i in {1..100}; do sleep 0.1; done\nexit 7\n"), 0o755))
	check(t, os.WriteFile(filepath.Join(dir, "scontrol"), []byte("#!/bin/sh\necho \"$@\" >>"+dir+"/said\n"), 0o755))
	s := &Slurm{Dir: l.Dir, Plan: l.Plan, Command: []string{program}, ArraySize: 10}
	j := s.Jobs((&Surveyor{Dir: l.Dir, Plan: l.Plan}).Survey(), dir)[0]
	path := filepath.Join(dir, j.Script)
	check(t, write(path, j.Text()))
	check(t, write(tasks(path), strings.Join(j.Runs, "\n")+"\n"))
	run := func(task string, signal os.Signal) (code int, said string) {
		os.Remove(filepath.Join(dir, "said"))
		c := exec.Command("bash", path)
		c.Env = append(os.Environ(), "SLURM_ARRAY_TASK_ID="+task, "SLURM_JOB_ID=42", "PATH="+dir+":"+os.Getenv("PATH"))
		check(t, c.Start())
		if signal != nil {
			for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
				if _, err := os.Stat(filepath.Join(dir, "said")); err == nil {
					break
				}
			}
			time.Sleep(200 * time.Millisecond) // until the trap is set
			check(t, c.Process.Signal(signal))
		}
		c.Wait()
		text, _ := os.ReadFile(filepath.Join(dir, "said"))
		return c.ProcessState.ExitCode(), string(text)
	}
	if code, said := run("1", nil); code != 7 || said != "tiny/smoke/ce-seed2\n" {
		t.Errorf("%d %q", code, said)
	}
	if code, said := run("2", nil); code != 2 || said != "" {
		t.Errorf("a task too many: %d %q", code, said)
	}
	check(t, os.WriteFile(filepath.Join(dir, "wait"), nil, 0o600))
	if code, said := run("0", sigTERM); code != 130 || said != "tiny/smoke/ce-seed1\n" {
		t.Errorf("preempted: %d %q", code, said)
	}
	if code, said := run("0", sigUSR1); code != 130 || said != "tiny/smoke/ce-seed1\nrequeue 42\n" {
		t.Errorf("its time is over: %d %q", code, said)
	}
}

// What squeue and sacct say is read; here it is made up.
func TestSlurmPrograms(t *testing.T) {
	bin, dir := t.TempDir(), t.TempDir()
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	program := func(name, script string) {
		check(t, os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755))
	}
	if queue, err := Queue(t.Context(), dir); queue != nil || err != nil {
		t.Errorf("nothing submitted: %v %v", queue, err)
	}
	check(t, write(filepath.Join(dir, "slurm", "1", jobsFile), `[{"id": "12"}, {"id": "13"}]`))
	program("squeue", `[ "$*" = "--noheader --array --format=%F %T --jobs=12,13" ] && printf '12 RUNNING\n12 PENDING\n13 PENDING\n'`)
	program("sacct", "printf '12_0|COMPLETED\\n12_1|CANCELLED by 0\\n12_2|RUNNING\\n13_0|TIMEOUT\\n'")
	queue, err := Queue(t.Context(), dir)
	if fmt.Sprint(queue) != "map[PENDING:2 RUNNING:1]" || err != nil {
		t.Errorf("%v %v", queue, err)
	}
	ended, err := Ended(t.Context(), dir)
	if fmt.Sprint(ended) != "map[CANCELLED:1 COMPLETED:1 TIMEOUT:1]" || err != nil {
		t.Errorf("%v %v", ended, err)
	}
	program("squeue", "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1")
	if queue, err := Queue(t.Context(), dir); len(queue) != 0 || err != nil {
		t.Errorf("forgotten jobs: %v %v", queue, err)
	}
	program("squeue", "echo 'Unable to contact slurm controller' >&2; exit 1")
	if _, err := Queue(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "Unable to contact") {
		t.Error(err)
	}
	program("scontrol", "printf 'MaxArraySize            = 501\\nMaxJobCount = 9\\n'")
	if n := arraySize(t.Context()); n != 500 {
		t.Error(n)
	}
}

// slurmEnv asks for TestRealSlurm: scripts/test.sh slurm sets it.
const slurmEnv = "DHKD_TEST_SLURM"

// TestRealSlurm has a sweep made by a Slurm of its own: teachers first, a task that is requeued while it runs, as by
// preemption, one whose time is over, and one that is killed; then the results are all there, and no epoch was done
// twice.
func TestRealSlurm(t *testing.T) {
	if os.Getenv(slurmEnv) == "" {
		skip(t, "scripts/test.sh slurm runs it, with "+slurmEnv+"=1")
	}
	startSlurm(t)
	l := local(t, "seeds: [1, 2, 3]", 1, "epochs: 4", "epochs: 8")
	slow := filepath.Join(l.Dir, slowFile)
	check(t, os.WriteFile(slow, nil, 0o600))
	s := &Slurm{Dir: l.Dir, Plan: l.Plan, Limit: 2, Time: "10:00",
		Command: []string{"env", dirEnv + "=" + l.Dir, "sh", "-c", childEnv + `="$1" exec ` + os.Args[0], "run"}}
	surveyor := &Surveyor{Dir: l.Dir, Plan: l.Plan}
	jobs, dir, err := s.Submit(t.Context(), surveyor.Survey())
	check(t, err)
	logs := func() []string {
		names, err := fs.Glob(os.DirFS(dir), "*.log")
		check(t, err)
		return names
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, name := range logs() {
				text, _ := os.ReadFile(filepath.Join(dir, name))
				t.Logf("%s: %s", name, text)
			}
		}
	})
	if len(jobs) != 2 || !slices.Equal(jobs[1].After, []string{jobs[0].ID}) {
		t.Fatalf("%+v", jobs)
	}
	if queue, err := Queue(t.Context(), l.Dir); err != nil || queue["PENDING"]+queue["RUNNING"]+queue["CONFIGURING"] != 7 {
		t.Errorf("in the queue: %v %v", queue, err)
	}
	waitForLedger(t, l.Dir, 4)
	task := jobs[0].ID + "_0"
	mustRun(t, "scontrol", "requeue", task) // the first is the teacher
	waitForLedger(t, l.Dir, 8)
	mustRun(t, "scancel", "--batch", "--signal=USR1", jobs[0].ID+"_1") // as before its time is over
	check(t, os.Remove(slow))

	// Slurm has them wait for two minutes, unless it is asked to start them earlier; it refuses to within the same
	// second.
	for _, task := range []string{task, jobs[0].ID + "_1"} {
		wait(t, "task "+task+" in the queue again", func() bool {
			return mustRun(t, "squeue", "--noheader", "--format=%T", "--jobs="+task) == "PENDING"
		})
		mustRun(t, "scontrol", "update", "jobid="+task, "starttime=now+3")
	}
	deadline := time.Now().Add(4 * time.Minute)
	for ; ; time.Sleep(500 * time.Millisecond) {
		queue, err := Queue(t.Context(), l.Dir)
		check(t, err)
		if len(queue) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("still in the queue: %v\n%s", queue, mustRun(t, "scontrol", "show", "job"))
		}
	}
	wantDone(t, l, true)
	resumed := 0
	for _, status := range surveyor.Survey() {
		if status.Record != nil {
			resumed += status.Record.Resumed
		}
	}
	if resumed < 2 {
		t.Errorf("runs went on %d times, want the one that was requeued and the one whose time was over", resumed)
	}
	if n := len(logs()); n != 7 {
		t.Errorf("%d tasks have a log in %s, want 7", n, dir)
	}
	if again, _, err := s.Submit(t.Context(), surveyor.Survey()); err != nil || len(again) != 0 {
		t.Errorf("submitted again: %v %v", again, err)
	}
}

// skip skips a test that cannot be run here; in CI it has failed.
func skip(t *testing.T, why any) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}

func mustRun(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := command(context.Background(), name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
