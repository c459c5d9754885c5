package train

import (
	"fmt"
	"maps"
	"strings"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/distill"
	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
	"github.com/dhkd-lab/dhkd-go/dhkd/weights"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

// Network is a model with its weights, by PyTorch's names.
type Network struct {
	Model   *zoo.Model
	Weights map[string]*tensors.Tensor // those of the predictor too
	// Predictor, unless nil, predicts in place of the model's main head.
	Predictor *Predictor
}

// Predictor is what a [distill.Predictor] has made of a student. Its weights are the method's modules, as
// method.NAME, and the teacher's classifier, as teacher.weight and teacher.bias.
type Predictor struct {
	Method  distill.Method
	Teacher *zoo.Model // its last map's size is what the student's is brought to
}

// teacherPrefix stands before the names of the teacher's classifier, as methodPrefix before those of the modules.
const teacherPrefix = teacherScope + "."

// Network is what has been trained, as it is now, with copies of the weights on the host.
func (t *Trainer) Network() (*Network, error) {
	n := &Network{Model: t.Step.Model}
	var err error
	if n.Weights, err = t.StudentWeights(); err != nil || distill.PredictorOf(t.Step.Method) == nil {
		return n, err
	}
	n.Predictor = &Predictor{t.Step.Method, t.Teacher.Model}
	needed, err := n.Undrawn(t.Backend, t.imageShape())
	if err != nil {
		return nil, err
	}
	modules, err := t.copies(methodScope)
	if err != nil {
		return nil, err
	}
	for _, w := range needed { // in a sum, other methods have modules that nothing needs any more
		if name, ok := strings.CutPrefix(w.Name, methodPrefix); ok {
			n.Weights[w.Name] = modules[name]
		}
	}
	for name, value := range t.Teacher.Weights {
		if _, kind, _ := strings.Cut(name, "."); zoo.InMainHead(name) {
			n.Weights[teacherPrefix+kind] = value
		}
	}
	return n, nil
}

// Undrawn returns the network's weights, all zero, for images of that height, width and channels. Nothing is compiled.
func (n *Network) Undrawn(backend compute.Backend, image [3]int) (all []zoo.Weight, err error) {
	if all, err = n.Model.Undrawn(backend, image); err != nil || n.Predictor == nil {
		return all, err
	}
	defer catch(&err)
	g := NewGraph(backend, "predictor")
	defer g.Finalize()
	store := model.NewStore()
	defer store.Finalize()
	model.SetStore(g, store)
	variables := store.Scope("/")
	n.forward(variables, nn.Options{Undrawn: true},
		Parameter(g, "images", shapes.Make(dtypes.Float32, 2, image[0], image[1], image[2])))
	for _, scope := range []string{methodScope, teacherScope} {
		for v := range variables.At("%s", scope).IterVariables() {
			value, err := v.MustValue().LocalClone()
			if err != nil {
				return nil, err
			}
			all = append(all, zoo.Weight{Name: scope + "." + v.Name(), Value: value, Trained: v.Trainable})
		}
	}
	return all, nil
}

// scope is where the weight of that name lives among a trainer's variables.
func (n *Network) scope(weight string) (scope, name string) {
	if part, rest, _ := strings.Cut(weight, "."); n.Predictor != nil && (part == methodScope || part == teacherScope) {
		return part, rest
	}
	return studentScope, weight
}

// forward builds the network in inference. Of the teacher nothing but its classifier is built.
func (n *Network) forward(variables *model.Scope, o nn.Options, images *Node) zoo.Outputs {
	return n.forwardIn(variables, o, images, func(*nn.Scope) {})
}

// forwardIn is forward, and hands over the model's scope before it builds the model there.
func (n *Network) forwardIn(variables *model.Scope, o nn.Options, images *Node, before func(*nn.Scope)) zoo.Outputs {
	scope := nn.New(variables.At(studentScope), o)
	before(scope)
	out := n.Model.Forward(scope, images)
	if n.Predictor == nil {
		return out
	}
	d, err := n.Predictor.Teacher.Describe(images.Graph().Backend(), [3]int(images.Shape().Dimensions[1:]))
	if err != nil {
		panic(err)
	}
	like, last := out.Logits, d.Last
	classifier := nn.New(variables.At(teacherScope), o)
	out.Logits = distill.PredictorOf(n.Predictor.Method)(distill.Batch{Outputs: out,
		Scope: nn.New(variables.At(methodScope), o),
		Teacher: zoo.Outputs{
			Last: Zeros(like.Graph(), shapes.Make(like.DType(), like.Shape().Dim(0), last[0], last[1], last[2])),
			Classifier: zoo.Classifier{Weight: classifier.Parameter(like, "weight", nil, n.Model.Classes, last[2]),
				Bias: classifier.Parameter(like, "bias", nil, n.Model.Classes)},
		}})
	return out
}

// Metadata of a file with a network's weights.
const weightsFormat = "dhkd-weights"

// SaveNetwork writes a network's weights with [Network.Metadata]. A network with a predictor needs the recipe in them.
func SaveNetwork(path string, n *Network, metadata map[string]string) error {
	metadata, err := n.Metadata(metadata)
	if err != nil {
		return err
	}
	return weights.SaveSafetensors(path, n.Weights, metadata)
}

// Metadata is what a file says of the network: more, and what is needed to use and to check the weights.
func (n *Network) Metadata(more map[string]string) (map[string]string, error) {
	digest, err := weights.Digest(n.Weights)
	if err != nil {
		return nil, err
	}
	metadata := map[string]string{}
	maps.Copy(metadata, more)
	maps.Copy(metadata, map[string]string{
		weights.DigestKey: digest,
		"format":          weightsFormat, "version": "1", "architecture": n.Model.Name,
		"classes": fmt.Sprint(n.Model.Classes), "head": string(n.Model.Head), "aux_head": string(n.Model.AuxHead),
	})
	if n.Model.Head == dhkd.LinearHead { // which needs no word
		delete(metadata, "head")
	}
	if n.Predictor != nil {
		metadata[weights.PredictorKey] = n.Predictor.Method.Name()
	}
	return metadata, nil
}
