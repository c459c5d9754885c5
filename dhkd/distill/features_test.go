package distill

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	"github.com/gomlx/gomlx/support/exceptions"

	"github.com/dhkd-lab/dhkd-go/dhkd/device/devicetest"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

// featureLoss is a loss of the student's and the teacher's features, whose modules are in s.
type featureLoss struct {
	name             string
	student, teacher []int // dimensions
	loss             func(s *nn.Scope, student, teacher *Node) *Node
	// reference is the value by loops in float64, given the values of the modules; nil where there are reference
	// numbers.
	reference func(modules map[string][]float64, student, teacher []float64) float64
}

var (
	marginScale = []float64{1.5, -0.2, 0.7}
	marginShift = []float64{-0.4, 0.1, 0.9}
)

var featureLosses = []featureLoss{
	{"attention, student larger", []int{3, 4, 4, 2}, []int{3, 2, 2, 3}, withoutModules(AttentionTransfer),
		func(_ map[string][]float64, f, ft []float64) float64 {
			return attentionTransfer(halve(f, 3, 4, 2), ft, 3, 2, 3)
		}},
	{"attention, teacher larger", []int{3, 2, 2, 2}, []int{3, 4, 4, 3}, withoutModules(AttentionTransfer),
		func(_ map[string][]float64, f, ft []float64) float64 {
			return attentionTransfer(f, halve(ft, 3, 4, 3), 3, 2, 3)
		}},
	{"similarity", []int{4, 2, 2, 2}, []int{4, 3, 3, 1}, withoutModules(SimilarityPreserving), nil},
	{"PKT", []int{4, 5}, []int{4, 3}, withoutModules(PKT), nil},
	{"distance", []int{4, 5}, []int{4, 3}, withoutModules(func(s, t *Node) *Node { d, _ := RKD(s, t); return d }), nil},
	{"angle", []int{4, 5}, []int{4, 3}, withoutModules(func(s, t *Node) *Node { _, a := RKD(s, t); return a }), nil},
	{"hint, same", []int{2, 4, 4, 3}, []int{2, 4, 4, 2}, regressedHint, nil},
	{"hint, down", []int{2, 6, 4, 3}, []int{2, 3, 2, 2}, regressedHint, nil},
	{"hint, up", []int{2, 3, 2, 3}, []int{2, 6, 4, 2}, regressedHint, nil},
	{"hint, shrink", []int{2, 5, 4, 3}, []int{2, 3, 2, 2}, regressedHint, nil},
	{"hint, shrink by one", []int{2, 4, 5, 3}, []int{2, 3, 4, 2}, regressedHint, nil},
	{"variational, same", []int{2, 2, 2, 3}, []int{2, 2, 2, 2}, VariationalInformation, variationalInformation(3, 2)},
	{"variational, student larger", []int{2, 4, 4, 3}, []int{2, 2, 2, 2}, VariationalInformation,
		func(modules map[string][]float64, f, ft []float64) float64 {
			return variationalInformation(3, 2)(modules, halve(f, 2, 4, 3), ft)
		}},
	{"partial L2", []int{2, 2, 2, 3}, []int{2, 2, 2, 3}, withMargins,
		func(_ map[string][]float64, f, ft []float64) float64 { return partialL2(f, ft, 2) }},
	{"partial L2, teacher larger", []int{2, 2, 2, 3}, []int{2, 4, 4, 3}, withMargins,
		func(_ map[string][]float64, f, ft []float64) float64 { return partialL2(f, halve(ft, 2, 4, 3), 2) }},
}

func withoutModules(loss func(student, teacher *Node) *Node) func(*nn.Scope, *Node, *Node) *Node {
	return func(_ *nn.Scope, student, teacher *Node) *Node { return loss(student, teacher) }
}

func regressedHint(s *nn.Scope, student, teacher *Node) *Node {
	return Hint(HintRegressor(s, student, teacher), teacher)
}

func withMargins(_ *nn.Scope, student, teacher *Node) *Node {
	constant := func(v []float64) *Node { return ConvertDType(Const(student.Graph(), v), student.DType()) }
	return PartialL2(student, teacher, Margin(zoo.Norm{Scale: constant(marginScale), Shift: constant(marginShift)}))
}

