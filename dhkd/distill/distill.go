// Package distill holds the distillation methods, one file each, behind one small interface and one registry. A method adds
// named losses to a batch's outputs; the trainer knows no method by name.
package distill

import (
	"github.com/gomlx/gomlx/core/graph"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

// Method turns one batch's outputs into named losses.
type Method interface {
	// Name of the registry.
	Name() string
	// Needs says what the method learns from.
	Needs() Needs
	// Losses builds the losses of a batch. It is a graph-building function.
	Losses(b Batch) Losses
}

// Predictor is a method that trains another network than the student: parts of it and modules of the method's own.
type Predictor interface {
	Method
	// Predict returns the logits of the trained network, in inference where the scope of the batch is. The student's and
	// the teacher's outputs are there, labels are not. It is a graph-building function.
	Predict(b Batch) *graph.Node
}

// PredictorOf is the prediction of the network that a method trains, or nil if that is the student's main head.
func PredictorOf(m Method) func(b Batch) *graph.Node {
	switch m := m.(type) {
	case Predictor:
		return m.Predict
	case sum:
		for i, part := range m {
			if p, ok := part.(Predictor); ok {
				return func(b Batch) *graph.Node { return p.Predict(m.part(b, i)) }
			}
		}
	}
	return nil
}

// Needs says what a method needs beside images and labels.
type Needs struct {
	Teacher  bool // the teacher's logits
	AuxHead  bool // a second head on the student
	Features bool // the maps of both networks, so that the teacher is part of every step
	Modules  bool // variables of its own: [Batch.Scope]
	Random   bool // random numbers: [nn.Scope.Draw]
	Epoch    bool // [Batch.Epoch]
	Indices  bool // [Batch.Indices]
	// DetachAux cuts the auxiliary head off the backbone: no gradient flows from it, see [zoo.Model].
	DetachAux bool
	// Classifier asks both networks for [zoo.Outputs].Classifier: their main heads must be linear.
	Classifier bool
	Classes    int // the fewest classes that its losses can be made of
}

// or adds the needs of another method.
func (n Needs) or(m Needs) Needs {
	return Needs{n.Teacher || m.Teacher, n.AuxHead || m.AuxHead, n.Features || m.Features, n.Modules || m.Modules,
		n.Random || m.Random, n.Epoch || m.Epoch, n.Indices || m.Indices, n.DetachAux || m.DetachAux,
		n.Classifier || m.Classifier, max(n.Classes, m.Classes)}
}

// Batch holds what the losses of a batch are made of. What a method does not need may be nil.
type Batch struct {
	zoo.Outputs             // the student's
	Teacher     zoo.Outputs // constants; maps only for a method that needs features
	Labels      *graph.Node // [N], an integer type
	Epoch       *graph.Node // scalar of the logits' type, from 1: for warm-ups
	Indices     *graph.Node // [N] int32, the places of the images in the training set
	// TrainLabels are the labels of the training set, for memory banks.
	TrainLabels []int32
	// Scope is where the method's own modules have their variables: parameters are trained with the student's, buffers
	// are saved with them.
	Scope *nn.Scope
}

// Losses are the terms of a method. The first is the loss on the labels where a method has one.
type Losses struct {
	Terms []Term
	// Align says how the gradient of the first term and that of the sum of the others are combined.
	Align dhkd.AlignmentRule
	// Logits are what a [Predictor]'s network predicts, for the accuracy on the batch; nil are the student's.
	Logits *graph.Node
}

// Term is one loss, a scalar before its weight.
type Term struct {
	Name   string // "ce", "kl", "binarykl", "binarykl_norm": metrics are named after it
	Value  *graph.Node
	Weight float64
	// Factor, a scalar without gradient, multiplies the weight in the course of training; nil is 1.
	Factor *graph.Node
}

// Weighted is the term's part of the loss.
func (t Term) Weighted() *graph.Node {
	weighted := graph.MulScalar(t.Value, t.Weight)
	if t.Factor != nil {
		weighted = graph.Mul(weighted, t.Factor)
	}
	return weighted
}
