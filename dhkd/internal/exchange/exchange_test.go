package exchange

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/device/devicetest"
	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
	"github.com/dhkd-lab/dhkd-go/dhkd/train"
	"github.com/dhkd-lab/dhkd-go/dhkd/weights"
	"github.com/dhkd-lab/dhkd-go/dhkd/weights/onnx"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

var all = flag.Bool("all", false, "test every network of the zoo, not only one of each family")

const (
	classes   = 7
	batch     = 3
	channels  = 3
	tolerance = 1e-4 // of the range that the logits have
)

var mean, std = []float32{0.5, 0.4, 0.6}, []float32{0.25, 0.3, 0.2}

// sample is a network and the side of its images, less than it is made for where that takes long.
type sample struct {
	network string
	side    int
	heads   []dhkd.AuxHead
	main    dhkd.Head
}

// small has one network of each family and each kind of stem; each name of a head meets each kind of head.
var small = []sample{
	{"resnet8", 32, dhkd.AuxHeads, dhkd.LinearHead},
	{"resnet8", 32, []dhkd.AuxHead{dhkd.NoAuxHead, dhkd.LinearAuxHead}, dhkd.NonlinearHead},
	{"wrn_16_1", 32, []dhkd.AuxHead{dhkd.LinearAuxHead}, dhkd.LinearHead},
	{"ResNet18", 16, []dhkd.AuxHead{dhkd.NonlinearAuxHead}, dhkd.LinearHead},
	{"ResNet50_imagenet", 64, []dhkd.AuxHead{dhkd.LinearAuxHead}, dhkd.LinearHead},
	{"vgg8", 32, []dhkd.AuxHead{dhkd.LinearAuxHead}, dhkd.LinearHead},
	{"MobileNetV1", 64, []dhkd.AuxHead{dhkd.NoAuxHead}, dhkd.LinearHead},
	{"MobileNetV2", 32, []dhkd.AuxHead{dhkd.NonlinearAuxHead}, dhkd.LinearHead},
	{"ShuffleV1", 32, []dhkd.AuxHead{dhkd.NoAuxHead}, dhkd.LinearHead},
	{"ShuffleV2", 32, []dhkd.AuxHead{dhkd.LinearAuxHead}, dhkd.LinearHead},
}

// file is an exported one, and how Python is to run it.
type file struct {
	Path    string       `json:"path"`
	Network string       `json:"network"`
	Classes int          `json:"classes"`
	Head    dhkd.Head    `json:"head"`
	AuxHead dhkd.AuxHead `json:"aux_head"`
	Inputs  string       `json:"inputs"` // a safetensors file
	Input   string       `json:"input"`  // its tensor: "images", normalised, or "pixels"
	Batch   int          `json:"batch"`

	want outputs
}

// outputs are "logits" and "aux_logits", one image after the other.
type outputs map[string][]float64

// TestONNX runs each network's ONNX files in ONNX Runtime: one image and several, without and with the batch norms
// folded, with the auxiliary head and with the normalisation.
func TestONNX(t *testing.T) {
	testFiles(t, findPython(t, "DHKD_ONNX_PYTHON", "onnx", "onnx, onnxruntime, safetensors"), ".onnx")
}

// TestStateDict loads each network's state dict into the same network in PyTorch and runs it there.
func TestStateDict(t *testing.T) {
	testFiles(t, findPython(t, "DHKD_PYTORCH_PYTHON", "pytorch", "torch, safetensors"), ".safetensors")
}