// TestFeatureLosses compares values with loops, gradients with central differences, for the student's features and
// every parameter, and finds no gradient to the teacher's.
func TestFeatureLosses(t *testing.T) {
	for _, backend := range []compute.Backend{devicetest.Go(t).Backend, devicetest.Open(t).Backend} {
		for _, test := range featureLosses {
			t.Run(backend.Name()+"/"+test.name, func(t *testing.T) {
				student, teacher := normal(1, test.student...), normal(2, test.teacher...)
				e := newFeatureExec(t, backend, test)
				e.call(student, teacher) // makes the modules
				e.randomize()
				value, gradients := e.call(student, teacher)
				if test.reference != nil {
					if want := test.reference(e.modules(), student, teacher); math.Abs(value-want) > 1e-12*math.Abs(want) {
						t.Errorf("%v, want %v", value, want)
					}
				}
				again := func() float64 { value, _ := e.call(student, teacher); return value }
				differences(t, "student", gradients["student"], student, again)
				for name, values := range e.modules() {
					differences(t, name, gradients[name], values, func() float64 { e.set(name, values); return again() })
				}
				for _, v := range gradients["teacher"] {
					if v != 0 {
						t.Fatal("a gradient reaches the teacher")
					}
				}
			})
		}
	}
}

// differences compares a gradient with central differences of f, which sees the changes of values.
func differences(t *testing.T, what string, gradient, values []float64, f func() float64) {
	t.Helper()
	const step, tolerance = 1e-5, 1e-7
	for i, value := range values {
		values[i] = value + step
		above := f()
		values[i] = value - step
		want := (above - f()) / (2 * step)
		values[i] = value
		if math.Abs(gradient[i]-want) > tolerance*max(1, math.Abs(want)) {
			t.Fatalf("gradient of %s[%d] is %v, want %v", what, i, gradient[i], want)
		}
	}
	f() // sets the modules back
}

// featureExec is the program of a loss and its gradients, in float64.
type featureExec struct {
	t     *testing.T
	test  featureLoss
	store *model.Store
	exec  *model.Exec
	names []string // of the gradients
}

func newFeatureExec(t *testing.T, backend compute.Backend, test featureLoss) *featureExec {
	t.Helper()
	e := &featureExec{t: t, test: test, store: model.NewStore()}
	exec, err := model.NewExec(backend, e.store, func(variables *model.Scope, inputs []*Node) []*Node {
		loss := test.loss(nn.New(variables.At("method"), nn.Options{Training: true, Seed: 1}), inputs[0], inputs[1])
		e.names = []string{"student", "teacher"}
		at := inputs[:2]
		for v := range variables.At("method").IterVariables() {
			if v.Trainable {
				e.names, at = append(e.names, v.Name()), append(at, v.NodeValue(loss))
			}
		}
		return append([]*Node{loss}, Gradient(loss, at...)...)
	})
	if err != nil {
		t.Fatal(err)
	}
	e.exec = exec
	t.Cleanup(func() {
		exec.Finalize()
		e.store.Finalize()
	})
	return e
}

func (e *featureExec) call(student, teacher []float64) (value float64, gradients map[string][]float64) {
	e.t.Helper()
	out, err := e.exec.Call(tensorOf(student, e.test.student...), tensorOf(teacher, e.test.teacher...))
	if err != nil {
		e.t.Fatal(err)
	}
	gradients = map[string][]float64{}
	for i, name := range e.names {
		gradients[name] = tensors.MustCopyFlatData[float64](out[i+1])
	}
	return tensors.MustCopyFlatData[float64](out[0])[0], gradients
}

// modules are the values of the parameters.
func (e *featureExec) modules() map[string][]float64 {
	values := map[string][]float64{}
	for v := range e.store.Scope("/method").IterVariables() {
		if v.Trainable {
			values[v.Name()] = tensors.MustCopyFlatData[float64](v.MustValue())
		}
	}
	return values
}

func (e *featureExec) set(name string, values []float64) {
	v := e.store.GetVariable("/method/" + name)
	if err := v.SetValue(tensorOf(values, v.Shape().Dimensions...)); err != nil {
		e.t.Fatal(err)
	}
}

