package plots_test

import (
	"bytes"
	"encoding/xml"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/plots"
	"github.com/dhkd-lab/dhkd-go/plots/plotstest"
)

var figures = map[string]func([]*record.Record, plots.Options) (*plots.Figure, error){
	"AccuracyBars":   plots.AccuracyBars,
	"TrainingCurves": plots.TrainingCurves,
	"LossCurves":     plots.LossCurves,
}

// Whatever a record says, a figure is drawn or refused with an error: no panic, no broken SVG.
func TestFiguresOfAnyRecord(t *testing.T) {
	value := rapid.OneOf(rapid.Float64Range(0, 100), rapid.Float64(),
		rapid.SampledFrom([]float64{math.NaN(), math.Inf(1), math.Inf(-1), 0, -1, 1e308, 5e-324}))
	metrics := rapid.Custom(func(t *rapid.T) record.Metrics {
		m := record.Metrics{record.MetricStudentTest: rapid.Float64Range(0, 100).Draw(t, "top1")}
		if rapid.IntRange(0, 20).Draw(t, "odd") == 0 {
			m[record.MetricStudentTest] = value.Draw(t, "odd top1")
		}
		for _, name := range []string{"loss/ce", "loss/kl", "loss/\x00<b>"} {
			if rapid.Bool().Draw(t, "has loss") {
				m[name] = value.Draw(t, name)
			}
		}
		return m
	})
	status := rapid.SampledFrom([]string{record.Running, record.Completed, record.Failed})
	drawn := map[string]int{}
	text := rapid.SampledFrom([]string{"ce", "<script>&amp;", "日本語 \U0001F600",
		strings.Repeat("long ", 40), strings.Repeat("x", 200)})
	defer func() {
		for name := range figures {
			if drawn[name] < 10 {
				t.Errorf("%s was drawn only %d times: the records are too odd for this test to mean much", name, drawn[name])
			}
		}
	}()
	rapid.Check(t, func(t *rapid.T) {
		label := text.Draw(t, "label")
		milestones := rapid.SampledFrom([][]int{nil, {1}, {1, 2}}).Draw(t, "milestones")
		schedule := record.Schedule{Epochs: 3, Milestones: milestones, Rate: 0.1}
		records := plotstest.Records(plotstest.Quickstart()[2:3], rapid.IntRange(1, 3).Draw(t, "seeds"))
		for _, r := range records {
			r.Recipe.Label, r.Recipe.Schedule, r.Epochs = label, schedule, nil
			if r.Status = status.Draw(t, "status"); r.Status == record.Failed {
				r.Failure = &record.Failure{Step: rapid.Int().Draw(t, "step")}
			}
			for e := range rapid.IntRange(0, 3).Draw(t, "epochs") {
				r.Epochs = append(r.Epochs, record.Epoch{Epoch: e + 1, Step: e + 1, Metrics: metrics.Draw(t, "metrics")})
			}
			plotstest.Recount(r)
		}
		width := rapid.SampledFrom([]float64{0, 3, 4}).Draw(t, "width")
		o := plots.Options{Title: text.Draw(t, "title"), Width: width, DPI: 30}
		for name, draw := range figures {
			figure, err := draw(records, o)
			if err != nil {
				continue
			}
			drawn[name]++
			checkPNG(t, name, figure)
			checkSVG(t, name, figure)
		}
	})
}

var notNumber = regexp.MustCompile(`[MLAx-z=", ]\W?(NaN|[+-]?Inf)[",LZ ]`)

func checkPNG(t *rapid.T, name string, figure *plots.Figure) {
	image, err := figure.PNG()
	if err == nil {
		_, err = png.Decode(bytes.NewReader(image))
	}
	if err != nil {
		t.Fatalf("%s: PNG: %v", name, err)
	}
}

// checkSVG wants well-formed XML whose coordinates are numbers.
func checkSVG(t *rapid.T, name string, figure *plots.Figure) {
	svg, err := figure.SVG()
	if err != nil {
		t.Fatalf("%s: SVG: %v", name, err)
	}
	if bad := notNumber.Find(svg); bad != nil {
		t.Fatalf("%s: SVG has a coordinate %q", name, bad)
	}
	for d := xml.NewDecoder(bytes.NewReader(svg)); ; {
		_, err := d.Token()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatalf("%s: SVG is not XML: %v", name, err)
		}
	}
}

func TestSummarizeRefuses(t *testing.T) {
	two := func(change func(a, b *record.Record)) []*record.Record {
		records := plotstest.Records(plotstest.Quickstart()[1:3], 1)
		change(records[0], records[1])
		return records
	}
	last := func(r *record.Record) record.Metrics { return r.Epochs[39].Metrics }
	const top1 = record.MetricStudentTest
	for _, test := range []struct {
		name    string
		records []*record.Record
		want    string
	}{
		{"none", nil, "no records"},
		{"nil", []*record.Record{nil}, "record 1 of 1 is nil"},
		{"schema", two(func(a, b *record.Record) { a.Schema = 9 }), `run "ce" seed 1: schema: is 9`},
		{"no name", two(func(a, b *record.Record) { a.Recipe.Name = "" }), "recipe.name: is missing"},
		{"status", two(func(a, b *record.Record) { b.Status = "happy" }), `run "kd" seed 1: status: unknown name "happy"`},
		{"order", two(func(a, b *record.Record) { b.Epochs[3].Epoch = 1 }), "epochs[3].epoch: is 1, want 4"},
		{"NaN", two(func(a, b *record.Record) { last(b)[top1] = math.NaN() }), "must be 0 to 100 per cent"},
		{"over 100", two(func(a, b *record.Record) { last(b)[top1] = 101 }), "must be 0 to 100 per cent"},
		{"cut short", two(func(a, b *record.Record) { b.Epochs, b.Last, b.Best = b.Epochs[:7], 7, 7 }),
			"its last epoch is 7 of 40"},
		{"no epochs", two(func(a, b *record.Record) { b.Epochs = nil }), "epochs: none"},
		{"no metric", two(func(a, b *record.Record) { delete(last(b), top1) }), "has no student/test_top1"},
		{"profiles", two(func(a, b *record.Record) { b.Recipe.Profile = "smoke" }),
			`"ce" and "kd" cannot be compared: their profile differs (offline, smoke)`},
		{"data", two(func(a, b *record.Record) { b.Data.SHA256 = nil }), "their SHA-256 of the data differs"},
		{"seed twice", two(func(a, b *record.Record) { *b = *a }), `two records of run "ce" seed 1`},
		{"other recipe", two(func(a, b *record.Record) { *b = *a; b.Recipe.Seed, b.Recipe.BatchSize = 2, 7 }),
			"differ in more than the seed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := plots.Summarize(test.records)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v, want an error with %q", err, test.want)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Fatalf("error of several lines: %q", err)
			}
		})
	}
}

