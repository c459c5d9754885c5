// Package train trains a network, with a teacher or without: the optimizer, the schedule, one compiled program a step, the
// loop, and checkpoints from which a run continues bit for bit.
package train

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/distributed"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/dataset"
	"github.com/dhkd-lab/dhkd-go/dhkd/distill"
	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
)

// Config is what a trainer's programs are compiled from. Seeds and learning rates are not part of it, so one trainer serves
// many runs.
type Config struct {
	Backend compute.Backend
	Data    *dataset.Set
	Step    Step
	Teacher *Network // nil when the method needs none
	Pad     int      // crop-flip augmentation with that padding; 0 = no augmentation
	// Devices is how many of the backend's devices each batch is divided among; 0 = one. The results are those of one device
	// but for rounding. A batch that they do not divide, such as an epoch's smaller last one, is computed on one.
	Devices int
	// TeacherLogits, unless nil, are gathered in place of the teacher's forward pass in every step: those of all views of
	// the training images, [images Views(Pad), classes] float32, see [ViewLogits]. They are valid for methods that need
	// logits alone. They stay the caller's, who may share them between trainers.
	TeacherLogits *tensors.Tensor
	// MeasureTerms are the two losses whose gradients [Trainer.MeasureStep] compares, see [record.MeasureGradients]; nil are
	// the method's first two.
	MeasureTerms []string
}

// Trainer holds the compiled programs, the images on the device, and the state of the run in progress: parameters, buffers,
// momenta. It is not safe for concurrent use.
type Trainer struct {
	Config
	store            *model.Store
	mesh             *distributed.DeviceMesh // of the devices; nil on one
	step             program
	measurement      program // of gradients, compiled when first used
	student          *evaluator
	teacherEvaluator *evaluator
	heads            *headProgram // nil until they are looked at
	train, test      split
	needs            distill.Needs
	drawsRandom      bool
	logits           []*tensors.Tensor // Config.TeacherLogits on each device
	metrics          []string          // names of what a step returns
	measured         []string          // and of what a measurement does
	measuredTerms    []string
	compiled         map[string]bool
	compileTime      time.Duration
	stepNodes        int // in the graph of the step that was compiled last
}

// New uploads the images, where they are in memory, and prepares the programs; they are compiled when first used. The state
// is that of seed 0.
func New(c Config) (t *Trainer, err error) {
	defer catch(&err)
	if err := c.checkDevices(); err != nil {
		return nil, err
	}
	needs := c.Step.Method.Needs()
	switch {
	case needs.Teacher && c.Teacher == nil:
		return nil, fmt.Errorf("method %s needs a teacher", c.Step.Method.Name())
	case needs.AuxHead && c.Step.Model.AuxHead == "none":
		return nil, fmt.Errorf("method %s needs a student with an auxiliary head: set model.aux_head to linear or nonlinear",
			c.Step.Method.Name())
	case needs.Classifier && c.Step.Model.Head != dhkd.LinearHead:
		return nil, fmt.Errorf("method %s needs a student with a linear main head, this %s has a %s one: leave model.head out",
			c.Step.Method.Name(), c.Step.Model.Name, c.Step.Model.Head)
	case needs.Classifier && c.Teacher.Model.Head != dhkd.LinearHead:
		return nil, fmt.Errorf("method %s needs a teacher with a linear main head, this %s has a %s one",
			c.Step.Method.Name(), c.Teacher.Model.Name, c.Teacher.Model.Head)
	case c.Data.Classes < needs.Classes:
		return nil, fmt.Errorf("method %s needs at least %d classes, data set %s has %d", c.Step.Method.Name(), needs.Classes,
			c.Data.Name, c.Data.Classes)
	case c.Step.Model.Classes != c.Data.Classes:
		return nil, fmt.Errorf("model %s has %d classes, data set %s has %d", c.Step.Model.Name, c.Step.Model.Classes,
			c.Data.Name, c.Data.Classes)
	case needs.Teacher && c.Teacher.Model.Classes != c.Data.Classes:
		return nil, fmt.Errorf("teacher %s has %d classes, data set %s has %d", c.Teacher.Model.Name, c.Teacher.Model.Classes,
			c.Data.Name, c.Data.Classes)
	case c.TeacherLogits != nil && needs.Features:
		return nil, fmt.Errorf("method %s needs the teacher's maps: logits that were computed before do not do",
			c.Step.Method.Name())
	}
	if want := shapeOf(dtypes.Float32, c.Data.Train.Len()*Views(c.Pad), c.Data.Classes); c.TeacherLogits != nil &&
		!c.TeacherLogits.Shape().Equal(want) {
		return nil, fmt.Errorf("the teacher's logits have shape %s, the %d views of %d training images need %s",
			c.TeacherLogits.Shape(), Views(c.Pad), c.Data.Train.Len(), want)
	}
	t = &Trainer{Config: c, store: model.NewStore(), compiled: map[string]bool{}}
	if !needs.Teacher {
		t.Teacher, t.TeacherLogits = nil, nil
	}
	t.needs = needs
	t.drawsRandom = c.Pad > 0 || c.Step.Model.Head == dhkd.NonlinearHead ||
		c.Step.Model.AuxHead == dhkd.NonlinearAuxHead || needs.Random
	if t.train, err = t.upload(c.Data.Train); err != nil {
		return nil, err
	}
	if t.test, err = t.upload(c.Data.Test); err != nil {
		return nil, err
	}
	if t.TeacherLogits != nil {
		if t.logits, err = t.onEach(t.TeacherLogits); err != nil {
			return nil, fmt.Errorf("teacher's logits: %w", err)
		}
	}
	if t.student, err = t.newEvaluator(c.Step.Model, studentScope); err != nil {
		return nil, err
	}
	if t.step, err = newProgram(t, t.buildStep, ofBatch); err != nil {
		return nil, err
	}
	if t.measurement, err = newProgram(t, t.buildMeasurement, ofBatch); err != nil {
		return nil, err
	}
	if err := t.Reset(0); err != nil {
		return nil, err
	}
	if t.Teacher != nil {
		return t, t.prepareTeacher()
	}
	return t, nil
}

