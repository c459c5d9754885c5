package train

import (
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"
	"github.com/gomlx/gomlx/support/exceptions"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/device"
	"github.com/dhkd-lab/dhkd-go/dhkd/distill"
	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

// Scopes of the variables in a store.
const (
	studentScope  = "student"
	teacherScope  = "teacher"
	methodScope   = "method" // the method's own modules
	momentumScope = "momentum"
)

func init() { device.DonateVariables(studentScope, methodScope, momentumScope) }

// methodPrefix stands before the names of the momenta of the method's parameters.
const methodPrefix = methodScope + "."

// Step is what one training step computes: forward pass, losses, gradients, their combination, and the update.
type Step struct {
	Model  *zoo.Model
	Method distill.Method
	SGD    SGD
	// NoDropout switches dropout off, as the reference numbers have it.
	NoDropout bool
	// Convolutions is what those of the student and the teacher are rounded to, see [nn.Options]; evaluation does not.
	Convolutions dtypes.DType
	// Measure computes the alignment of the two gradients even where they are only added (a second backward pass).
	Measure bool
}

// StepInputs are the tensors of a step.
type StepInputs struct {
	Images       *Node       // normalised, [N, H, W, C]
	Labels       *Node       // [N], an integer dtype
	Teacher      zoo.Outputs // constants; maps only where the method needs features, nothing without a teacher
	LearningRate *Node       // scalar
	RNG          *Node       // state of the random generator; nil when nothing is drawn
	Epoch        *Node       // scalar, from 1; nil unless the method needs it
	Indices      *Node       // [N] int32, of the images in the training set; nil unless the method needs them
	TrainLabels  []int32     // of the training set
}

// StepResult are scalars of the batch, before the update.
type StepResult struct {
	Outputs   zoo.Outputs // the student's, but for the logits of a [distill.Predictor]
	Terms     []distill.Term
	Loss      *Node           // the weighted sum of the terms
	Alignment *dhkd.Alignment // nil unless aligned or measured
	Norm      *Node           // of the merged gradient before clipping; nil unless clipped or measured
	ClipScale *Node           // nil unless clipped
}

// Build builds the step; the student's parameters, buffers and momenta are updated when its program has run. The variables are
// made with the given seed unless they exist.
func (st Step) Build(variables *model.Scope, seed uint64, in StepInputs) StepResult {
	outputs, losses := st.forward(variables, seed, in)
	result := StepResult{Outputs: outputs, Terms: losses.Terms, Loss: weightedSum(losses.Terms)}
	trained := trainedIn(variables)
	values := trained.values(in.Images.Graph())
	var gradients []*Node
	switch aligned := losses.Align != dhkd.AddGradients; {
	case (aligned || st.Measure) && len(losses.Terms) > 1:
		first := Gradient(weightedSum(losses.Terms[:1]), values...)
		others := Gradient(weightedSum(losses.Terms[1:]), values...)
		merged, alignment := dhkd.CombineGradients(losses.Align, first, others, trained.backbone)
		gradients, result.Alignment = merged, &alignment
	case aligned:
		exceptions.Panicf("method %s: gradient alignment needs two losses", st.Method.Name())
	default:
		gradients = Gradient(result.Loss, values...)
	}
	switch {
	case st.SGD.ClipNorm > 0:
		gradients, result.Norm, result.ClipScale = dhkd.ClipGlobalNorm(gradients, st.SGD.ClipNorm)
	case st.Measure:
		result.Norm = Sqrt(dhkd.MeasureAlignment(gradients, gradients).G1Squared)
	}
	st.SGD.update(variables.At(momentumScope), trained, gradients, in.LearningRate)
	return result
}

// forward builds the student's forward pass in training and the method's losses.
func (st Step) forward(variables *model.Scope, seed uint64, in StepInputs) (zoo.Outputs, distill.Losses) {
	options := nn.Options{Training: true, Seed: seed, RNG: in.RNG, NoDropout: st.NoDropout,
		Convolutions: st.Convolutions}
	scope := nn.New(variables.At(studentScope), options)
	network := *st.Model
	network.DetachAux = st.Method.Needs().DetachAux
	outputs := network.Forward(scope, in.Images)
	options.RNG = scope.RNG()
	losses := st.Method.Losses(distill.Batch{
		Outputs: outputs, Teacher: in.Teacher, Labels: in.Labels, Epoch: in.Epoch, Indices: in.Indices,
		TrainLabels: in.TrainLabels, Scope: nn.New(variables.At(methodScope), options),
	})
	if losses.Logits != nil {
		outputs.Logits = losses.Logits
	}
	return outputs, losses
}

// parameters are the trained variables in the order in which they were made: the student's, then the method's.
type parameters struct {
	variables []*model.Variable
	names     []string // of their momenta
	backbone  []bool   // whether it is a part of the student that is no head
}

// trainedIn are those of a step.
func trainedIn(variables *model.Scope) (p parameters) {
	p.add(variables.At(studentScope), "")
	p.add(variables.At(methodScope), methodPrefix)
	return p
}

// values are theirs in a graph.
func (p parameters) values(g *Graph) []*Node {
	values := make([]*Node, len(p.variables))
	for i, v := range p.variables {
		values[i] = v.NodeValue(g)
	}
	return values
}

func (p *parameters) add(scope *model.Scope, prefix string) {
	for v := range scope.IterVariables() {
		if v.Trainable {
			p.variables, p.names = append(p.variables, v), append(p.names, prefix+v.Name())
			p.backbone = append(p.backbone, prefix == "" && !zoo.InHead(v.Name()))
		}
	}
}

func weightedSum(terms []distill.Term) *Node {
	var sum *Node
	for _, t := range terms {
		weighted := t.Weighted()
		if sum == nil {
			sum = weighted
		} else {
			sum = Add(sum, weighted)
		}
	}
	return sum
}
