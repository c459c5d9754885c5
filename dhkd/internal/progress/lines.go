package progress

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

type quiet struct{}

func (quiet) Start(string) {}
func (quiet) Step(Update)  {}
func (quiet) Epoch(Update) {}
func (quiet) Note(string)  {}
func (quiet) Done(string)  {}

// plain writes a line per epoch, for logs and pipes.
type plain struct{ w io.Writer }

func (p *plain) Start(title string)  { fmt.Fprintln(p.w, printable(title)) }
func (p *plain) Step(Update)         {}
func (p *plain) Note(message string) { fmt.Fprintln(p.w, printable(message)) }

func (p *plain) Epoch(u Update) {
	u.Steps = 0 // all of them
	line := position(u)
	test := percent("test", u.Metrics, record.MetricStudentTest)
	aux := percent("aux head", u.Metrics, record.MetricAuxTest)
	for _, part := range []string{test, aux, losses(u.Metrics), rate(u), speed(u), timeLeft(u)} {
		if part != "" {
			line += " | " + part
		}
	}
	fmt.Fprintln(p.w, line)
}

func (p *plain) Done(message string) {
	if message != "" {
		fmt.Fprintln(p.w, printable(message))
	}
}

// jsonLines writes an object per line.
type jsonLines struct {
	w    io.Writer
	now  func() time.Time
	last time.Time // of the last step that was written
}

// Event is a line of the mode [JSON].
type Event struct {
	Event           string         `json:"event"`
	Message         string         `json:"message,omitempty"`
	Run             string         `json:"run,omitempty"`
	Phase           string         `json:"phase,omitempty"`
	Epoch           int            `json:"epoch,omitempty"`
	Epochs          int            `json:"epochs,omitempty"`
	Step            int            `json:"step,omitempty"`
	Steps           int            `json:"steps,omitempty"`
	ImagesPerSecond float64        `json:"images_per_second,omitempty"`
	LearningRate    float64        `json:"learning_rate,omitempty"`
	Elapsed         float64        `json:"elapsed_seconds,omitempty"`
	ETA             float64        `json:"eta_seconds,omitempty"`
	Metrics         record.Metrics `json:"metrics,omitempty"`
}

func (j *jsonLines) Start(title string)  { j.write(Event{Event: "start", Message: title}) }
func (j *jsonLines) Note(message string) { j.write(Event{Event: "note", Message: message}) }
func (j *jsonLines) Done(message string) { j.write(Event{Event: "done", Message: message}) }
func (j *jsonLines) Epoch(u Update)      { j.update("epoch", u) }

func (j *jsonLines) Step(u Update) {
	if now := j.now(); now.Sub(j.last) >= time.Second {
		j.last = now
		j.update("step", u)
	}
}

func (j *jsonLines) update(name string, u Update) {
	j.write(Event{Event: name, Run: u.Run, Phase: u.Phase, Epoch: u.Epoch, Epochs: u.Epochs, Step: u.Step, Steps: u.Steps,
		ImagesPerSecond: finite(u.ImagesPerSecond), LearningRate: finite(u.LearningRate),
		Elapsed: u.Elapsed.Seconds(), ETA: u.ETA.Seconds(), Metrics: u.Metrics})
}

func (j *jsonLines) write(e Event) {
	line, err := json.Marshal(e)
	if err != nil { // no value of an event can cause it
		return
	}
	j.w.Write(append(line, '\n'))
}

// finite is 0, the value of what is not known, for what JSON cannot say.
func finite(v float64) float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0
	}
	return v
}
