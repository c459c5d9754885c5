package distill

import (
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// relational is relational knowledge distillation: the distances between the pooled features of a batch's images, and
// the angles of their triangles.
//
//	L = gamma CE(z, y) + alpha distance(f, ft) + beta angle(f, ft)      see [RKD]
//
// Published: alpha 25, beta 50 (RepDistiller, distiller_zoo/RKD.py; mdistiller, engine/cfg.py).
type relational struct{ record.Method }

func init() {
	registry["rkd"] = entry{
		make: func(p record.Method) Method { return relational{p} },
		parameters: []HyperParameter{labels(1), positive("alpha", 25, "weight of the distances' loss"),
			positive("beta", 50, "weight of the angles' loss")},
		what:   "relational KD: distances and angles between the batch's images",
		source: "Park et al. 2019, CVPR, arXiv 1904.05068",
	}
}

func (m relational) Name() string { return m.Method.Name }

func (relational) Needs() Needs { return Needs{Teacher: true, Features: true} }

func (m relational) Losses(b Batch) Losses {
	distance, angle := RKD(b.Pooled, b.Teacher.Pooled)
	return Losses{Terms: []Term{
		{Name: "ce", Value: dhkd.CrossEntropy(b.Logits, b.Labels), Weight: m.Gamma},
		{Name: "rkd_distance", Value: distance, Weight: m.Alpha},
		{Name: "rkd_angle", Value: angle, Weight: m.Beta},
	}}
}

// RKD compares the relations of a batch's images in two feature spaces, student [N, d] and teacher [N, D]. With q_ij
// the squared distance of rows i and j, and h(x) = x²/2 for |x| < 1, else |x| - 1/2:
//
//	distance = mean_ij  h(ds_ij - dt_ij),     d_ij = sqrt(q_ij) / mean over i != j of sqrt(q_ij)
//	angle    = mean_ijk h(cs_ijk - ct_ijk),   c_ijk = cosine at i of the triangle i, j, k
//	                                                = (q_ij + q_ik - q_jk) / (2 sqrt(q_ij q_ik))
//
// Means are over all N² and N³ entries; sqrt(q) is at least 1e-6 but on the diagonal, with gradient 0 where equal rows
// make it that. Where a side has length 0 the cosine is 0, with gradient 0. A shift, a rotation or a factor on all
// features does not matter. One image has no relations: both are 0. The teacher is a constant. Source: Park et al.
// 2019, arXiv 1904.05068; RepDistiller for the means.
//
// By the law of cosines all angles come from the N² distances, so the largest value is of N³ entries, not of N² d.
func RKD(student, teacher *Node) (distance, angle *Node) {
	checkFeatures("RKD", student, teacher, 2)
	if student.Shape().Dim(0) == 1 {
		zero := ReduceAllSum(Sub(student, student))
		return zero, zero
	}
	qs, qt := squaredDistances(student), squaredDistances(StopGradient(teacher))
	return ReduceAllMean(smoothL1(Sub(relativeDistances(qs), relativeDistances(qt)))),
		ReduceAllMean(smoothL1(Sub(cosines(qs), cosines(qt))))
}

// squaredDistances is [N, N] for the rows of [N, d]. Differences of rows, unlike products, are exactly 0 for equal rows
// and lose nothing for close ones; they are not kept: the gradient, 2 sum_j (v_ij + v_ji)(x_i - x_j), is one product of
// matrices.
func squaredDistances(x *Node) *Node {
	fixed := StopGradient(x)
	q := ReduceSum(Square(Sub(ExpandAxes(fixed, 0), ExpandAxes(fixed, 1))), -1)
	var v *Node // the gradient at q, which reverse differentiation visits before x
	x = IdentityWithCustomGradient(x, func(_, _ *Node) *Node {
		pull := Add(v, Transpose(v, 0, 1))
		centred := center(fixed, 0) // the same differences, of smaller numbers
		return MulScalar(Sub(Mul(ReduceAndKeep(pull, ReduceSum, -1), centred),
			DotGeneral(pull, []int{1}, nil, centred, []int{0}, nil)), 2)
	})
	never := ReduceAllSum(Sub(x, fixed)) // exactly 0: what joins x and q
	return IdentityWithCustomGradient(Add(q, never), func(_, atQ *Node) *Node {
		v = atQ
		return atQ
	})
}

// relativeDistances are the distances over their mean.
func relativeDistances(q *Node) *Node {
	n := q.Shape().Dim(0)
	self := Diagonal(q.Graph(), n)
	none := LogicalOr(self, LessThan(q, Scalar(q.Graph(), q.DType(), 1e-12)))
	d := Where(none, Where(self, ZerosLike(q), MulScalar(OnesLike(q), 1e-6)), Sqrt(Where(none, OnesLike(q), q)))
	return Div(d, DivScalar(ReduceAllSum(d), float64(n*(n-1))))
}

// cosines is [N, N, N]: at i between j and k.
func cosines(q *Node) *Node {
	none := LessOrEqual(q, Scalar(q.Graph(), q.DType(), 1e-24))
	inverse := Where(none, ZerosLike(q), Inverse(Sqrt(Where(none, OnesLike(q), q))))
	sides := Sub(Add(ExpandAxes(q, 2), ExpandAxes(q, 1)), ExpandAxes(q, 0))
	return DivScalar(Mul(sides, Mul(ExpandAxes(inverse, 2), ExpandAxes(inverse, 1))), 2)
}

// smoothL1 is Huber's loss with threshold 1.
func smoothL1(x *Node) *Node {
	size := Abs(x)
	quadratic := MinScalar(size, 1)
	return Mul(quadratic, Sub(size, DivScalar(quadratic, 2)))
}
