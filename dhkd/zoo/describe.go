package zoo

import (
	"fmt"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	"github.com/gomlx/gomlx/support/exceptions"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
)

// Weight is a variable of a network.
type Weight struct {
	Name    string // PyTorch's
	Value   *tensors.Tensor
	Trained bool // false for the running statistics of batch norm
}

// Initial returns the network's weights with the initial values of that seed, in the order of the layers. The image
// shape is height, width, channels; an error says why the network cannot take it. Nothing is compiled.
func (m *Model) Initial(backend compute.Backend, image [3]int, seed uint64) ([]Weight, error) {
	return m.weights(backend, image, nn.Options{Training: true, Seed: seed, NoDropout: true})
}

// Undrawn is [Model.Initial] without the work of drawing initial values: all are zero.
func (m *Model) Undrawn(backend compute.Backend, image [3]int) ([]Weight, error) {
	return m.weights(backend, image, nn.Options{Training: true, NoDropout: true, Undrawn: true})
}

func (m *Model) weights(backend compute.Backend, image [3]int, o nn.Options) (weights []Weight, err error) {
	err = m.trace(backend, image, func(variables *model.Scope, images *graph.Node) {
		m.Forward(nn.New(variables, o), images)
		for v := range variables.IterVariables() {
			weights = append(weights, Weight{v.Name(), v.MustValue(), v.Trainable})
		}
	})
	return weights, err
}

// Parameters counts the trained values among the weights.
func Parameters(weights []Weight) (n int) {
	for _, w := range weights {
		if w.Trained {
			n += w.Value.Size()
		}
	}
	return n
}

// Description is what a network amounts to on images of one size.
type Description struct {
	Parameters   map[dhkd.AuxHead]int // trained values, with each kind of auxiliary head
	MultiplyAdds int                  // of the convolutions and linear layers, for the main logits of one image
	Width        int                  // of the pooled feature
	Features     [][3]int             // height, width and channels of [Outputs].Features
	Last         [3]int               // and of [Outputs].Last
}

// Describe counts on the network's graph with its main head, whatever its auxiliary head. The image shape is height, width, channels; an
// error says why the network cannot take it. Nothing is compiled.
func (m *Model) Describe(backend compute.Backend, image [3]int) (*Description, error) {
	d := &Description{Parameters: map[dhkd.AuxHead]int{}}
	err := m.trace(backend, image, func(variables *model.Scope, images *graph.Node) {
		made := 0                            // trained values of all heads so far
		for _, head := range dhkd.AuxHeads { // on one set of variables, first without
			with := *m
			with.AuxHead = head
			options := nn.Options{Undrawn: true}
			if head == dhkd.NoAuxHead {
				options.Trace = func(l nn.Layer) { d.MultiplyAdds += multiplyAdds(l) }
			}
			out := with.Forward(nn.New(variables, options), images)
			if head == dhkd.NoAuxHead {
				d.Width = out.Pooled.Shape().Dim(1)
				d.Last = [3]int(out.Last.Shape().Dimensions[1:])
				for _, f := range out.Features {
					d.Features = append(d.Features, [3]int(f.Shape().Dimensions[1:]))
				}
			}
			all := 0
			for v := range variables.IterVariables() {
				if v.Trainable {
					all += v.Shape().Size()
				}
			}
			d.Parameters[head] = d.Parameters[dhkd.NoAuxHead] + all - made
			made = all
		}
	})
	if err != nil {
		return nil, err
	}
	return d, nil
}

// multiplyAdds counts those of a layer for one image.
func multiplyAdds(l nn.Layer) int {
	out := l.Output.Shape().Dimensions
	switch in := l.Inputs[0].Shape().Dim(-1); l.Op {
	case "Conv2D":
		return out[1] * out[2] * out[3] * l.Kernel * l.Kernel * in / l.Groups
	case "Linear":
		return in * out[1]
	}
	return 0
}

// trace calls build with new variables and two images, and turns its panics into errors.
func (m *Model) trace(backend compute.Backend, image [3]int,
	build func(variables *model.Scope, images *graph.Node)) error {
	where := fmt.Sprintf("model %s on %dx%dx%d images", m.Name, image[0], image[1], image[2])
	if min(image[0], image[1], image[2]) < 1 {
		return fmt.Errorf("%s: height, width and channels must be at least 1", where)
	}
	g := graph.NewGraph(backend, m.Name)
	defer g.Finalize()
	store := model.NewStore()
	model.SetStore(g, store)
	err := exceptions.TryCatch[error](func() {
		images := graph.Parameter(g, "images", shapes.Make(dtypes.Float32, 2, image[0], image[1], image[2]))
		build(store.Scope("/"+m.Name), images)
	})
	if err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	return nil
}
