package sweep

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/dhkd-lab/dhkd-go/dhkd/internal/progress"
)

// LogFile, in a run's directory, is what the run's processes said: standard error, and the messages among their events.
const LogFile = "log.txt"

// maxErrors in a row, without a run that gets on, end a sweep: what is wrong is not the runs.
const maxErrors = 5

// Local makes the runs of a plan by processes on this machine, several at once. Any number of machines that share the
// directory may do so at the same time: each run is claimed by its process.
type Local struct {
	Dir   string
	Plan  *Plan
	Slots []Slot // a process each
	// Command is the process that makes a run, by [One]. Its standard output is that of [progress.JSON]; when ctx ends
	// it gets SIGTERM, after which it saves and ends.
	Command func(ctx context.Context, run *Run) *exec.Cmd
	Retries int           // of a run whose process ended with an error, without getting any further; after it got on, anew
	Show    *Display      // nil = nothing is shown
	Poll    time.Duration // how often runs of other processes are looked at; 0 = 5 s
	Grace   time.Duration // for a process to save after SIGTERM, before it is killed; 0 = 5 min

	surveyor *Surveyor
	all      []Status
	tries    map[string]*tries
	here     map[string]int // the slots of runs that are processes of ours
	last     string         // error
}

// tries are those of a run since it last got any further.
type tries struct {
	errors int
	epochs int       // that its record had
	next   time.Time // not before
}

// outcome is how a process ended.
type outcome struct {
	slot int
	run  *Run
	err  error
	took time.Duration
}

// Run makes all runs that are not done. When ctx ends, the processes save and end; the same call goes on from there.
// The error says what is left and why; it is nil when all runs are completed.
func (l *Local) Run(ctx context.Context) ([]Status, error) {
	if l.Show == nil {
		l.Show = NewDisplay(io.Discard, progress.Quiet)
	}
	if l.Poll == 0 {
		l.Poll = 5 * time.Second
	}
	if l.Grace == 0 {
		l.Grace = 5 * time.Minute
	}
	l.surveyor = &Surveyor{Dir: l.Dir, Plan: l.Plan}
	l.tries, l.here = map[string]*tries{}, map[string]int{}
	work, ends := make([]chan *Run, len(l.Slots)), make(chan outcome)
	var idle []int
	for i := range l.Slots {
		work[i] = make(chan *Run)
		go l.slot(ctx, i, work[i], ends)
		defer close(work[i])
		idle = append(idle, i)
	}
	ticker := time.NewTicker(l.Poll)
	defer ticker.Stop()
	done, inARow := ctx.Done(), 0
	l.survey()
	for {
		for len(idle) > 0 && ctx.Err() == nil && inARow < maxErrors {
			run := l.next()
			if run == nil {
				break
			}
			l.here[run.ID] = idle[0]
			l.Show.Start(idle[0], run)
			work[idle[0]] <- run
			idle = idle[1:]
		}
		if len(l.here) == 0 && (ctx.Err() != nil || inARow >= maxErrors || !l.open()) {
			break
		}
		select {
		case o := <-ends:
			idle = append(idle, o.slot)
			delete(l.here, o.run.ID)
			if l.judge(ctx, o) {
				inARow = 0
			} else {
				inARow++
			}
		case <-done:
			done = nil
			if len(l.here) > 0 {
				l.Show.Note(fmt.Sprintf("stopping: %d runs finish their step and save", len(l.here)))
			}
		case <-ticker.C:
			l.survey()
		}
	}
	l.survey()
	l.Show.Done(l.all)
	return l.all, l.result(ctx, inARow)
}

func (l *Local) result(ctx context.Context, inARow int) error {
	counts := Count(l.all)
	switch {
	case counts[Completed] == len(l.all):
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("interrupted: %v; the same command goes on", counts)
	case inARow >= maxErrors:
		return fmt.Errorf("given up after %d errors in a row: %v; the last was: %s", inARow, counts, l.last)
	}
	return fmt.Errorf("%v: dhkd sweep status says why", counts)
}

// survey looks at all runs.
func (l *Local) survey() {
	l.all = l.surveyor.Survey()
	l.Show.Survey(l.all)
}

// next is the first run that can be started now, or nil.
func (l *Local) next() *Run {
	for _, s := range l.all {
		if l.startable(s) && !time.Now().Before(l.try(s).next) {
			return s.Run
		}
	}
	return nil
}

// startable says whether a run can be started now or, after an error, later.
func (l *Local) startable(s Status) bool {
	_, here := l.here[s.Run.ID]
	if here || s.State.final() || s.State == Running || l.try(s).errors > l.Retries {
		return false
	}
	return s.Run.After == "" || l.surveyor.ended[s.Run.After].State == Completed
}

