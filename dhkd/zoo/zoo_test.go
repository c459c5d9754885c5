package zoo_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/device/devicetest"
	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

// TestNames checks the order, and that each listed name, and some that are not listed, can be made.
func TestNames(t *testing.T) {
	names := zoo.Names()
	if len(names) < 29 || !slices.IsSorted(names) || !slices.Contains(names, "resnet8x4") {
		t.Errorf("%v", names)
	}
	for _, name := range append(names, "resnet26", "resnet1202", "resnet14x4", "wrn_28_4", "wrn_10_1", "wrn_40_4") {
		newModel(t, zoo.Config{Name: name, Classes: 2})
	}
}

func TestNewErrors(t *testing.T) {
	for _, test := range []struct {
		config zoo.Config
		want   string
	}{
		{zoo.Config{Name: "resnet9", Classes: 100}, `unknown model "resnet9": choose one of resnet8, `},
		{zoo.Config{Name: "MobilenetV2", Classes: 100}, "choose one of MobileNetV2, MobileNetV1, "},
		{zoo.Config{Name: "wrn_28_5x", Classes: 100}, "choose one of wrn_"},
		{zoo.Config{Name: "wrn_41_2", Classes: 100}, "wrn_<depth>_<width> with a depth of 6n+4"},
		{zoo.Config{Name: "wrn_40_33", Classes: 100}, "a width up to 32"},
		{zoo.Config{Name: "wrn_40_0", Classes: 100}, `unknown model "wrn_40_0"`},
		{zoo.Config{Name: "wrn_40_02", Classes: 100}, `unknown model "wrn_40_02"`},
		{zoo.Config{Name: "resnet2", Classes: 100}, `unknown model "resnet2"`},
		{zoo.Config{Name: "resnet6000000002", Classes: 100}, "with a depth of 6n+2 up to 1202"},
		{zoo.Config{Name: "resnet99999999999999999999", Classes: 100}, "unknown model"},
		{zoo.Config{Name: "resnet-4", Classes: 100}, "unknown model"},
		{zoo.Config{Name: strings.Repeat("x", 1000), Classes: 100}, `xxx...": choose`},
		{zoo.Config{Classes: 100}, `unknown model ""`},
		{zoo.Config{Name: "resnet8", Classes: 1}, "model resnet8: needs at least 2 classes, got 1"},
		{zoo.Config{Name: "resnet8", Classes: -5}, "got -5"},
		{zoo.Config{Name: "resnet8", Classes: 10, AuxHead: "big"}, `model resnet8: unknown auxiliary head "big"`},
		{zoo.Config{Name: "resnet8", Classes: 10, Head: "none"}, `model resnet8: unknown head "none"`},
	} {
		if m, err := zoo.New(test.config); err == nil || !strings.Contains(err.Error(), test.want) || m != nil {
			t.Errorf("%+v: %v, error %v, want %q", test.config, m, err, test.want)
		}
	}
}

func TestSizeErrors(t *testing.T) {
	for _, test := range []struct {
		name, want string
		image      [3]int
	}{
		{"resnet8", "model resnet8 on 0x32x3 images: height, width and channels must be at least 1", [3]int{0, 32, 3}},
		{"resnet8", "at least 1", [3]int{32, -1, 3}},
		{"resnet8", "at least 1", [3]int{32, 32, 0}},
		{"vgg8", "model vgg8 on 32x7x3 images: vgg8 halves its maps three times: images must be at least 8x8",
			[3]int{32, 7, 3}},
	} {
		m := newModel(t, zoo.Config{Name: test.name, Classes: 10})
		_, err := m.Initial(devicetest.Go(t).Backend, test.image, 0)
		description, describeErr := m.Describe(devicetest.Go(t).Backend, test.image)
		for _, err := range []error{err, describeErr} {
			if err == nil || !strings.Contains(err.Error(), test.want) || description != nil {
				t.Errorf("%s on %v: %v, want %q", test.name, test.image, err, test.want)
			}
		}
	}
}

