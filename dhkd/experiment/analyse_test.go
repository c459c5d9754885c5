package experiment

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// An analysis of a run says the same as its record where both say something, and has a part for all that the run has.
func TestAnalyse(t *testing.T) {
	r, e := newRunner(t), openTiny(t)
	recipe := resolve(t, e, "dhkd")
	recipe.Schedule.Epochs, recipe.Schedule.Milestones = 1, nil
	teacher := resolve(t, e, "teacher")
	_, err := r.Run(t.Context(), teacher)
	check(t, err)
	rec, err := r.Run(t.Context(), recipe)
	check(t, err)
	dir := record.Dir(r.Dir, recipe)
	o := AnalyseOptions{EmbedImages: 40, CKAImages: 30, CollapseImages: 90, Probe: "fashion-mnist", ProbeImages: 200}
	s, err := OpenSubject(dir, o)
	check(t, err)
	a, err := r.Analyse(t.Context(), s)
	check(t, err)
	check(t, a.Save(filepath.Join(dir, record.AnalysisFile)))
	stored, err := record.LoadAnalysis(filepath.Join(dir, record.AnalysisFile))
	check(t, err)
	if diff := cmp.Diff(a, stored, cmpopts.EquateEmpty(), cmpopts.EquateNaNs()); diff != "" {
		t.Error(diff)
	}

	last := rec.Epochs[0].Metrics
	for of, want := range map[string]float64{record.MainHead: last[record.MetricStudentTest],
		record.AuxHead: last[record.MetricAuxTest], record.TeacherNetwork: rec.Teacher.Top1} {
		if l := a.LogitsOf(of); l == nil || math.Abs(l.Top1-want) > 1e-9 || l.Images != 200 {
			t.Errorf("logits of %s: %+v, top-1 recorded %g", of, l, want)
		}
	}
	if got, want := a.LogitsOf(record.MainHead).CrossEntropy, last[record.MetricTestLoss]; math.Abs(got-want) > 1e-4*want {
		t.Errorf("cross-entropy %g, recorded %g", got, want)
	}
	widths := map[string]int{}
	for _, c := range a.Collapse {
		widths[c.Of] = c.Width
		if c.Images != 90 || c.Classes < 20 {
			t.Errorf("collapse of %s: %d images, %d classes", c.Of, c.Images, c.Classes)
		}
	}
	if diff := cmp.Diff(map[string]int{record.MainHead: 64, record.AuxHead: 200, record.TeacherNetwork: 64},
		widths); diff != "" {
		t.Error(diff)
	}
	if n := len(a.Embeddings.All); n != 4 || len(a.Embeddings.Labels) != 40 ||
		a.Embeddings.All[3].Of != record.TeacherNetwork {
		t.Errorf("%d pictures of %d images", n, len(a.Embeddings.Labels))
	}
	if c := a.CKA; c.Images != 30 || len(c.Student) != 6 || len(c.Values[5]) != 6 { // four maps, pooled, logits
		t.Errorf("CKA %+v", c)
	}
	if p := a.Probe; p.Classes != 10 || p.Train != 200 || p.Test != 10_000 || len(p.Results) != 2 ||
		p.Results[0].Test < 20 {
		t.Errorf("probe %+v", p) // features of a network that has hardly learnt tell some articles apart
	}
	var text bytes.Buffer
	check(t, WriteAnalysis(&text, a))
	for _, want := range []string{"dhkd seed 1 of tiny (profile smoke): resnet8", "of 90 training images", "NC4",
		"Linear CKA",
		"t-SNE", "Linear probe on fashion-mnist"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the text lacks %q:\n%s", want, text.String())
		}
	}

	// Without a teacher there is nothing to compare with; with the student as its own, nothing differs.
	o = AnalyseOptions{EmbedImages: -1, CKAImages: 30, Teacher: NoTeacher}
	s, err = OpenSubject(dir, o)
	check(t, err)
	alone, err := r.Analyse(t.Context(), s)
	check(t, err)
	if alone.CKA != nil || alone.Embeddings != nil || len(alone.Collapse) != 2 ||
		alone.LogitsOf(record.MainHead).Difference != nil {
		t.Errorf("without a teacher: %+v", alone)
	}
	o.Teacher = filepath.Join(dir, WeightsFile)
	s, err = OpenSubject(dir, o)
	check(t, err)
	same, err := r.Analyse(t.Context(), s)
	check(t, err)
	if d := same.LogitsOf(record.MainHead).Difference; d.Mean != 0 || d.SD != 0 {
		t.Errorf("differs from itself: %+v", d)
	}
	for i, row := range same.CKA.Values {
		if row[i] != 1 {
			t.Errorf("CKA of %s with itself is %g", same.CKA.Student[i], row[i])
		}
	}

	// The teacher of another experiment is in that one's directory. The run's may be the working directory.
	of := teacher
	of.Experiment = "other"
	check(t, os.MkdirAll(filepath.Dir(record.Dir(r.Dir, of)), 0o755))
	check(t, os.Rename(record.Dir(r.Dir, teacher), record.Dir(r.Dir, of)))
	t.Chdir(dir)
	if _, err := OpenSubject(".", AnalyseOptions{}); err == nil || !strings.Contains(err.Error(), "--teacher none") {
		t.Errorf("without its teacher: %v", err)
	}
	rec.Recipe.Teacher.Experiment = of.Experiment
	check(t, rec.Save(record.FileName))
	_, err = OpenSubject(".", AnalyseOptions{})
	check(t, err)
	_, err = OpenSubject(dir, AnalyseOptions{})
	check(t, err)

	check(t, os.Rename(record.Dir(r.Dir, of), filepath.Join(t.TempDir(), "away")))
	if _, err := OpenSubject(dir, AnalyseOptions{}); err == nil || !strings.Contains(err.Error(), "--teacher none") {
		t.Errorf("without its teacher: %v", err)
	}
	if _, err := OpenSubject(t.TempDir(), AnalyseOptions{}); err == nil || !strings.Contains(err.Error(),
		"cannot read record") {
		t.Errorf("no run: %v", err)
	}
}
