package golden

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/dhkd-lab/dhkd-go/dhkd/distill"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/internal/golden/fixture"
	"github.com/dhkd-lab/dhkd-go/dhkd/train"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

// verifyTraining runs consecutive training steps of DHKD in float32 and compares the scalars and the parameters after
// each step, and all parameters and running statistics at the end.
func verifyTraining(ctx context.Context, backend compute.Backend, c *fixture.Case, r *Result) error {
	return verifySteps(ctx, backend, c, dtypes.Float32, r)
}

func verifySteps(ctx context.Context, backend compute.Backend, c *fixture.Case, dtype dtypes.DType, r *Result) error {
	m, err := readModel(c)
	if err != nil {
		return err
	}
	var steps int
	if err := c.Field("steps", &steps); err != nil {
		return err
	}
	if steps < 1 {
		return fmt.Errorf("field steps: %d is no number of steps", steps)
	}
	batches, err := batchesOf(c)
	if err != nil {
		return err
	}
	_, image, err := readImages(batches, dtype, "batch0/input")
	if err != nil {
		return err
	}
	n, err := newNetwork(m, c, backend, "buffer_summary_order", image)
	if err != nil {
		return err
	}
	if err := n.checkState(c, r); err != nil {
		return err
	}
	t, err := readTrajectory(c, steps, n)
	if err != nil {
		return err
	}
	store, err := n.store(c, dtype, nil)
	if err != nil {
		return err
	}
	step, err := newStepExec(backend, store, c, n)
	if err != nil {
		return err
	}
	defer step.Finalize()
	for k := range steps {
		if err := ctx.Err(); err != nil {
			return err
		}
		scalars, err := step.run(batches, dtype, k)
		if err != nil {
			return err
		}
		t.compareScalars(k, scalars, r)
		parameters, err := n.parameters.summariseStore(c.Salt, store)
		if err != nil {
			return err
		}
		t.compareParameters(k, parameters, r)
	}
	return t.compareFinal(c, store, r)
}

// batchesOf is the case that holds the batches of c: itself, or one beside it.
func batchesOf(c *fixture.Case) (*fixture.Case, error) {
	if !c.Has("batches_from") {
		return c, nil
	}
	var name string
	if err := c.Field("batches_from", &name); err != nil {
		return nil, err
	}
	if name == "." || name != filepath.Base(name) || !filepath.IsLocal(name) {
		return nil, fmt.Errorf("field batches_from: %q is not the name of a case beside this one", name)
	}
	batches, err := fixture.Load(filepath.Join(c.Dir, "..", name))
	if err != nil {
		return nil, fmt.Errorf("field batches_from: %w", err)
	}
	return batches, nil
}

// stepExec runs a training step and returns its scalars by the names of the case.
type stepExec struct {
	*model.Exec
	names        []string
	learningRate float64
	classes      int
}

func newStepExec(backend compute.Backend, store *model.Store, c *fixture.Case, n *network) (*stepExec, error) {
	var hyper struct {
		LR          float64 `json:"lr"`
		Momentum    float64
		WeightDecay float64 `json:"weight_decay"`
		Gamma       float64
		Alpha       float64
		T           float64
		GA          bool
		GC          *float64
	}
	if err := c.Field("hyper", &hyper); err != nil {
		return nil, err
	}
	method, err := distill.New(record.Method{
		Name: "dhkd", Gamma: hyper.Gamma, Alpha: hyper.Alpha, Temperature: hyper.T, Align: hyper.GA,
	})
	if err != nil {
		return nil, fmt.Errorf("field hyper: %w", err)
	}
	if method.Needs().AuxHead && n.AuxHead == "none" {
		return nil, errors.New("the case trains an auxiliary head, but its model has none")
	}
	sgd := train.SGD{Momentum: hyper.Momentum, WeightDecay: hyper.WeightDecay}
	if hyper.GC != nil {
		sgd.ClipNorm = *hyper.GC
	}
	e := &stepExec{learningRate: hyper.LR, classes: n.Classes}
	definition := train.Step{Model: n.Model, Method: method, SGD: sgd, NoDropout: true, Measure: true}
	e.Exec, err = model.NewExec(backend, store, func(variables *model.Scope, inputs []*Node) []*Node {
		result := definition.Build(variables, 0, train.StepInputs{
			Images: channelsLast(inputs[0]), Labels: inputs[1], Teacher: zoo.Outputs{Logits: inputs[2]}, LearningRate: inputs[3],
		})
		clipScale := result.ClipScale
		if clipScale == nil {
			clipScale = OnesLike(result.Loss)
		}
		a := result.Alignment
		scalars := map[string]*Node{
			"ce": result.Terms[0].Value, "bkln": result.Terms[1].Value, "loss": result.Loss,
			"dot": a.Dot, "g1_sq": a.G1Squared, "g2_sq": a.G2Squared,
			"cos": a.Cosine, "conflict": a.Conflict, "c": a.Coefficient,
			"applied_l2": result.Norm, "clip_scale": clipScale,
		}
		e.names = slices.Sorted(maps.Keys(scalars))
		ordered := make([]*Node, len(e.names))
		for i, name := range e.names {
			ordered[i] = scalars[name]
		}
		return []*Node{Stack(ordered, 0)}
	})
	return e, err
}

