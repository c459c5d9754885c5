package distill

import (
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/support/exceptions"
)

// What losses on logits [N, C] share.

// checkLogits panics unless both networks' logits are [N, C] of one shape and type with enough classes.
func checkLogits(loss string, student, teacher *Node, minClasses int) {
	if !student.Shape().Equal(teacher.Shape()) {
		exceptions.Panicf("%s: student logits %s and teacher logits %s must have the same shape and dtype",
			loss, student.Shape(), teacher.Shape())
	}
	if !student.DType().IsFloat() || student.Rank() != 2 || student.Shape().Dim(1) < minClasses {
		exceptions.Panicf("%s: logits must be floats of shape [batch, classes] with at least %d classes, got %s", loss,
			minClasses, student.Shape())
	}
}

// fromLargest is each sample's logits less the largest of them: all that depends on differences is the same, and
// float32 loses no digits of them where all logits are large.
func fromLargest(logits *Node) *Node {
	return Sub(logits, StopGradient(ReduceAndKeep(logits, ReduceMax, -1)))
}

// soften is softmax(z/T), [N, C].
func soften(logits *Node, temperature float64) *Node {
	return Softmax(DivScalar(fromLargest(logits), temperature))
}

// logSumExp is log(sum exp(x)) over classes, [N, 1].
func logSumExp(x *Node) *Node {
	largest := StopGradient(ReduceAndKeep(x, ReduceMax, -1))
	return Add(largest, Log(ReduceAndKeep(Exp(Sub(x, largest)), ReduceSum, -1)))
}

// root is the square root with gradient 0 at 0, as torch's norms and standard deviations have it.
func root(x *Node) *Node {
	isZero := Equal(x, ZerosLike(x))
	return Where(isZero, ZerosLike(x), Sqrt(Where(isZero, OnesLike(x), x)))
}

// center subtracts the mean over an axis.
func center(x *Node, axis int) *Node { return Sub(x, ReduceAndKeep(x, ReduceMean, axis)) }
