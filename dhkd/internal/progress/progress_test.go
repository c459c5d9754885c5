package progress

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

var sample = Update{Run: "dhkd seed 1", Epoch: 12, Epochs: 40, Step: 18, Steps: 31, ImagesPerSecond: 1234.4,
	LearningRate: 0.05,
	Metrics:      record.Metrics{"loss/ce": 1.23456, "loss/binarykl": math.NaN(), "steps/non_finite": 1},
	Elapsed:      31 * time.Second, ETA: 80 * time.Second}

// clock is a time that tests move.
type clock struct{ time time.Time }

func (c *clock) now() time.Time { return c.time }

func newLive(w *bytes.Buffer, width *int) (*live, *clock) {
	c := &clock{time.Unix(1e9, 0)}
	return &live{w: w, now: c.now, columns: func() int { return *width }}, c
}

func TestLive(t *testing.T) {
	var out bytes.Buffer
	width := 200
	l, c := newLive(&out, &width)
	step := func(after time.Duration, change func(*Update)) string {
		c.time = c.time.Add(after)
		out.Reset()
		u := sample
		change(&u)
		l.Step(u)
		return out.String()
	}
	l.Start("dhkd on fashion\x1b[2J")
	if got := out.String(); got != "dhkd on fashion?[2J\n" {
		t.Errorf("Start: %q", got)
	}
	for _, test := range []struct {
		after  time.Duration
		change func(*Update)
		want   string
	}{
		{0, func(u *Update) { *u = Update{Run: u.Run, Phase: "compile"} }, "dhkd seed 1 compile"},
		{time.Millisecond, func(u *Update) {},
			"dhkd seed 1 epoch 12/40 step 18/31 | 31s ETA 1m20s | ███░░░░░░░░░ | " +
				"1,234 images/s | loss binarykl NaN ce 1.235 | lr 0.05"},
		{99 * time.Millisecond, func(u *Update) {}, ""},
		{99 * time.Millisecond, func(u *Update) {
			u.Metrics = record.Metrics{record.MetricStudentTest: 54.321, record.MetricAuxTest: 50}
		},
			"dhkd seed 1 epoch 12/40 step 18/31 | 31s ETA 1m20s | test 54.32 % | aux head 50.00 % | " +
				"███░░░░░░░░░ | 1,234 images/s | lr 0.05"},
		{time.Second, func(u *Update) { u.Metrics, u.Step, u.ETA = nil, 31, 0 },
			"dhkd seed 1 epoch 12/40 step 31/31 | 31s | test 54.32 % | aux head 50.00 % | " +
				"███░░░░░░░░░ | 1,234 images/s | lr 0.05"},
		{time.Second, func(u *Update) { u.Run, u.Metrics, u.ImagesPerSecond = "kd", nil, math.Inf(1) },
			"kd epoch 12/40 step 18/31 | 31s ETA 1m20s | ███░░░░░░░░░ | lr 0.05"},
	} {
		want := test.want
		if want != "" {
			want = "\r\x1b[K" + want
		}
		if diff := cmp.Diff(want, step(test.after, test.change)); diff != "" {
			t.Error(diff)
		}
	}
	out.Reset()
	l.Note("a warning\nof two lines")
	l.Done("interrupted")
	l.Done("")
	if diff := cmp.Diff("\r\x1b[Ka warning\nof two lines\ninterrupted\n", out.String()); diff != "" {
		t.Error(diff)
	}
}

// A test accuracy that came between two drawings is not lost.
func TestLiveKeepsAccuracy(t *testing.T) {
	var out bytes.Buffer
	width := 100
	l, c := newLive(&out, &width)
	l.Step(sample)
	u := sample
	u.Metrics = record.Metrics{record.MetricStudentTest: 12.5}
	l.Epoch(u)
	c.time = c.time.Add(time.Second)
	l.Step(sample)
	if !strings.Contains(out.String(), "test 12.50 %") {
		t.Errorf("%q", out.String())
	}
}

var colors = regexp.MustCompile("\x1b\\[[0-9]*m")