func (e *stepExec) run(batches *fixture.Case, dtype dtypes.DType, k int) (map[string]float64, error) {
	prefix := fmt.Sprintf("batch%d/", k)
	images, _, err := readImages(batches, dtype, prefix+"input")
	if err != nil {
		return nil, err
	}
	size := images.Shape().Dim(0)
	labels, err := batches.Ints(prefix+"labels", size)
	if err != nil {
		return nil, err
	}
	teacher, err := batches.Tensor(prefix+"teacher", dtype, size, e.classes)
	if err != nil {
		return nil, err
	}
	output, err := e.Call1(images, tensors.FromFlatDataAndDimensions(labels, size), teacher,
		fixture.Make(dtype, []float64{e.learningRate}))
	if err != nil {
		return nil, err
	}
	values, err := fixture.Flat(output)
	if err != nil {
		return nil, err
	}
	scalars := map[string]float64{}
	for i, name := range e.names {
		scalars[name] = values[i]
	}
	return scalars, nil
}

// trajectory is what a case stores of its steps.
type trajectory struct {
	*network
	scalars  map[string][]float64 // [steps]
	l2, proj []float64            // [steps, parameters]

	scalarTolerance, summaryTolerance, parameterTolerance, bufferTolerance float64
}

func readTrajectory(c *fixture.Case, steps int, n *network) (*trajectory, error) {
	t := &trajectory{network: n, scalars: map[string][]float64{}}
	for name, into := range map[string]*float64{
		"scalars": &t.scalarTolerance, "param_l2_proj": &t.summaryTolerance,
		"final_params": &t.parameterTolerance, "final_buffers": &t.bufferTolerance,
	} {
		var err error
		if *into, err = c.Tolerance(name, "value"); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{
		"ce", "bkln", "loss", "dot", "g1_sq", "g2_sq", "cos", "conflict", "c", "applied_l2", "clip_scale",
	} {
		var err error
		if t.scalars[name], err = c.Floats("step_f64/"+name, steps); err != nil {
			return nil, err
		}
	}
	for name, into := range map[string]*[]float64{"param_l2": &t.l2, "param_proj": &t.proj} {
		var err error
		if *into, err = c.Floats("step_f64/"+name, steps, len(n.parameters.names)); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// compareScalars compares each in its own metric: relative, or absolute for what is bounded, or relative to the two
// norms for the dot product, which may be near zero. There its sign, the conflict, is open.
func (t *trajectory) compareScalars(k int, got map[string]float64, r *Result) {
	ref := func(name string) float64 { return t.scalars[name][k] }
	check := func(name string, scale float64) {
		d := difference(got[name], ref(name))
		if d != 0 {
			d /= scale
		}
		r.add(fmt.Sprintf("step %d %s", k, name), d, t.scalarTolerance)
	}
	for _, name := range []string{"ce", "bkln", "loss", "g1_sq", "g2_sq", "applied_l2", "clip_scale"} {
		r.measure([]float64{got[name]}, []float64{ref(name)})
		check(name, math.Abs(ref(name)))
	}
	check("cos", 1)
	check("c", 1)
	check("dot", math.Sqrt(ref("g1_sq")*ref("g2_sq")))
	if math.Abs(ref("cos")) > t.scalarTolerance {
		r.Require(fmt.Sprintf("step %d conflict", k), got["conflict"] == ref("conflict"))
	}
}

// compareParameters compares norms and projections after a step.
func (t *trajectory) compareParameters(k int, got *fixture.Summary, r *Result) {
	rows := len(t.parameters.names)
	ref := &fixture.Summary{
		L2: t.l2[k*rows:][:rows], Proj: t.proj[k*rows:][:rows],
		Sum: got.Sum, First8: got.First8, // not stored
	}
	r.Summary(fmt.Sprintf("step %d parameters", k), got, ref, t.parameters.names, t.parameters.sizes, ref.GlobalL2(),
		t.summaryTolerance)
}

// compareFinal compares the state after the last step: its summaries, and all of it where the case stores that.
func (t *trajectory) compareFinal(c *fixture.Case, store *model.Store, r *Result) error {
	for _, group := range []struct {
		name             string
		list             tensorList
		summary, entries float64
	}{
		{"final_f64/params", t.parameters, t.summaryTolerance, t.parameterTolerance},
		{"final_f64/buffers", t.buffers, t.bufferTolerance, 0},
	} {
		got, err := group.list.summariseStore(c.Salt, store)
		if err != nil {
			return err
		}
		if err := r.summary(c, group.name, "", group.list, got, math.NaN(), group.summary); err != nil {
			return err
		}
		for i, name := range group.list.names {
			if !c.HasTensor("final_full/" + name) {
				continue
			}
			values, err := value(store, name)
			if err != nil {
				return err
			}
			ref, err := c.Floats("final_full/"+name, t.initial[name].Shape().Dimensions...)
			if err != nil {
				return err
			}
			tolerance := group.entries
			if tolerance == 0 { // relative to the tensor's norm, as in the summary
				tolerance = group.summary * max(got.L2[i], 0.001*got.GlobalL2())
			}
			r.MaxAbsolute("final_full "+name, values, ref, tolerance)
		}
	}
	return nil
}
