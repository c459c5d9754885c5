package nn

import (
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/support/exceptions"
)

// Constants of torch's BatchNorm2d and BatchNorm1d.
const (
	batchNormEpsilon  = 1e-5
	batchNormMomentum = 0.1
)

// BatchNorm is torch's BatchNorm2d or BatchNorm1d over the last axis of x, [N, H, W, C] or [N, C]:
//
//	y = weight (x - mean) / sqrt(var + 1e-5) + bias
//
// In training mean and var (biased) are the batch's, the gradient passes through them, and the running statistics move by
// a tenth towards the batch's mean and unbiased variance; else the running statistics are used.
// Variables: weight (1), bias (0); buffers: running_mean (0), running_var (1); all [C].
func BatchNorm(s *Scope, x *Node) *Node {
	g, dtype := x.Graph(), x.DType()
	channels := x.Shape().Dim(-1)
	weight := s.parameter(x, "weight", Constant(1), channels)
	bias := s.parameter(x, "bias", Constant(0), channels)
	runningMean := s.buffer(dtype, "running_mean", Constant(0), channels)
	runningVar := s.buffer(dtype, "running_var", Constant(1), channels)
	if !s.Training() {
		// One multiplication and one addition a value.
		scale := Mul(weight, Rsqrt(AddScalar(runningVar.NodeValue(g), batchNormEpsilon)))
		shift := Sub(bias, Mul(runningMean.NodeValue(g), scale))
		y := Add(Mul(x, alongChannels(scale, x)), alongChannels(shift, x))
		return s.add(Layer{Op: "BatchNorm", Name: s.Name(), Inputs: []*Node{x}, Output: y, Scale: weight, Shift: bias})
	}
	n := float64(x.Shape().Size() / channels)
	if n < 2 {
		exceptions.Panicf("nn.BatchNorm: training needs more than one value a channel, got %s", x.Shape())
	}
	y, mean, variance := normalizeBatch(x, weight, bias, n)
	update := func(running, batch *Node) *Node {
		return Add(MulScalar(running, 1-batchNormMomentum), MulScalar(batch, batchNormMomentum))
	}
	runningMean.SetNodeValue(update(runningMean.NodeValue(g), mean))
	runningVar.SetNodeValue(update(runningVar.NodeValue(g), MulScalar(variance, n/(n-1))))
	return s.add(Layer{Op: "BatchNorm", Name: s.Name(), Inputs: []*Node{x}, Output: y, Scale: weight, Shift: bias})
}

// normalizeBatch normalises with the batch's own statistics. The gradient with respect to x is written out, with v the
// gradient that arrives, xhat the normalised input and means over the batch:
//
//	dx = weight/sqrt(var + eps) (v - mean(v) - xhat mean(v xhat))
//
// Left to automatic differentiation the same takes three times the operations; its sums are those that the gradients of
// bias and weight need anyway, so the compiler makes them once.
func normalizeBatch(x, weight, bias *Node, n float64) (y, mean, variance *Node) {
	fixed := StopGradient(x)
	mean = overBatch(fixed, n)
	centred := Sub(fixed, alongChannels(mean, x))
	variance = overBatch(Square(centred), n)
	inverse := StopGradient(Rsqrt(AddScalar(variance, batchNormEpsilon)))
	xhat := Mul(centred, alongChannels(inverse, x))

	var v *Node // the gradient at y: reverse differentiation visits y before x
	x = IdentityWithCustomGradient(x, func(_, _ *Node) *Node {
		centredV := Sub(v, alongChannels(overBatch(v, n), x))
		towards := Mul(xhat, alongChannels(overBatch(Mul(v, xhat), n), x))
		return Mul(Sub(centredV, towards), alongChannels(Mul(weight, inverse), x))
	})
	normalized := Mul(Sub(x, alongChannels(StopGradient(mean), x)), alongChannels(inverse, x))
	y = Add(Mul(normalized, alongChannels(weight, x)), alongChannels(bias, x))
	y = IdentityWithCustomGradient(y, func(_, atY *Node) *Node {
		v = atY
		return atY
	})
	return y, mean, variance
}

// overBatch is the mean over all axes but the last.
func overBatch(x *Node, n float64) *Node {
	batchAxes := make([]int, x.Rank()-1)
	for i := range batchAxes {
		batchAxes[i] = i
	}
	return DivScalar(ReduceSum(x, batchAxes...), n)
}

// alongChannels broadcasts a vector [C] to the shape of x.
func alongChannels(vector, x *Node) *Node {
	return BroadcastToShape(ExpandLeftToRank(vector, x.Rank()), x.Shape().Clone())
}
