package train

import (
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
)

// SGD is torch's optimizer of that name, without dampening and Nesterov's variant:
//
//	v <- momentum v + (g + weightDecay w)        w <- w - learningRate v
//
// Weight decay is on every parameter: batch norm, biases and both heads too. GoMLX's SGD has neither momentum nor decay.
type SGD struct {
	Momentum    float64
	WeightDecay float64
	ClipNorm    float64 // limit of the global norm of the gradient, before weight decay; 0 = none
	// Steps is how many times each batch's gradient is applied; 0 = once.
	Steps int
}

// update sets the new values of the parameters and their momenta, which start at zero and live in the scope given.
func (o SGD) update(momenta *model.Scope, trained parameters, gradients []*Node, learningRate *Node) {
	for i, p := range trained.variables {
		momentum := momenta.GetVariable(trained.names[i])
		if momentum == nil {
			momentum = momenta.VariableWithValue(trained.names[i], tensors.FromShape(p.Shape())).SetTrainable(false)
		}
		w, v := p.NodeValue(learningRate), momentum.NodeValue(learningRate)
		for range max(1, o.Steps) {
			v = Add(MulScalar(v, o.Momentum), Add(gradients[i], MulScalar(w, o.WeightDecay)))
			w = Sub(w, Mul(learningRate, v))
		}
		momentum.SetNodeValue(v)
		p.SetNodeValue(w)
	}
}
