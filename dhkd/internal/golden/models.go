package golden

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/internal/golden/fixture"
	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
)

// verifyModels checks a network's forward pass in inference and in training, its gradients and its running statistics,
// in float32 and, where the backend and the case have it, in float64.
func verifyModels(ctx context.Context, backend compute.Backend, c *fixture.Case, r *Result) error {
	m, err := readModel(c)
	if err != nil {
		return err
	}
	_, image, err := readInput(c, dtypes.Float32)
	if err != nil {
		return err
	}
	n, err := newNetwork(m, c, backend, "bn_summary_order", image)
	if err != nil {
		return err
	}
	if err := n.checkState(c, r); err != nil {
		return err
	}
	for _, dtype := range []dtypes.DType{dtypes.Float32, dtypes.Float64} {
		tolerance, err := readModelTolerance(c, dtype)
		switch {
		case dtype == dtypes.Float64 && errors.Is(err, fixture.ErrMissing) || !backend.Capabilities().DTypes[dtype]:
			continue
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		}
		if err := n.verify(backend, c, dtype, tolerance, r); err != nil {
			return err
		}
	}
	return nil
}

// modelTolerance holds the tolerances of one dtype.
type modelTolerance struct{ eval, train, features, gradients, gradientNorm, buffers float64 }

func readModelTolerance(c *fixture.Case, dtype dtypes.DType) (t modelTolerance, err error) {
	if dtype == dtypes.Float64 {
		f, err := c.Tolerance("grad", "float64")
		return modelTolerance{f, f, f, f, f, f}, err
	}
	for _, field := range []struct {
		into        *float64
		group, name string
	}{
		{&t.eval, "logits_pooled", "eval"}, {&t.train, "logits_pooled", "train"}, {&t.features, "feats", "value"},
		{&t.gradients, "grad", "value"}, {&t.gradientNorm, "grad", "global_l2"}, {&t.buffers, "bn_after", "value"},
	} {
		if *field.into, err = c.Tolerance(field.group, field.name); err != nil {
			return t, err
		}
	}
	return t, nil
}

func (n *network) verify(backend compute.Backend, c *fixture.Case, dtype dtypes.DType, tolerance modelTolerance,
	r *Result) error {
	got, store, err := n.run(backend, c, dtype)
	if err != nil {
		return err
	}
	suffix := " " + dtype.String()
	for _, name := range []string{"main", "aux", "pooled", "loss"} {
		for mode, tolerance := range map[string]float64{"eval": tolerance.eval, "train": tolerance.train} {
			values, ok := got[mode+"/"+name]
			if !ok {
				continue
			}
			ref, err := c.Floats(mode + "_f64/" + name)
			if err != nil {
				return err
			}
			r.MaxRelative(mode+" "+name+suffix, values[0], ref, tolerance)
		}
	}
	for _, name := range []string{"feats", "preact"} {
		var list tensorList
		for i, values := range got[name] {
			list.add(fmt.Sprint("feat", i), len(values))
		}
		s, err := list.summarise(c.Salt, func(i int) ([]float64, error) { return got[name][i], nil })
		if err != nil {
			return err
		}
		if err := r.summary(c, "eval_f64/"+name, suffix, list, s, math.NaN(), tolerance.features); err != nil {
			return err
		}
	}
	globalL2, err := c.Float("grad_global_l2")
	if err != nil {
		return err
	}
	gradients, err := n.parameters.summarise(c.Salt, func(i int) ([]float64, error) { return got["gradients"][i], nil })
	if err != nil {
		return err
	}
	if err := r.summary(c, "grad_f64", suffix, n.parameters, gradients, globalL2, tolerance.gradients); err != nil {
		return err
	}
	r.MaxRelative("grad global_l2"+suffix, []float64{gradients.GlobalL2()}, []float64{globalL2}, tolerance.gradientNorm)
	buffers, err := n.buffers.summariseStore(c.Salt, store)
	if err != nil {
		return err
	}
	return r.summary(c, "bn_after_f64", suffix, n.buffers, buffers, math.NaN(), tolerance.buffers)
}

