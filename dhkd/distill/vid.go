package distill

import (
	"fmt"
	"math"

	. "github.com/gomlx/gomlx/core/graph"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
)

// variational is variational information distillation: the student's map of each stage is to tell as much as possible
// of the teacher's.
//
//	L = gamma CE(z, y) + alpha sum over stages of VariationalInformation(f, ft)
//
// Published: alpha 1 (RepDistiller, scripts/run_cifar_distill.sh; mdistiller, engine/cfg.py, whose code leaves the
// variances as they are at first).
type variational struct{ record.Method }

func init() {
	registry["vid"] = entry{
		make:       func(p record.Method) Method { return variational{p} },
		parameters: []HyperParameter{labels(1), positive("alpha", 1, "weight of the maps' log-likelihood")},
		what:       "variational information distillation: each stage's map predicts the teacher's, as a Gaussian",
		source:     "Ahn et al. 2019, CVPR, arXiv 1904.05835",
	}
}

func (m variational) Name() string { return m.Method.Name }

func (variational) Needs() Needs { return Needs{Teacher: true, Features: true, Modules: true} }

func (m variational) Losses(b Batch) Losses {
	student, teacher := stages(b.Features, b.Teacher.Features)
	stage := 0
	information := overStages(student, teacher, func(f, ft *Node) *Node {
		stage++
		return VariationalInformation(b.Scope.In(fmt.Sprint("stage", stage)), f, ft)
	})
	return Losses{Terms: []Term{
		{Name: "ce", Value: dhkd.CrossEntropy(b.Logits, b.Labels), Weight: m.Gamma},
		{Name: "vid", Value: information, Weight: m.Alpha},
	}}
}

// Of the variances: the least, and that of all channels at first.
const (
	leastVariance   = 1e-5
	initialVariance = 5.0
)

// VariationalInformation is the mean negative log-likelihood, but for a constant, of the teacher's map [N, H, W, C], as
// a Gaussian around what a regressor of three 1x1 convolutions makes of the student's [N, h, w, c], with a variance for
// each channel:
//
//	L = mean of 1/2 [ (mu(f) - ft)² / v_c + log v_c ],   v_c = log(1 + exp(s_c)) + 1e-5
//
// The larger map is averaged to the size of the smaller first. v is 5 at first. Modules: regressor.0, .2 and .4,
// without bias and with ReLU between them, and log_scale, s. The teacher is a constant. Source: Ahn et al. 2019, arXiv
// 1904.05835; RepDistiller, distiller_zoo/VID.py, for the regressor's width, C, and the mean.
func VariationalInformation(s *nn.Scope, student, teacher *Node) *Node {
	checkFeatures("VariationalInformation", student, teacher, 4)
	mean, target := sameSize(student, teacher)
	channels := teacher.Shape().Dim(3)
	for i, layer := range []string{"regressor.0", "regressor.2", "regressor.4"} {
		if i > 0 {
			mean = nn.ReLU(s, mean)
		}
		mean = nn.ConvWith(s.In(layer), mean, nn.Conv{Channels: channels, Kernel: 1, Weight: nn.KaimingUniform})
	}
	start := nn.Constant(float32(math.Log(math.Expm1(initialVariance - leastVariance))))
	variance := AddScalar(softplus(s.Parameter(student, "log_scale", start, channels)), leastVariance)
	wide := func(v *Node) *Node { return ExpandLeftToRank(v, 4) }
	distance := Div(Square(Sub(mean, target)), wide(variance))
	return DivScalar(Add(ReduceAllMean(distance), ReduceAllMean(Log(variance))), 2)
}

// softplus is log(1 + exp(x)), with sigmoid(x) as its gradient, right for small and large x.
func softplus(x *Node) *Node {
	fixed := StopGradient(x)
	value := Add(MaxScalar(fixed, 0), Log1P(Exp(Neg(Abs(fixed)))))
	hook := IdentityWithCustomGradient(x, func(_, v *Node) *Node { return Mul(v, Sigmoid(fixed)) })
	return Add(StopGradient(value), Sub(hook, fixed)) // x - x is 0
}