// testFiles runs the files with that ending in Python and compares their outputs with this module's.
func testFiles(t *testing.T, python, ending string) {
	samples := small
	if *all {
		for _, name := range zoo.Names() {
			samples = append(samples, sample{name, 32, []dhkd.AuxHead{dhkd.NonlinearAuxHead}, dhkd.LinearHead})
		}
	}
	var files []file
	for _, s := range samples {
		for _, head := range s.heads {
			made, err := export(t, filepath.Join(t.TempDir(), "exported"), zoo.Config{Name: s.network, Classes: classes, Head: s.main, AuxHead: head}, s.side)
			if err != nil {
				t.Fatalf("%s, main head %s, auxiliary head %s: %v", s.network, s.main, head, err)
			}
			for _, f := range made {
				if filepath.Ext(f.Path) == ending {
					files = append(files, f)
				}
			}
		}
	}
	for i, got := range runInPython(t, python, files) {
		f := files[i]
		what := fmt.Sprintf("%s, main head %s, auxiliary head %s, %s, batch of %d", f.Network, f.Head, f.AuxHead,
			filepath.Base(f.Path), f.Batch)
		if len(got) != len(f.want) {
			t.Errorf("%s: %d outputs, want %d", what, len(got), len(f.want))
		}
		for output, want := range f.want {
			if off := distance(got[output], want[:f.Batch*classes], want); !(off <= tolerance) {
				t.Errorf("%s, %s: off by %.2g of their range", what, output, off)
			}
		}
	}
	t.Logf("%d samples of networks, %d runs in Python", len(samples), len(files))
}

// export makes the files of a network whose weights and running statistics are random.
func export(t *testing.T, path string, c zoo.Config, side int) ([]file, error) {
	m, err := zoo.New(c)
	if err != nil {
		return nil, err
	}
	image := [3]int{side, side, channels}
	network, err := random(t, m, image)
	if err != nil {
		return nil, err
	}
	pixels, images, forUs := inputs(side)
	want, err := logits(t, network, forUs)
	if err != nil {
		return nil, err
	}
	f := file{Network: m.Name, Classes: m.Classes, Head: m.Head, AuxHead: m.AuxHead, Inputs: path + ".inputs", Input: "images",
		Batch: batch, want: want}
	values := map[string]*tensors.Tensor{"pixels": pixels, "images": images}
	if err := weights.SaveSafetensors(f.Inputs, values, nil); err != nil {
		return nil, err
	}
	f.Path = path + ".safetensors"
	if err := weights.ExportStateDict(f.Path, network.Weights, nil); err != nil {
		return nil, err
	}
	files := []file{f}
	add := func(kind string, o onnx.Options) error {
		o.Image, f.Path = image, path+"-"+kind+".onnx"
		files = append(files, f)
		return onnx.Export(f.Path, network, o)
	}
	if m.AuxHead != dhkd.NoAuxHead {
		f.Input = "pixels"
		if err := add("pixels", onnx.Options{AuxLogits: true, Normalize: true, Mean: mean, Std: std}); err != nil {
			return nil, err
		}
	}
	f.Input, f.want = "images", outputs{"logits": want["logits"]}
	if err := add("folded", onnx.Options{FoldBatchNorm: true}); err != nil {
		return nil, err
	}
	f.Batch = 1
	return files, add("plain", onnx.Options{})
}

// random is the network with random weights and running statistics, of sizes that let the images through to the logits.
// (The initial ones do not, without the training's running statistics.)
func random(t *testing.T, m *zoo.Model, image [3]int) (*train.Network, error) {
	initial, err := m.Initial(devicetest.Go(t).Backend, image, 1)
	if err != nil {
		return nil, err
	}
	n := &train.Network{Model: m, Weights: map[string]*tensors.Tensor{}}
	rng := rand.New(rand.NewPCG(1, 2))
	for _, w := range initial {
		dims, size := w.Value.Shape().Dimensions, w.Value.Size()
		center, radius := float32(0), float32(0.25)
		if len(dims) > 1 {
			radius = float32(math.Sqrt(6 / float64(size/dims[0])))
		} else if values := tensors.MustCopyFlatData[float32](w.Value); values[0] == 1 {
			center = 1 // scales and variances
		}
		n.Weights[w.Name] = tensors.FromFlatDataAndDimensions(uniform(rng, size, center-radius, center+radius), dims...)
	}
	return n, nil
}

