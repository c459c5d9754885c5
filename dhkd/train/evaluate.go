package train

import (
	"errors"
	"iter"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/dhkd-lab/dhkd-go/dhkd/distill"
	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

// evaluationBatch is large enough to amortise a call and small enough for the caches of a CPU.
const evaluationBatch = 250

// Evaluation is a network's performance on a split, in inference mode.
type Evaluation struct {
	Top1    float64 // per cent, main head
	AuxTop1 float64 // per cent, auxiliary head; 0 without one
	Loss    float64 // mean cross-entropy of the main head
}

// EvaluateStudent evaluates the student as it is now on the test split, or the network that a [distill.Predictor] makes of it.
func (t *Trainer) EvaluateStudent() (Evaluation, error) { return t.student.evaluate(t.test) }

// EvaluateTeacher evaluates the teacher on the test split; the trainer must have one.
func (t *Trainer) EvaluateTeacher() (Evaluation, error) {
	if t.teacherEvaluator == nil {
		return Evaluation{}, errors.New("the method has no teacher")
	}
	return t.teacherEvaluator.evaluate(t.test)
}

// evaluator holds the inference program of one network.
type evaluator struct {
	counts  *model.Exec // sums over a batch: right main, right auxiliary, cross-entropy
	trainer *Trainer    // keeps the time of compilation
}

func (t *Trainer) newEvaluator(m *zoo.Model, scope string) *evaluator {
	forward := func(variables *model.Scope, pixels, indices *Node) zoo.Outputs {
		images := Normalize(Gather(pixels, ExpandAxes(indices, -1)), t.Data.Mean, t.Data.Std)
		out := m.Forward(nn.New(variables.At("%s", scope), nn.Options{}), images)
		if predict := distill.PredictorOf(t.Step.Method); predict != nil && scope == studentScope {
			out.Logits = predict(distill.Batch{Outputs: out, Scope: nn.New(variables.At(methodScope), nn.Options{}),
				Teacher: t.Teacher.Model.Forward(nn.New(variables.At(teacherScope), nn.Options{}), images)})
		}
		return out
	}
	counts := func(variables *model.Scope, pixels, allLabels, indices, weights *Node) *Node {
		out := forward(variables, pixels, indices)
		labels := Gather(allLabels, ExpandAxes(indices, -1))
		right := ReduceAllSum(Mul(correct(out.Logits, labels), weights))
		rightAux := ZerosLike(right)
		if out.AuxLogits != nil {
			rightAux = ReduceAllSum(Mul(correct(out.AuxLogits, labels), weights))
		}
		return Stack([]*Node{right, rightAux, crossEntropySum(out.Logits, labels, weights)}, 0)
	}
	return &evaluator{counts: model.MustNewExec(t.Backend, t.store, counts), trainer: t}
}

// crossEntropySum sums the loss of the samples whose weight is 1.
func crossEntropySum(logits, labels, weights *Node) *Node {
	perSample := Neg(ReduceSum(Mul(LogSoftmax(logits), OneHot(labels, logits.Shape().Dim(-1), logits.DType())), -1))
	return ReduceAllSum(Where(GreaterThan(weights, ZerosLike(weights)), perSample, ZerosLike(perSample)))
}

func (e *evaluator) evaluate(s split) (result Evaluation, err error) {
	defer catch(&err)
	var sums [3]float64
	for indices, weights := range s.batches() {
		inputs := []any{s.pixels, s.labels, indices, weights}
		if err := e.trainer.compile(e.counts, inputs); err != nil {
			return result, err
		}
		out, err := e.counts.Call1(inputs...)
		if err != nil {
			return result, err
		}
		for i, v := range tensors.MustCopyFlatData[float32](out) {
			sums[i] += float64(v)
		}
		out.FinalizeAll()
	}
	n := float64(s.n)
	return Evaluation{Top1: 100 * sums[0] / n, AuxTop1: 100 * sums[1] / n, Loss: sums[2] / n}, nil
}

// batches are the indices of the images and their weights. The last batch is filled up with index 0 at weight 0, since
// another shape would be another program.
func (s split) batches() iter.Seq2[*tensors.Tensor, *tensors.Tensor] {
	return func(yield func(indices, weights *tensors.Tensor) bool) {
		for start := 0; start < s.n; start += evaluationBatch {
			indices, weights := make([]int32, evaluationBatch), make([]float32, evaluationBatch)
			for i := range min(evaluationBatch, s.n-start) {
				indices[i], weights[i] = int32(start+i), 1
			}
			if !yield(tensors.FromFlatDataAndDimensions(indices, evaluationBatch),
				tensors.FromFlatDataAndDimensions(weights, evaluationBatch)) {
				return
			}
		}
	}
}
