package sweep

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/internal/progress"
)

// Display shows how a sweep gets on: a table that is redrawn on a terminal, a line for each run that begins or ends
// elsewhere, JSON lines for programs, or nothing. Errors of the writer are ignored: a sweep does not end because nobody
// watches.
type Display struct {
	w       io.Writer
	mode    progress.Mode
	size    func() (columns, rows int) // of the terminal, now
	started time.Time

	mu     sync.Mutex
	rows   map[int]row // of the table, by slot
	counts Counts
	ended  int // runs that ended here, and the time that they took
	took   time.Duration
	drawn  time.Time
	nLines int // of the table, on the screen
}

// row is a run in progress.
type row struct {
	run   *Run
	event progress.Event
	test  string // accuracy of the last evaluation
}

// redraw is the least time between two drawings.
const redraw = 250 * time.Millisecond

// NewDisplay shows a sweep on w.
func NewDisplay(w io.Writer, mode progress.Mode) *Display {
	d := &Display{w: w, mode: mode, rows: map[int]row{}, started: time.Now(), size: func() (int, int) { return 80, 24 }}
	f, isFile := w.(*os.File)
	if mode == progress.Auto {
		d.mode = progress.Plain
		if isFile && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" {
			d.mode = progress.Live
		}
	}
	if isFile {
		d.size = func() (int, int) {
			if columns, rows, err := term.GetSize(int(f.Fd())); err == nil && columns > 0 && rows > 0 {
				return columns, rows
			}
			return 80, 24
		}
	}
	return d
}

// line is what the JSON says.
type line struct {
	Event   string          `json:"event"` // start, progress, end, note, sweep
	ID      string          `json:"id,omitempty"`
	Slot    *int            `json:"slot,omitempty"`
	State   State           `json:"state,omitempty"`
	Message string          `json:"message,omitempty"`
	Seconds float64         `json:"seconds,omitempty"`
	Metrics record.Metrics  `json:"metrics,omitempty"`
	Run     *progress.Event `json:"run,omitempty"`
	Counts  Counts          `json:"counts,omitempty"`
}

// show says something for good: as a line, or as JSON.
func (d *Display) show(text string, l line) {
	switch d.mode {
	case progress.JSON:
		if data, err := json.Marshal(l); err == nil {
			d.w.Write(append(data, '\n'))
		}
	case progress.Plain, progress.Live:
		if text != "" {
			d.erase()
			fmt.Fprintln(d.w, printable(text))
			d.draw()
		}
	}
}

// Start shows that a run begins, or goes on.
func (d *Display) Start(slot int, run *Run) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rows[slot] = row{run: run}
	text := ""
	if d.mode == progress.Plain {
		text = fmt.Sprintf("slot %d: %s", slot, run.ID)
	}
	d.show(text, line{Event: "start", ID: run.ID, Slot: &slot})
}

// Event shows how a run gets on.
func (d *Display) Event(slot int, run *Run, e progress.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.rows[slot]
	if r.run != run || e.Event != "step" && e.Event != "epoch" {
		return
	}
	r.event = e
	if v, ok := e.Metrics[record.MetricStudentTest]; ok {
		r.test = fmt.Sprintf("%.2f %%", v)
	}
	d.rows[slot] = r
	if d.mode == progress.JSON && e.Event == "epoch" {
		d.show("", line{Event: "progress", ID: run.ID, Slot: &slot, Run: &e})
	}
	if d.mode == progress.Live && time.Since(d.drawn) >= redraw {
		d.erase()
		d.draw()
	}
}

