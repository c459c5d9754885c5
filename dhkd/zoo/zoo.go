// Package zoo holds the teachers and students of the literature, one file per family and one registry.
package zoo

import (
	"fmt"
	"maps"
	"slices"
	"strings"

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

// Config says which network to build.
type Config struct {
	Name    string       // of the registry, "resnet8"; see [Names]
	Classes int          // at least 2
	AuxHead dhkd.AuxHead // none by default
}

// Model is a network: a function from images to outputs, whose variables live in an [nn.Scope].
type Model struct {
	Config
	forward func(s *nn.Scope, images *graph.Node, m *Model) Outputs
}

// Outputs of one forward pass. Maps are [N, H, W, C].
type Outputs struct {
	Logits    *graph.Node   // [N, classes], the main head: what a trained network is used for
	AuxLogits *graph.Node   // [N, classes], or nil without an auxiliary head
	Pooled    *graph.Node   // [N, d], the feature that both heads read
	Features  []*graph.Node // the stem's and each stage's output, after ReLU
	PreReLU   []*graph.Node // the same before the last ReLU of each stage (the stem's is after it, as in the literature)
}

// families maps a family's model names to its forward functions; each family's file fills in its own.
var families = map[string]func(s *nn.Scope, images *graph.Node, m *Model) Outputs{}

// New returns the network, or an error that says which field is wrong. Nothing is built yet.
func New(c Config) (*Model, error) {
	forward, ok := families[c.Name]
	if !ok {
		return nil, fmt.Errorf("unknown model %q: choose one of %s", c.Name, strings.Join(Names(), ", "))
	}
	if c.Classes < 2 {
		return nil, fmt.Errorf("model %s: needs at least 2 classes, got %d", c.Name, c.Classes)
	}
	kind, err := dhkd.ParseAuxHead(string(c.AuxHead))
	if err != nil {
		return nil, fmt.Errorf("model %s: %w", c.Name, err)
	}
	c.AuxHead = kind
	return &Model{Config: c, forward: forward}, nil
}

// Names lists the models, sorted.
func Names() []string { return slices.Sorted(maps.Keys(families)) }

// Forward builds the network on normalised images [N, H, W, 3]. It is a graph-building function and panics, as GoMLX's
// do, on sizes that the network cannot take.
func (m *Model) Forward(s *nn.Scope, images *graph.Node) Outputs {
	out := m.forward(s, images, m)
	last := func(x **graph.Node) {
		if *x != nil {
			*x = nn.Result(s, *x)
		}
	}
	for i := range out.Features {
		last(&out.Features[i])
		last(&out.PreReLU[i])
	}
	last(&out.Pooled)
	last(&out.AuxLogits)
	last(&out.Logits)
	return out
}

// Weight is a variable of a network.
type Weight struct {
	Name    string // PyTorch's
	Value   *tensors.Tensor
	Trained bool // false for the running statistics of batch norm
}

// Initial returns the network's weights with the initial values of that seed, in the order of the layers. The image
// shape is height, width, channels; an error says why the network cannot take it. Nothing is compiled.
func (m *Model) Initial(backend compute.Backend, image [3]int, seed uint64) (weights []Weight, err error) {
	if min(image[0], image[1], image[2]) < 1 {
		return nil, fmt.Errorf("model %s on %dx%dx%d images: height, width and channels must be at least 1",
			m.Name, image[0], image[1], image[2])
	}
	g := graph.NewGraph(backend, m.Name)
	defer g.Finalize()
	store := model.NewStore()
	model.SetStore(g, store)
	err = exceptions.TryCatch[error](func() {
		images := graph.Parameter(g, "images", shapes.Make(dtypes.Float32, 2, image[0], image[1], image[2]))
		m.Forward(nn.New(store.Scope("/"+m.Name), nn.Options{Training: true, Seed: seed, NoDropout: true}), images)
	})
	if err != nil {
		return nil, fmt.Errorf("model %s on %dx%dx%d images: %w", m.Name, image[0], image[1], image[2], err)
	}
	for v := range store.IterVariables() {
		weights = append(weights, Weight{v.Name(), v.MustValue(), v.Trainable})
	}
	return weights, nil
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
