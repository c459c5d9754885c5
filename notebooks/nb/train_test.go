package nb

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dhkd-lab/dhkd-go/dhkd/dataset"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// An interrupted cell ends with the status of an interrupt, has saved all, and goes on when it is run again.
func TestTrainInterrupted(t *testing.T) {
	if _, err := dataset.Load(t.Context(), "fashion-mnist", dataset.Options{}); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	recipes, err := Experiment{Offline: "quickstart", Runs: []string{"ce"}}.Recipes(Smoke)
	if err != nil {
		t.Fatal(err)
	}
	recipes[0].Schedule.Epochs = 1000 // it is not meant to end
	dir := t.TempDir()
	for part := range 2 {
		done := make(chan struct{})
		go func() { // as the kernel does, once the run has begun
			for {
				select {
				case <-done:
					return
				case <-time.After(100 * time.Millisecond):
					r, err := record.Load(record.Path(dir, recipes[0]))
					if err == nil && r.Resumed == part && r.Status == record.Running {
						time.Sleep(300 * time.Millisecond)
						_ = syscall.Kill(os.Getpid(), syscall.SIGINT)
						return
					}
				}
			}
		}()
		status, said := endOf(t, func() { New("01-x").Train(dir, recipes...) })
		close(done)
		if status != 130 || !strings.Contains(said, "run the cell again to go on") {
			t.Fatalf("part %d: status %d, %q", part, status, said)
		}
		r, err := record.Load(record.Path(dir, recipes[0]))
		if err != nil || r.Status != record.Interrupted || r.Resumed != part {
			t.Fatalf("part %d: %+v, %v", part, r, err)
		}
		if _, err := os.Stat(filepath.Join(record.Dir(dir, recipes[0]), experiment.CheckpointFile)); err != nil {
			t.Error(err)
		}
	}
}

// screen is what a live view has shown.
type screen struct {
	places map[string]string // by id
	drawn  map[string]int
	said   []string
	time   time.Time
}

func newScreen(recipes []record.Recipe) (*live, *screen) {
	s := &screen{places: map[string]string{}, drawn: map[string]int{}, time: time.Unix(1e9, 0)}
	l := newLive("", recipes)
	l.line, l.chart, l.now = "line", "chart", func() time.Time { return s.time }
	l.show = func(id, html string) { s.places[id] = html; s.drawn[id]++ }
	l.print = func(line string) { s.said = append(s.said, line) }
	return l, s
}

func TestLive(t *testing.T) {
	recipes, err := Experiment{Offline: "quickstart", Runs: []string{"kd"}}.Recipes(Offline)
	if err != nil {
		t.Fatal(err)
	}
	l, s := newScreen(recipes)
	l.begin(0)
	l.Step(experiment.Update{Run: "teacher", Phase: "compile", Epochs: 40, Epoch: 1})
	if want := "<p>run 1 of 2 · teacher · epoch 1 of 40 · compile</p>"; s.places["line"] != want {
		t.Errorf("%q, want %q", s.places["line"], want)
	}
	s.time = s.time.Add(time.Second)
	u := experiment.Update{Run: "<teacher>", Epoch: 1, Epochs: 40, Steps: 32, ImagesPerSecond: 1234.5,
		Elapsed: 10 * time.Second, ETA: 30 * time.Second}
	l.Step(u)
	// The other run will take as long as this one: 10 + 30 seconds.
	want := "<p>run 1 of 2 · &lt;teacher&gt; · epoch 1 of 40 · 1234 images/s · 30 s left, about 70 s in all</p>"
	if s.places["line"] != want {
		t.Errorf("%q, want %q", s.places["line"], want)
	}
	before := s.drawn["line"]
	l.Step(u)
	if s.drawn["line"] != before {
		t.Error("the line is drawn anew at once")
	}
	for epoch := 1; epoch <= 3; epoch++ {
		s.time = s.time.Add(3 * time.Second)
		u.Epoch, u.Metrics = epoch, record.Metrics{record.LossPrefix + "ce": 1 / float64(epoch)}
		if epoch == 2 {
			u.Metrics[record.MetricStudentTest] = 20
		}
		l.Epoch(u)
	}
	l.Epoch(u) // the same again, as after a resume
	if chart := s.places["chart"]; strings.Count(chart, "<svg") != 2 || s.drawn["chart"] != 3 || l.current.Last != 3 {
		t.Errorf("%d charts were drawn, the last has %d figures; %d epochs are known", s.drawn["chart"],
			strings.Count(chart, "<svg"), l.current.Last)
	}
	l.Done("teacher: done")
	l.close()
	if s.places["chart"] != "" || s.places["line"] != "" || len(s.said) != 1 {
		t.Errorf("what was live stays: %q, %q", s.places, s.said)
	}
}
