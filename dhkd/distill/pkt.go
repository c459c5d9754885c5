package distill

import (
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// probabilistic is probabilistic knowledge transfer: how likely each image is a neighbour of each other.
//
//	L = gamma CE(z, y) + alpha PKT(f, ft)
//
// Published: alpha 30000, on the pooled features (RepDistiller, scripts/run_cifar_distill.sh; mdistiller,
// engine/cfg.py).
type probabilistic struct{ record.Method }

func init() {
	registry["pkt"] = entry{
		make:       func(p record.Method) Method { return probabilistic{p} },
		parameters: []HyperParameter{labels(1), positive("alpha", 30000, "weight of the neighbours' loss")},
		what:       "probabilistic knowledge transfer: the chances of the batch's images to be neighbours",
		source:     "Passalis and Tefas 2018, ECCV, arXiv 1803.10837",
	}
}

func (m probabilistic) Name() string { return m.Method.Name }

func (probabilistic) Needs() Needs { return Needs{Teacher: true, Features: true} }

func (m probabilistic) Losses(b Batch) Losses {
	return Losses{Terms: []Term{
		{Name: "ce", Value: dhkd.CrossEntropy(b.Logits, b.Labels), Weight: m.Gamma},
		{Name: "pkt", Value: PKT(b.Pooled, b.Teacher.Pooled), Weight: m.Alpha},
	}}
}

// PKT compares the chances of the images of a batch to be neighbours in two feature spaces:
//
//	u = f / (||f|| + e)      k_ij = (u_i·u_j + 1)/2      p_ij = k_ij / sum_j k_ij      e = 1e-7
//	L = 1/N² sum_ij pt_ij log((pt_ij + e) / (ps_ij + e))
//
// student [N, d], teacher [N, D]. A rotation of the features, or a factor on a row (up to e), does not matter. A row of
// zeros has u = 0, with no gradient of its norm. The teacher is a constant. Source: Passalis and Tefas 2018,
// arXiv 1803.10837, with cosine similarity; the mean over N² is RepDistiller's.
func PKT(student, teacher *Node) *Node {
	checkFeatures("PKT", student, teacher, 2)
	const epsilon = 1e-7
	neighbours := func(f *Node) *Node {
		u := Div(f, AddScalar(root(ReduceAndKeep(Square(f), ReduceSum, -1)), epsilon))
		k := DivScalar(AddScalar(DotGeneral(u, []int{1}, nil, u, []int{1}, nil), 1), 2)
		return Div(k, ReduceAndKeep(k, ReduceSum, -1))
	}
	ps, pt := neighbours(student), neighbours(StopGradient(teacher))
	// The logarithm of a ratio near 1, by the difference, which float32 has exactly.
	ratio := Neg(Log1P(Div(Sub(ps, pt), AddScalar(pt, epsilon))))
	return ReduceAllMean(Mul(pt, ratio))
}
