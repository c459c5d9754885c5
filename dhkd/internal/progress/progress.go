// Package progress shows how a training run gets on: one live line on a terminal, a line per epoch elsewhere, JSON
// lines for programs, or nothing.
package progress

import (
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// Mode is how progress is shown.
type Mode string

// The modes. Auto is Live on a terminal and Plain elsewhere.
const (
	Auto  Mode = ""
	Live  Mode = "live"  // one line, redrawn at most ten times a second and when the phase changes
	Plain Mode = "plain" // a line per epoch
	JSON  Mode = "json"  // an object per line: start, step (at most one a second), epoch, note, done
	Quiet Mode = "quiet" // nothing
)

// Update is where a run stands.
type Update struct {
	Run             string         // its name, "dhkd seed 1"
	Epoch, Epochs   int            // the epoch in progress or just done, from 1, of so many
	Step, Steps     int            // steps done in this epoch, of so many
	ImagesPerSecond float64        // of training steps; 0 = not known
	Metrics         record.Metrics // what is known by now; a test accuracy is shown until the next one comes
	LearningRate    float64        // of this epoch
	Elapsed         time.Duration  // since the run was started
	ETA             time.Duration  // to the end of the run; 0 = not known
	Phase           string         // "train" or empty; any other is shown, "compile", "evaluate"
}

// Progress shows updates. Its methods can be called from several goroutines. Errors of the writer are ignored: a run
// does not end because nobody watches.
type Progress interface {
	Start(title string)  // a run begins
	Step(Update)         // a step is done, or a phase begins; cheap enough to call for each
	Epoch(Update)        // an epoch and its evaluation are done
	Note(message string) // something to keep on the screen, in whole lines
	Done(message string) // the run ended, well or not: no line is left half-written; "" shows nothing
}

// New shows progress on w. Colour is used on a terminal where the environment variable NO_COLOR is empty.
func New(w io.Writer, mode Mode) Progress {
	f, isFile := w.(*os.File)
	if mode == Auto {
		mode = Plain
		if isFile && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" {
			mode = Live
		}
	}
	var show Progress
	switch mode {
	case Live:
		columns := func() int {
			if isFile {
				if n, _, err := term.GetSize(int(f.Fd())); err == nil && n > 0 {
					return n
				}
			}
			return 80
		}
		show = &live{w: w, now: time.Now, columns: columns, color: os.Getenv("NO_COLOR") == ""}
	case JSON:
		show = &jsonLines{w: w, now: time.Now}
	case Quiet:
		return quiet{}
	default:
		show = &plain{w: w}
	}
	return &locked{show: show}
}

// locked lets one caller in at a time: a signal handler may call Done while a step is shown.
type locked struct {
	mu   sync.Mutex
	show Progress
}

func (l *locked) Start(title string)  { l.mu.Lock(); defer l.mu.Unlock(); l.show.Start(title) }
func (l *locked) Step(u Update)       { l.mu.Lock(); defer l.mu.Unlock(); l.show.Step(u) }
func (l *locked) Epoch(u Update)      { l.mu.Lock(); defer l.mu.Unlock(); l.show.Epoch(u) }
func (l *locked) Note(message string) { l.mu.Lock(); defer l.mu.Unlock(); l.show.Note(message) }
func (l *locked) Done(message string) { l.mu.Lock(); defer l.mu.Unlock(); l.show.Done(message) }
