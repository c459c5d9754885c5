package train

import (
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"
	"github.com/gomlx/gomlx/support/exceptions"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/distill"
	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

// Scopes of the variables in a store.
const (
	studentScope  = "student"
	teacherScope  = "teacher"
	momentumScope = "momentum"
)

// Step is what one training step computes: forward pass, losses, gradients, their combination, and the update.
type Step struct {
	Model  *zoo.Model
	Method distill.Method
	SGD    SGD
	// NoDropout switches dropout off, as the reference numbers have it.
	NoDropout bool
	// Measure computes the alignment of the two gradients even where they are only added (a second backward pass).
	Measure bool
}

// StepInputs are the tensors of a step.
type StepInputs struct {
	Images        *Node // normalised, [N, H, W, C]
	Labels        *Node // [N], an integer dtype
	TeacherLogits *Node // [N, classes]; nil when the method has no teacher
	LearningRate  *Node // scalar
	RNG           *Node // state of the random generator; nil when nothing is drawn
}

// StepResult are scalars of the batch, before the update.
type StepResult struct {
	Outputs   zoo.Outputs
	Terms     []distill.Term
	Loss      *Node           // the weighted sum of the terms
	Alignment *dhkd.Alignment // nil unless aligned or measured
	Norm      *Node           // of the merged gradient before clipping; nil unless clipped or measured
	ClipScale *Node           // nil unless clipped
}

// Build builds the step; the student's parameters, buffers and momenta are updated when its program has run. The variables are
// made with the given seed unless they exist.
func (st Step) Build(variables *model.Scope, seed uint64, in StepInputs) StepResult {
	student := variables.At(studentScope)
	scope := nn.New(student, nn.Options{Training: true, Seed: seed, RNG: in.RNG, NoDropout: st.NoDropout})
	result := StepResult{Outputs: st.Model.Forward(scope, in.Images)}
	losses := st.Method.Losses(distill.Batch{
		Logits: result.Outputs.Logits, AuxLogits: result.Outputs.AuxLogits,
		TeacherLogits: in.TeacherLogits, Labels: in.Labels,
	})
	result.Terms = losses.Terms
	result.Loss = weightedSum(losses.Terms)

	var parameters []*model.Variable
	var values []*Node
	for v := range student.IterVariables() {
		if v.Trainable {
			parameters = append(parameters, v)
			values = append(values, v.NodeValue(in.Images.Graph()))
		}
	}
	var gradients []*Node
	switch {
	case (losses.Align || st.Measure) && len(losses.Terms) > 1:
		first := Gradient(weightedSum(losses.Terms[:1]), values...)
		others := Gradient(weightedSum(losses.Terms[1:]), values...)
		if losses.Align {
			merged, alignment := dhkd.AlignGradients(first, others)
			gradients, result.Alignment = merged, &alignment
			break
		}
		alignment := dhkd.MeasureAlignment(first, others)
		gradients, result.Alignment = make([]*Node, len(values)), &alignment
		for i := range values {
			gradients[i] = Add(first[i], others[i])
		}
	case losses.Align:
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
	st.SGD.update(variables.At(momentumScope), parameters, gradients, in.LearningRate)
	return result
}

func weightedSum(terms []distill.Term) *Node {
	var sum *Node
	for _, t := range terms {
		weighted := MulScalar(t.Value, t.Weight)
		if sum == nil {
			sum = weighted
		} else {
			sum = Add(sum, weighted)
		}
	}
	return sum
}
