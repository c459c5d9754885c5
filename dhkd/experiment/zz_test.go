package experiment

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dhkd-lab/dhkd-go/dhkd/device/devicetest"
	"github.com/dhkd-lab/dhkd-go/dhkd/internal/progress"
)

func TestZZ(t *testing.T) {
	t0 := time.Now()
	d := devicetest.Open(t)
	t.Log("open", time.Since(t0))
	dir := t.TempDir()
	path := filepath.Join(dir, "e.yaml")
	os.WriteFile(path, []byte(`
name: tiny
profile: smoke
dataset: {name: fashion-pairs-100, train: 96, test: 200, seed: 1}
model: {name: resnet8}
teacher: {run: teacher}
batch_size: 32
optimizer: {learning_rate: 0.05, momentum: 0.9, weight_decay: 5e-4}
schedule: {epochs: 2, milestones: [], rate: 0.1}
seeds: [1]
runs:
  - {name: teacher, method: {name: ce}}
  - {name: kd, method: {name: kd, gamma: 0.1, alpha: 0.9, temperature: 4}}
  - {name: dhkd, model: {aux_head: nonlinear}, dataset: {augment: crop-flip, pad: 2}, method: {name: dhkd, gamma: 1, alpha: 1, temperature: 2, align: true}}
`), 0o644)
	e, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	r := &Runner{Device: d, Dir: dir, Progress: progress.New(os.Stderr, progress.Plain)}
	for _, rec := range e.Recipes() {
		t0 = time.Now()
		x, err := r.Run(context.Background(), rec)
		if err != nil {
			t.Fatal(err)
		}
		t.Log(rec.Name, time.Since(t0), "compile", x.CompileSeconds, "train", x.TrainSeconds)
	}
}
