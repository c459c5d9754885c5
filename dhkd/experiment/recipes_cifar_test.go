package experiment

import (
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/graph"
	gomlx "github.com/gomlx/gomlx/ml/model"
	"github.com/google/go-cmp/cmp"

	"github.com/dhkd-lab/dhkd-go/dhkd/device/devicetest"
	"github.com/dhkd-lab/dhkd-go/dhkd/distill"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
	"github.com/dhkd-lab/dhkd-go/dhkd/train"
)

// cifarPair is one of the literature's pairs on CIFAR-100 with the published hyper-parameters that differ by pair.
type cifarPair struct {
	teacher, student string
	dkd, review, cat float64 // dkd's beta, reviewkd's and catkd's alpha
	mlkdRate         float64
}

var cifarPairs = []cifarPair{
	{"resnet56", "resnet20", 2, 0.6, 0.7, 0.025},
	{"resnet110", "resnet32", 2, 1, 1.8, 0.025},
	{"resnet110", "resnet20", 2, 0.6, 0.7, 0.025},
	{"resnet32x4", "resnet8x4", 8, 5, 15, 0.025},
	{"wrn_40_2", "wrn_16_2", 6, 5, 12, 0.025},
	{"wrn_40_2", "wrn_40_1", 6, 5, 1.5, 0.025},
	{"vgg13", "vgg8", 6, 5, 4.5, 0.025},
	{"resnet32x4", "ShuffleV1", 8, 5, 600, 0.01},
	{"wrn_40_2", "ShuffleV1", 8, 5, 80, 0.0025},
	{"vgg13", "MobileNetV2", 6, 5, 15, 0.0025},
	{"ResNet50", "MobileNetV2", 8, 5, 40, 0.0025},
	{"resnet32x4", "ShuffleV2", 8, 8, 600, 0.01},
}

func (p cifarPair) name() string { return strings.ToLower("cifar-100-" + p.teacher + "-" + p.student) }

// cross tells whether the networks are of different architectures.
func (p cifarPair) cross() bool {
	return strings.HasPrefix(p.student, "Shuffle") || strings.HasPrefix(p.student, "Mobile")
}

// methods are those of the literature's tables, by run, as published for the pair.
func (p cifarPair) methods() map[string]record.Method {
	methods := map[string]record.Method{"teacher": {Name: "ce"}}
	for _, name := range strings.Fields("ce kd dkd dist ctkd mlkd fitnet at rkd sp pkt vid crd ofd reviewkd simkd catkd dhkd") {
		m := distill.Defaults(name)
		switch name {
		case "dkd":
			m.Beta = p.dkd
		case "reviewkd":
			m.Alpha = p.review
		case "catkd":
			m.Alpha, m.Normalize = p.cat, p.cross()
			if strings.HasPrefix(p.student, "Shuffle") {
				m.Resolution = 4
			}
		case "dhkd":
			m.Align = true
		}
		methods[name] = m
	}
	both := methods["dhkd"]
	both.With = []record.Method{methods["reviewkd"]}
	methods["dhkd+reviewkd"] = both
	for run, name := range map[string]string{"ce-nonlinear-head": "ce", "one-head": "ce+binarykl-norm",
		"one-nonlinear-head": "ce+binarykl-norm", "dual-ce": "dual-ce", "dual-kl": "dual-kl", "dual-binarykl": "dual-binarykl",
		"detached": "dhkd-detached"} {
		m := distill.Defaults(name)
		m.Align = name != "ce" && name != "dhkd-detached" // which have nothing to align
		methods["control-"+run] = m
	}
	return methods
}

