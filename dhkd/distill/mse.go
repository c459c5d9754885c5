package distill

import (
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// meanSquares trains on the teacher's logits as they are: L = gamma CE(z, y) + alpha MSE(z, zt), see [MSE]. Published
// without labels: gamma 0, alpha 1.
type meanSquares struct{ record.Method }

func init() {
	gamma := labels(0)
	gamma.zero = true
	registry["mse"] = entry{
		make:       func(p record.Method) Method { return meanSquares{p} },
		parameters: []HyperParameter{gamma, positive("alpha", 1, "weight of the mean squared error")},
		what:       "the mean squared error of the logits",
		source:     "Kim et al. 2021, IJCAI, arXiv 2105.08919",
	}
}

func (m meanSquares) Name() string { return m.Method.Name }

func (meanSquares) Needs() Needs { return Needs{Teacher: true} }

func (m meanSquares) Losses(b Batch) Losses {
	terms := []Term{{Name: "mse", Value: MSE(b.Logits, b.Teacher.Logits), Weight: m.Alpha}}
	if m.Gamma > 0 {
		terms = append([]Term{{Name: "ce", Value: dhkd.CrossEntropy(b.Logits, b.Labels), Weight: m.Gamma}}, terms...)
	}
	return Losses{Terms: terms}
}

// MSE is the mean squared difference of the logits, over samples and classes, as torch's MSELoss:
//
//	L = 1/(N C) sum_ik (zs_ik - zt_ik)²      dL/dzs = 2 (zs - zt) / (N C)
//
// student, teacher: [N, C]. Source: Kim et al. 2021, arXiv 2105.08919, and its code (jhoon-oh/kd_data). C/8 times it is
// the limit of [dhkd.BinaryKLNorm] for a large temperature.
func MSE(student, teacher *Node) *Node {
	checkLogits("MSE", student, teacher, 1)
	return ReduceAllMean(Square(Sub(student, StopGradient(teacher))))
}
