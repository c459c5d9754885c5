package onnx

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/gomlx/gomlx/core/graph"

	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
	"github.com/dhkd-lab/dhkd-go/dhkd/train"
)

// epsilon of batch norm, see [nn.BatchNorm].
const epsilon = 1e-5

// builder makes the nodes and initialisers of ONNX's graph from layers. Maps are [N, H, W, C] in the layers and
// [N, C, H, W] in ONNX; weights are the same in both.
type builder struct {
	fold    bool
	weights map[string][]float32     // flat, by name
	values  map[*graph.Node]string   // what a layer's output is called in the file
	taken   map[string]bool          // names of values
	batches map[*graph.Node]nn.Layer // the batch norm to fold into the convolution with this output

	nodes, initializers []message
}

// build makes nodes for the layers that the results need.
func (b *builder) build(layers []nn.Layer, o Options, results map[string]*graph.Node) error {
	b.taken, b.batches = map[string]bool{}, map[*graph.Node]nn.Layer{}
	readers := map[*graph.Node]int{}
	for name, node := range results {
		b.taken[name] = true
		readers[node]++
	}
	var live []nn.Layer
	for _, l := range slices.Backward(layers) {
		if readers[l.Output] == 0 {
			continue
		}
		live = append(live, l)
		for _, input := range l.Inputs {
			readers[input]++
		}
	}
	slices.Reverse(live)
	if b.fold {
		convolutions := map[*graph.Node]bool{}
		for _, l := range live {
			if l.Op == "Conv2D" {
				convolutions[l.Output] = true
			} else if l.Op == "BatchNorm" && convolutions[l.Inputs[0]] && readers[l.Inputs[0]] == 1 {
				b.batches[l.Inputs[0]] = l
			}
		}
	}
	for _, l := range live {
		if err := b.layer(l, o); err != nil {
			return fmt.Errorf("layer %s: %w", strings.TrimPrefix(l.Name+" ", " ")+l.Op, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(results)) {
		b.nodes = append(b.nodes, node("Identity", []string{b.values[results[name]]}, name))
	}
	return nil
}

func (b *builder) layer(l nn.Layer, o Options) error {
	if l.Op == imagesName {
		b.taken[imagesName] = true
		b.values[l.Output] = imagesName
		if o.Normalize {
			shape := []int{1, len(o.Mean), 1, 1}
			centred := b.add(l, "Sub", []string{imagesName, b.floats("mean", o.Mean, shape)})
			b.values[l.Output] = b.add(l, "Div", []string{centred, b.floats("std", o.Std, shape)})
		}
		return nil
	}
	inputs := make([]string, len(l.Inputs))
	for i, input := range l.Inputs {
		name, ok := b.values[input]
		if !ok {
			return fmt.Errorf("its input %d is no layer's output", i)
		}
		inputs[i] = name
	}
	channels := l.Output.Shape().Dim(-1)
	window := []message{
		integers("kernel_shape", l.Kernel, l.Kernel), integers("strides", l.Stride, l.Stride),
		integers("pads", l.Padding, l.Padding, l.Padding, l.Padding),
	}
	var value string
	switch l.Op {
	case "Conv2D":
		value = b.add(l, "Conv", append(inputs, b.convolution(l)...), append(window, integer("group", l.Groups))...)
	case "BatchNorm":
		if _, folded := b.batches[l.Inputs[0]]; folded {
			value = inputs[0]
			break
		}
		for _, name := range variables(l) {
			inputs = append(inputs, b.floats(name, b.weights[name], []int{channels}))
		}
		value = b.add(l, "BatchNormalization", inputs, float("epsilon", epsilon))
	case "Linear":
		weight, bias := l.Name+".weight", l.Name+".bias"
		inputs = append(inputs, b.floats(weight, b.weights[weight], []int{channels, l.Inputs[0].Shape().Dim(1)}),
			b.floats(bias, b.weights[bias], []int{channels}))
		value = b.add(l, "Gemm", inputs, integer("transB", 1))
	case "ReLU":
		value = b.add(l, "Relu", inputs)
	case "Sum":
		value = b.add(l, "Add", inputs)
	case "MaxPool2D":
		value = b.add(l, "MaxPool", inputs, window...)
	case "AveragePool2D":
		value = b.add(l, "AveragePool", inputs, append(window, integer("count_include_pad", 1))...)
	case "GlobalAveragePool":
		value = b.add(l, "Flatten", []string{b.add(l, "GlobalAveragePool", inputs)})
	case "Concat":
		value = b.add(l, "Concat", inputs, integer("axis", 1))
	case "ChannelSlice":
		for _, limit := range []struct {
			name  string
			value int
		}{{"start", l.Start}, {"end", l.Start + channels}, {"axis", 1}} {
			inputs = append(inputs, b.ints(l, limit.name, limit.value))
		}
		value = b.add(l, "Slice", inputs)
	case "ChannelShuffle": // a 0 stands for the dimension as it is
		height, width := l.Output.Shape().Dim(1), l.Output.Shape().Dim(2)
		dealt := b.ints(l, "dealt", 0, l.Groups, channels/l.Groups, height, width)
		joined := b.ints(l, "joined", 0, channels, height, width)
		value = b.add(l, "Reshape", []string{inputs[0], dealt})
		value = b.add(l, "Transpose", []string{value}, integers("perm", 0, 2, 1, 3, 4))
		value = b.add(l, "Reshape", []string{value, joined})
	case "Result":
		value = inputs[0]
	default:
		return fmt.Errorf("%s has no counterpart in ONNX here", l.Op)
	}
	b.values[l.Output] = value
	return nil
}

// convolution returns the names of the weight and the bias, if any. They do the work of a batch norm that is to be
// folded too: weight' = weight s and bias' = (bias - mean) s + shift with s = scale / sqrt(var + epsilon).
func (b *builder) convolution(l nn.Layer) []string {
	weightName, biasName := l.Name+".weight", l.Name+".bias"
	weight, bias, outputs := b.weights[weightName], b.weights[biasName], l.Output.Shape().Dim(3)
	shape := []int{outputs, l.Inputs[0].Shape().Dim(3) / l.Groups, l.Kernel, l.Kernel}
	if norm, ok := b.batches[l.Output]; ok {
		old := bias
		weight, bias = slices.Clone(weight), make([]float32, outputs)
		values := func(name string) []float32 { return b.weights[norm.Name+"."+name] }
		scales, shifts, means, variances := values("weight"), values("bias"), values("running_mean"), values("running_var")
		for o := range outputs {
			scale := float64(scales[o]) / math.Sqrt(float64(variances[o])+epsilon)
			filter := weight[o*len(weight)/outputs : (o+1)*len(weight)/outputs]
			for i := range filter {
				filter[i] = float32(float64(filter[i]) * scale)
			}
			centred := -float64(means[o])
			if old != nil {
				centred += float64(old[o])
			}
			bias[o] = float32(centred*scale + float64(shifts[o]))
		}
	}
	names := []string{b.floats(weightName, weight, shape)}
	if bias != nil {
		names = append(names, b.floats(biasName, bias, []int{outputs}))
	}
	return names
}

// add appends a node, and returns the name of its output.
func (b *builder) add(l nn.Layer, op string, inputs []string, attributes ...message) string {
	output := b.unique(strings.TrimPrefix(l.Name+"/"+op, "/"))
	b.nodes = append(b.nodes, node(op, inputs, output, attributes...))
	return output
}

// unique returns the name, with a number if there is one such already: scopes hold several ReLUs and sums.
func (b *builder) unique(name string) string {
	numbered := name
	for i := 1; b.taken[numbered]; i++ {
		numbered = fmt.Sprint(name, "_", i)
	}
	b.taken[numbered] = true
	return numbered
}

// floats and ints append an initialiser, and return its name.
func (b *builder) floats(name string, values []float32, shape []int) string {
	b.initializers = append(b.initializers, floatTensor(name, values, shape))
	return name
}

func (b *builder) ints(l nn.Layer, name string, values ...int) string {
	name = b.unique(strings.TrimPrefix(l.Name+"/"+l.Op+"/"+name, "/"))
	b.initializers = append(b.initializers, intTensor(name, values))
	return name
}

// model is the whole file.
func (b *builder) model(network *train.Network, o Options, results map[string]*graph.Node) []byte {
	var g message
	for _, n := range b.nodes {
		g = g.bytes(1, n) // node
	}
	g = g.text(2, network.Model.Name) // name
	for _, t := range b.initializers {
		g = g.bytes(5, t) // initializer
	}
	g = g.bytes(11, valueInfo(imagesName, o.Image[2], o.Image[0], o.Image[1])) // input
	for _, name := range []string{logitsName, auxLogitsName} {
		if results[name] != nil {
			g = g.bytes(12, valueInfo(name, network.Model.Classes)) // output
		}
	}
	m := message{}.integer(1, irVersion).text(2, producer).bytes(7, g).bytes(8, message{}.integer(2, opset))
	all := maps.Clone(o.Metadata)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, metadata(network, o))
	for _, key := range slices.Sorted(maps.Keys(all)) {
		m = m.bytes(14, message{}.text(1, key).text(2, all[key])) // metadata_props
	}
	return m
}
