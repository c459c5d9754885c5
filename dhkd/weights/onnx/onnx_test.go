package onnx_test

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/device/devicetest"
	"github.com/dhkd-lab/dhkd-go/dhkd/train"
	"github.com/dhkd-lab/dhkd-go/dhkd/weights/onnx"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

var image = [3]int{32, 32, 3}

// Whether the files compute the right thing is tested with ONNX Runtime, see dhkd/internal/exchange.

func TestNodes(t *testing.T) {
	block := func(name, norm string) string { // without shortcut
		return fmt.Sprintf(`Conv %[1]s.conv1 %[2]sRelu Conv %[1]s.conv2 %[2]s`, name, norm)
	}
	network := func(norm string) string {
		text := "Conv conv1 " + norm + "Relu " + block("layer1.0", norm) + "Add Relu "
		for _, name := range []string{"layer2.0", "layer3.0"} {
			text += block(name, norm) + "Conv " + name + ".downsample.0 " + norm + "Add Relu "
		}
		return text + "GlobalAveragePool Flatten Gemm fc "
	}
	for name, test := range map[string]struct {
		options onnx.Options
		want    string
	}{
		"plain":  {onnx.Options{}, network("BatchNormalization ") + "Identity"},
		"folded": {onnx.Options{FoldBatchNorm: true}, network("") + "Identity"},
		"normalised": {onnx.Options{FoldBatchNorm: true, Normalize: true, Mean: []float32{0, .5, 1}, Std: []float32{1, 2, 3}},
			"Sub Div " + network("") + "Identity"},
		"both heads": {onnx.Options{FoldBatchNorm: true, AuxLogits: true},
			network("") + "Gemm fc2.net.0 BatchNormalization Relu Gemm fc2.net.4 Identity Identity"},
	} {
		t.Run(name, func(t *testing.T) {
			test.options.Image = image
			var got []string
			for _, n := range export(t, resnet8(t), test.options).nodes {
				got = append(got, n.op)
				if n.op == "Conv" || n.op == "Gemm" {
					layer, _ := strings.CutSuffix(n.inputs[1], ".weight")
					got = append(got, layer)
				}
			}
			if diff := cmp.Diff(strings.Fields(test.want), got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestInitializers checks that the file has the weights, each once, under their names, and what folding makes of them.
func TestInitializers(t *testing.T) {
	network := resnet8(t)
	set := func(name string, value float32) {
		network.Weights[name] = tensors.FromFlatDataAndDimensions(slices.Repeat([]float32{value}, 16), 16)
	}
	set("bn1.weight", 3)
	set("bn1.bias", 5)
	set("bn1.running_mean", 2)
	set("bn1.running_var", 4-1e-5)

	plain := export(t, network, onnx.Options{Image: image})
	var want []string
	for name := range network.Weights {
		if !strings.HasPrefix(name, "fc2.") {
			want = append(want, name)
		}
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(plain.initializers))); diff != "" {
		t.Error("the weights without the auxiliary head: ", diff)
	}
	weight := tensors.MustCopyFlatData[float32](network.Weights["conv1.weight"])
	got := plain.initializers["conv1.weight"]
	if !slices.Equal(got.values, weight) || !slices.Equal(got.dims, []int{16, 3, 3, 3}) {
		t.Errorf("conv1.weight is %v %v", got.dims, got.values[:3])
	}

	folded := export(t, network, onnx.Options{Image: image, FoldBatchNorm: true}).initializers
	for name := range folded {
		if strings.Contains(name, "bn") || strings.Contains(name, "downsample.1") {
			t.Errorf("%s is left", name)
		}
	}
	for i, got := range folded["conv1.weight"].values {
		if want := 1.5 * float64(weight[i]); math.Abs(float64(got)-want) > 1e-6 {
			t.Fatalf("conv1.weight[%d] is %g, want %g", i, got, want)
		}
	}
	if got := folded["conv1.bias"].values; len(got) != 16 || math.Abs(float64(got[15])-2) > 1e-6 { // (0 - 2) 3/2 + 5
		t.Errorf("conv1.bias is %v", got)
	}
}

func TestMetadata(t *testing.T) {
	got := export(t, resnet8(t), onnx.Options{
		Image: image, Normalize: true, Mean: []float32{0, .5, 1}, Std: []float32{1, 2, 3},
		Metadata: map[string]string{"dataset": "cifar-100", "test_top1": "0.7", "classes": "overwritten"},
	}).metadata
	want := map[string]string{
		"architecture": "resnet8", "classes": "10", "dataset": "cifar-100", "test_top1": "0.7", "mean": "[0,0.5,1]",
		"std": "[1,2,3]", "input": "images [batch, channels, height, width], pixels in [0, 1]",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestErrors(t *testing.T) {
	rgb := []float32{.5, .5, .5}
	vector := func(values ...float32) *tensors.Tensor { return tensors.FromFlatDataAndDimensions(values, len(values)) }
	for _, test := range []struct {
		name    string
		options onnx.Options
		tensor  string
		value   *tensors.Tensor // nil to delete it
		want    string
	}{
		{name: "no image", options: onnx.Options{}, want: "images of 0x0x0"},
		{name: "other channels", options: onnx.Options{Image: [3]int{32, 32, 1}}, want: "conv1.weight has shape"},
		{name: "unknown normalisation", options: onnx.Options{Image: image, Normalize: true}, want: "needs the data's mean"},
		{name: "one mean", options: onnx.Options{Image: image, Mean: rgb[:1], Std: rgb[:1]}, want: "1 means"},
		{name: "zero deviation", options: onnx.Options{Image: image, Mean: rgb, Std: make([]float32, 3)},
			want: "standard deviation 0 of channel 0"},
		{name: "missing", options: onnx.Options{Image: image}, tensor: "bn1.weight",
			want: "missing bn1.weight; not known none"},
		{name: "unknown", options: onnx.Options{Image: image}, tensor: "extra", value: vector(1),
			want: "missing none; not known extra"},
		{name: "shape", options: onnx.Options{Image: image}, tensor: "fc.bias", value: vector(1, 2),
			want: "fc.bias has shape"},
		{name: "NaN", options: onnx.Options{Image: image}, tensor: "fc.bias", value: vector(0, 1, 2, 3, 4, 5, 6, 7, 8,
			float32(math.NaN())), want: "tensor fc.bias has the value NaN"},
	} {
		network := resnet8(t)
		if test.value != nil {
			network.Weights[test.tensor] = test.value
		} else {
			delete(network.Weights, test.tensor)
		}
		path := filepath.Join(t.TempDir(), "student.onnx")
		err := onnx.Export(path, network, test.options)
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v, want %q", test.name, err, test.want)
		}
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s: there is a file", test.name)
		}
	}
	network := resnet8(t)
	network.Model.AuxHead = dhkd.NoAuxHead
	err := onnx.Export("x.onnx", network, onnx.Options{Image: image, AuxLogits: true})
	if err == nil || !strings.Contains(err.Error(), "no auxiliary head") {
		t.Errorf("no auxiliary head: %v", err)
	}
}

// resnet8 has a nonlinear auxiliary head and its initial weights.
func resnet8(t *testing.T) *train.Network {
	t.Helper()
	m, err := zoo.New(zoo.Config{Name: "resnet8", Classes: 10, AuxHead: dhkd.NonlinearAuxHead})
	if err != nil {
		t.Fatal(err)
	}
	initial, err := m.Initial(devicetest.Go(t).Backend, image, 1)
	if err != nil {
		t.Fatal(err)
	}
	n := &train.Network{Model: m, Weights: map[string]*tensors.Tensor{}}
	for _, w := range initial {
		n.Weights[w.Name] = w.Value
	}
	return n
}

// contents of a file.
type contents struct {
	nodes        []parsedNode
	initializers map[string]parsedTensor
	metadata     map[string]string
}

type parsedNode struct {
	op     string
	inputs []string
}

type parsedTensor struct {
	dims   []int
	values []float32
}

// export returns what it exported. Every input of a node must be there before it.
func export(t *testing.T, n *train.Network, o onnx.Options) contents {
	t.Helper()
	path := filepath.Join(t.TempDir(), "network.onnx")
	if err := onnx.Export(path, n, o); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	c := contents{initializers: map[string]parsedTensor{}, metadata: map[string]string{}}
	file := fields(t, content)
	g := fields(t, file[7][0].([]byte))
	known := map[string]bool{"images": true}
	for _, raw := range g[5] {
		f := fields(t, raw.([]byte))
		name, data := string(f[8][0].([]byte)), f[9][0].([]byte)
		if known[name] {
			t.Errorf("two values are called %s", name)
		}
		known[name] = true
		tensor := parsedTensor{}
		for _, d := range f[1] {
			tensor.dims = append(tensor.dims, int(d.(uint64)))
		}
		for i := 0; i < len(data); i += 4 {
			tensor.values = append(tensor.values, math.Float32frombits(binary.LittleEndian.Uint32(data[i:])))
		}
		c.initializers[name] = tensor
	}
	for _, raw := range g[1] {
		f := fields(t, raw.([]byte))
		n := parsedNode{op: string(f[4][0].([]byte))}
		for _, input := range f[1] {
			name := string(input.([]byte))
			if !known[name] {
				t.Errorf("node %s reads %s, which is not there", n.op, name)
			}
			n.inputs = append(n.inputs, name)
		}
		output := string(f[2][0].([]byte))
		if known[output] {
			t.Errorf("two values are called %s", output)
		}
		known[output] = true
		c.nodes = append(c.nodes, n)
	}
	if !known["logits"] || known["aux_logits"] != o.AuxLogits {
		t.Errorf("outputs: logits %v, aux_logits %v", known["logits"], known["aux_logits"])
	}
	for _, raw := range file[14] {
		f := fields(t, raw.([]byte))
		c.metadata[string(f[1][0].([]byte))] = string(f[2][0].([]byte))
	}
	return c
}

// fields of a protocol buffer, each with its values: []byte or uint64.
func fields(t *testing.T, b []byte) map[protowire.Number][]any {
	t.Helper()
	m := map[protowire.Number][]any{}
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		b = b[n:]
		var value any
		switch kind {
		case protowire.VarintType:
			value, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			value, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(number, kind, b)
		}
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		m[number] = append(m[number], value)
		b = b[n:]
	}
	return m
}