// TestShapes checks the outputs for sizes of images, in both modes.
func TestShapes(t *testing.T) {
	for _, test := range []struct {
		config zoo.Config
		side   int
		want   string
	}{
		{zoo.Config{Name: "resnet8", Classes: 7}, 32,
			"logits [2 7] aux - pooled [2 64] features [2 32 32 16] [2 32 32 16] [2 16 16 32] [2 8 8 64]"},
		{zoo.Config{Name: "resnet8", Classes: 7, AuxHead: "linear"}, 16,
			"logits [2 7] aux [2 7] pooled [2 64] features [2 16 16 16] [2 16 16 16] [2 8 8 32] [2 4 4 64]"},
		{zoo.Config{Name: "resnet8x4", Classes: 5, AuxHead: "nonlinear"}, 17,
			"logits [2 5] aux [2 5] pooled [2 256] features [2 17 17 32] [2 17 17 64] [2 9 9 128] [2 5 5 256]"},
		{zoo.Config{Name: "resnet8", Classes: 2}, 1,
			"logits [2 2] aux - pooled [2 64] features [2 1 1 16] [2 1 1 16] [2 1 1 32] [2 1 1 64]"},
		{zoo.Config{Name: "wrn_10_2", Classes: 5}, 31,
			"logits [2 5] aux - pooled [2 128] features [2 31 31 16] [2 31 31 32] [2 16 16 64] [2 8 8 128]"},
		{zoo.Config{Name: "vgg8", Classes: 5}, 9,
			"logits [2 5] aux - pooled [2 512] features [2 9 9 64] [2 4 4 128] [2 2 2 256] [2 1 1 512] [2 1 1 512]"},
		{zoo.Config{Name: "vgg8", Classes: 5}, 64, // which has a fourth pool
			"logits [2 5] aux - pooled [2 512] features [2 64 64 64] [2 32 32 128] [2 16 16 256] [2 8 8 512] [2 4 4 512]"},
		{zoo.Config{Name: "ResNet18", Classes: 5}, 15, "logits [2 5] aux - pooled [2 512] features " +
			"[2 15 15 64] [2 15 15 64] [2 8 8 128] [2 4 4 256] [2 2 2 512]"},
		{zoo.Config{Name: "ResNet18_imagenet", Classes: 5}, 63, "logits [2 5] aux - pooled [2 512] features " +
			"[2 16 16 64] [2 16 16 64] [2 8 8 128] [2 4 4 256] [2 2 2 512]"},
		{zoo.Config{Name: "MobileNetV1", Classes: 5}, 32,
			"logits [2 5] aux - pooled [2 1024] features [2 8 8 128] [2 4 4 256] [2 2 2 512] [2 1 1 1024]"},
		{zoo.Config{Name: "MobileNetV2", Classes: 5}, 33,
			"logits [2 5] aux - pooled [2 1280] features [2 17 17 16] [2 17 17 12] [2 9 9 16] [2 5 5 48] [2 3 3 160]"},
		{zoo.Config{Name: "ShuffleV1", Classes: 5}, 9,
			"logits [2 5] aux - pooled [2 960] features [2 9 9 24] [2 5 5 240] [2 3 3 480] [2 2 2 960]"},
		{zoo.Config{Name: "ShuffleV2", Classes: 5}, 9,
			"logits [2 5] aux - pooled [2 1024] features [2 9 9 24] [2 5 5 116] [2 3 3 232] [2 2 2 464]"},
	} {
		for _, training := range []bool{false, true} {
			m := newModel(t, test.config)
			g := graph.NewGraph(devicetest.Go(t).Backend, "shapes")
			store := model.NewStore()
			model.SetStore(g, store)
			images := graph.Parameter(g, "images", shapes.Make(dtypes.Float32, 2, test.side, test.side, 3))
			out := m.Forward(nn.New(store.Scope("/net"), nn.Options{Training: training, NoDropout: true}), images)
			got := fmt.Sprintf("logits %v aux - pooled %v features", out.Logits.Shape().Dimensions,
				out.Pooled.Shape().Dimensions)
			if out.AuxLogits != nil {
				got = strings.Replace(got, "-", fmt.Sprint(out.AuxLogits.Shape().Dimensions), 1)
			}
			for i, f := range out.Features {
				got += fmt.Sprint(" ", f.Shape().Dimensions)
				if !out.PreReLU[i].Shape().Equal(f.Shape()) {
					t.Errorf("feature %d has shape %s, before ReLU %s", i, f.Shape(), out.PreReLU[i].Shape())
				}
			}
			if got != test.want {
				t.Errorf("%+v:\n got %s\nwant %s", test.config, got, test.want)
			}
			g.Finalize()
		}
	}
}

