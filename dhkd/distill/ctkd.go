package distill

import (
	"math"

	. "github.com/gomlx/gomlx/core/graph"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
)

// curriculum is CTKD with one global temperature, which is learnt, and learnt to make the loss large, so that the
// student finds it harder as it goes:
//
//	L = gamma CE(z, y) + alpha KL(z, zt; T),      T = 1 + 20 sigma(theta)
//
// theta starts at 1 (T 15.6) and is trained by the student's optimizer, weight decay included, with the gradient of
// alpha KL reversed: times -(1 - cos(pi min(epoch, warmup)/warmup))/2, a strength that grows to 1 in the first
// epochs. Published with KD's weights 0.1 and 0.9, and 10 epochs. Source: the paper's repository, zhengli97/CTKD
// (scripts/run_cifar_distill.sh, helper/loops.py, CosineDecay in train_student.py).
type curriculum struct{ record.Method }

// Constants of the published temperature: t_start, t_end and the first value of theta.
const (
	lowestTemperature  = 1
	rangeOfTemperature = 20
	firstTheta         = 1
)

func init() {
	registry["ctkd"] = entry{
		make: func(p record.Method) Method { return curriculum{p} },
		parameters: []HyperParameter{labels(0.1), positive("alpha", 0.9, "weight of the KL divergence"),
			count("warmup", 10, "epochs in which the reversed gradient of the temperature grows to its full strength"),
			standardize("alpha 9")},
		what:   "curriculum temperature: KD whose temperature learns to make the loss large, more and more so",
		source: "Li et al. 2023, AAAI, arXiv 2211.16231",
	}
}

func (m curriculum) Name() string { return m.Method.Name }

func (m curriculum) Needs() Needs { return Needs{Teacher: true, Modules: true, Epoch: m.Warmup > 0} }

func (m curriculum) Losses(b Batch) Losses {
	student, teacher := mainLogits(b, m.Standardize)
	theta := b.Scope.Parameter(b.Logits, "global_T", nn.Constant(firstTheta), 1)
	reversed := IdentityWithCustomGradient(theta, func(_, v *Node) *Node {
		if m.Warmup > 0 {
			v = Mul(v, MulScalar(OneMinus(Cos(MulScalar(warmUp(b, m.Warmup), math.Pi))), 0.5))
		}
		return Neg(v)
	})
	temperature := AddScalar(MulScalar(Sigmoid(Reshape(reversed)), rangeOfTemperature), lowestTemperature)
	return Losses{Terms: []Term{
		{Name: "ce", Value: dhkd.CrossEntropy(b.Logits, b.Labels), Weight: m.Gamma},
		{Name: "ctkd", Value: LearntKL(student, teacher, temperature), Weight: m.Alpha},
	}}
}

// LearntKL is [dhkd.KL] with a temperature that is a scalar of the graph and has a gradient too, of T² and through both
// networks' probabilities:
//
//	p = softmax(z/T)      L = (T²/N) sum_ik pt_ik (log pt_ik - log ps_ik)      dL/dzs = T (ps - pt) / N
//	dL/dT = 2L/T + (1/N) sum_i [ sum_k (pt - ps)_k zs_k - sum_k pt_k (log pt - log ps)_k (zt_k - <pt, zt>) ]
//
// student, teacher: [N, C], C >= 2; temperature: a scalar above 0 of their dtype. Source: Li et al. 2023, arXiv
// 2211.16231.
func LearntKL(student, teacher, temperature *Node) *Node {
	checkLogits("LearntKL", student, teacher, 2)
	logStudent := LogSoftmax(Div(fromLargest(student), temperature))
	logTeacher := LogSoftmax(Div(fromLargest(StopGradient(teacher)), temperature))
	divergence := ReduceAllSum(Mul(Exp(logTeacher), Sub(logTeacher, logStudent)))
	return DivScalar(Mul(divergence, Square(temperature)), float64(student.Shape().Dim(0)))
}