// open says whether any run is still to be expected: one to start, or one that another process works on.
func (l *Local) open() bool {
	return slices.ContainsFunc(l.all, func(s Status) bool { return s.State == Running || l.startable(s) })
}

// try is what is known of a run's tries. What it had done when it was first looked at does not count as getting on.
func (l *Local) try(s Status) *tries {
	if l.tries[s.Run.ID] == nil {
		l.tries[s.Run.ID] = &tries{epochs: s.epochs()}
	}
	return l.tries[s.Run.ID]
}

// judge says how the process of a run ended, and whether the run got on. What a run is is in its files; how the process
// ended says only why it is not done.
func (l *Local) judge(ctx context.Context, o outcome) bool {
	i := slices.IndexFunc(l.all, func(s Status) bool { return s.Run == o.run })
	s := l.surveyor.Look(o.run)
	l.all[i] = s
	l.Show.Survey(l.all)
	t := l.try(s)
	got := s.State.final() || s.epochs() > t.epochs
	if got {
		*t = tries{epochs: s.epochs()}
	}
	switch {
	case s.State.final(), ctx.Err() != nil:
		l.Show.End(o.slot, s, o.took, "")
		return true
	case s.State == Running || isBusy(o.err): // another process was faster
		t.next = time.Now().Add(l.Poll)
		l.Show.End(o.slot, s, o.took, "another process works on it")
		return true
	case s.State == Errored: // it has said why
	case o.err != nil:
		s.Message = o.err.Error()
	default:
		s.Message = "its process ended well, but its record is not that of a completed run"
	}
	s.State, l.last = Errored, s.Message
	if !got {
		t.errors++
	}
	wait := min(l.Poll<<min(t.errors, 10), 5*time.Minute)
	t.next = time.Now().Add(wait)
	if t.errors <= l.Retries {
		s.Message += fmt.Sprintf(" (tried again in %s)", wait)
	}
	l.Show.End(o.slot, s, o.took, s.Message)
	return got
}

func isBusy(err error) bool {
	var exit *exec.ExitError
	return errors.As(err, &exit) && exit.ExitCode() == ExitBusy
}

// slot makes runs one after the other. Its thread is its own, and ends with it: processes inherit the thread's cores,
// and on Linux get SIGTERM when it ends, so that none outlives a sweep that is killed.
func (l *Local) slot(ctx context.Context, i int, work <-chan *Run, ends chan<- outcome) {
	runtime.LockOSThread()
	if err := pin(l.Slots[i].Cores); err != nil {
		l.Show.Note(fmt.Sprintf("slot %d is not pinned to its cores: %v", i, err))
	}
	for run := range work {
		start := time.Now()
		err := l.process(ctx, i, run)
		ends <- outcome{i, run, err, time.Since(start)}
	}
}

// process makes a run by a process and waits for it.
func (l *Local) process(ctx context.Context, slot int, run *Run) error {
	dir := run.Dir(l.Dir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(dir, LogFile), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	begin, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	command := l.Command(ctx, run)
	if command.Env == nil {
		command.Env = os.Environ()
	}
	command.Env = append(command.Env, l.Slots[slot].Env...)
	command.Stderr = log // not through this process, so that the log is whole if this is killed
	command.Stdout = &lines{each: func(line []byte) {
		var e progress.Event
		if json.Unmarshal(line, &e) == nil {
			l.Show.Event(slot, run, e)
			if e.Message != "" {
				fmt.Fprintln(log, e.Message)
			}
		}
	}}
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.WaitDelay = l.Grace // also for standard output that a process of its own keeps open after its end
	detach(command)
	err = command.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if last := lastLine(log, begin); last != "" {
			return fmt.Errorf("%w: %s", err, last)
		}
	}
	return err
}

// lastLine is the last line that was written to a log after begin.
func lastLine(log *os.File, begin int64) string {
	end, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return ""
	}
	tail := make([]byte, min(end-begin, 4096))
	n, _ := log.ReadAt(tail, end-int64(len(tail)))
	text := strings.TrimSpace(string(tail[:n]))
	return text[strings.LastIndexByte(text, '\n')+1:]
}

// lines calls each with every line that is written.
type lines struct {
	each func(line []byte)
	rest []byte
}

func (l *lines) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	for {
		line, rest, ok := bytes.Cut(l.rest, []byte("\n"))
		if !ok {
			break
		}
		l.each(line)
		l.rest = rest
	}
	if len(l.rest) > 1<<20 { // no event is so long
		l.rest = nil
	}
	return len(p), nil
}
