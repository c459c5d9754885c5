package train

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

// StudentWeights are copies of the student's parameters and buffers as they are now, by PyTorch's names, on the host.
func (t *Trainer) StudentWeights() (map[string]*tensors.Tensor, error) { return t.copies(studentScope) }

// Parameters counts the student's trained values.
func (t *Trainer) Parameters() (n int) {
	for v := range t.store.Scope("/" + studentScope).IterVariables() {
		if v.Trainable {
			n += v.Shape().Size()
		}
	}
	return n
}

// copies returns the variables of a scope by name. The originals are donated to the next step, so they are copied.
func (t *Trainer) copies(scope string) (map[string]*tensors.Tensor, error) {
	values := map[string]*tensors.Tensor{}
	for v := range t.store.Scope("/" + scope).IterVariables() {
		value, err := v.Value()
		if err != nil {
			return nil, err
		}
		if values[v.Name()], err = value.LocalClone(); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// resetMethod gives the method's own variables the initial values of that seed, and their momenta zero.
func (t *Trainer) resetMethod(seed uint64) error {
	own, err := t.methodVariables(seed)
	if err != nil {
		return err
	}
	for _, w := range own {
		if err := t.set(methodScope, w.Name, w.Value, w.Trained); err != nil {
			return err
		}
		if !w.Trained {
			continue
		}
		if err := t.set(momentumScope, methodPrefix+w.Name, tensors.FromShape(w.Value.Shape()), false); err != nil {
			return err
		}
	}
	return nil
}

// methodVariables are the method's own variables with the initial values of that seed. The step is traced for them, not
// compiled.
func (t *Trainer) methodVariables(seed uint64) (own []zoo.Weight, err error) {
	if !t.needs.Modules {
		return nil, nil
	}
	defer catch(&err)
	g := graph.NewGraph(t.Backend, "modules")
	defer g.Finalize()
	store := model.NewStore()
	defer store.Finalize()
	model.SetStore(g, store)
	variables := store.Scope("/")
	input := func(name string, dtype dtypes.DType, dims ...int) *graph.Node {
		return graph.Parameter(g, name, shapes.Make(dtype, dims...))
	}
	const n = 2 // images
	images := input("images", dtypes.Float32, n, t.Data.Height, t.Data.Width, t.Data.Channels)
	in := StepInputs{Images: images, Labels: input("labels", dtypes.Int32, n), LearningRate: input("rate", dtypes.Float32),
		RNG: input("rng", dtypes.Uint64, 3), Epoch: input("epoch", dtypes.Float32), Indices: input("indices", dtypes.Int32, n),
		TrainLabels: t.Data.Train.Labels}
	if t.Teacher != nil {
		in.Teacher = t.Teacher.Model.Forward(nn.New(variables.At(teacherScope), nn.Options{}), images)
	}
	t.Step.Build(variables, seed, in)
	for v := range variables.At(methodScope).IterVariables() {
		value, err := v.MustValue().LocalClone()
		if err != nil {
			return nil, err
		}
		own = append(own, zoo.Weight{Name: v.Name(), Value: value, Trained: v.Trainable})
	}
	return own, nil
}

// load makes variables of copies of a network's weights, whose names and shapes must be exactly the network's. In the
// student's scope, a predictor's have scopes of their own.
func (t *Trainer) load(scope string, n *Network) error {
	if n.Predictor != nil && scope == teacherScope {
		return fmt.Errorf("method %s made it: its %s without modules of the method is no teacher", n.Predictor.Method.Name(),
			n.Model.Name)
	}
	weights, err := n.Undrawn(t.Backend, t.imageShape())
	if err != nil {
		return err
	}
	if err := matches(weights, n.Weights); err != nil {
		return err
	}
	for _, w := range weights {
		in, name := scope, w.Name
		if n.Predictor != nil {
			in, name = n.scope(w.Name)
		}
		if err := t.set(in, name, n.Weights[w.Name], w.Trained); err != nil {
			return err
		}
	}
	return nil
}

func (t *Trainer) set(scope, name string, value *tensors.Tensor, trained bool) error {
	value, err := value.LocalClone()
	if err != nil {
		return err
	}
	path := "/" + scope + "/" + name
	if v := t.store.GetVariable(path); v != nil {
		return v.SetValue(value)
	}
	v, err := t.store.CreateVariable(path, value)
	if err != nil {
		return err
	}
	v.SetTrainable(trained)
	return nil
}

// matches tells whether the tensors are those of the network, and if not, what differs.
func matches(weights []zoo.Weight, values map[string]*tensors.Tensor) error {
	var missing []string
	known := map[string]bool{}
	for _, w := range weights {
		known[w.Name] = true
		value, ok := values[w.Name]
		if !ok {
			missing = append(missing, w.Name)
		} else if !value.Shape().Equal(w.Value.Shape()) {
			return fmt.Errorf("tensor %s has shape %s, the model needs %s", w.Name, value.Shape(), w.Value.Shape())
		}
	}
	var extra []string
	for name := range values {
		if !known[name] {
			extra = append(extra, name)
		}
	}
	if len(missing)+len(extra) > 0 {
		slices.Sort(extra)
		return fmt.Errorf("the weights are not the model's: missing %s; not known %s", list(missing), list(extra))
	}
	return nil
}

func list(names []string) string {
	const shown = 4
	switch {
	case len(names) == 0:
		return "none"
	case len(names) > shown:
		return fmt.Sprintf("%s and %d more", strings.Join(names[:shown], ", "), len(names)-shown)
	}
	return strings.Join(names, ", ")
}

// catch turns a panic of graph building or execution into an error.
func catch(err *error) {
	if r := recover(); r != nil {
		e, ok := r.(error)
		if !ok {
			panic(r)
		}
		*err = fmt.Errorf("computation failed: %w", e)
	}
}
