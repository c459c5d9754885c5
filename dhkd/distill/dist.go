package distill

import (
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// relations is DIST: L = gamma CE(z, y) + alpha inter + beta intra, see [DIST]. Published for CIFAR-100: gamma 1, alpha
// and beta 2, T 4 (the paper's repository hunto/DIST_KD: weight 2 on the sum of both).
type relations struct{ record.Method }

func init() {
	registry["dist"] = entry{
		make: func(p record.Method) Method { return relations{p} },
		parameters: []HyperParameter{labels(1), positive("alpha", 2, "weight of the inter-class term, of each sample"),
			positive("beta", 2, "weight of the intra-class term, of each class over the batch"), temperature(4)},
		what:   "DIST: correlation of the probabilities, of each sample over classes and of each class over samples",
		source: "Huang et al. 2022, NeurIPS, arXiv 2205.10536",
	}
}

func (m relations) Name() string { return m.Method.Name }

func (relations) Needs() Needs { return Needs{Teacher: true} }

func (m relations) Losses(b Batch) Losses {
	inter, intra := DIST(b.Logits, b.Teacher.Logits, m.Temperature)
	return Losses{Terms: []Term{
		{Name: "ce", Value: dhkd.CrossEntropy(b.Logits, b.Labels), Weight: m.Gamma},
		{Name: "inter", Value: inter, Weight: m.Alpha},
		{Name: "intra", Value: intra, Weight: m.Beta},
	}}
}

// DIST compares probabilities p = softmax(z/T) by Pearson's correlation rather than value for value:
//
//	inter = T² (1 - mean over samples of corr(ps_i, pt_i))
//	intra = T² (1 - mean over classes of corr(ps_:k, pt_:k))
//	corr(a, b) = <a', b'> / (||a'|| ||b'|| + 1e-8),      a' = a - mean(a)
//
// student, teacher: [N, C], C >= 2; with two classes, or two samples, a correlation is 1 or -1 and teaches nothing.
// What is constant, such as a class over a batch of one, has correlation 0 and gradient 0. Source: Huang et al. 2022,
// arXiv 2205.10536, with the T² and the 1e-8 of its code (hunto/DIST_KD).
func DIST(student, teacher *Node, temperature float64) (inter, intra *Node) {
	checkLogits("DIST", student, teacher, 2)
	ps, pt := soften(student, temperature), soften(StopGradient(teacher), temperature)
	loss := func(axis int) *Node {
		correlation := ReduceAllMean(pearson(ps, pt, axis))
		return MulScalar(OneMinus(correlation), temperature*temperature)
	}
	return loss(1), loss(0)
}

// pearson is the correlation of x and y over an axis of each.
func pearson(x, y *Node, axis int) *Node {
	x, y = center(x, axis), center(y, axis)
	sum := func(x *Node) *Node { return ReduceSum(x, axis) }
	return Div(sum(Mul(x, y)), AddScalar(Mul(root(sum(Square(x))), root(sum(Square(y)))), 1e-8))
}
