package nb

import (
	"fmt"
	"html"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/janpfeifer/gonb/gonbui"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/plots"
)

const (
	lineEvery  = 300 * time.Millisecond // the least time between two versions of the line
	chartEvery = 2 * time.Second        // and of the chart
)

// live shows how training gets on: a line and a chart that are replaced in place, and what is worth keeping in print.
// It implements [experiment.Progress].
type live struct {
	mu      sync.Mutex
	dir     string
	recipes []record.Recipe
	show    func(id, html string)
	print   func(line string)
	now     func() time.Time

	index       int            // of the run in progress
	current     *record.Record // what is known of it
	done        []*record.Record
	took        []time.Duration // by runs that were trained now
	started     time.Time       // the run in progress
	line, chart string          // ids of the two places
	drawn       struct{ line, chart time.Time }
}

func newLive(dir string, recipes []record.Recipe) *live {
	l := &live{dir: dir, recipes: recipes, now: time.Now, line: gonbui.UniqueId(), chart: gonbui.UniqueId()}
	l.print = func(line string) { fmt.Println(line) }
	if watched() {
		l.show = gonbui.UpdateHTML
	} else {
		l.show = func(string, string) {}
	}
	return l
}

// begin says which run comes next. One that is continued has epochs behind it.
func (l *live) begin(i int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.index, l.started = i, l.now()
	l.current = &record.Record{Schema: record.SchemaVersion, Recipe: l.recipes[i], Status: record.Running}
	if old, err := record.Load(record.Path(l.dir, l.recipes[i])); err == nil {
		l.current.Epochs, l.current.Last = old.Epochs, old.Last
	}
	if len(l.done) > 0 {
		l.current.Data = l.done[0].Data // so that one chart can show both
	}
}

func (l *live) end(r *record.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done = append(l.done, r)
	if took := l.now().Sub(l.started); took > time.Second {
		l.took = append(l.took, took)
	}
}

// close removes what was live.
func (l *live) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.drawn.line.IsZero() {
		l.show(l.line, "")
	}
	if !l.drawn.chart.IsZero() {
		l.show(l.chart, "")
	}
	settle()
}

// The methods of [experiment.Progress].

func (l *live) Start(string) {}

func (l *live) Step(u experiment.Update) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drawLine(u)
}

func (l *live) Epoch(u experiment.Update) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drawLine(u)
	if u.Epoch != l.current.Last+1 {
		return
	}
	l.current.Last = u.Epoch
	l.current.Epochs = append(l.current.Epochs, record.Epoch{Epoch: u.Epoch, Step: u.Epoch * max(u.Steps, 1),
		LearningRate: u.LearningRate, Metrics: u.Metrics})
	if l.now().Sub(l.drawn.chart) >= chartEvery {
		l.drawChart()
	}
}

func (l *live) Note(message string) { l.print(message) }

func (l *live) Done(message string) {
	if message != "" {
		l.print(message)
	}
}

func (l *live) drawLine(u experiment.Update) {
	if l.now().Sub(l.drawn.line) < lineEvery && u.Phase == "" {
		return
	}
	l.drawn.line = l.now()
	l.show(l.line, "<p>"+html.EscapeString(l.text(u))+"</p>")
}

// text is "run 3 of 7 · dhkd seed 1 · epoch 12 of 40 · 3124 images/s · 20s left, about 2m0s in all".
func (l *live) text(u experiment.Update) string {
	parts := []string{fmt.Sprintf("run %d of %d", l.index+1, len(l.recipes)), u.Run}
	if u.Epochs > 0 {
		parts = append(parts, fmt.Sprintf("epoch %d of %d", u.Epoch, u.Epochs))
	}
	if u.Phase != "" && u.Phase != "train" {
		parts = append(parts, u.Phase)
	}
	if u.ImagesPerSecond > 0 {
		parts = append(parts, fmt.Sprintf("%.0f images/s", u.ImagesPerSecond))
	}
	if u.ETA > 0 {
		parts = append(parts, fmt.Sprintf("%s left, about %s in all", short(u.ETA), short(u.ETA+l.rest(u))))
	}
	return strings.Join(parts, " · ")
}

// rest estimates the time of the runs after this one: they take as long as the average of those that are known.
func (l *live) rest(u experiment.Update) time.Duration {
	sum := u.Elapsed + u.ETA
	for _, took := range l.took {
		sum += took
	}
	return sum / time.Duration(1+len(l.took)) * time.Duration(len(l.recipes)-l.index-1)
}

func short(d time.Duration) string {
	if d < 90*time.Second {
		return fmt.Sprintf("%.0f s", d.Seconds())
	}
	if d < 90*time.Minute {
		return fmt.Sprintf("%.0f min", d.Minutes())
	}
	return fmt.Sprintf("%.1f h", d.Hours())
}

// drawChart draws the accuracy so far of all runs, and the loss terms of the one in progress.
func (l *live) drawChart() {
	l.drawn.chart = l.now()
	var svg []string
	for _, draw := range []func() (*plots.Figure, error){
		func() (*plots.Figure, error) {
			return plots.TrainingCurves(append(slices.Clone(l.done), l.current), plots.Options{Width: 5.5})
		},
		func() (*plots.Figure, error) {
			return plots.LossCurves([]*record.Record{l.current}, plots.Options{Width: 5.5})
		},
	} {
		f, err := draw()
		if err != nil { // there is nothing to draw yet
			continue
		}
		if text, err := f.InlineSVG(); err == nil {
			svg = append(svg, `<div style="flex: 1 1 20em">`+text+"</div>")
		}
	}
	if len(svg) > 0 {
		l.show(l.chart, `<div style="display: flex; flex-wrap: wrap">`+strings.Join(svg, "")+"</div>")
	}
}
