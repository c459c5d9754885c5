package nb

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

func TestTogether(t *testing.T) {
	of := func(experiment, run string, seed uint64, teacher string) *record.Record {
		r := finished(run, seed, 50)
		r.Recipe.Experiment = experiment
		if teacher != "" {
			r.Teacher = &record.TeacherRef{SHA256: teacher}
		}
		return r
	}
	main := []*record.Record{of("m", "teacher", 1, ""), of("m", "ce", 1, ""), of("m", "kd", 1, "t")}
	again := *main[0]
	controls := []*record.Record{&again, of("ablation", "two", 1, "t"), of("ablation", "two", 2, "t")}
	controls[1].Recipe.Teacher = &record.Teacher{Experiment: "m", Run: "teacher"}

	all, err := together(main, controls)
	if err != nil {
		t.Fatal(err)
	}
	want := []*record.Record{main[0], main[1], main[2], of("m", "two", 1, "t"), of("m", "two", 2, "t")}
	want[3].Recipe.Teacher = &record.Teacher{Run: "teacher"}
	if diff := cmp.Diff(want, all); diff != "" {
		t.Error(diff)
	}
	if controls[1].Recipe.Experiment != "ablation" || controls[1].Recipe.Teacher.Experiment != "m" {
		t.Error("it changed the records that it was given")
	}
	if diff := cmp.Diff(all[3:], Only(all, "two", "none")); diff != "" {
		t.Error(diff)
	}

	for _, test := range []struct {
		want   string
		change func(r *record.Record)
	}{
		{"teachers have other weights", func(r *record.Record) { r.Teacher.SHA256 = "u" }},
		{"schedules differ", func(r *record.Record) { r.Recipe.Schedule.Epochs = 9 }},
		{"batch sizes differ", func(r *record.Record) { r.Recipe.BatchSize = 9 }},
		{"data differ", func(r *record.Record) { r.Recipe.Dataset.Train = 9 }},
		{"data differ", func(r *record.Record) { r.Data.SHA256 = map[string]string{"a": "b"} }},
		{"profiles differ", func(r *record.Record) { r.Recipe.Profile = Smoke }},
		{"run kd seed 1 is one of experiment m and another one of ablation", func(r *record.Record) { r.Recipe.Name = "kd" }},
	} {
		r := of("ablation", "two", 1, "t")
		test.change(r)
		if _, err := together(main, []*record.Record{r}); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("error %v, want %s", err, test.want)
		}
	}
}