func TestSummarize(t *testing.T) {
	runs := plotstest.Quickstart()
	records := plotstest.Records(runs, 3)
	// The order in which records come must not matter.
	for i, j := 0, len(records)-1; i < j; i, j = i+1, j-1 {
		records[i], records[j] = records[j], records[i]
	}
	s, err := plots.Summarize(records)
	if err != nil {
		t.Fatal(err)
	}
	if s.Teacher == nil || s.TeacherTop1.N != 3 {
		t.Fatalf("teacher: %+v, %v", s.Teacher, s.TeacherTop1)
	}
	for i, run := range s.Students {
		if run.Name != runs[i+1].Name {
			t.Errorf("student %d is %s, want %s", i, run.Name, runs[i+1].Name)
		}
	}
	kd := s.Students[1]
	var sum, squares float64
	for _, r := range kd.Records {
		v := r.Epochs[39].Metrics[record.MetricStudentTest]
		sum += v
		squares += v * v
	}
	mean := sum / 3
	sd := math.Sqrt((squares - 3*mean*mean) / 2)
	if math.Abs(kd.Last.Mean-mean) > 1e-9 || math.Abs(kd.Last.SD-sd) > 1e-6 {
		t.Errorf("kd: %+v, want mean %v, sd %v", kd.Last, mean, sd)
	}
}

// A run that has the name of a teacher of another experiment is a student, as any other.
func TestTeacherElsewhere(t *testing.T) {
	records := plotstest.Records(plotstest.Quickstart(), 1)
	for _, r := range records {
		if r.Recipe.Teacher != nil {
			r.Recipe.Teacher.Experiment = "another"
		}
	}
	s, err := plots.Summarize(records)
	if err != nil {
		t.Fatal(err)
	}
	if s.Teacher != nil || len(s.Students) != len(records) || s.TeacherTop1.Mean != 52.4 {
		t.Errorf("teacher %+v, %d students of %d, %v", s.Teacher, len(s.Students), len(records), s.TeacherTop1)
	}
	if s.TeacherTop1.N != 1 {
		t.Errorf("the teacher of all students is counted %d times", s.TeacherTop1.N)
	}
}

func TestTrouble(t *testing.T) {
	runs := plotstest.Quickstart()[5:6]
	for _, test := range []struct {
		want   string
		seeds  int
		change func([]*record.Record)
	}{
		{"failed at step 533", 1, func([]*record.Record) {}},
		{"failed", 1, func(r []*record.Record) { r[0].Failure.Step = 0 }},
		{"failed at step 533 in all 3 seeds", 3, func([]*record.Record) {}},
		{"failed at step 533 to 2,000 in 2 of 3 seeds; unfinished: epoch 16 of 40 in 1 of 3 seeds", 3,
			func(r []*record.Record) {
				r[1].Failure.Step = 2000
				r[2].Status, r[2].Failure = record.Interrupted, nil
			}},
		{"unfinished: epoch 0 of 40", 1, func(r []*record.Record) {
			r[0].Status, r[0].Failure, r[0].Epochs = record.Running, nil, nil
			plotstest.Recount(r[0])
		}},
	} {
		records := plotstest.Records(runs, test.seeds)
		test.change(records)
		s, err := plots.Summarize(records)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Students[0].Trouble(); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}

func TestSave(t *testing.T) {
	figure, err := plots.AccuracyBars(plotstest.Records(plotstest.Quickstart(), 1), plots.Options{DPI: 30})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "new")
	for file, start := range map[string]string{"a.png": "\x89PNG", "b.svg": "<?xml"} {
		if err := figure.Save(filepath.Join(dir, file)); err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil || !bytes.HasPrefix(content, []byte(start)) {
			t.Errorf("%s: %v, starts with %.8q", file, err, content)
		}
	}
	if err := figure.Save(filepath.Join(dir, "c.bmp")); err == nil || !strings.Contains(err.Error(), ".png or .svg") {
		t.Errorf("bmp: %v", err)
	}
	// A directory in the file's place: an error, and nothing left behind.
	if err := os.Mkdir(filepath.Join(dir, "d.png"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := figure.Save(filepath.Join(dir, "d.png")); err == nil || !strings.Contains(err.Error(), "d.png") {
		t.Errorf("directory: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestOptionsRefused(t *testing.T) {
	records := plotstest.Records(plotstest.Quickstart(), 1)
	for _, o := range []plots.Options{{Width: 2}, {Width: math.NaN()}, {Width: 21}, {DPI: 1}, {DPI: 601}} {
		for name, draw := range figures {
			if _, err := draw(records, o); err == nil {
				t.Errorf("%s: %+v accepted", name, o)
			}
		}
	}
}