// summary compares with the tensors <prefix>/*. A NaN for the global norm stands for that of the reference.
func (r *Result) summary(c *fixture.Case, prefix, suffix string, list tensorList, got *fixture.Summary, globalL2,
	tolerance float64) error {
	ref, err := c.Summary(prefix, len(list.names))
	if err != nil {
		return err
	}
	if math.IsNaN(globalL2) {
		globalL2 = ref.GlobalL2()
	}
	r.Summary(prefix+suffix, got, ref, list.names, list.sizes, globalL2, tolerance)
	return nil
}

// run returns the network's results by name, and the store with the running statistics after the forward pass in
// training.
func (n *network) run(backend compute.Backend, c *fixture.Case, dtype dtypes.DType) (
	map[string][][]float64, *model.Store, error) {
	images, _, err := readInput(c, dtype)
	if err != nil {
		return nil, nil, err
	}
	labels, err := c.Ints("labels", images.Shape().Dim(0))
	if err != nil {
		return nil, nil, err
	}
	buffers := map[string][]float64{}
	for _, name := range n.buffers.names {
		if buffers[name], err = c.Floats("buffers/"+name, n.initial[name].Shape().Dimensions...); err != nil {
			return nil, nil, err
		}
	}
	store, err := n.store(c, dtype, buffers)
	if err != nil {
		return nil, nil, err
	}
	var features []any
	if err := c.Field("feats", &features); err != nil {
		return nil, nil, err
	}
	var names []string
	exec, err := model.NewExec(backend, store, func(variables *model.Scope, inputs []*Node) (results []*Node) {
		names = nil
		n.build(variables, channelsLast(inputs[0]), inputs[1], len(features), func(name string, x *Node) {
			names, results = append(names, name), append(results, x)
		})
		return results
	})
	if err != nil {
		return nil, nil, err
	}
	defer exec.Finalize()
	outputs, err := exec.Call(images, tensors.FromFlatDataAndDimensions(labels, len(labels)))
	if err != nil {
		return nil, nil, err
	}
	got := map[string][][]float64{}
	for i, output := range outputs {
		values, err := fixture.Flat(output)
		if err != nil {
			return nil, nil, err
		}
		got[names[i]] = append(got[names[i]], values)
	}
	return got, store, nil
}

// build is one program for all results of a case: inference with that many features, then one training forward and
// backward pass.
func (n *network) build(variables *model.Scope, images, labels *Node, features int, add func(name string, x *Node)) {
	student := variables.At("student")
	eval := n.Forward(nn.New(student, nn.Options{NoDropout: true}), images)
	train := n.Forward(nn.New(student, nn.Options{NoDropout: true, Training: true}), images)
	add("eval/main", eval.Logits)
	add("eval/pooled", eval.Pooled)
	add("train/main", train.Logits)
	add("train/pooled", train.Pooled)
	loss := dhkd.CrossEntropy(train.Logits, labels)
	if eval.AuxLogits != nil {
		add("eval/aux", eval.AuxLogits)
		add("train/aux", train.AuxLogits)
		loss = Add(loss, ReduceAllMean(train.AuxLogits))
	}
	add("train/loss", loss)
	for name, maps := range map[string][]*Node{"feats": eval.Features, "preact": eval.PreReLU} {
		for _, x := range maps {
			add(name, channelsFirst(x))
		}
		if len(maps) < features { // the literature's list ends with it, but for MobileNetV1
			add(name, eval.Pooled)
		}
	}
	values := make([]*Node, len(n.parameters.names))
	for i, name := range n.parameters.names {
		values[i] = student.GetVariable(name).NodeValue(loss)
	}
	for _, gradient := range Gradient(loss, values...) {
		add("gradients", gradient)
	}
}
