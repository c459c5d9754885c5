package dhkd

import (
	. "github.com/gomlx/gomlx/core/graph"
)

// LiteralBinaryKL is [BinaryKL] exactly as the reference implementation computes it: both sigmoids are clamped to
// [1e-8, 1-1e-8], and every term is evaluated and differentiated step by step,
//
//	L = (T²/N) sum_ik [ st log st - st log ss + (1-st) log(1-st) - (1-st) log(1-ss) ]      with 0 log 0 = 0
//
// In float32 1-1e-8 is 1, so the upper clamp does nothing: from zs/T = 24 ln 2 = 16.64 upward the loss is infinite (NaN
// where the teacher's sigmoid is 1 too) and its gradient in that entry NaN, as in PyTorch 1.13, whose clamp passes the
// gradient at its bounds (later releases give 0). Below zs/T = -18.42 the lower clamp holds and the gradient is 0.
// Elsewhere value and gradient are those of [BinaryKL] up to rounding, which near saturation is large. Use it to
// reproduce the reference implementation's failures, not to train. Source: BinaryKL.py, which sums PyTorch's kl_div
// over both outcomes.
func LiteralBinaryKL(student, teacher *Node, temperature float64) *Node {
	checkPair("LiteralBinaryKL", student, teacher, temperature, 1)
	s := clampProbability(roundedSigmoid(DivScalar(student, temperature)))
	t := clampProbability(roundedSigmoid(DivScalar(StopGradient(teacher), temperature)))
	return batchMean(Add(pointwiseKL(t, s), pointwiseKL(OneMinus(t), OneMinus(s))), temperature)
}

// LiteralBinaryKLNorm is [BinaryKLNorm] exactly as the reference implementation computes it, with d = (zs-zt)/T and
// u = clamp(sigma(d), 1e-8, 1-1e-8):
//
//	L = (T²/N) sum_ik [ 1/2 log(1/2) - 1/2 log u + 1/2 log(1/2) - 1/2 log(1-u) ]
//
// In float32 the loss is infinite and its gradient in that entry NaN from d = 24 ln 2 = 16.64 upward, and the gradient
// is 0 below d = -18.42, for the reasons given at [LiteralBinaryKL]. Source: BinaryKLNorm.py.
func LiteralBinaryKLNorm(student, teacher *Node, temperature float64) *Node {
	checkPair("LiteralBinaryKLNorm", student, teacher, temperature, 1)
	u := clampProbability(roundedSigmoid(DivScalar(Sub(student, StopGradient(teacher)), temperature)))
	half := MulScalar(OnesLike(u), 0.5)
	return batchMean(Add(pointwiseKL(half, u), pointwiseKL(half, OneMinus(u))), temperature)
}

// pointwiseKL is target log target - target log p, with 0 log 0 = 0 in the first product only.
func pointwiseKL(target, p *Node) *Node {
	zero := ScalarZero(target.Graph(), target.DType())
	entropy := Where(Equal(target, zero), zero, Mul(target, Log(target)))
	return Sub(entropy, Mul(target, Log(p)))
}

// roundedSigmoid is 1/(1+exp(-x)) with every step rounded to x's dtype, so that in float32 it becomes 1 at x = 24 ln 2
// on every backend: the Go backend's own Sigmoid works in float64 and would reach 1 only at 25 ln 2.
func roundedSigmoid(x *Node) *Node {
	constant := StopGradient(x)
	sigmoid := Inverse(OnePlus(Exp(Neg(constant))))
	hook := IdentityWithCustomGradient(x, func(_, v *Node) *Node { return Mul(v, Mul(sigmoid, OneMinus(sigmoid))) })
	return Add(sigmoid, Sub(hook, constant))
}

// clampProbability is clamp(p, eps, 1-eps) with eps = 1e-8 and both bounds rounded to p's dtype. The gradient passes
// where eps <= p <= 1-eps, bounds included: a Min or Max would share it between its equal arguments.
func clampProbability(p *Node) *Node {
	const eps = 1e-8
	low, high := Scalar(p.Graph(), p.DType(), eps), Scalar(p.Graph(), p.DType(), 1-eps)
	return Where(LessThan(p, low), low, Where(GreaterThan(p, high), high, p))
}
