// Package onnx writes a trained network as an ONNX file, for use where there is no Go: ONNX Runtime, browsers, phones.
package onnx

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/gobackend"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	"github.com/gomlx/gomlx/support/exceptions"

	"github.com/dhkd-lab/dhkd-go/dhkd/internal/safefile"
	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
	"github.com/dhkd-lab/dhkd-go/dhkd/train"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

// What every file says of itself: ONNX 1.12, which defines both numbers, and all that came later read it.
const (
	opset     = 17
	irVersion = 8
	producer  = "dhkd-go"
)

// Names of the file's inputs and outputs, and of the dimension that is not fixed.
const (
	imagesName    = "images"
	logitsName    = "logits"
	auxLogitsName = "aux_logits"
	batchName     = "batch"
)

// Options of [Export].
type Options struct {
	Image [3]int // height, width and channels of the images

	// FoldBatchNorm leaves out each batch norm that alone reads a convolution, whose weights do its work then. The
	// logits are the same but for rounding, and inference takes less time.
	FoldBatchNorm bool

	// AuxLogits keeps the auxiliary head, as a second output "aux_logits". It has no use after training.
	AuxLogits bool

	// Mean and Std are the normalisation that the network was trained with, one value a channel, of pixels in [0, 1].
	// They are noted in the file. With Normalize the file's first nodes do it: its input is pixels in [0, 1], not
	// normalised ones.
	Mean, Std []float32
	Normalize bool

	// Metadata is added to what the file says of the network: its data set, its accuracy, its licence. The keys that
	// [Export] sets are overwritten.
	Metadata map[string]string
}

