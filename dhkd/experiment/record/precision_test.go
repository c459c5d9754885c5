package record_test

import (
	"testing"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// A label says the precision once, unless it is float32; a run's own precision goes before the shared one.
func TestPrecisionInLabels(t *testing.T) {
	e, err := record.ParseExperiment("f.yaml", []byte(`name: x
profile: offline
dataset: {name: d}
model: {name: resnet8}
batch_size: 4
optimizer: {learning_rate: 0.1}
schedule: {epochs: 1}
seeds: [1]
precision: bfloat16
runs:
  - {name: a, label: CE, method: {name: ce}}
  - {name: b, label: "CE in bfloat16", method: {name: ce}}
  - {name: c, label: CE, method: {name: ce}, precision: float32}
  - {name: d, label: CE, method: {name: ce}, precision: tf32}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := []struct{ label, precision string }{{"CE, bfloat16", record.BFloat16}, {"CE in bfloat16", record.BFloat16},
		{"CE", record.Float32}, {"CE, tf32", record.TF32}}
	for i, run := range e.Runs {
		if r := run.Recipe; r.Label != want[i].label || r.Precision != want[i].precision {
			t.Errorf("%s: label %q, precision %q, want %+v", r.Name, r.Label, r.Precision, want[i])
		}
	}
	r := e.Runs[0].Recipe
	for _, step := range []struct{ precision, label string }{{record.TF32, "CE, tf32"}, {record.Float32, "CE"}, {"", "CE"},
		{record.BFloat16, "CE, bfloat16"}, {record.BFloat16, "CE, bfloat16"}} {
		if r.SetPrecision(step.precision); r.Label != step.label || r.Precision != step.precision {
			t.Errorf("set to %q: label %q, precision %q", step.precision, r.Label, r.Precision)
		}
	}
}
