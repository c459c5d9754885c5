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
}

// update sets the new values of the parameters and their momenta, which start at zero and live in the scope given.
func (o SGD) update(momenta *model.Scope, trained parameters, gradients []*Node, learningRate *Node) {
	for i, p := range trained.variables {
		momentum := momenta.GetVariable(trained.names[i])
		if momentum == nil {
			momentum = momenta.VariableWithValue(trained.names[i], tensors.FromShape(p.Shape())).SetTrainable(false)
		}
		w := p.NodeValue(learningRate)
		v := Add(MulScalar(momentum.NodeValue(learningRate), o.Momentum), Add(gradients[i], MulScalar(w, o.WeightDecay)))
		momentum.SetNodeValue(v)
		p.SetNodeValue(Sub(w, Mul(learningRate, v)))
	}
}
