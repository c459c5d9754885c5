// Package zoo holds the teachers and students of the literature, one file per family and one registry.
package zoo

import (
	"fmt"

	"github.com/gomlx/gomlx/core/graph"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
)

// Config says which network to build.
type Config struct {
	Name    string       // of the registry, "resnet8"; see [Names]
	Classes int          // at least 2
	Head    dhkd.Head    // the main one, linear by default
	AuxHead dhkd.AuxHead // none by default
}

// Model is a network: a function from images to outputs, whose variables live in an [nn.Scope].
type Model struct {
	Config
	Side int // height and width of the images that it is made for: 32, or 224 for ImageNet's
	// DetachAux lets no gradient flow from the auxiliary head to the rest of the network.
	DetachAux bool

	forward forward
}

// Outputs of one forward pass. Maps are [N, H, W, C].
type Outputs struct {
	Logits    *graph.Node // [N, classes], the main head: what a trained network is used for
	AuxLogits *graph.Node // [N, classes], or nil without an auxiliary head
	Pooled    *graph.Node // [N, d], the feature that both heads read
	Last      *graph.Node // [N, H, W, d], the map that Pooled is the mean of
	// Classifier is the main head: Logits are Classifier.Logits(Pooled). Zero unless that head is linear.
	Classifier Classifier

	// Features are the maps that the literature distils, of the stem (MobileNetV1's is left out) and of each stage: after
	// ReLU as a rule. A wide ResNet's are the sums before batch norm, MobileNetV2's stages end without ReLU, and a stem
	// with a max-pool counts the pool in.
	Features []*graph.Node
	// PreReLU are the same maps before their last ReLU. Of a wide ResNet they are the next batch norm of Features, of
	// ShuffleV2 not shuffled yet; a stem's is that of Features.
	PreReLU []*graph.Node
	// Norms are the batch norms that PreReLU come out of, in a residual block that of the branch; zero for a map that comes
	// out of none, as a stem's or those of ShuffleV2.
	Norms []Norm
}

// New returns the network, or an error that says which field is wrong. Nothing is built yet.
func New(c Config) (*Model, error) {
	m, err := lookUp(c.Name)
	if err != nil {
		return nil, err
	}
	if c.Classes < 2 {
		return nil, fmt.Errorf("model %s: needs at least 2 classes, got %d", c.Name, c.Classes)
	}
	if c.Head, err = dhkd.ParseHead(string(c.Head)); err != nil {
		return nil, fmt.Errorf("model %s: %w", c.Name, err)
	}
	if c.AuxHead, err = dhkd.ParseAuxHead(string(c.AuxHead)); err != nil {
		return nil, fmt.Errorf("model %s: %w", c.Name, err)
	}
	m.Config = c
	return m, nil
}

// Forward builds the network on normalised images [N, H, W, channels]. It is a graph-building function and panics, as
// GoMLX's do, on sizes that the network cannot take.
//
// The last map is averaged as a whole, whatever its size. The authors' networks average windows of a fixed size, which
// at 32 (MobileNetV1: 224) pixels is the same; at most other sizes those networks fail.
func (m *Model) Forward(s *nn.Scope, images *graph.Node) Outputs {
	layers := map[*graph.Node]nn.Layer{}
	stop := s.Listen(func(l nn.Layer) { layers[l.Output] = l })
	out := m.forward(s, images, m)
	stop()
	out.Norms = normsOf(layers, out.PreReLU)
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
