package dhkd

import (
	"github.com/gomlx/compute/support/xslices"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/support/exceptions"
)

// Conflict says how the gradients g1 and g2 of two losses lie to each other in some of the parameters, taken as one
// vector. Its fields are scalars, or vectors of one value a row (see [RowConflicts]), of the gradients' dtype.
type Conflict struct {
	Dot       *Node // <g1, g2>
	G1Squared *Node // ||g1||²
	G2Squared *Node // ||g2||²
}

// MeasureConflicts compares two lists of gradients, one each for every parameter and of its shape, parameter by
// parameter. [SumConflicts] puts parameters together.
func MeasureConflicts(g1, g2 []*Node) []Conflict {
	checkGradients(g1, g2)
	conflicts := make([]Conflict, len(g1))
	for i := range g1 {
		conflicts[i] = Conflict{product(g1[i], g2[i]), product(g1[i], g1[i]), product(g2[i], g2[i])}
	}
	return conflicts
}

// SumConflicts is the conflict in all those parameters as one vector: of the network, its backbone or a stage.
func SumConflicts(parts ...Conflict) Conflict {
	if len(parts) == 0 {
		exceptions.Panicf("SumConflicts: nothing to put together")
	}
	sum := parts[0]
	for _, part := range parts[1:] {
		sum = Conflict{Add(sum.Dot, part.Dot), Add(sum.G1Squared, part.G1Squared), Add(sum.G2Squared, part.G2Squared)}
	}
	return sum
}

// Cosine is <g1, g2> / (||g1|| ||g2||): 1 for gradients that agree, -1 for opposite ones, and 0 where either gradient
// is 0 or so small that the product of the norms is.
func (c Conflict) Cosine() *Node { return divOrZero(c.Dot, Mul(Sqrt(c.G1Squared), Sqrt(c.G2Squared))) }

// RowConflicts compares two gradients of one parameter row by row, along its first axis: class by class of a linear
// layer's weight [classes, d], filter by filter of a convolution's [out, in, height, width]. The fields are [rows].
func RowConflicts(g1, g2 *Node) Conflict {
	checkGradients([]*Node{g1}, []*Node{g2})
	if g1.Rank() < 2 {
		exceptions.Panicf("RowConflicts: a parameter of shape %s has no rows", g1.Shape())
	}
	return Conflict{rowProducts(g1, g2), rowProducts(g1, g1), rowProducts(g2, g2)}
}

// ShareNegative is the share of all those rows, 0 to 1, in which the cosine is negative. It is not where a row's
// gradient is 0.
func ShareNegative(parameters ...Conflict) *Node {
	if len(parameters) == 0 {
		exceptions.Panicf("ShareNegative: no rows")
	}
	var negative *Node
	rows := 0
	for _, c := range parameters {
		count := ReduceAllSum(ConvertDType(LessThan(c.Dot, ZerosLike(c.Dot)), c.Dot.DType()))
		if negative == nil {
			negative = count
		} else {
			negative = Add(negative, count)
		}
		rows += c.Dot.Shape().Size()
	}
	return DivScalar(negative, float64(rows))
}

// rowProducts are the inner products of two tensors' rows, along the first axis.
func rowProducts(a, b *Node) *Node {
	return ReduceSum(Mul(a, b), xslices.Iota(1, a.Rank()-1)...)
}

// Pull is how a loss moves the rows of the layer that makes the logits z = W h + b. Of a batch of N images and a loss
// that is a mean over it,
//
//	-dL/dw_k = 1/N sum_i f_ik h_i,      f_ik = -N dL/dz_ik
//
// so a positive f_ik pulls row k towards the feature of image i, a negative one pushes it away. The fields are scalars:
// the means over the batch of max(f, 0), pull, and max(-f, 0), push, for each image's true class and for all others.
//
// Cross-entropy pulls by 1 - p_k and pushes by p_k; BinaryKL has f = T (sigma(zt_k/T) - sigma(z_k/T)) and BinaryKL-Norm
// T (1/2 - sigma((z_k - zt_k)/T)) for every class, whatever the label. The names are those of Yang et al. 2022
// (arXiv 2203.09081) for cross-entropy.
type Pull struct{ TruePull, TruePush, OtherPull, OtherPush *Node }

// MeasurePull is a loss's, of its gradient with respect to the logits, [N, classes], and labels [N], an integer type.
func MeasurePull(gradient, labels *Node) Pull {
	isTrue, n, classes := trueClass(gradient, labels)
	f := MulScalar(gradient, -n)
	pull, push := MaxScalar(f, 0), MaxScalar(Neg(f), 0)
	ofTrue := func(x *Node) *Node { return DivScalar(ReduceAllSum(Mul(x, isTrue)), n) }
	ofOthers := func(x *Node) *Node { return DivScalar(ReduceAllSum(Mul(x, OneMinus(isTrue))), n*(classes-1)) }
	return Pull{ofTrue(pull), ofTrue(push), ofOthers(pull), ofOthers(push)}
}

// Oppositions are the shares, 0 to 1, of (image, class) pairs in which one loss pulls and the other pushes: of all
// pairs, of the images' true classes, and of all others. Scalars.
type Oppositions struct{ All, True, Other *Node }

// MeasureOppositions compares the gradients of two losses with respect to the same logits, [N, classes], as
// [MeasurePull] has them.
func MeasureOppositions(g1, g2, labels *Node) Oppositions {
	checkGradients([]*Node{g1}, []*Node{g2})
	isTrue, n, classes := trueClass(g1, labels)
	zero := ZerosLike(g1)
	// By their signs: the product of two small numbers would be 0.
	opposed := ConvertDType(LogicalOr(LogicalAnd(LessThan(g1, zero), GreaterThan(g2, zero)),
		LogicalAnd(GreaterThan(g1, zero), LessThan(g2, zero))), g1.DType())
	ofTrue, ofOthers := ReduceAllSum(Mul(opposed, isTrue)), ReduceAllSum(Mul(opposed, OneMinus(isTrue)))
	return Oppositions{All: DivScalar(Add(ofTrue, ofOthers), n*classes), True: DivScalar(ofTrue, n),
		Other: DivScalar(ofOthers, n*(classes-1))}
}

// trueClass is 1 at each image's true class, else 0, [N, classes].
func trueClass(gradient, labels *Node) (isTrue *Node, n, classes float64) {
	if gradient.Rank() != 2 || gradient.Shape().Dim(1) < 2 || labels.Rank() != 1 ||
		labels.Shape().Dim(0) != gradient.Shape().Dim(0) {
		exceptions.Panicf("pull and push: gradients must be [N, classes] of 2 classes at least and labels [N], got %s and %s",
			gradient.Shape(), labels.Shape())
	}
	images, width := gradient.Shape().Dim(0), gradient.Shape().Dim(1)
	return OneHot(labels, width, gradient.DType()), float64(images), float64(width)
}
