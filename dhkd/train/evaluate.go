package train

import (
	"errors"

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

// evaluator holds the inference programs of one network.
type evaluator struct {
	counts  *model.Exec // sums over a batch: right main, right auxiliary, cross-entropy
	predict *model.Exec // logits of a batch
	trainer *Trainer    // keeps the time of compilation
}

func (e *evaluator) call(exec *model.Exec, inputs ...any) (*tensors.Tensor, error) {
	if err := e.trainer.compile(exec, inputs); err != nil {
		return nil, err
	}
	return exec.Call1(inputs...)
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
	logits := func(variables *model.Scope, pixels, indices *Node) *Node {
		return forward(variables, pixels, indices).Logits
	}
	return &evaluator{
		counts:  model.MustNewExec(t.Backend, t.store, counts),
		predict: model.MustNewExec(t.Backend, t.store, logits),
		trainer: t,
	}
}

// crossEntropySum sums the loss of the samples whose weight is 1.
func crossEntropySum(logits, labels, weights *Node) *Node {
	perSample := Neg(ReduceSum(Mul(LogSoftmax(logits), OneHot(labels, logits.Shape().Dim(-1), logits.DType())), -1))
	return ReduceAllSum(Where(GreaterThan(weights, ZerosLike(weights)), perSample, ZerosLike(perSample)))
}

func (e *evaluator) evaluate(s split) (result Evaluation, err error) {
	defer catch(&err)
	var sums [3]float64
	for batch := range s.batches() {
		out, err := e.call(e.counts, s.pixels, s.labels, batch.indices, batch.weights)
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

// logits returns the network's logits of all images, [n, classes], on the device.
func (e *evaluator) logits(s split) (all *tensors.Tensor, err error) {
	defer catch(&err)
	var flat []float32
	classes := 0
	for batch := range s.batches() {
		out, err := e.call(e.predict, s.pixels, batch.indices)
		if err != nil {
			return nil, err
		}
		classes = out.Shape().Dim(1)
		flat = append(flat, tensors.MustCopyFlatData[float32](out)[:batch.n*classes]...)
		out.FinalizeAll()
	}
	return tensors.FromFlatDataAndDimensions(flat, s.n, classes), nil
}

// evaluationIndices are the indices of a batch. The last one is filled up with index 0 at weight 0, since another shape
// would be another program.
type evaluationIndices struct {
	indices, weights *tensors.Tensor
	n                int
}

func (s split) batches() func(yield func(evaluationIndices) bool) {
	return func(yield func(evaluationIndices) bool) {
		for start := 0; start < s.n; start += evaluationBatch {
			indices, weights := make([]int32, evaluationBatch), make([]float32, evaluationBatch)
			n := min(evaluationBatch, s.n-start)
			for i := range n {
				indices[i], weights[i] = int32(start+i), 1
			}
			batch := evaluationIndices{
				indices: tensors.FromFlatDataAndDimensions(indices, evaluationBatch),
				weights: tensors.FromFlatDataAndDimensions(weights, evaluationBatch),
				n:       n,
			}
			if !yield(batch) {
				return
			}
		}
	}
}
