package dhkd

import (
	"math"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/support/exceptions"
)

// CrossEntropy is the mean over the batch of the negative log-probability of the true class y, without label smoothing:
//
//	L = -(1/N) sum_i log softmax(z_i)[y_i]      dL/dz = (softmax(z) - onehot(y)) / N
//
// logits: [N, C], C >= 2; labels: [N], of an integer dtype. A graph cannot refuse a label outside 0..C-1, so such a
// label makes the loss and its row of the gradient NaN. Source: the reference implementation's nn.CrossEntropyLoss.
func CrossEntropy(logits, labels *Node) *Node {
	checkLogits("CrossEntropy", logits, 2)
	batch, classes := logits.Shape().Dim(0), logits.Shape().Dim(1)
	if !labels.DType().IsInt() || labels.Rank() != 1 || labels.Shape().Dim(0) != batch {
		exceptions.Panicf("CrossEntropy: labels must be %d integers, one per row of the logits %s, got %s",
			batch, logits.Shape(), labels.Shape())
	}
	g, dtype := logits.Graph(), logits.DType()
	z := StopGradient(logits)
	labels = ExpandAxes(labels, -1) // [N, 1]
	isTrueClass := OneHot(Squeeze(labels, -1), classes, dtype)
	inRange := LogicalAnd(GreaterOrEqual(labels, ScalarZero(g, labels.DType())),
		LessThan(labels, Scalar(g, labels.DType(), classes)))
	weight := Where(inRange, Scalar(g, dtype, 1/float64(batch)), Scalar(g, dtype, math.NaN())) // [N, 1]

	perRow := ReduceAndKeep(Mul(isTrueClass, LogSoftmax(z)), ReduceSum, -1)
	value := Neg(ReduceAllSum(Mul(weight, perRow)))
	return withGradient(logits, value, func() *Node { return Mul(weight, Sub(Softmax(z), isTrueClass)) })
}

// KL is Hinton's distillation loss, the divergence of the softened class probabilities:
//
//	p = softmax(z/T)      L = (T²/N) sum_ik pt_ik (log pt_ik - log ps_ik)      dL/dzs = T (ps - pt) / N
//
// student, teacher: [N, C], C >= 2. It does not change when a constant is added to all logits of a sample.
// Source: Hinton et al. 2015 (arXiv 1503.02531); the reference implementation's KD.py.
func KL(student, teacher *Node, temperature float64) *Node {
	checkPair("KL", student, teacher, temperature, 2)
	logStudent, logTeacher := logSoften(StopGradient(student), temperature), logSoften(StopGradient(teacher), temperature)
	value := batchMean(Mul(Exp(logTeacher), Sub(logTeacher, logStudent)), temperature)
	return withGradient(student, value, func() *Node {
		return gradientScale(Sub(Exp(logStudent), Exp(logTeacher)), temperature)
	})
}

// BinaryKL is the divergence of each class's own sigmoid, as if every class were a binary problem:
//
//	s = sigma(z/T)      L = (T²/N) sum_ik [ st log(st/ss) + (1-st) log((1-st)/(1-ss)) ]      dL/dzs = T (ss - st) / N
//
// student, teacher: [N, C]. Unlike [KL] it also pins the level of the logits. With a = zs/T, b = zt/T and sp(x) =
// log(1+e^x) a term is sp(a) - sp(b) - st (a-b); it is unchanged when both logits change sign, so it is evaluated where
// b <= 0, and there no large numbers cancel. Source: paper, BinaryKL loss; the reference implementation's BinaryKL.py,
// whose clamped form is [LiteralBinaryKL].
func BinaryKL(student, teacher *Node, temperature float64) *Node {
	checkPair("BinaryKL", student, teacher, temperature, 1)
	a := DivScalar(StopGradient(student), temperature)
	b := DivScalar(StopGradient(teacher), temperature)
	flippedA, flippedB := Where(GreaterThan(b, ScalarZero(b.Graph(), b.DType())), Neg(a), a), Neg(Abs(b))
	perClass := Sub(Sub(softplus(flippedA), softplus(flippedB)), Mul(Sigmoid(flippedB), Sub(flippedA, flippedB)))
	return withGradient(student, batchMean(perClass, temperature), func() *Node {
		return gradientScale(Sub(Sigmoid(a), Sigmoid(b)), temperature)
	})
}