// prepareTeacher loads the teacher's weights.
func (t *Trainer) prepareTeacher() error {
	if err := t.load(teacherScope, t.Teacher); err != nil {
		return fmt.Errorf("teacher %s: %w", t.Teacher.Model.Name, err)
	}
	var err error
	t.teacherEvaluator, err = t.newEvaluator(t.Teacher.Model, teacherScope)
	return err
}

// Reset gives the student the initial values of that seed and sets the momenta to zero.
func (t *Trainer) Reset(seed uint64) error {
	weights, err := t.Step.Model.Initial(t.Backend, t.imageShape(), seed)
	if err != nil {
		return err
	}
	for _, w := range weights {
		if err := t.set(studentScope, w.Name, w.Value, w.Trained); err != nil {
			return err
		}
		if !w.Trained {
			continue
		}
		if err := t.set(momentumScope, w.Name, tensors.FromShape(w.Value.Shape()), false); err != nil {
			return err
		}
	}
	return t.resetMethod(seed)
}

// Close frees the programs, the images and the variables.
func (t *Trainer) Close() {
	t.step.close()
	t.measurement.close()
	if t.heads != nil {
		t.heads.close()
	}
	for _, e := range []*evaluator{t.student, t.teacherEvaluator} {
		if e != nil {
			e.counts.close()
		}
	}
	if len(t.logits) > 0 {
		for _, copied := range t.logits[1:] {
			_ = copied.FinalizeAll() // nothing can be done about it
		}
	}
	t.train.close()
	t.test.close()
	t.store.Finalize()
}

// RunStep runs one step on the images with the given indices. The randomness of augmentation and dropout depends on seed, epoch and
// step alone.
func (t *Trainer) RunStep(indices []int32, learningRate float64, seed uint64, epoch, step int) (m Metrics, err error) {
	m, _, err = t.runStep(indices, learningRate, seed, epoch, step, false)
	return m, err
}

func (t *Trainer) runStep(indices []int32, learningRate float64, seed uint64, epoch, step int, measure bool) (m,
	measured Metrics, err error) {
	defer catch(&err)
	batch, free, err := t.train.batch(indices, seed, epoch)
	if err != nil {
		return nil, nil, err
	}
	defer free()
	inputs := t.stepInputs(batch, learningRate, seed, epoch, step)
	if measure { // before the weights move
		if measured, err = t.measure(inputs); err != nil {
			return nil, nil, err
		}
	}
	out, err := t.call1(t.step, inputs)
	if err != nil {
		return nil, nil, err
	}
	if m, err = named(t.metrics, out); err != nil {
		return nil, nil, err
	}
	for _, metric := range m {
		if measure && metric.Name == metricCoefficient {
			measured = append(measured, Metric{quantityAligning, metric.Value})
		}
	}
	return m, measured, nil
}

// CompileStep compiles the step for batches of that size, which [Trainer.RunStep] does when it needs to, and returns the
// number of nodes in its graph.
func (t *Trainer) CompileStep(batchSize int) (nodes int, err error) {
	defer catch(&err)
	err = t.compile(t.step, t.stepInputs(t.train.shaped(batchSize), 0, 0, 0, 0))
	return t.stepNodes, err
}

// stepInputs are a step's inputs for each device: the part of the batch that it has, and what follows from the batch's place.
func (t *Trainer) stepInputs(batch [][]any, learningRate float64, seed uint64, epoch, step int) [][]any {
	source := rand.NewPCG(seed, uint64(epoch)<<32|uint64(step))
	rng := []uint64{source.Uint64(), source.Uint64(), source.Uint64()}
	all := make([][]any, len(batch))
	for d, part := range batch { // a device needs tensors of its own
		inputs := append(slices.Clip(part), tensors.FromScalar(float32(learningRate)))
		if t.drawsRandom {
			inputs = append(inputs, tensors.FromFlatDataAndDimensions(rng, len(rng)))
		}
		if t.needs.Epoch {
			inputs = append(inputs, tensors.FromScalar(float32(epoch)))
		}
		if t.logits != nil {
			inputs = append(inputs, t.logits[d])
		}
		all[d] = inputs
	}
	return all
}

