package dhkd

import (
	. "github.com/gomlx/gomlx/core/graph"
)

// LiteralBinaryKL is [BinaryKL] exactly as the reference implementation computes it: both sigmoids are clamped to
// [1e-8, 1-1e-8] and the formula is evaluated from left to right,
//
//	L = (T²/N) sum_ik [ st log(st/ss) + (1-st) log((1-st)/(1-ss)) ]
//
// and differentiated step by step. In float32 1-1e-8 is 1, so the upper clamp does nothing: from zs/T = 24 ln 2 = 16.64
// upward the loss is infinite (NaN where the teacher's sigmoid is 1 too) and its gradient in that entry NaN, as in PyTorch
// 1.13, whose clamp passes the gradient at its bounds (later releases give 0). Below zs/T = -18.42 the lower clamp holds
// and the gradient is 0. Elsewhere value and gradient are those of [BinaryKL] up to rounding, which near saturation is large.
// Use it to reproduce the reference implementation's failures, not to train. Source: BinaryKL.py.
func LiteralBinaryKL(student, teacher *Node, temperature float64) *Node {
	checkPair("LiteralBinaryKL", student, teacher, temperature, 1)
	s := clampProbability(Sigmoid(DivScalar(student, temperature)))
	t := clampProbability(Sigmoid(DivScalar(StopGradient(teacher), temperature)))
	return batchMean(Add(
		Mul(t, Log(Div(t, s))),
		Mul(OneMinus(t), Log(Div(OneMinus(t), OneMinus(s))))), temperature)
}

// LiteralBinaryKLNorm is [BinaryKLNorm] exactly as the reference implementation computes it, with d = (zs-zt)/T and
// u = clamp(sigma(d), 1e-8, 1-1e-8):
//
//	L = (T²/N) sum_ik [ 1/2 log(1/2 / u) + 1/2 log(1/2 / (1-u)) ]
//
// In float32 the loss is infinite and its gradient in that entry NaN from d = 24 ln 2 = 16.64 upward, and the gradient is 0
// below d = -18.42, for the reasons given at [LiteralBinaryKL]. Source: BinaryKLNorm.py.
func LiteralBinaryKLNorm(student, teacher *Node, temperature float64) *Node {
	checkPair("LiteralBinaryKLNorm", student, teacher, temperature, 1)
	u := clampProbability(Sigmoid(DivScalar(Sub(student, StopGradient(teacher)), temperature)))
	half := Scalar(u.Graph(), u.DType(), 0.5)
	return batchMean(Add(
		Mul(half, Log(Div(half, u))),
		Mul(half, Log(Div(half, OneMinus(u))))), temperature)
}

// clampProbability is clamp(p, eps, 1-eps) with eps = 1e-8 and both bounds rounded to p's dtype. The gradient passes where
// eps <= p <= 1-eps, bounds included: a Min or Max would share it between its equal arguments.
func clampProbability(p *Node) *Node {
	const eps = 1e-8
	low, high := Scalar(p.Graph(), p.DType(), eps), Scalar(p.Graph(), p.DType(), 1-eps)
	return Where(LessThan(p, low), low, Where(GreaterThan(p, high), high, p))
}