// BinaryKLNorm is the paper's BinaryKL-Norm: the binary divergence between (1/2, 1/2) and sigma of the difference of
// the logits, so that every class has its optimum at the same point, where the curvature does not depend on the
// teacher:
//
//	d = (zs-zt)/T      L = (T²/N) sum_ik [ 1/2 log(1/2 / sigma(d)) + 1/2 log(1/2 / (1-sigma(d))) ]
//	                     = (T²/N) sum_ik log cosh(d/2)                       dL/dzs = (T/2) tanh(d/2) / N
//
// student (the auxiliary head's logits), teacher: [N, C]. No statistic is normalised, whatever the name suggests. It is
// evaluated as |d|/2 + log1p(expm1(-|d|)/2), which is exactly 0 at d = 0. Source: paper, BinaryKL-Norm loss; the
// reference implementation's BinaryKLNorm.py, whose clamped form is [LiteralBinaryKLNorm].
func BinaryKLNorm(student, teacher *Node, temperature float64) *Node {
	checkPair("BinaryKLNorm", student, teacher, temperature, 1)
	d := DivScalar(Sub(StopGradient(student), StopGradient(teacher)), temperature)
	return withGradient(student, batchMean(logCosh(DivScalar(d, 2)), temperature), func() *Node {
		return gradientScale(DivScalar(Tanh(DivScalar(d, 2)), 2), temperature)
	})
}

// withGradient is value with the given gradient with respect to x, whatever value was computed from. The term that
// carries the gradient is x - x, which is exactly zero for finite x.
func withGradient(x, value *Node, gradient func() *Node) *Node {
	hook := IdentityWithCustomGradient(x, func(_, v *Node) *Node { return Mul(v, gradient()) })
	return Add(StopGradient(value), ReduceAllSum(Sub(hook, StopGradient(x))))
}

// batchMean reduces one value per sample and class, [N, C], to the loss.
func batchMean(perClass *Node, temperature float64) *Node {
	return MulScalar(ReduceAllSum(perClass), temperature*temperature/float64(perClass.Shape().Dim(0)))
}

// gradientScale turns the derivative of one class's term with respect to zs/T into the loss's with respect to zs.
func gradientScale(perClass *Node, temperature float64) *Node {
	return MulScalar(perClass, temperature/float64(perClass.Shape().Dim(0)))
}

// logSoften is log softmax(z/T). The maximum goes first: of large logits, z/T would have lost the digits of the differences.
func logSoften(z *Node, temperature float64) *Node {
	z = DivScalar(Sub(z, ReduceAndKeep(z, ReduceMax, -1)), temperature)
	return Sub(z, Log(ReduceAndKeep(Exp(z), ReduceSum, -1)))
}

// softplus is log(1+e^x).
func softplus(x *Node) *Node {
	return Add(MaxScalar(x, 0), Log1P(Exp(Neg(Abs(x)))))
}

// logCosh is log(cosh(x)).
func logCosh(x *Node) *Node {
	return Add(Abs(x), Log1P(DivScalar(Expm1(MulScalar(Abs(x), -2)), 2)))
}

func checkLogits(loss string, logits *Node, minClasses int) {
	if dtype := logits.DType(); dtype != dtypes.Float32 && dtype != dtypes.Float64 {
		exceptions.Panicf("%s: logits must be float32 or float64, got %s", loss, logits.Shape())
	}
	if logits.Rank() != 2 {
		exceptions.Panicf("%s: logits must have shape [batch, classes], got %s", loss, logits.Shape())
	}
	if logits.Shape().Dim(0) < 1 || logits.Shape().Dim(1) < minClasses {
		exceptions.Panicf("%s: needs at least 1 sample and %d classes, got logits %s", loss, minClasses, logits.Shape())
	}
}

func checkPair(loss string, student, teacher *Node, temperature float64, minClasses int) {
	checkLogits(loss, student, minClasses)
	if !student.Shape().Equal(teacher.Shape()) {
		exceptions.Panicf("%s: student logits %s and teacher logits %s must have the same shape and dtype",
			loss, student.Shape(), teacher.Shape())
	}
	if !(temperature > 0) || math.IsInf(temperature, 1) {
		exceptions.Panicf("%s: the temperature must be a positive, finite number, got %g", loss, temperature)
	}
}