// No line is as wide as the terminal, with colour or without; a part is shown whole or not at all, but the first.
func TestLiveWidth(t *testing.T) {
	u := sample
	u.Metrics = record.Metrics{record.MetricStudentTest: 54.3, "loss/ce": 1}
	for width := range 140 {
		var out bytes.Buffer
		l, _ := newLive(&out, &width)
		l.Step(u)
		bare := strings.TrimPrefix(out.String(), eraseLine)
		if n := utf8.RuneCountInString(bare); n > max(1, width-1) {
			t.Errorf("width %d: %d columns: %q", width, n, bare)
		}
		out.Reset()
		colored, _ := newLive(&out, &width)
		colored.color = true
		colored.Step(u)
		if got := colors.ReplaceAllString(strings.TrimPrefix(out.String(), eraseLine), ""); got != bare {
			t.Errorf("width %d: with colour %q, without %q", width, got, bare)
		}
		if strings.HasSuffix(bare, "…") != (width-1 < len("dhkd seed 1 epoch 12/40 step 18/31")) {
			t.Errorf("width %d: %q", width, bare)
		}
	}
}

func TestPlain(t *testing.T) {
	var out bytes.Buffer
	p := New(&out, Auto) // no terminal
	p.Start("start")
	p.Step(sample)
	u := sample
	u.Step = 31
	u.Metrics = record.Metrics{record.MetricStudentTest: 54.321, "loss/ce": 1.5}
	p.Epoch(u)
	p.Note("note")
	p.Done("")
	p.Done("done")
	want := "start\n" +
		"dhkd seed 1 epoch 12/40 | test 54.32 % | loss ce 1.5 | lr 0.05 | 1,234 images/s | 31s ETA 1m20s\n" +
		"note\ndone\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestJSON(t *testing.T) {
	var out bytes.Buffer
	c := &clock{time.Unix(1e9, 0)}
	p := &jsonLines{w: &out, now: c.now}
	p.Start("start")
	p.Step(sample)
	p.Step(sample) // within the second
	c.time = c.time.Add(time.Second)
	u := sample
	u.ImagesPerSecond = math.Inf(1)
	p.Step(u)
	p.Epoch(Update{Run: "kd", Epoch: 1, Epochs: 2, Phase: "evaluate"})
	p.Note("a \"note\"\n")
	p.Done("done")
	want := `{"event":"start","message":"start"}
{"event":"step","run":"dhkd seed 1","epoch":12,"epochs":40,"step":18,"steps":31,` +
		`"images_per_second":1234.4,"learning_rate":0.05,"elapsed_seconds":31,"eta_seconds":80,` +
		`"metrics":{"loss/binarykl":"nan","loss/ce":1.23456,"steps/non_finite":1}}
{"event":"step","run":"dhkd seed 1","epoch":12,"epochs":40,"step":18,"steps":31,"learning_rate":0.05,` +
		`"elapsed_seconds":31,"eta_seconds":80,"metrics":{"loss/binarykl":"nan","loss/ce":1.23456,"steps/non_finite":1}}
{"event":"epoch","run":"kd","phase":"evaluate","epoch":1,"epochs":2}
{"event":"note","message":"a \"note\"\n"}
{"event":"done","message":"done"}
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
	for line := range strings.Lines(out.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %s", line)
		}
	}
}

func TestModes(t *testing.T) {
	var out bytes.Buffer
	p := New(&out, Quiet)
	p.Start("a")
	p.Step(sample)
	p.Epoch(sample)
	p.Note("b")
	p.Done("c")
	if out.Len() > 0 {
		t.Errorf("quiet wrote %q", out.String())
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, ok := New(f, Auto).(*locked).show.(*plain); !ok {
		t.Error("a file is not shown plain lines")
	}
	for noColor, want := range map[string]bool{"": true, "1": false} {
		t.Setenv("NO_COLOR", noColor)
		if got := New(&out, Live).(*locked).show.(*live).color; got != want {
			t.Errorf("NO_COLOR=%q: colour %v", noColor, got)
		}
	}
	New(f, Live).Step(sample) // a size that cannot be asked for
}

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		400 * time.Millisecond: "0s", 59600 * time.Millisecond: "1m00s", 80 * time.Second: "1m20s",
		2*time.Hour + 5*time.Minute + 40*time.Second: "2h05m",
	} {
		if got := short(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}
