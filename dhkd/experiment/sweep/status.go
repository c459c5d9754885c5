package sweep

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/internal/claim"
)

// State says how a run stands.
type State string

// The states. All but the last four become [Completed] by making the run, or going on with it.
const (
	Waiting   State = "waiting"   // not begun
	Running   State = "running"   // a process works on it
	Stopped   State = "stopped"   // interrupted, or its process is gone: it goes on from what was saved
	Errored   State = "error"     // its last process ended with an error: it is tried again
	Completed State = "completed" // its record says so
	Failed    State = "failed"    // its record says so: the loss was not finite
	Damaged   State = "damaged"   // its record cannot be used
	Blocked   State = "blocked"   // its teacher failed or is damaged or blocked
)

// States are all states, in the order in which they are listed.
var States = []State{Completed, Running, Stopped, Waiting, Errored, Failed, Damaged, Blocked}

// final says whether nothing but [Retry] changes the state.
func (s State) final() bool { return s == Completed || s.bad() }

func (s State) bad() bool { return s == Failed || s == Damaged || s == Blocked }

// Status is how a run stands, from the files in its directory.
type Status struct {
	Run     *Run
	State   State
	Record  *record.Record // nil where there is none that can be used
	Owner   claim.Owner    // of a run that is running
	Message string         // what went wrong

	foreign bool // the record is that of another recipe
}

// epochs are those that the run has done.
func (s Status) epochs() int {
	if s.Record == nil {
		return 0
	}
	return s.Record.Last
}

// errorFile, in a run's directory, has the error that its last process ended with.
const errorFile = "error.txt"

// Surveyor looks at the runs of a plan again and again. How long another machine has given no sign of life is known
// from what it saw before. It is not for several goroutines.
type Surveyor struct {
	Dir  string
	Plan *Plan

	watch claim.Watch
	ended map[string]Status // of completed runs, which stay so
}

// Survey returns the status of every run, in the plan's order.
func (s *Surveyor) Survey() []Status {
	all := make([]Status, len(s.Plan.Runs))
	states := map[string]State{}
	for i := range s.Plan.Runs {
		run := &s.Plan.Runs[i]
		status := s.Look(run)
		if t := states[run.After]; (status.State == Waiting || status.State == Errored) && t.bad() {
			status.State, status.Message = Blocked, fmt.Sprintf("its teacher, %s, is %s", run.After, t)
		}
		states[run.ID] = status.State
		all[i] = status
	}
	return all
}

// Look returns the status of one run, but that it is never blocked.
func (s *Surveyor) Look(run *Run) Status {
	if status, ok := s.ended[run.ID]; ok {
		return status
	}
	status := s.look(run)
	if status.State == Completed {
		if s.ended == nil {
			s.ended = map[string]Status{}
		}
		s.ended[run.ID] = status
	}
	return status
}

// look reads the files of a run.
func (s *Surveyor) look(run *Run) Status {
	status := Status{Run: run, State: Waiting}
	dir := run.Dir(s.Dir)
	rec, err := record.Load(filepath.Join(dir, record.FileName))
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		status.State, status.Message = Damaged, err.Error()
		return status
	default:
		if field := differs(rec.Recipe, run.Recipe); field != "" {
			status.State, status.foreign = Damaged, true
			status.Message = fmt.Sprintf("%s holds a run with another recipe (it differs in %s): move it away", dir, field)
			return status
		}
		status.Record = rec
		switch rec.Status {
		case record.Completed:
			status.State = Completed
			return status
		case record.Failed:
			status.State, status.Message = Failed, rec.Failure.Message
			return status
		}
		status.State = Stopped
	}
	claimed, owner, err := s.watch.Look(dir)
	if err != nil {
		status.State, status.Message = Errored, err.Error()
		return status
	}
	if claimed == claim.Held {
		status.State, status.Owner = Running, owner
		return status
	}
	if text, err := os.ReadFile(filepath.Join(dir, errorFile)); err == nil {
		status.State, status.Message = Errored, strings.TrimSpace(string(text))
	}
	return status
}

// differs names a field in which two recipes' runs or their places differ, or "".
func differs(a, b record.Recipe) string {
	if ID(a) != ID(b) {
		return "name"
	}
	return experiment.Differs(a, b)
}

// Counts are the numbers of runs in each state.
type Counts map[State]int

// Count counts runs by state.
func Count(all []Status) Counts {
	c := Counts{}
	for _, s := range all {
		c[s.State]++
	}
	return c
}

// String is "12 of 40 completed, 3 running, 25 waiting".
func (c Counts) String() string {
	total := 0
	for _, n := range c {
		total += n
	}
	text := fmt.Sprintf("%d of %d completed", c[Completed], total)
	for _, state := range States[1:] {
		if c[state] > 0 {
			text += fmt.Sprintf(", %d %s", c[state], state)
		}
	}
	return text
}

// Trouble says whether a run needs somebody's attention.
func (c Counts) Trouble() bool { return c[Errored]+c[Failed]+c[Damaged]+c[Blocked] > 0 }
