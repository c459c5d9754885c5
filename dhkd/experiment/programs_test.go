package experiment

import (
	"os"
	"runtime"
	"testing"

	"github.com/dhkd-lab/dhkd-go/dhkd/device"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// Runs of an experiment compile what they need once: another seed or rate of a run compiles nothing. A run's programs are its
// step and its evaluation, with a teacher its evaluation too, and where images are not augmented what computes its logits
// before training.
func TestRunsShareTheirPrograms(t *testing.T) {
	r, e := newRunner(t), openTiny(t)
	if r.Device.Name != "xla:cpu" || runtime.GOOS != "linux" {
		const why = "programs are counted with XLA on the CPU under Linux alone"
		if os.Getenv("CI") != "" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	r.Close() // what other tests left
	for _, of := range []struct {
		run      string
		programs int
		change   func(*record.Recipe)
	}{
		{"teacher", 2, nil},
		{"teacher", 0, func(r *record.Recipe) { r.Seed, r.Name = 2, "teacher-seed" }},
		{"kd", 4, nil},
		{"kd", 0, func(r *record.Recipe) { r.Seed = 2 }},
		{"kd", 0, func(r *record.Recipe) { r.Name, r.Optimizer.LearningRate = "kd-rate", 0.01 }},
		{"dhkd", 3, nil},
	} {
		recipe := resolve(t, e, of.run)
		if of.change != nil {
			of.change(&recipe)
		}
		before := device.CountPrograms()
		if _, err := r.Run(t.Context(), recipe); err != nil {
			t.Fatal(err)
		}
		if n := device.CountPrograms().Programs - before.Programs; n != of.programs {
			t.Errorf("run %s: %d programs, want %d", recipe.Name, n, of.programs)
		}
	}
}
