package golden

import (
	"context"
	"fmt"
	"math"
	"strings"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/internal/golden/fixture"
	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
)

// baseline builds the loss of a case, and its terms, if the case stores any, by their names.
type baseline func(b *baselineCase) (loss *Node, terms map[string]*Node)

// baselines are the losses of other distillation methods, by how a case's name goes on after "baseline_". The longest
// name that fits is taken.
var baselines = map[string]baseline{
	"at":         attentionBaseline,
	"fitnet_mse": hintBaseline,
	"fitnet_reg": regressedHintBaseline,
	"pkt":        pktBaseline,
	"rkd":        rkdBaseline,
	"sp":         spBaseline,
	"kd": func(b *baselineCase) (*Node, map[string]*Node) {
		return dhkd.KL(b.input("student"), b.input("teacher"), b.hyper("T")), nil
	},
	"kd_zscore":    standardizedBaseline,
	"dkd":          dkdBaseline,
	"dist":         distBaseline,
	"mlkd":         mlkdBaseline,
	"reviewkd_abf": reviewABF,
	"reviewkd_hcl": reviewHCL,
}

// baselineCase is a case while its graph is built.
type baselineCase struct {
	*fixture.Case
	scope  *nn.Scope // of the modules
	store  *model.Store
	dtype  dtypes.DType
	inputs map[string]*Node
}

// input is the case's tensor in/name as it is stored: logits [N, C], labels [N].
func (b *baselineCase) input(name string) *Node {
	x, ok := b.inputs[name]
	if !ok {
		panic(fmt.Errorf("the case has no tensor in/%s", name))
	}
	return x
}

// maps is the input of that name, stored as [N, C, H, W], with channels last.
func (b *baselineCase) maps(name string) *Node { return channelsLast(b.input(name)) }

// hyper is the number of that name among the case's hyper-parameters.
func (b *baselineCase) hyper(name string) float64 {
	v, err := b.Float("hyper", name)
	if err != nil {
		panic(err)
	}
	return v
}

// module makes the input of that name the value of the variable that a layer of [nn] will look up under variable, "conv.weight".
func (b *baselineCase) module(name, variable string) {
	shape := b.input(name).Shape().Dimensions
	value, err := b.Tensor("in/"+name, b.dtype, shape...)
	if err == nil {
		var v *model.Variable
		if v, err = b.store.CreateVariable(baselineScope+"/"+variable, value); err == nil {
			b.inputs[name] = v.NodeValue(b.inputs[name])
		}
	}
	if err != nil {
		panic(err)
	}
}

const baselineScope = "/modules"

// verifyBaselines checks the value of a loss, its terms and its gradients with respect to inputs and modules, in float32
// and, where the backend has it, float64.
func verifyBaselines(ctx context.Context, backend compute.Backend, c *fixture.Case, r *Result) error {
	build, best := baseline(nil), ""
	for name, b := range baselines {
		if strings.HasPrefix(strings.TrimPrefix(c.Name, "baseline_"), name) && len(name) > len(best) {
			build, best = b, name
		}
	}
	if build == nil {
		return fmt.Errorf("unknown baseline %q", c.Name)
	}
	for _, dtype := range []dtypes.DType{dtypes.Float32, dtypes.Float64} {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !backend.Capabilities().DTypes[dtype] {
			continue
		}
		if err := verifyBaseline(backend, c, dtype, build, r); err != nil {
			return err
		}
	}
	return nil
}

func verifyBaseline(backend compute.Backend, c *fixture.Case, dtype dtypes.DType, build baseline, r *Result) error {
	valueTolerance, err := c.Tolerance(toleranceField(dtype, "value"))
	if err != nil {
		return err
	}
	gradTolerance, err := c.Tolerance(toleranceField(dtype, "grad"))
	if err != nil {
		return err
	}
	var wrt []string
	if err := c.Field("gradient_wrt", &wrt); err != nil {
		return err
	}
	names, values, err := baselineInputs(c, dtype)
	if err != nil {
		return err
	}
	store := model.NewStore()
	defer store.Finalize()
	var results []string
	exec, err := model.NewExec(backend, store, func(variables *model.Scope, inputs []*Node) []*Node {
		b := &baselineCase{Case: c, store: store, dtype: dtype, inputs: map[string]*Node{},
			scope: nn.New(variables.At("modules"), nn.Options{Training: true})}
		for i, name := range names {
			b.inputs[name] = inputs[i]
		}
		loss, terms := build(b)
		results = []string{"value"}
		outputs := []*Node{loss}
		for name, term := range terms {
			results, outputs = append(results, "term_f64/"+name), append(outputs, term)
		}
		var at []*Node
		for _, name := range wrt {
			results, at = append(results, "grad_f64/"+name), append(at, b.input(name))
		}
		return append(outputs, Gradient(loss, at...)...)
	})
	if err != nil {
		return err
	}
	defer exec.Finalize()
	outputs, err := exec.Call(values...)
	if err != nil {
		return err
	}
	got := map[string][]float64{}
	for i, output := range outputs {
		if got[results[i]], err = fixture.Flat(output); err != nil {
			return err
		}
	}
	largest := 0.0 // of all gradients of the case
	for _, name := range wrt {
		shape, err := c.Shape("grad_f64/" + name)
		if err != nil {
			return err
		}
		ref, err := c.Floats("grad_f64/"+name, shape...)
		if err != nil {
			return err
		}
		for _, v := range ref {
			largest = max(largest, math.Abs(v))
		}
	}
	for i, name := range results {
		stored := name
		if name == "value" {
			stored = "value_f64"
		}
		ref, err := c.Floats(stored, outputs[i].Shape().Dimensions...)
		if err != nil {
			return err
		}
		if strings.HasPrefix(name, "grad") {
			r.MaxScaled(fmt.Sprintf("%s %s", name, dtype), got[name], ref, 0.001*largest, gradTolerance)
			continue
		}
		r.MaxRelative(fmt.Sprintf("%s %s", name, dtype), got[name], ref, valueTolerance)
	}
	return nil
}

// baselineInputs are the tensors in/*.
func baselineInputs(c *fixture.Case, dtype dtypes.DType) (names []string, values []any, err error) {
	for _, stored := range c.TensorNames() {
		name, ok := strings.CutPrefix(stored, "in/")
		if !ok {
			continue
		}
		shape, err := c.Shape(stored)
		if err != nil {
			return nil, nil, err
		}
		var value *tensors.Tensor
		if name == "labels" {
			labels, err := c.Ints(stored, shape...)
			if err != nil {
				return nil, nil, err
			}
			value = tensors.FromFlatDataAndDimensions(labels, shape...)
		} else if value, err = c.Tensor(stored, dtype, shape...); err != nil {
			return nil, nil, err
		}
		names, values = append(names, name), append(values, value)
	}
	return names, values, nil
}