// randomize gives the parameters values unlike their first ones, which hide errors.
func (e *featureExec) randomize() {
	rng := rand.New(rand.NewPCG(3, 3))
	for v := range e.store.Scope("/method").IterVariables() {
		if v.Trainable {
			values := make([]float64, v.Shape().Size())
			for i := range values {
				values[i] = rng.NormFloat64()
			}
			e.set(v.Name(), values)
		}
	}
}

func TestFeatureLossPanics(t *testing.T) {
	backend := devicetest.Go(t).Backend
	maps := func(dims ...int) *tensors.Tensor { return tensorOf(normal(1, dims...), dims...) }
	for _, test := range []struct {
		loss             func(s *nn.Scope, student, teacher *Node) *Node
		student, teacher *tensors.Tensor
		want             string
	}{
		{regressedHint, maps(2, 2, 2, 1), maps(2, 3, 3, 1), "from the student's 2x2 maps to the teacher's 3x3: take another"},
		{regressedHint, maps(2, 4, 4, 1), maps(2, 3, 4, 1), "from the student's 4x4 maps to the teacher's 3x4"},
		{withoutModules(Hint), maps(2, 4, 4, 1), maps(2, 4, 4, 2), "Hint: maps of shapes"},
		{withoutModules(AttentionTransfer), maps(2, 4), maps(2, 4), "needs floats, [N, H, W, C]"},
		{withoutModules(PKT), maps(2, 4), maps(3, 4), "not of one batch and type"},
		{withoutModules(PKT), maps(2, 2, 2, 2), maps(2, 4), "needs floats, [N, d]"},
		{withoutModules(SimilarityPreserving), maps(4), maps(4), "needs floats, [N, ...]"},
	} {
		err := exceptions.TryCatch[error](func() {
			store := model.NewStore()
			_, err := model.CallOnce(backend, store, func(variables *model.Scope, inputs []*Node) *Node {
				return test.loss(nn.New(variables, nn.Options{Training: true}), inputs[0], inputs[1])
			}, test.student, test.teacher)
			exceptions.Panicf("%v", err)
		})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v, want %q", err, test.want)
		}
	}
	for _, test := range []struct {
		method           record.Method
		student, teacher string
		want             string
	}{
		{record.Method{Name: "fitnet", Gamma: 1, Alpha: 100, Stage: 4}, "resnet8", "resnet14",
			"method.stage: 4 is more than 3"},
		{Defaults("ofd"), "resnet8", "ShuffleV2", "ofd needs a teacher with a batch norm"},
	} {
		m, err := New(test.method)
		if err != nil {
			t.Fatal(err)
		}
		err = exceptions.TryCatch[error](func() { modulesOf(t, m, test.student, test.teacher) })
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v, want %q", err, test.want)
		}
	}
}

// TestStages checks how many maps are compared, by the modules of each: without stems, and all of MobileNetV1's four.
func TestStages(t *testing.T) {
	for _, test := range []struct {
		student, teacher string
		channels         []int // of the teacher
	}{
		{"resnet8", "wrn_16_2", []int{32, 64, 128}},
		{"MobileNetV2", "vgg8", []int{128, 256, 512, 512}},
		{"MobileNetV1", "ResNet18_imagenet", []int{64, 128, 256, 512}},
	} {
		for name, module := range map[string]string{"ofd": "stage%d.0.weight", "vid": "stage%d.regressor.4.weight"} {
			m, err := New(Defaults(name))
			if err != nil {
				t.Fatal(err)
			}
			got := modulesOf(t, m, test.student, test.teacher)
			for i, channels := range test.channels {
				if shape := got[fmt.Sprintf(module, i+1)]; len(shape) != 4 || shape[0] != channels {
					t.Errorf("%s, %s to %s, stage %d: %v, want %d channels", name, test.teacher, test.student, i+1, shape, channels)
				}
			}
			if _, more := got[fmt.Sprintf(module, len(test.channels)+1)]; more {
				t.Errorf("%s, %s to %s: more stages", name, test.teacher, test.student)
			}
		}
	}
}