// End shows how a run's process ended.
func (d *Display) End(slot int, s Status, took time.Duration, message string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.rows, slot)
	l := line{Event: "end", ID: s.Run.ID, Slot: &slot, State: s.State, Seconds: took.Seconds(), Message: message}
	text := fmt.Sprintf("%s: %s", s.Run.ID, s.State)
	if s.State == Completed {
		d.ended, d.took = d.ended+1, d.took+took
		if n := len(s.Record.Epochs); n > 0 {
			l.Metrics = s.Record.Epochs[n-1].Metrics
		}
		if top1, ok := s.Record.Value(record.MetricStudentTest, record.AtLast); ok {
			text += fmt.Sprintf(", %.2f %%", top1)
		}
	}
	if s.State == Failed {
		message = s.Message
		l.Message = message
	}
	text += ", " + took.Round(time.Second).String()
	if message != "" {
		text += ": " + message
	}
	d.show(text, l)
}

// Note shows something to keep.
func (d *Display) Note(message string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.show(message, line{Event: "note", Message: message})
}

// Survey takes in how all runs stand.
func (d *Display) Survey(all []Status) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.counts = Count(all)
	if d.mode == progress.Live {
		d.erase()
		d.draw()
	}
}

// Done shows the end of the sweep.
func (d *Display) Done(all []Status) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.counts, d.rows = Count(all), map[int]row{}
	d.erase()
	if d.mode != progress.JSON && d.mode != progress.Quiet {
		fmt.Fprintln(d.w, d.summary())
	}
	if d.mode == progress.JSON {
		d.show("", line{Event: "sweep", Counts: d.counts})
	}
}

// summary is "12 of 40 completed, 2 running | 1h02m0s, about 20m0s left".
func (d *Display) summary() string {
	text := d.counts.String() + " | " + time.Since(d.started).Round(time.Second).String()
	left := d.counts[Waiting] + d.counts[Stopped] + d.counts[Running]
	if d.ended > 0 && len(d.rows) > 0 && left > 0 {
		each := d.took / time.Duration(d.ended)
		eta := each * time.Duration(left) / time.Duration(len(d.rows))
		text += fmt.Sprintf(", about %s left", eta.Round(time.Second))
	}
	return text
}

// erase takes the table from the screen.
func (d *Display) erase() {
	if d.nLines > 0 {
		fmt.Fprintf(d.w, "\x1b[%dA\r\x1b[J", d.nLines)
		d.nLines = 0
	}
}

// draw puts the table on the screen: below what was said for good.
func (d *Display) draw() {
	if d.mode != progress.Live {
		return
	}
	columns, rows := d.size()
	text := []string{d.summary()}
	for _, slot := range slices.Sorted(maps.Keys(d.rows)) {
		text = append(text, fmt.Sprintf("%3d  %s", slot, d.rows[slot]))
	}
	if n := len(text) - max(1, rows-2); n > 0 { // what does not fit could not be erased
		text = append(text[:len(text)-n-1], fmt.Sprintf("     and %d more", n+1))
	}
	for _, t := range text {
		t = printable(t)
		if utf8.RuneCountInString(t) > columns-1 {
			t = string([]rune(t)[:max(0, columns-2)]) + "…"
		}
		fmt.Fprintln(d.w, t)
	}
	d.nLines, d.drawn = len(text), time.Now()
}

func (r row) String() string {
	e := r.event
	var parts []string
	switch {
	case e.Epochs == 0:
		parts = append(parts, "starting")
	case e.Phase != "" && e.Phase != "train":
		parts = append(parts, e.Phase)
	default:
		parts = append(parts, fmt.Sprintf("epoch %d/%d", e.Epoch, e.Epochs))
	}
	if r.test != "" {
		parts = append(parts, r.test)
	}
	if e.ImagesPerSecond > 0 {
		parts = append(parts, fmt.Sprintf("%.0f images/s", e.ImagesPerSecond))
	}
	if e.ETA > 0 {
		parts = append(parts, time.Duration(e.ETA*float64(time.Second)).Round(time.Second).String()+" left")
	}
	return strings.Join(parts, " | ") + "  " + r.run.ID
}

// printable makes text safe to show: messages may hold what files say, and a terminal obeys control characters.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) || r == '\n' {
			return r
		}
		return '?'
	}, s)
}