// inputs are pixels in [0, 1] and what the normalisation makes of them, [batch, channels, side, side], and the latter
// with channels last. The images are patches of colour with noise: networks tell them apart.
func inputs(side int) (pixels, images, channelsLast *tensors.Tensor) {
	rng := rand.New(rand.NewPCG(3, 4))
	area, patches := side*side, uniform(rng, batch*channels*64, 0, 0.8)
	p := uniform(rng, batch*channels*area, 0, 0.2)
	first, last := make([]float32, len(p)), make([]float32, len(p))
	for i := range p {
		n, c, at := i/area/channels, i/area%channels, i%area
		p[i] += patches[(n*channels+c)*64+at/side*8/side*8+at%side*8/side]
		first[i] = (p[i] - mean[c]) / std[c]
		last[(n*area+at)*channels+c] = first[i]
	}
	return tensors.FromFlatDataAndDimensions(p, batch, channels, side, side),
		tensors.FromFlatDataAndDimensions(first, batch, channels, side, side),
		tensors.FromFlatDataAndDimensions(last, batch, side, side, channels)
}

func uniform(rng *rand.Rand, n int, low, high float32) []float32 {
	values := make([]float32, n)
	for i := range values {
		values[i] = low + (high-low)*rng.Float32()
	}
	return values
}

// logits are this module's outputs.
func logits(t *testing.T, n *train.Network, images *tensors.Tensor) (outputs, error) {
	store := model.NewStore()
	for name, value := range n.Weights {
		value, err := value.LocalClone()
		if err != nil {
			return nil, err
		}
		if _, err := store.CreateVariable("/net/"+name, value); err != nil {
			return nil, err
		}
	}
	forward := func(variables *model.Scope, images *graph.Node) []*graph.Node {
		out := n.Model.Forward(nn.New(variables.At("net"), nn.Options{}), images)
		if out.AuxLogits == nil {
			return []*graph.Node{out.Logits}
		}
		return []*graph.Node{out.Logits, out.AuxLogits}
	}
	program, err := model.NewExec(devicetest.Open(t).Backend, store, forward)
	if err != nil {
		return nil, err
	}
	defer program.Finalize()
	results, err := program.Call(images)
	if err != nil {
		return nil, err
	}
	named := outputs{}
	for i, result := range results {
		for _, v := range tensors.MustCopyFlatData[float32](result) {
			name := []string{"logits", "aux_logits"}[i]
			named[name] = append(named[name], float64(v))
		}
	}
	return named, nil
}

func runInPython(t *testing.T, python string, files []file) []outputs {
	t.Helper()
	list, err := json.Marshal(files)
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(python, "-W", "ignore", "-B", "testdata/run.py")
	command.Stdin = bytes.NewReader(list)
	command.Stderr = os.Stderr
	answer, err := command.Output()
	if err != nil {
		t.Fatalf("%s %s: %v", python, strings.Join(command.Args[1:], " "), err)
	}
	var results []outputs
	if err := json.Unmarshal(answer, &results); err != nil || len(results) != len(files) {
		t.Fatalf("%d results of %d files, error %v", len(results), len(files), err)
	}
	return results
}

// distance is the largest difference as a part of the largest range that a class's logits have over the images: a
// network that hardly looks at its images would pass any test against the logits' size.
func distance(got, want, of []float64) float64 {
	if len(got) != len(want) {
		return math.Inf(1)
	}
	var scale, off float64
	for class := range classes {
		var values []float64
		for i := class; i < len(of); i += classes {
			values = append(values, of[i])
		}
		scale = max(scale, slices.Max(values)-slices.Min(values))
	}
	for i := range want {
		off = max(off, math.Abs(got[i]-want[i]))
	}
	return off / scale
}

// findPython is a Python that can import the packages: the one that the variable names, else the one in .cache.
func findPython(t *testing.T, variable, name, packages string) string {
	t.Helper()
	python := os.Getenv(variable)
	if python == "" {
		python = filepath.Join("..", "..", "..", ".cache", name, "bin", "python")
	}
	if out, err := exec.Command(python, "-c", "import "+packages).CombinedOutput(); err != nil {
		why := fmt.Sprintf("%s cannot import %s (%v) %s: set %s to a Python that can", python, packages, err, out, variable)
		if os.Getenv("CI") != "" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	return python
}
