package distill

import (
	. "github.com/gomlx/gomlx/core/graph"
)

// warmUp grows from 1/epochs in the first epoch to 1 in epoch number epochs; nil, which is 1, if epochs is 0.
func warmUp(b Batch, epochs int) *Node {
	if epochs == 0 {
		return nil
	}
	return MinScalar(DivScalar(b.Epoch, float64(epochs)), 1)
}

// before is 1 before that epoch and 0 from then on; nil, which is 1, if epoch is 0.
func before(b Batch, epoch int) *Node {
	if epoch == 0 {
		return nil
	}
	return Where(LessThan(b.Epoch, Scalar(b.Epoch.Graph(), b.Epoch.DType(), float64(epoch))), OnesLike(b.Epoch),
		ZerosLike(b.Epoch))
}
