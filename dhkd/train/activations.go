package train

import (
	"context"
	"fmt"
	"strings"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/dhkd-lab/dhkd-go/dhkd/dataset"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
)

// Activations is a trained network on a device that gives, besides logits, what is computed on the way. It is not
// safe for concurrent use.
type Activations struct {
	*deployed
	stages bool
	names  []string    // of the outputs
	heads  []headInput // without their nodes
}

// Activation is what a network computes of n images. All are row-major.
type Activation struct {
	Labels []int32              // [n]
	Logits map[string][]float32 // by record.MainHead and record.AuxHead: [n, classes]
	// Inputs are what the heads' last linear layers read: [n, width], see [HeadLayer]. There is none of a main head that a
	// predictor stands in for.
	Inputs map[string][]float32
	Pooled []float32   // [n, width]
	Stages [][]float32 // the maps of [zoo.Outputs].Features, each [n, height * width * channels]; nil if not asked for
}

// NewActivations puts a network on the device. Of the data set it takes the shape of the images, what they are
// normalised with, and nothing else: its classes need not be the network's. stages asks for the maps of all stages,
// which take space; those higher than 32 are averaged over windows so that they are not.
func NewActivations(backend compute.Backend, data *dataset.Set, n *Network, stages bool) (*Activations, error) {
	a := &Activations{stages: stages}
	var err error
	if a.deployed, err = deploy(backend, data, n, a.forward); err != nil {
		return nil, err
	}
	return a, nil
}

// Names of the outputs of the program, beside those of stages.
const (
	outputLogits = "logits/"
	outputInput  = "input/"
	outputPooled = "pooled"
	outputStage  = "stage"
)

func (a *Activations) forward(variables *model.Scope, images *Node) (outputs []*Node) {
	a.names, a.heads = nil, nil
	add := func(name string, x *Node) { a.names, outputs = append(a.names, name), append(outputs, x) }
	var scope *nn.Scope
	var stop func() []headInput
	out := a.network.forwardIn(variables, nn.Options{}, images, func(s *nn.Scope) {
		scope, stop = s, listenToHeads(s)
	})
	for _, h := range stop() {
		if h.head == record.MainHead && a.network.Predictor != nil {
			continue // it was not trained: something else predicts
		}
		add(outputInput+h.head, h.features)
		a.heads = append(a.heads, headInput{head: h.head, layer: h.layer})
	}
	if a.stages {
		for _, f := range out.Features {
			add(outputStage, nn.Result(scope, flatten(f)))
		}
	}
	add(outputPooled, out.Pooled)
	if out.AuxLogits != nil {
		add(outputLogits+record.AuxHead, out.AuxLogits)
	}
	add(outputLogits+record.MainHead, out.Logits)
	return outputs
}

// flatten is [N, height * width * channels] of maps [N, H, W, C], averaged over windows where they are higher than 32.
func flatten(x *Node) *Node {
	const most = 32
	dims := x.Shape().Dimensions
	if window := (dims[1] + most - 1) / most; window > 1 && dims[1]%window == 0 && dims[2]%window == 0 {
		x = ReduceMean(Reshape(x, dims[0], dims[1]/window, window, dims[2]/window, window, dims[3]), 2, 4)
	}
	return Reshape(x, dims[0], x.Shape().Size()/dims[0])
}

// Each gives the activations of all images of a split to f, in order and batch by batch, without files that were
// skipped. It ends with the error of ctx, of f, or of a file.
func (a *Activations) Each(ctx context.Context, s dataset.Split, batch int, f func(Activation) error) error {
	return a.each(ctx, s, batch, func(rows [][]float32, labels []int32) error {
		made := Activation{Labels: labels, Logits: map[string][]float32{}, Inputs: map[string][]float32{}}
		for i, name := range a.names {
			if head, ok := strings.CutPrefix(name, outputLogits); ok {
				made.Logits[head] = rows[i]
			} else if head, ok := strings.CutPrefix(name, outputInput); ok {
				made.Inputs[head] = rows[i]
			} else if name == outputStage {
				made.Stages = append(made.Stages, rows[i])
			} else {
				made.Pooled = rows[i]
			}
		}
		return f(made)
	})
}

// Last returns the weight, [classes, width], and the bias, [classes], of the last linear layer of a head, which
// [Activations.Each] must have been called for.
func (a *Activations) Last(head string) (weight, bias []float32, err error) {
	for _, h := range a.heads {
		if h.head == head {
			return a.trainer.linear(studentScope, h.layer)
		}
	}
	return nil, nil, fmt.Errorf("the %s has no %s head", a.network.Model.Name, head)
}