// TestTorchvisionNames checks names and numbers of tensors of the nets with ImageNet's stem, so that torchvision's
// weights fit (its state dicts have num_batches_tracked too).
func TestTorchvisionNames(t *testing.T) {
	for name, want := range map[string]struct {
		tensors int
		shapes  map[string]string
	}{
		"ResNet18_imagenet": {102, map[string]string{
			"conv1.weight": "[64 3 7 7]", "bn1.running_var": "[64]", "layer1.1.conv2.weight": "[64 64 3 3]",
			"layer2.0.downsample.0.weight": "[128 64 1 1]", "layer2.0.downsample.1.bias": "[128]", "fc.bias": "[1000]",
		}},
		"ResNet50_imagenet": {267, map[string]string{
			"layer1.0.downsample.0.weight": "[256 64 1 1]", "layer3.5.conv2.weight": "[256 256 3 3]",
			"layer4.2.bn3.weight": "[2048]", "fc.weight": "[1000 2048]",
		}},
	} {
		weights := byName(initial(t, zoo.Config{Name: name, Classes: 1000}, 1))
		if len(weights) != want.tensors {
			t.Errorf("%s has %d tensors, want %d", name, len(weights), want.tensors)
		}
		for tensor, shape := range want.shapes {
			w, ok := weights[tensor]
			if !ok || fmt.Sprint(w.Value.Shape().Dimensions) != shape {
				t.Errorf("%s: %s is %v, want %s", name, tensor, w.Value, shape)
			}
		}
	}
}

// TestOneOutput runs a program of each output alone, of a model of each family.
func TestOneOutput(t *testing.T) {
	for _, name := range []string{"resnet8", "wrn_10_1", "vgg8", "ResNet18", "ResNet18_imagenet", "MobileNetV1",
		"MobileNetV2", "ShuffleV1", "ShuffleV2"} {
		m := newModel(t, zoo.Config{Name: name, Classes: 3, AuxHead: dhkd.NonlinearAuxHead})
		store := model.NewStore()
		for output, choose := range map[string]func(zoo.Outputs) *graph.Node{
			"logits":    func(o zoo.Outputs) *graph.Node { return o.Logits },
			"auxiliary": func(o zoo.Outputs) *graph.Node { return o.AuxLogits },
			"pooled":    func(o zoo.Outputs) *graph.Node { return o.Pooled },
			"stem":      func(o zoo.Outputs) *graph.Node { return o.Features[0] },
			"stage":     func(o zoo.Outputs) *graph.Node { return o.PreReLU[2] },
		} {
			build := func(variables *model.Scope, images *graph.Node) *graph.Node {
				return choose(m.Forward(nn.New(variables.At("net"), nn.Options{}), images))
			}
			exec, err := model.NewExec(devicetest.Go(t).Backend, store, build)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := exec.Call(tensors.FromShape(shapes.Make(dtypes.Float32, 2, 8, 8, 1))); err != nil {
				t.Errorf("%s of %s: %v", output, name, err)
			}
			exec.Finalize()
		}
	}
}

func newModel(t *testing.T, c zoo.Config) *zoo.Model {
	t.Helper()
	m, err := zoo.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func initial(t *testing.T, c zoo.Config, seed uint64) []zoo.Weight {
	t.Helper()
	weights, err := newModel(t, c).Initial(devicetest.Go(t).Backend, [3]int{32, 32, 3}, seed)
	if err != nil {
		t.Fatal(err)
	}
	return weights
}