// Export writes the network's inference as an ONNX file (opset 17), atomically. The input "images" is float32
// [batch, channels, height, width], the output "logits" float32 [batch, classes]; any batch size will do. Parameters
// keep their names. The file's metadata are those of the options and architecture, classes, input (in words), and, if
// known, mean and std (lists in JSON).
//
// An error says which option or tensor is wrong, or that a layer has no counterpart, and then there is no file.
func Export(path string, network *train.Network, o Options) error {
	content, err := encode(network, o)
	if err != nil {
		return fmt.Errorf("cannot export %s as ONNX: %w", network.Model.Name, err)
	}
	return safefile.Write(path, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
}

func encode(network *train.Network, o Options) (content []byte, err error) {
	if err := o.check(network); err != nil {
		return nil, err
	}
	backend, err := gobackend.New("")
	if err != nil {
		return nil, err
	}
	defer backend.Finalize()
	layers, outputs, err := trace(backend, network, o.Image)
	if err != nil {
		return nil, err
	}
	b := &builder{weights: map[string][]float32{}, values: map[*graph.Node]string{}, fold: o.FoldBatchNorm}
	if err := b.checkWeights(layers, network.Weights); err != nil {
		return nil, err
	}
	results := map[string]*graph.Node{logitsName: outputs.Logits}
	if o.AuxLogits {
		results[auxLogitsName] = outputs.AuxLogits
	}
	err = b.build(layers, o, results)
	if err != nil {
		return nil, err
	}
	content = b.model(network, o, results)
	if len(content) > math.MaxInt32 {
		return nil, fmt.Errorf("it would take %d bytes, a file of ONNX has at most 2 GiB", len(content))
	}
	return content, nil
}

func (o Options) check(network *train.Network) error {
	channels := o.Image[2]
	switch {
	case min(o.Image[0], o.Image[1], channels) < 1:
		return fmt.Errorf("images of %dx%dx%d: height, width and channels must be at least 1", o.Image[0], o.Image[1],
			channels)
	case o.AuxLogits && network.Model.AuxHead == "none":
		return errors.New("it has no auxiliary head to keep")
	case len(o.Mean) != len(o.Std) || len(o.Mean) != 0 && len(o.Mean) != channels:
		return fmt.Errorf("%d means and %d standard deviations for images of %d channels", len(o.Mean), len(o.Std), channels)
	case o.Normalize && len(o.Mean) == 0:
		return errors.New("to normalise its input it needs the data's mean and standard deviation")
	}
	for c := range o.Mean {
		if !finite(o.Mean[c]) || !finite(o.Std[c]) || o.Std[c] <= 0 {
			return fmt.Errorf("mean %g and standard deviation %g of channel %d are no normalisation", o.Mean[c], o.Std[c], c)
		}
	}
	return nil
}

// metadata is what the file says of itself beside [Options.Metadata].
func metadata(network *train.Network, o Options) map[string]string {
	m := map[string]string{
		"architecture": network.Model.Name, "classes": strconv.Itoa(network.Model.Classes),
		"input": "normalised images [batch, channels, height, width]",
	}
	if len(o.Mean) > 0 {
		mean, _ := json.Marshal(o.Mean)
		std, _ := json.Marshal(o.Std)
		m["mean"], m["std"] = string(mean), string(std)
		m["input"] = "images [batch, channels, height, width], (pixel - mean) / std of pixels in [0, 1]"
	}
	if o.Normalize {
		m["input"] = "images [batch, channels, height, width], pixels in [0, 1]"
	}
	return m
}

// trace builds the inference graph and returns its layers in order, up to the outputs. Nothing is compiled.
func trace(backend compute.Backend, network *train.Network, image [3]int) (
	layers []nn.Layer, out zoo.Outputs, err error) {
	g := graph.NewGraph(backend, network.Model.Name)
	defer g.Finalize()
	store := model.NewStore()
	model.SetStore(g, store)
	err = exceptions.TryCatch[error](func() {
		scope := store.Scope("/" + network.Model.Name)
		for name, value := range network.Weights {
			if _, err := scope.CreateVariable(name, value); err != nil {
				panic(err)
			}
		}
		images := graph.Parameter(g, imagesName, shapes.Make(dtypes.Float32, 2, image[0], image[1], image[2]))
		layers = append(layers, nn.Layer{Op: imagesName, Output: images})
		add := func(l nn.Layer) { layers = append(layers, l) }
		out = network.Model.Forward(nn.New(scope, nn.Options{Trace: add}), images)
	})
	return layers, out, err
}

// checkWeights takes the weights that the layers name, and refuses others. The graph's building checked their shapes.
func (b *builder) checkWeights(layers []nn.Layer, weights map[string]*tensors.Tensor) error {
	var missing, unknown []string
	for _, l := range layers {
		for _, name := range variables(l) {
			value, ok := weights[name]
			if !ok {
				missing = append(missing, name)
				continue
			}
			values, err := tensors.CopyFlatData[float32](value)
			if err != nil {
				return fmt.Errorf("tensor %s: %w", name, err)
			}
			if i := slices.IndexFunc(values, func(v float32) bool { return !finite(v) }); i >= 0 {
				return fmt.Errorf("tensor %s has the value %g: the network is broken", name, values[i])
			}
			b.weights[name] = values
		}
	}
	for name := range weights {
		if _, known := b.weights[name]; !known && !strings.HasSuffix(name, ".num_batches_tracked") {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	if len(missing)+len(unknown) > 0 {
		return fmt.Errorf("the weights are not the network's: missing %s; not known %s", some(missing), some(unknown))
	}
	return nil
}

// variables names the layer's.
func variables(l nn.Layer) []string {
	var names []string
	switch l.Op {
	case "Conv2D":
		names = []string{"weight"}
		if l.Bias {
			names = append(names, "bias")
		}
	case "Linear":
		names = []string{"weight", "bias"}
	case "BatchNorm":
		names = []string{"weight", "bias", "running_mean", "running_var"} // in the order of ONNX's inputs
	}
	for i, name := range names {
		names[i] = l.Name + "." + name
	}
	return names
}

// some lists names, the first ones if there are many.
func some(names []string) string {
	const shown = 4
	switch n := len(names); {
	case n == 0:
		return "none"
	case n > shown:
		return fmt.Sprintf("%s and %d more", strings.Join(names[:shown], ", "), n-shown)
	}
	return strings.Join(names, ", ")
}

func finite(v float32) bool { return !math.IsNaN(float64(v)) && !math.IsInf(float64(v), 0) }
