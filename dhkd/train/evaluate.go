package train

import (
	"errors"
	"iter"
	"slices"

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
	counts  program // sums over a batch: right main, right auxiliary, cross-entropy
	trainer *Trainer
}

func (t *Trainer) newEvaluator(m *zoo.Model, scope string) (*evaluator, error) {
	forward := func(variables *model.Scope, inputs []*Node) (out zoo.Outputs, labels *Node) {
		images, labels, _ := t.test.images(inputs) // the training split is of the same kind
		images = Normalize(images, t.Data.Mean, t.Data.Std)
		out = m.Forward(nn.New(variables.At("%s", scope), nn.Options{}), images)
		if predict := distill.PredictorOf(t.Step.Method); predict != nil && scope == studentScope {
			out.Logits = predict(distill.Batch{Outputs: out, Scope: nn.New(variables.At(methodScope), nn.Options{}),
				Teacher: t.Teacher.Model.Forward(nn.New(variables.At(teacherScope), nn.Options{}), images)})
		}
		return out, labels
	}
	counts := func(variables *model.Scope, inputs []*Node) *Node {
		out, labels := forward(variables, inputs)
		weights := inputs[ofBatch]
		right := ReduceAllSum(Mul(correct(out.Logits, labels), weights))
		rightAux := ZerosLike(right)
		if out.AuxLogits != nil {
			rightAux = ReduceAllSum(Mul(correct(out.AuxLogits, labels), weights))
		}
		return Stack([]*Node{right, rightAux, crossEntropySum(out.Logits, labels, weights)}, 0)
	}
	program, err := newProgram(t, counts, ofBatch+1)
	return &evaluator{counts: program, trainer: t}, err
}

// crossEntropySum sums the loss of the samples whose weight is 1.
func crossEntropySum(logits, labels, weights *Node) *Node {
	perSample := Neg(ReduceSum(Mul(LogSoftmax(logits), OneHot(labels, logits.Shape().Dim(-1), logits.DType())), -1))
	return ReduceAllSum(Where(GreaterThan(weights, ZerosLike(weights)), perSample, ZerosLike(perSample)))
}

func (e *evaluator) evaluate(s split) (result Evaluation, err error) {
	defer catch(&err)
	var sums [3]float64
	n := 0
	for batch, err := range s.batches() {
		if err != nil {
			return result, err
		}
		out, err := e.trainer.call1(e.counts, batch.withWeights())
		batch.free()
		if err != nil {
			return result, err
		}
		for i, v := range tensors.MustCopyFlatData[float32](out) {
			sums[i] += float64(v)
		}
		n += batch.counted
		out.FinalizeAll()
	}
	if n == 0 {
		return result, errors.New("there is no image to evaluate on")
	}
	of := float64(n)
	return Evaluation{Top1: 100 * sums[0] / of, AuxTop1: 100 * sums[1] / of, Loss: sums[2] / of}, nil
}

// evaluationInputs are those of a batch, which free releases. The last one is filled up with image 0 at weight 0, since
// another shape would be another program; files that were skipped have weight 0 too.
type evaluationInputs struct {
	inputs  [][]any // by device
	weights []float32
	counted int // images with weight 1
	free    func()
}

// withWeights are the inputs with the weights of their images.
func (b evaluationInputs) withWeights() (inputs [][]any) {
	n := len(b.weights) / len(b.inputs)
	for d, part := range b.inputs {
		weights := tensors.FromFlatDataAndDimensions(b.weights[d*n:(d+1)*n], n)
		inputs = append(inputs, append(slices.Clip(part), weights))
	}
	return inputs
}

// batches are all images of a split, in order.
func (s split) batches() iter.Seq2[evaluationInputs, error] {
	all := make([]int32, s.n)
	for i := range all {
		all[i] = int32(i)
	}
	return s.batchesOf(all)
}

// batchesOf are the images with these indices.
func (s split) batchesOf(images []int32) iter.Seq2[evaluationInputs, error] {
	n, size := len(images), evaluationBatch
	if s.streamed() { // of ImageNet's size, 64 images keep a GPU busy
		size = min(n, max(8, min(evaluationBatch, 64*224*224/(s.shape[0]*s.shape[1]))))
	}
	size = (size + s.devices - 1) / s.devices * s.devices
	order := make([]int32, (n+size-1)/size*size) // filled up with 0
	copy(order, images)
	return func(yield func(evaluationInputs, error) bool) {
		var f *feed
		if s.streamed() {
			f = s.open(order, size, nil)
			defer f.close()
		}
		for start := 0; start < n; start += size {
			batch := evaluationInputs{free: func() {}}
			weights := make([]float32, size)
			for i := range min(size, n-start) {
				weights[i] = 1
			}
			if f == nil {
				var err error
				if batch.inputs, batch.free, err = s.batch(order[start:start+size], 0, 0); err != nil {
					yield(batch, err)
					return
				}
			} else {
				b := <-f.ready
				if b.err != nil {
					yield(batch, b.err)
					return
				}
				for i, label := range b.labels {
					if label < 0 {
						weights[i] = 0
					}
				}
				batch.inputs, batch.free = b.inputs, b.free
			}
			for _, w := range weights {
				batch.counted += int(w)
			}
			batch.weights = weights
			if !yield(batch, nil) {
				return
			}
		}
	}
}