// compile compiles a program for the shapes of its inputs unless it has been, and keeps the time: it is not training.
func (t *Trainer) compile(p program, inputs [][]any) error {
	var dims []shapes.Shape
	for _, input := range slices.Concat(inputs...) {
		dims = append(dims, input.(*tensors.Tensor).Shape())
	}
	exec := p.of(len(inputs))
	key := fmt.Sprintf("%p %v", exec, dims)
	if t.compiled[key] {
		return nil
	}
	start := time.Now()
	g, err := exec.Compile(dims...)
	if err != nil {
		return err
	}
	t.compileTime += time.Since(start)
	if p == t.step {
		t.stepNodes = len(g.Nodes())
	}
	t.compiled[key] = true
	return nil
}

// CompileTime is the time spent compiling so far.
func (t *Trainer) CompileTime() time.Duration { return t.compileTime }

// Metrics are a step's values, in the order of the method's terms.
type Metrics []Metric

// Metric is a named value of a step.
type Metric struct {
	Name  string
	Value float64
}

// Names of a step's metrics beside "loss/" and the terms' names.
const (
	metricLoss        = "loss"
	metricTop1        = "top1" // share of the batch that the main head gets right, 0 to 1
	metricConflict    = "conflict"
	metricCoefficient = "c"
	metricCosine      = "cos"
)

// buildStep is the whole step as one program: gather, augment, normalise, teacher, student, losses, gradients, update.
func (t *Trainer) buildStep(variables *model.Scope, inputs []*Node) *Node {
	in := t.batchInputs(variables, inputs)
	result := t.Step.Build(variables, 0, in)

	values := map[string]*Node{}
	t.metrics = nil
	add := func(name string, v *Node) {
		t.metrics, values[name] = append(t.metrics, name), ConvertDType(v, dtypes.Float32)
	}
	for _, term := range result.Terms {
		add("loss/"+term.Name, term.Value)
	}
	add(metricLoss, result.Loss)
	add(metricTop1, ReduceAllMean(correct(result.Outputs.Logits, in.Labels)))
	if a := result.Alignment; a != nil {
		add(metricConflict, a.Conflict)
		add(metricCoefficient, a.Coefficient)
		add(metricCosine, a.Cosine)
	}
	scalars := make([]*Node, len(t.metrics))
	for i, name := range t.metrics {
		scalars[i] = Reshape(values[name], 1)
	}
	return Concatenate(scalars, 0)
}

// batchInputs gathers a step's batch, augments and normalises it, and has the teacher's outputs.
func (t *Trainer) batchInputs(variables *model.Scope, inputs []*Node) StepInputs {
	images, labels, indices := t.train.images(inputs)
	rows, learningRate := indices, inputs[3] // of the teacher's logits
	inputs = inputs[4:]
	var rng *Node
	in := StepInputs{LearningRate: learningRate, TrainLabels: t.Data.Train.Labels}
	if t.drawsRandom {
		rng, inputs = inputs[0], inputs[1:]
	}
	if t.needs.Epoch {
		in.Epoch, inputs = inputs[0], inputs[1:]
	}
	if t.needs.Indices {
		in.Indices = indices
	}
	if t.Pad > 0 {
		var v view
		rng, v = drawViews(rng, rows.Shape().Dim(0), t.Pad) // first of all that is drawn
		images = CropFlip(images, v.top, v.left, v.flip, t.Pad)
		rows = Add(MulScalar(rows, Views(t.Pad)), v.number(t.Pad))
	}
	images = Normalize(images, t.Data.Mean, t.Data.Std)
	switch {
	case t.TeacherLogits != nil:
		in.Teacher.Logits = Gather(inputs[0], ExpandAxes(rows, -1))
	case t.Teacher != nil:
		options := nn.Options{Convolutions: t.Step.Convolutions}
		in.Teacher = t.Teacher.Model.Forward(nn.New(variables.At(teacherScope), options), images)
	}
	in.Images, in.Labels, in.RNG = images, labels, rng
	return in
}

// correct is 1 where the largest logit is the label's, else 0; float32 [N]. Logits that are NaN are wrong, whatever the label.
func correct(logits, labels *Node) *Node {
	hit := Equal(ArgMax(logits, -1, labels.DType()), labels)
	finite := Not(LogicalAny(IsNaN(logits), -1))
	return ConvertDType(And(hit, finite), dtypes.Float32)
}

func (t *Trainer) imageShape() [3]int { return [3]int{t.Data.Height, t.Data.Width, t.Data.Channels} }

func shapeOf(dtype dtypes.DType, dims ...int) shapes.Shape { return shapes.Make(dtype, dims...) }
