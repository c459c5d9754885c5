package golden

import (
	"errors"
	"fmt"
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/internal/golden/fixture"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

// studentScope is where [train.Step] has the variables of the network that is trained.
const studentScope = "/student"

// network is the model of a case. Its tensors stand in the order of the rows of the case's summaries.
type network struct {
	*zoo.Model
	parameters, buffers tensorList
	initial             map[string]*tensors.Tensor
}

// tensorList names the rows of a summary.
type tensorList struct {
	names []string
	sizes []int
}

// newNetwork checks that the model has the case's parameters, no more and no less. buffersField lists the running
// statistics; image is height, width, channels.
func newNetwork(m *zoo.Model, c *fixture.Case, backend compute.Backend, buffersField string, image [3]int) (
	*network, error) {
	weights, err := m.Initial(backend, image, 0)
	if err != nil {
		return nil, err
	}
	n := &network{Model: m, initial: map[string]*tensors.Tensor{}}
	trained := 0
	for _, w := range weights {
		n.initial[w.Name] = w.Value
		if w.Trained {
			trained++
		}
	}
	if trained != len(c.Params) {
		return nil, fmt.Errorf("model %s has %d parameters, the case %d", m.Name, trained, len(c.Params))
	}
	for _, p := range c.Params {
		if value := n.initial[p.Name]; value == nil || !slices.Equal(value.Shape().Dimensions, p.Shape) {
			return nil, fmt.Errorf("model %s has no parameter %s of shape %v", m.Name, p.Name, p.Shape)
		}
		n.parameters.add(p.Name, p.Size())
	}
	if err := c.Field(buffersField, &n.buffers.names); err != nil {
		return nil, err
	}
	if want := len(weights) - trained; len(n.buffers.names) != want {
		return nil, fmt.Errorf("model %s has %d buffers, field %s lists %d", m.Name, want, buffersField, len(n.buffers.names))
	}
	for _, name := range n.buffers.names {
		value := n.initial[name]
		if value == nil {
			return nil, fmt.Errorf("model %s has no buffer %s", m.Name, name)
		}
		n.buffers.sizes = append(n.buffers.sizes, value.Size())
	}
	return n, nil
}

func (l *tensorList) add(name string, size int) {
	l.names, l.sizes = append(l.names, name), append(l.sizes, size)
}

// readModel returns the model that the case describes.
func readModel(c *fixture.Case) (*zoo.Model, error) {
	var config zoo.Config
	var head *string // null without an auxiliary head
	var extra map[string]any
	for name, into := range map[string]any{
		"model": &config.Name, "num_classes": &config.Classes, "aux_head": &head, "constructor_extra": &extra,
	} {
		optional := name == "aux_head" || name == "constructor_extra"
		if err := c.Field(name, into); err != nil && !(optional && errors.Is(err, fixture.ErrMissing)) {
			return nil, err
		}
	}
	if len(extra) > 0 {
		return nil, fmt.Errorf("constructor_extra %v of model %s is not supported yet", extra, config.Name)
	}
	if head != nil {
		config.AuxHead = dhkd.AuxHead(*head)
	}
	return zoo.New(config)
}

// checkState compares the parameters made by the recipe with those that the case stores, if it stores them.
func (n *network) checkState(c *fixture.Case, r *Result) error {
	for _, name := range n.parameters.names {
		stored := "state/" + name
		if !c.HasTensor(stored) {
			continue
		}
		values, err := c.Param(name)
		if err != nil {
			return err
		}
		ref, err := c.Floats(stored, n.initial[name].Shape().Dimensions...)
		if err != nil {
			return err
		}
		same := slices.EqualFunc(values, ref, func(v float32, ref float64) bool { return float64(v) == ref })
		r.Require("recipe and "+stored, same)
	}
	return nil
}

// store holds the case's weights: parameters by the recipe, and the given buffers, where nil stands for initial values.
func (n *network) store(c *fixture.Case, dtype dtypes.DType, buffers map[string][]float64) (*model.Store, error) {
	store := model.NewStore()
	put := func(name string, values []float64) (*model.Variable, error) {
		return store.CreateVariable(studentScope+"/"+name, fixture.Make(dtype, values, n.initial[name].Shape().Dimensions...))
	}
	for _, name := range n.parameters.names {
		narrow, err := c.Param(name)
		if err != nil {
			return nil, err
		}
		values := make([]float64, len(narrow))
		for i, v := range narrow {
			values[i] = float64(v)
		}
		if _, err := put(name, values); err != nil {
			return nil, err
		}
	}
	for _, name := range n.buffers.names {
		values := buffers[name]
		if values == nil {
			var err error
			if values, err = fixture.Flat(n.initial[name]); err != nil {
				return nil, err
			}
		}
		v, err := put(name, values)
		if err != nil {
			return nil, err
		}
		v.SetTrainable(false)
	}
	return store, nil
}

// value is a variable's value as it is now.
func value(store *model.Store, name string) ([]float64, error) {
	t, err := store.GetVariable(studentScope + "/" + name).Value()
	if err != nil {
		return nil, err
	}
	return fixture.Flat(t)
}

// summarise makes one row of each tensor; the key of its projection is made of its name.
func (l tensorList) summarise(salt string, values func(i int) ([]float64, error)) (*fixture.Summary, error) {
	var s fixture.Summary
	for i, name := range l.names {
		v, err := values(i)
		if err != nil {
			return nil, err
		}
		s.Append(salt+"/p/"+name, v)
	}
	return &s, nil
}

// summariseStore is [tensorList.summarise] of variables as they are now.
func (l tensorList) summariseStore(salt string, store *model.Store) (*fixture.Summary, error) {
	return l.summarise(salt, func(i int) ([]float64, error) { return value(store, l.names[i]) })
}

// readImages returns the images of a case, [N, channels, height, width] in the given dtype, and height, width and
// channels.
func readImages(c *fixture.Case, dtype dtypes.DType, name string) (*tensors.Tensor, [3]int, error) {
	images, err := c.Tensor(name, dtype, -1, -1, -1, -1)
	if err != nil {
		return nil, [3]int{}, err
	}
	dims := images.Shape().Dimensions
	return images, [3]int{dims[2], dims[3], dims[1]}, nil
}

// readInput is readImages of a model's case, which may store large images as input_small, each pixel of which stands
// for 4x4.
func readInput(c *fixture.Case, dtype dtypes.DType) (*tensors.Tensor, [3]int, error) {
	if !c.HasTensor("input_small") {
		return readImages(c, dtype, "input")
	}
	small, image, err := readImages(c, dtype, "input_small")
	if err != nil {
		return nil, image, err
	}
	values, err := fixture.Flat(small)
	if err != nil {
		return nil, image, err
	}
	var repeated []float64
	for row := range slices.Chunk(values, image[1]) {
		var wide []float64
		for _, v := range row {
			wide = append(wide, v, v, v, v)
		}
		repeated = append(repeated, slices.Repeat(wide, 4)...)
	}
	dims := small.Shape().Clone().Dimensions
	dims[2], dims[3] = 4*dims[2], 4*dims[3]
	return fixture.Make(dtype, repeated, dims...), [3]int{dims[2], dims[3], image[2]}, nil
}

// channelsLast turns maps from PyTorch's order of axes into this project's, channelsFirst does the reverse.
func channelsLast(x *Node) *Node  { return TransposeAllAxes(x, 0, 2, 3, 1) }
func channelsFirst(x *Node) *Node { return TransposeAllAxes(x, 0, 3, 1, 2) }
