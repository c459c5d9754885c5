package dhkd

import (
	"math"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/support/exceptions"
)

// Alignment describes how two gradients of the same parameters lie to each other; all fields are scalars of the
// gradients' dtype. The parameters are taken together, as one long vector.
type Alignment struct {
	Dot         *Node // <g1, g2>
	G1Squared   *Node // ||g1||²
	G2Squared   *Node // ||g2||²
	Cosine      *Node // <g1, g2> / (||g1|| ||g2||), 0 when either gradient is 0
	Conflict    *Node // 1 when <g1, g2> < 0, else 0
	Coefficient *Node // c = max(0, -<g1, g2>) / ||g1||², 0 when g1 is 0
}

// AlignGradients combines the gradients of the two losses: logitGradients, g2 (of alpha BinaryKLNorm), loses its
// component against ceGradients, g1 (of gamma CrossEntropy), which stays as it is:
//
//	merged = g1 + g2 - min(0, <g1, g2>)/||g1||² g1 = (1+c) g1 + g2,      c = max(0, -<g1, g2>) / ||g1||²
//
// so that in conflict <merged, g1> = ||g1||². Both slices have one gradient for each student parameter, all of them,
// both heads included, in the same order and of the same shapes, with zeros where a parameter has no part in a loss (as
// [Gradient] gives them): the dot product and the norm are global, one each a step, and the main head counts in
// ||g1||². Weight decay and momentum come after. Source: paper, gradient alignment; the reference implementation's
// OptimGradAlign, a one-sided PCGrad (Yu et al. 2020).
func AlignGradients(ceGradients, logitGradients []*Node) (merged []*Node, alignment Alignment) {
	alignment = MeasureAlignment(ceGradients, logitGradients)
	scale := AddScalar(alignment.Coefficient, 1)
	merged = make([]*Node, len(ceGradients))
	for i, g1 := range ceGradients {
		merged[i] = Add(Mul(g1, scale), logitGradients[i])
	}
	return merged, alignment
}

// MeasureAlignment is the diagnosis of [AlignGradients] alone, for methods that add the gradients up as they are.
func MeasureAlignment(ceGradients, logitGradients []*Node) Alignment {
	checkGradients(ceGradients, logitGradients)
	dot, g1Squared, g2Squared := innerProduct(ceGradients, logitGradients),
		innerProduct(ceGradients, ceGradients), innerProduct(logitGradients, logitGradients)
	zero := ScalarZero(dot.Graph(), dot.DType())
	conflict := LessThan(dot, zero)
	return Alignment{
		Dot: dot, G1Squared: g1Squared, G2Squared: g2Squared,
		Cosine:      divOrZero(dot, Mul(Sqrt(g1Squared), Sqrt(g2Squared))),
		Conflict:    ConvertDType(conflict, dot.DType()),
		Coefficient: projection(dot, g1Squared),
	}
}

// checkGradients panics unless there are two gradients for each parameter, all of one dtype.
func checkGradients(g1, g2 []*Node) {
	if len(g1) == 0 || len(g1) != len(g2) {
		exceptions.Panicf("needs two gradients for each parameter, got %d and %d", len(g1), len(g2))
	}
	for i := range g1 {
		if !g1[i].Shape().Equal(g2[i].Shape()) || g1[i].DType() != g1[0].DType() {
			exceptions.Panicf("gradients %d have shapes %s and %s; they must be equal, "+
				"and of one dtype over all parameters (%s)", i, g1[i].Shape(), g2[i].Shape(), g1[0].DType())
		}
	}
}

// ClipGlobalNorm scales the gradients so that the norm of all of them together is at most limit, as PyTorch's
// clip_grad_norm_ does: scale = min(1, limit / (norm + 1e-6)). It returns the scaled gradients, and the norm before and
// the scale as scalars. limit must be positive and finite. As there, a NaN anywhere makes every entry NaN.
func ClipGlobalNorm(gradients []*Node, limit float64) (clipped []*Node, norm, scale *Node) {
	if !(limit > 0) || math.IsInf(limit, 1) {
		exceptions.Panicf("ClipGlobalNorm: the limit must be a positive, finite number, got %g", limit)
	}
	if len(gradients) == 0 {
		exceptions.Panicf("ClipGlobalNorm: no gradients")
	}
	norm = Sqrt(innerProduct(gradients, gradients))
	scale = MinScalar(Div(Scalar(norm.Graph(), norm.DType(), limit), AddScalar(norm, 1e-6)), 1)
	clipped = make([]*Node, len(gradients))
	for i, gradient := range gradients {
		clipped[i] = Mul(gradient, scale)
	}
	return clipped, norm, scale
}

// innerProduct is the dot product of two lists of tensors, each list taken as one vector.
func innerProduct(a, b []*Node) *Node {
	terms := make([]*Node, len(a))
	for i := range a {
		terms[i] = product(a[i], b[i])
	}
	return ReduceAllSum(Stack(terms, 0))
}

// product is the inner product of two tensors.
func product(a, b *Node) *Node {
	if a.Rank() > 1 {
		// In two stages: the Go backend adds up from first to last, which in float32 costs three digits over a
		// million terms.
		return ReduceAllSum(rowProducts(a, b))
	}
	if a.Rank() == 1 { // batch norm has two vectors a layer: a dot is one kernel of XLA:CPU's, a product and its sum are three
		return Dot(a, b).Product()
	}
	return Mul(a, b)
}

// projection is -dot/squared where dot is negative and squared is not 0, else 0, also where dot is NaN. The division
// comes last since every parameter's update reads this scalar: XLA repeats what is cheap in each of its readers, here
// the sum over all parameters, with which the time to compile grew with the square of their number, but never a division.
func projection(dot, squared *Node) *Node {
	conflict := LessThan(dot, ZerosLike(dot))
	return divOrZero(Where(conflict, Neg(dot), ZerosLike(dot)), Where(conflict, squared, OnesLike(squared)))
}

// divOrZero is a/b, or 0 where b is 0.
func divOrZero(a, b *Node) *Node {
	isZero := Equal(b, ZerosLike(b))
	return Div(Where(isZero, ZerosLike(a), a), Where(isZero, OnesLike(b), b))
}
