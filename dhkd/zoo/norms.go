package zoo

import (
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
)

// Norm is what a batch norm learns, of [C] each: in inference a channel of its output has about the mean Shift and the
// standard deviation |Scale| over the training set.
type Norm struct{ Scale, Shift *Node }

// normsOf finds the batch norms that maps come out of; of a sum, such as that of a residual block, that of the first
// branch.
func normsOf(layers map[*Node]nn.Layer, maps []*Node) (norms []Norm) {
	for _, x := range maps {
		layer := layers[x]
		if layer.Op == "Sum" {
			layer = layers[layer.Inputs[0]]
		}
		norms = append(norms, Norm{layer.Scale, layer.Shift})
	}
	return norms
}
