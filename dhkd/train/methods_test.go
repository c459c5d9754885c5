package train

import (
	"maps"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/device/devicetest"
	"github.com/dhkd-lab/dhkd-go/dhkd/distill"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// smokeMethods are all methods with their published hyper-parameters, but for what must be smaller for 20 images, and
// combinations.
func smokeMethods() map[string]record.Method {
	methods := map[string]record.Method{}
	for _, name := range distill.Names() {
		m := distill.Defaults(name)
		if edit := smokeEdits[name]; edit != nil {
			edit(&m)
		}
		methods[name] = m
	}
	for name, parts := range map[string][]string{"dhkd+reviewkd": {"dhkd", "reviewkd"}} {
		m := methods[parts[0]]
		for _, part := range parts[1:] {
			m.With = append(m.With, methods[part])
		}
		methods[name] = m
	}
	return methods
}

var smokeEdits = map[string]func(m *record.Method){
	"crd": func(m *record.Method) { m.Negatives, m.Dim = 10, 8 },
}

// smokeHead is the auxiliary head of the student that learns by that method.
func smokeHead(t *testing.T, m record.Method) dhkd.AuxHead {
	t.Helper()
	method, err := distill.New(m)
	if err != nil {
		t.Fatal(err)
	}
	if method.Needs().AuxHead {
		return dhkd.LinearAuxHead
	}
	return dhkd.NoAuxHead
}

const (
	smokeBatch = tinyTrain / 2
	smokeEpoch = 30 // after all warm-ups
	smokeRate  = 0.01
)

// TestMethodsLearn trains with each method: the loss on a batch falls, and all that the method owns has moved. On XLA
// too, where it has modules; else it has nothing that the tests of its losses do not run there.
func TestMethodsLearn(t *testing.T) {
	for name, m := range smokeMethods() {
		backends := []compute.Backend{devicetest.Go(t).Backend}
		if method, err := distill.New(m); err != nil {
			t.Fatal(err)
		} else if method.Needs().Modules {
			backends = append(backends, devicetest.Open(t).Backend)
		}
		for _, backend := range backends {
			t.Run(name+"/"+backend.Name(), func(t *testing.T) { learns(t, trainedOn(t, backend, m)) })
		}
	}
}

func learns(t *testing.T, trainer *Trainer) {
	t.Helper()
	before := methodState(t, trainer)
	var first, last float64
	for step := range 10 {
		last = smokeStep(t, trainer, step, order(tinyTrain, 1, 1)[:smokeBatch])
		if step == 0 {
			first = last
		}
	}
	if !(last < first) {
		t.Errorf("the loss was %g, and is %g after 10 steps", first, last)
	}
	for name, value := range methodState(t, trainer) {
		if same(t, map[string]*tensors.Tensor{name: before[name]}, map[string]*tensors.Tensor{name: value}) {
			t.Errorf("%s has not moved", name)
		}
	}
}

// TestMethodsResume goes on from a checkpoint, tensor for tensor as without it.
func TestMethodsResume(t *testing.T) {
	backend := devicetest.Go(t).Backend
	for name, m := range smokeMethods() {
		t.Run(name, func(t *testing.T) { resumes(t, trainedOn(t, backend, m), trainedOn(t, backend, m)) })
	}
}

// resumes takes a new trainer for a run and another one for the same run, which goes on from the first one's checkpoint.
func resumes(t *testing.T, whole, resumed *Trainer) {
	t.Helper()
	indices := order(tinyTrain, 1, 1)
	smokeStep(t, whole, 0, indices[:smokeBatch])
	path := filepath.Join(t.TempDir(), "checkpoint.safetensors")
	progress := &Progress{Step: 1, Sums: Sums{Images: smokeBatch}}
	if err := whole.SaveCheckpoint(path, "run", progress); err != nil {
		t.Fatal(err)
	}
	smokeStep(t, whole, 1, indices[smokeBatch:])

	plan := tinyPlan
	plan.BatchSize = smokeBatch
	if _, err := resumed.LoadCheckpoint(path, "run", plan); err != nil {
		t.Fatal(err)
	}
	smokeStep(t, resumed, 1, indices[smokeBatch:])
	if !same(t, weightsOf(t, whole), weightsOf(t, resumed)) {
		t.Error("the student's weights differ from those of a run that was not interrupted")
	}
	if a, b := methodState(t, whole), methodState(t, resumed); !same(t, a, b) {
		t.Errorf("the method's variables differ: %v", slices.Sorted(maps.Keys(a)))
	}
}

// TestPredictorIsEvaluated checks that the network of a [distill.Predictor] is evaluated, not the student's head:
// with a projector to zeros all that is left of it is the teacher's bias.
func TestPredictorIsEvaluated(t *testing.T) {
	trainer := trainedOn(t, devicetest.Go(t).Backend, distill.Defaults("simkd"))
	for _, name := range []string{"transfer.7.weight", "transfer.7.bias"} {
		of := trainer.store.GetVariable("/" + methodScope + "/" + name).Shape()
		if err := trainer.set(methodScope, name, tensors.FromShape(of), true); err != nil {
			t.Fatal(err)
		}
	}
	bias := tensors.MustCopyFlatData[float32](trainer.Teacher.Weights["fc.bias"])
	var want, sum float64
	for _, z := range bias {
		sum += math.Exp(float64(z))
	}
	for _, label := range trainer.Data.Test.Labels {
		want += (math.Log(sum) - float64(bias[label])) / tinyTest
	}
	if e, err := trainer.EvaluateStudent(); err != nil || math.Abs(e.Loss-want) > 1e-5 {
		t.Errorf("%+v, %v, want a loss of %g", e, err, want)
	}
}

func trainedOn(t *testing.T, backend compute.Backend, m record.Method) *Trainer {
	t.Helper()
	return newTrainer(t, newConfig(t, backend, m, smokeHead(t, m), 0))
}

func smokeStep(t *testing.T, trainer *Trainer, step int, indices []int32) (loss float64) {
	t.Helper()
	metrics, err := trainer.RunStep(indices, smokeRate, 1, smokeEpoch, step)
	if err != nil {
		t.Fatal(err)
	}
	if bad := metrics.nonFinite(); bad != nil {
		t.Fatalf("step %d: %s is %g", step, bad.Name, bad.Value)
	}
	for _, m := range metrics {
		if m.Name == metricLoss {
			return m.Value
		}
	}
	t.Fatalf("no loss in %v", metrics)
	return 0
}

// methodState are copies of the method's own variables.
func methodState(t *testing.T, trainer *Trainer) map[string]*tensors.Tensor {
	t.Helper()
	state, err := trainer.copies(methodScope)
	if err != nil {
		t.Fatal(err)
	}
	return state
}
