// Package plotstest makes example records for tests and examples of figures and reports. They are invented: no run left
// them, every text in them says "example", and their numbers mean nothing.
package plotstest

import (
	"math"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// Run describes one invented run name.
type Run struct {
	Name   string
	Label  string
	Method record.Method
	LR     float64
	Top1   float64 // that the accuracy curve approaches, per cent
	// FailStep makes the run fail at that step; Diverge makes its loss NaN from that epoch on and its accuracy 1 %.
	FailStep, Diverge int
}

// Quickstart is the invented quick start: six methods and their teacher.
func Quickstart() []Run {
	return []Run{
		{Name: "teacher", Label: "Teacher (resnet20, CE)", Method: record.Method{Name: "ce", Gamma: 1}, LR: 0.05, Top1: 52.4},
		{Name: "ce", Label: "CE", Method: record.Method{Name: "ce", Gamma: 1}, LR: 0.3, Top1: 51.7},
		{Name: "kd", Label: "KD", LR: 0.1, Top1: 54.6,
			Method: record.Method{Name: "kd", Gamma: 0.1, Alpha: 0.9, Temperature: 4}},
		{Name: "binarykl", Label: "BinaryKL", LR: 0.1, Top1: 53.1,
			Method: record.Method{Name: "binarykl", Alpha: 1, Temperature: 2}},
		{Name: "ce-binarykl", Label: "CE + BinaryKL, one head", LR: 0.05, Top1: 54.8,
			Method: record.Method{Name: "ce+binarykl", Gamma: 1, Alpha: 1, Temperature: 2}},
		{Name: "ce-binarykl-literal", Label: "CE + BinaryKL, one head, literal float32 formula, T = 1",
			LR: 0.05, Top1: 54, FailStep: 533,
			Method: record.Method{Name: "ce+binarykl", Gamma: 1, Alpha: 1, Temperature: 1, Literal: true}},
		{Name: "dhkd", Label: "DHKD, two heads", LR: 0.05, Top1: 55.6,
			Method: record.Method{Name: "dhkd", Gamma: 1, Alpha: 1, Temperature: 2, Align: true}},
	}
}

// Records invents a record per run and seed (1 to seeds); the same arguments give the same records.
func Records(runs []Run, seeds int) []*record.Record {
	var records []*record.Record
	for i, run := range runs {
		for seed := range seeds {
			records = append(records, invent(run, uint64(seed+1), rand.New(rand.NewPCG(uint64(i), uint64(seed)))))
		}
	}
	return records
}

const (
	epochs = 40
	steps  = 32 // an epoch
)

func invent(run Run, seed uint64, random *rand.Rand) *record.Record {
	model, auxHead := "resnet8", "none"
	var teacher *record.Teacher
	var reference *record.TeacherRef
	switch {
	case run.Name == "teacher":
		model = "resnet20"
	case run.Method.Name != "ce":
		teacher = &record.Teacher{Model: "resnet20", Run: "teacher", Seed: seed}
		reference = &record.TeacherRef{Model: "resnet20", Checkpoint: "example-teacher.safetensors",
			SHA256: strings.Repeat("0e", 32), Top1: 52.4}
	}
	if run.Method.Name == "dhkd" {
		auxHead = "linear"
	}
	r := &record.Record{
		Schema: record.SchemaVersion,
		Status: record.Completed,
		Recipe: record.Recipe{
			Experiment: "example", Name: run.Name, Label: run.Label, Profile: "offline",
			Dataset: record.Dataset{Name: "fashion-pairs-100", Train: 2000, Test: 10000, Seed: 1, Augment: "none"},
			Teacher: teacher, Model: record.Model{Name: model, AuxHead: auxHead}, Method: run.Method,
			Optimizer: record.Optimizer{LearningRate: run.LR, Momentum: 0.9, WeightDecay: 5e-4},
			Schedule:  record.Schedule{Epochs: epochs, Milestones: []int{25, 30, 35}, Rate: 0.1},
			BatchSize: 64, Seed: seed, NonFinite: "stop",
		},
		Environment: record.Environment{
			Go: "go1.26 (example)", Commit: "0000000example", GoMLX: "v0.28.2", GoXLA: "v0.4.2", OS: "linux", Arch: "amd64",
			CPU: "Example CPU @ 2.00GHz", Cores: 2, Backend: "xla:cpu", Device: "example device",
			Plugin: "example_plugin.so", API: "0.0",
		},
		Data: record.Data{Name: "fashion-pairs-100", Classes: 100, Shape: [3]int{3, 16, 16},
			Train: 2000, Test: 10000, Evaluation: "test",
			SHA256: map[string]string{
				"example-train-images.gz": strings.Repeat("ab", 32), "example-test-images.gz": strings.Repeat("cd", 32)}},
		Teacher: reference, Parameters: 84004, Started: time.Date(2000, 1, 1, 12, 0, 0, 0, time.UTC),
		TrainSeconds: 20 + 10*random.Float64(), CompileSeconds: 3.2, ImagesPerSecond: 3400 + 400*random.Float64(),
	}
	if run.Name != "teacher" {
		r.Recipe.Tuning = tuning(run, rand.New(rand.NewPCG(7, uint64(len(run.Name)))))
	}
	r.Finished = r.Started.Add(time.Duration(r.TrainSeconds * float64(time.Second)))
	top1 := run.Top1 + 0.35*random.NormFloat64()
	if run.Diverge > 0 {
		r.Recipe.NonFinite = "continue"
	}
	for e := 1; e <= epochs; e++ {
		if run.FailStep > 0 && e*steps >= run.FailStep {
			r.Status = record.Failed
			r.Failure = &record.Failure{
				Message: "example: loss term binarykl is +Inf", Term: "binarykl", Epoch: e, Step: run.FailStep}
			break
		}
		r.Epochs = append(r.Epochs, inventEpoch(run, e, top1, random))
	}
	Recount(r)
	return r
}

// Recount sets a record's last and best epoch after its epochs were changed.
func Recount(r *record.Record) {
	r.Last, r.Best = len(r.Epochs), 0
	best := math.Inf(-1)
	for _, e := range r.Epochs {
		if top1 := e.Metrics[record.MetricStudentTest]; top1 > best {
			best, r.Best = top1, e.Epoch
		}
	}
}

func inventEpoch(run Run, e int, top1 float64, random *rand.Rand) record.Epoch {
	progress := 1 - math.Exp(-float64(e)/9)
	noise, rate := 1.0, run.LR
	for _, m := range []int{25, 30, 35} {
		if e > m {
			noise, rate = noise*0.35, rate*0.1
		}
	}
	if e <= 25 {
		progress *= 0.93
	} else {
		progress = 1 - 0.02*noise
	}
	if e == epochs {
		progress, noise = 1, 0
	}
	m := record.Metrics{
		record.MetricStudentTest:  max(0, top1*progress+noise*1.2*random.NormFloat64()),
		record.MetricStudentTrain: 100 * progress * 0.97,
		record.MetricTestLoss:     4.6 - 2.6*progress,
		record.MetricNonFinite:    0,
	}
	decay := math.Exp(-3.2*progress) * (1 + 0.08*noise*random.NormFloat64())
	for _, term := range terms(run.Method) {
		scale := map[string]float64{"ce": 4.6, "kl": 6, "binarykl": 30, "binarykl_norm": 14}[term]
		m[record.LossPrefix+term] = scale * decay
	}
	if run.Method.Name != "ce" {
		m[record.MetricTeacherTest] = 52.4
	}
	if run.Method.Align {
		m[record.MetricAuxTest] = m[record.MetricStudentTest] * 0.99
		m[record.MetricConflict], m[record.MetricCoefficient], m[record.MetricCosine] = 0.003, 0.001, 0.42
	}
	if run.Diverge > 0 && e >= run.Diverge {
		m[record.MetricStudentTest], m[record.MetricNonFinite] = 1, steps
		for _, term := range terms(run.Method) {
			m[record.LossPrefix+term] = math.NaN()
		}
	}
	return record.Epoch{Epoch: e, Step: e * steps, LearningRate: rate, Seconds: 0.6, Metrics: m}
}

func terms(m record.Method) []string {
	switch m.Name {
	case "kd":
		return []string{"ce", "kl"}
	case "binarykl":
		return []string{"binarykl"}
	case "ce+binarykl":
		return []string{"ce", "binarykl"}
	case "dhkd":
		return []string{"ce", "binarykl_norm"}
	}
	return []string{"ce"}
}

func tuning(run Run, random *rand.Rand) *record.Tuning {
	t := &record.Tuning{Holdout: 500, Seeds: []uint64{101}}
	for _, rate := range []float64{0.02, 0.05, 0.1, 0.3} {
		top1 := run.Top1 - 1.5 - 6*math.Abs(math.Log10(rate/run.LR)) + 0.2*random.NormFloat64()
		t.Candidates = append(t.Candidates, record.TuningAccuracy{LearningRate: rate, Top1: []float64{max(0, top1)}})
	}
	return t
}