// TestCIFARRecipes compares all that the recipes of the pairs say with the published setting.
func TestCIFARRecipes(t *testing.T) {
	for _, p := range cifarPairs {
		e, err := Open(p.name())
		check(t, err)
		methods := map[string]record.Method{}
		for _, run := range e.Runs {
			got := run.Recipe
			methods[got.Name] = got.Method
			want := record.Recipe{
				Experiment: p.name(), Name: got.Name, Label: got.Label, Profile: "paper", BatchSize: 64, NonFinite: "stop",
				Dataset: record.Dataset{Name: "cifar-100", Augment: "crop-flip", Pad: 4}, Method: got.Method,
				Model: record.Model{Name: p.student, AuxHead: "none"}, Teacher: &record.Teacher{Model: p.teacher, Run: "teacher"},
				Optimizer: record.Optimizer{LearningRate: 0.05, Momentum: 0.9, WeightDecay: 5e-4},
				Schedule:  record.Schedule{Epochs: 240, Milestones: []int{150, 180, 210}, Rate: 0.1, EvaluateEvery: 10},
			}
			if p.cross() {
				want.Optimizer.LearningRate = 0.01
			}
			switch got.Name {
			case "teacher":
				want.Model.Name, want.Teacher, want.Optimizer.LearningRate = p.teacher, nil, 0.05
			case "ce":
				want.Teacher = nil
			case "control-ce-nonlinear-head":
				want.Teacher, want.Model.Head = nil, "nonlinear"
			case "control-one-nonlinear-head":
				want.Model.Head = "nonlinear"
			case "control-one-head":
			case "mlkd":
				want.Schedule.Epochs, want.Optimizer.LearningRate = 480, p.mlkdRate
			default:
				if !strings.HasPrefix(got.Name, "dhkd") && !strings.HasPrefix(got.Name, "control-") {
					break
				}
				if got.Name == "control-dual-ce" {
					want.Teacher = nil
				}
				want.Model.AuxHead = "linear"
				if p.cross() {
					want.Model.AuxHead = "nonlinear"
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: run %s (-want +got):\n%s", p.name(), got.Name, diff)
			}
		}
		if diff := cmp.Diff(p.methods(), methods); diff != "" {
			t.Errorf("%s: methods (-want +got):\n%s", p.name(), diff)
		}
	}
}

// TestCIFARSteps builds the graphs of the steps: of the first pair's runs one by one, of each other pair's all methods
// in one step, which has all their losses at a fraction of the time.
func TestCIFARSteps(t *testing.T) {
	for i, p := range cifarPairs {
		e, err := Open(p.name())
		check(t, err)
		all := record.Recipe{Experiment: e.Name, Name: "all methods", Method: record.Method{Name: "ce"}}
		for _, run := range e.Runs {
			if i == 0 {
				traceStep(t, run.Recipe, 32, 100)
			} else if r := run.Recipe; r.Teacher != nil && r.Method.With == nil && // a combination's parts are runs too
				r.Model.Head == "" && r.Method.Name != "dhkd-detached" { // neither goes with all others
				all.Teacher, all.Model = r.Teacher, r.Model // the last one's: with an auxiliary head
				all.Method.With = append(all.Method.With, r.Method)
			}
		}
		if i > 0 {
			traceStep(t, all, 32, 100)
		}
	}
}

// traceStep builds the graph of a recipe's step for two images of that side, on the Go backend, and does not compile it.
func traceStep(t *testing.T, r record.Recipe, side, classes int) {
	t.Helper()
	defer func() {
		if e := recover(); e != nil {
			t.Errorf("%s: run %s: %v", r.Experiment, r.Name, e)
		}
	}()
	method, err := distill.New(r.Method)
	check(t, err)
	student, err := model(r.Model, classes)
	check(t, err)
	g := graph.NewGraph(devicetest.Go(t).Backend, r.Name)
	defer g.Finalize()
	store := gomlx.NewStore()
	defer store.Finalize()
	gomlx.SetStore(g, store)
	variables := store.Scope("/")
	input := func(name string, dtype dtypes.DType, dims ...int) *graph.Node {
		return graph.Parameter(g, name, shapes.Make(dtype, dims...))
	}
	in := train.StepInputs{
		Images: input("images", dtypes.Float32, 2, side, side, 3), Labels: input("labels", dtypes.Int32, 2),
		LearningRate: input("rate", dtypes.Float32), RNG: input("rng", dtypes.Uint64, 3), Epoch: input("epoch", dtypes.Float32),
		Indices: input("indices", dtypes.Int32, 2), TrainLabels: []int32{0, 1, 2, 3},
	}
	if r.Teacher != nil {
		teacher, err := model(record.Model{Name: r.Teacher.Model, AuxHead: "none"}, classes)
		check(t, err)
		in.Teacher = teacher.Forward(nn.New(variables.At("teacher"), nn.Options{Undrawn: true}), in.Images)
	}
	train.Step{Model: student, Method: method, SGD: train.SGD{Steps: r.Optimizer.StepsPerBatch}}.Build(variables, 1, in)
}
