package zoo_test

import (
	"fmt"
	"math"
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

// TestParameterCounts compares with the counts of the reference implementation's networks for 100 classes.
func TestParameterCounts(t *testing.T) {
	for name, want := range map[string][3]int{ // none, linear, nonlinear
		"resnet8":    {83_892, 90_392, 117_392},
		"resnet14":   {181_108, 187_608, 214_608},
		"resnet20":   {278_324, 284_824, 311_824},
		"resnet32":   {472_756, 479_256, 506_256},
		"resnet44":   {667_188, 673_688, 700_688},
		"resnet56":   {861_620, 868_120, 895_120},
		"resnet110":  {1_736_564, 1_743_064, 1_770_064},
		"resnet8x4":  {1_233_540, 1_259_240, 1_305_440},
		"resnet32x4": {7_433_860, 7_459_560, 7_505_760},
	} {
		for i, head := range dhkd.AuxHeads {
			if got := zoo.Parameters(initial(t, zoo.Config{Name: name, Classes: 100, AuxHead: head}, 1)); got != want[i] {
				t.Errorf("%s with auxiliary head %s: %d parameters, want %d", name, head, got, want[i])
			}
		}
	}
}

func TestNames(t *testing.T) {
	names := zoo.Names()
	if len(names) < 9 || !slices.IsSorted(names) || !slices.Contains(names, "resnet8x4") {
		t.Errorf("%v", names)
	}
}

func TestNewErrors(t *testing.T) {
	for _, test := range []struct {
		config zoo.Config
		want   string
	}{
		{zoo.Config{Name: "resnet9", Classes: 100}, `unknown model "resnet9": choose one of resnet110,`},
		{zoo.Config{Classes: 100}, `unknown model ""`},
		{zoo.Config{Name: "resnet8", Classes: 1}, "model resnet8: needs at least 2 classes, got 1"},
		{zoo.Config{Name: "resnet8", Classes: -5}, "got -5"},
		{zoo.Config{Name: "resnet8", Classes: 10, AuxHead: "big"}, `model resnet8: unknown auxiliary head "big"`},
	} {
		if m, err := zoo.New(test.config); err == nil || !strings.Contains(err.Error(), test.want) || m != nil {
			t.Errorf("%+v: %v, error %v, want %q", test.config, m, err, test.want)
		}
	}
}

func TestInitialErrors(t *testing.T) {
	m := newModel(t, zoo.Config{Name: "resnet8", Classes: 10})
	for _, image := range [][3]int{{0, 32, 3}, {32, -1, 3}, {32, 32, 0}} {
		if _, err := m.Initial(devicetest.Go(t).Backend, image, 0); err == nil ||
			!strings.Contains(err.Error(), "model resnet8 on") || !strings.Contains(err.Error(), "at least 1") {
			t.Errorf("images of %v: %v", image, err)
		}
	}
}

// TestInitialValues checks that the seed and a tensor's name alone make its values, so that networks which differ in a
// head start equal in all the rest; and what the values are like.
func TestInitialValues(t *testing.T) {
	config := zoo.Config{Name: "resnet14", Classes: 10}
	plain := byName(initial(t, config, 3))
	again := byName(initial(t, config, 3))
	other := byName(initial(t, config, 4))
	config.AuxHead = dhkd.NonlinearAuxHead
	dual := byName(initial(t, config, 3))
	for name, w := range plain {
		values := tensors.MustCopyFlatData[float32](w.Value)
		for what, same := range map[string]zoo.Weight{"again": again[name], "with another head": dual[name]} {
			if !slices.Equal(values, tensors.MustCopyFlatData[float32](same.Value)) {
				t.Errorf("%s is not the same %s", name, what)
			}
		}
		constant := strings.Contains(name, "bn") || strings.Contains(name, "downsample.1")
		if equal := slices.Equal(values, tensors.MustCopyFlatData[float32](other[name].Value)); equal != constant {
			t.Errorf("%s with another seed: equal %v", name, equal)
		}
		if w.Trained == strings.Contains(name, "running_") {
			t.Errorf("%s: trained %v", name, w.Trained)
		}
		switch dims := w.Value.Shape().Dimensions; {
		case len(dims) == 4:
			want := math.Sqrt(2 / float64(dims[0]*dims[2]*dims[3]))
			if n := float64(len(values)); math.Abs(rms(values)/want-1) > 4/math.Sqrt(2*n) {
				t.Errorf("%s: standard deviation %g, want %g", name, rms(values), want)
			}
		case strings.HasPrefix(name, "fc"):
			if largest := float64(slices.Max(values)); largest > 1/math.Sqrt(64) || largest < 0.5/math.Sqrt(64) {
				t.Errorf("%s: the largest value is %g, the bound 1/8", name, largest)
			}
		}
	}
	if extra := len(dual) - len(plain); extra != 8 {
		t.Errorf("the nonlinear head has %d tensors, want 8", extra)
	}
	if slices.Equal(tensors.MustCopyFlatData[float32](plain["layer1.0.conv1.weight"].Value),
		tensors.MustCopyFlatData[float32](plain["layer1.0.conv2.weight"].Value)) {
		t.Error("tensors of one shape start equal")
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

// TestOneOutput runs a program of each output alone.
func TestOneOutput(t *testing.T) {
	m := newModel(t, zoo.Config{Name: "resnet8", Classes: 3, AuxHead: dhkd.NonlinearAuxHead})
	for name, choose := range map[string]func(zoo.Outputs) *graph.Node{
		"logits":    func(o zoo.Outputs) *graph.Node { return o.Logits },
		"auxiliary": func(o zoo.Outputs) *graph.Node { return o.AuxLogits },
		"pooled":    func(o zoo.Outputs) *graph.Node { return o.Pooled },
		"stem":      func(o zoo.Outputs) *graph.Node { return o.Features[0] },
		"stage":     func(o zoo.Outputs) *graph.Node { return o.PreReLU[2] },
	} {
		build := func(variables *model.Scope, images *graph.Node) *graph.Node {
			return choose(m.Forward(nn.New(variables.At("net"), nn.Options{}), images))
		}
		exec, err := model.NewExec(devicetest.Go(t).Backend, model.NewStore(), build)
		if err != nil {
			t.Fatal(err)
		}
		defer exec.Finalize()
		if _, err := exec.Call(tensors.FromShape(shapes.Make(dtypes.Float32, 2, 4, 4, 1))); err != nil {
			t.Errorf("%s: %v", name, err)
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

func byName(weights []zoo.Weight) map[string]zoo.Weight {
	named := map[string]zoo.Weight{}
	for _, w := range weights {
		named[w.Name] = w
	}
	return named
}

func rms(values []float32) float64 {
	var squares float64
	for _, v := range values {
		squares += float64(v) * float64(v)
	}
	return math.Sqrt(squares / float64(len(values)))
}
