package sweep

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/internal/claim"
	"github.com/dhkd-lab/dhkd-go/dhkd/internal/progress"
)

// Environment variables that make the test binary another program: the process of a run, whose argument is the run's
// ID, or a sweep's controller.
const (
	childEnv      = "DHKD_TEST_RUN"
	controllerEnv = "DHKD_TEST_CONTROLLER"
	dirEnv        = "DHKD_TEST_DIR"
	fullEnv       = "DHKD_TEST_FULL" // in a run's process: after its first epoch, no file can be longer than 1,000 bytes
)

// Files in a sweep's directory by which tests make the processes of runs fail.
const (
	ledgerFile = "ledger" // a line for each epoch that a process did: run, epoch, PID
	diskFull   = "full"   // while it is there, no file can be longer than 1,000 bytes
	slowFile   = "slow"   // while it is there, an epoch takes long
)

func TestMain(m *testing.M) {
	claim.Beat, claim.Patience = 20*time.Millisecond, 1500*time.Millisecond
	dir := os.Getenv(dirEnv)
	switch {
	case os.Getenv(childEnv) != "":
		os.Exit(child(dir, os.Getenv(childEnv)))
	case os.Getenv(controllerEnv) != "":
		os.Exit(controller(dir))
	}
	os.Exit(m.Run())
}

// child stands in for dhkd sweep one: it claims its run, and writes a record after every epoch.
func child(dir, id string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, "child:", err)
		return 1
	}
	p, err := Load(dir)
	if err != nil {
		return fail(err)
	}
	run := p.Find(id)
	if err := p.Ready(dir, run); err != nil {
		return fail(err)
	}
	if err := os.MkdirAll(run.Dir(dir), 0o755); err != nil {
		return fail(err)
	}
	claimed, err := claim.Acquire(ctx, run.Dir(dir), func(string) {})
	if errors.Is(err, claim.ErrBusy) {
		return ExitBusy
	} else if err != nil {
		return fail(err)
	}
	defer claimed.Release()
	path := record.Path(dir, run.Recipe)
	rec, err := record.Load(path)
	if errors.Is(err, fs.ErrNotExist) {
		rec, err = newRecord(run.Recipe), nil
	} else if err == nil {
		rec.Resumed++
	}
	if err != nil {
		return fail(err)
	}
	if rec.Ended() {
		return 0
	}
	rec.Status = record.Running
	for rec.Last < run.Recipe.Schedule.Epochs {
		pause := 2 * time.Millisecond
		if _, err := os.Stat(filepath.Join(dir, slowFile)); err == nil {
			pause = 150 * time.Millisecond
		}
		time.Sleep(pause)
		if _, err := os.Stat(filepath.Join(dir, diskFull)); err == nil || os.Getenv(fullEnv) != "" && rec.Last > 0 {
			signal.Ignore(syscall.SIGXFSZ)
			_ = syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 1000, Max: 1000})
		}
		addEpoch(rec)
		switch {
		case rec.Last == run.Recipe.Schedule.Epochs:
			rec.Status = record.Completed
		case strings.Contains(id, "fails") && rec.Last == 2:
			rec.Status = record.Failed
			rec.Failure = &record.Failure{Message: "loss term ce is NaN", Term: "ce", Epoch: 2, Step: 6}
		case ctx.Err() != nil:
			rec.Status = record.Interrupted
		}
		if err := errors.Join(claimed.Check(), rec.Save(path)); err != nil {
			return fail(err)
		}
		if err := ledger(dir, id, rec.Last); err != nil {
			return fail(err)
		}
		if strings.Contains(id, "crashes") && rec.Last <= 3 {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
		event, _ := json.Marshal(progress.Event{Event: "epoch", Epoch: rec.Last, Epochs: run.Recipe.Schedule.Epochs,
			Metrics: rec.Epochs[rec.Last-1].Metrics})
		fmt.Println(string(event))
		if rec.Status == record.Failed {
			return fail(errors.New(rec.Failure.Message))
		}
		if rec.Status == record.Interrupted {
			return 130
		}
	}
	return 0
}

// newRecord is the record of a run that has done nothing yet.
func newRecord(r record.Recipe) *record.Record {
	return &record.Record{Schema: record.SchemaVersion, Recipe: r, Status: record.Running, Started: time.Unix(1e9, 0).UTC()}
}

// addEpoch adds an epoch with an accuracy that depends on the seed.
func addEpoch(r *record.Record) {
	r.Last++
	r.Best = r.Last
	r.Epochs = append(r.Epochs, record.Epoch{Epoch: r.Last, Step: 3 * r.Last, LearningRate: r.Recipe.Optimizer.LearningRate, Seconds: 1,
		Metrics: record.Metrics{record.MetricStudentTest: 10*float64(r.Last) + float64(r.Recipe.Seed), "loss/ce": 1}})
}

// completed is the record of a completed run.
func completed(r record.Recipe) *record.Record {
	rec := newRecord(r)
	for range r.Schedule.Epochs {
		addEpoch(rec)
	}
	rec.Status, rec.TrainSeconds, rec.ImagesPerSecond = record.Completed, 1, 100
	return rec
}

func ledger(dir, id string, epoch int) error {
	f, err := os.OpenFile(filepath.Join(dir, ledgerFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := os.Stat(filepath.Join(dir, diskFull)); err == nil {
		return nil
	}
	_, err = fmt.Fprintln(f, id, epoch, os.Getpid())
	return err
}

// program is the command that makes a run here.
func program(dir string) func(ctx context.Context, run *Run) *exec.Cmd {
	return func(ctx context.Context, run *Run) *exec.Cmd {
		c := exec.CommandContext(ctx, os.Args[0])
		c.Env = append(os.Environ(), childEnv+"="+run.ID, dirEnv+"="+dir)
		return c
	}
}

// controller makes a sweep with three processes at once, until SIGTERM.
func controller(dir string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	p, err := Load(dir)
	if err == nil {
		l := &Local{Dir: dir, Plan: p, Slots: Slots(3, nil, false), Retries: 1, Command: program(dir), Poll: 20 * time.Millisecond,
			Show: NewDisplay(os.Stdout, progress.JSON)}
		_, err = l.Run(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "controller:", err)
		return 1
	}
	return 0
}

// startController starts a controller as a process of its own.
func startController(t *testing.T, dir string, env ...string) (c *exec.Cmd, output *safeBuffer) {
	t.Helper()
	c = exec.CommandContext(t.Context(), os.Args[0])
	c.Env = append(append(os.Environ(), controllerEnv+"=1", dirEnv+"="+dir), env...)
	output = &safeBuffer{}
	c.Stdout, c.Stderr = output, output
	c.WaitDelay = 10 * time.Second
	check(t, c.Start())
	return c, output
}

// safeBuffer is written by one goroutine and read by another.
type safeBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
