package zoo_test

import (
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

// TestNonlinearMainHead: in each family the main head gets the tensors that the nonlinear auxiliary head has, and the rest
// of the network is the same.
func TestNonlinearMainHead(t *testing.T) {
	for _, name := range []string{"resnet8", "wrn_10_1", "vgg8", "ResNet18", "ResNet18_imagenet", "MobileNetV1",
		"MobileNetV2", "ShuffleV1", "ShuffleV2"} {
		dual := byName(initial(t, zoo.Config{Name: name, Classes: 5, AuxHead: dhkd.NonlinearAuxHead}, 1))
		want := map[string][]int{}
		for tensor, w := range dual {
			switch first, rest, _ := strings.Cut(tensor, "."); {
			case strings.HasSuffix(first, "2") && zoo.InHead(tensor):
				want[strings.TrimSuffix(first, "2")+"."+rest] = w.Value.Shape().Dimensions
			case !zoo.InHead(tensor):
				want[tensor] = w.Value.Shape().Dimensions
			}
		}
		single := byName(initial(t, zoo.Config{Name: name, Classes: 5, Head: dhkd.NonlinearHead}, 1))
		if len(single) != len(want) {
			t.Errorf("%s: %d tensors, want %d", name, len(single), len(want))
		}
		for tensor, dims := range want {
			w, ok := single[tensor]
			if !ok || !slices.Equal(w.Value.Shape().Dimensions, dims) {
				t.Errorf("%s: no %s of shape %v", name, tensor, dims)
			} else if !zoo.InHead(tensor) && !slices.Equal(tensors.MustCopyFlatData[float32](w.Value),
				tensors.MustCopyFlatData[float32](dual[tensor].Value)) {
				t.Errorf("%s: %s has other initial values", name, tensor)
			}
		}
	}
}

// TestNonlinearMainHeadCounts takes the numbers of the linear head, 101 d for 100 classes, and of the nonlinear one,
// 200 d + 20,700 with 600 values beside its two linear layers.
func TestNonlinearMainHeadCounts(t *testing.T) {
	for name, d := range map[string]int{"resnet20": 64, "resnet8x4": 256, "ShuffleV2": 1024} {
		linear := describe(t, zoo.Config{Name: name, Classes: 100})
		got := describe(t, zoo.Config{Name: name, Classes: 100, Head: dhkd.NonlinearHead})
		for _, aux := range dhkd.AuxHeads {
			if want := linear.Parameters[aux] - (100*d + 100) + (200*d + 20_700); got.Parameters[aux] != want {
				t.Errorf("%s, auxiliary head %s: %d parameters, want %d", name, aux, got.Parameters[aux], want)
			}
		}
		if want := linear.MultiplyAdds - 100*d + 200*d + 20_000; got.MultiplyAdds != want {
			t.Errorf("%s: %d multiply-adds, want %d", name, got.MultiplyAdds, want)
		}
	}
}

func describe(t *testing.T, c zoo.Config) *zoo.Description {
	t.Helper()
	m := newModel(t, c)
	d, err := m.Describe(devicetest.Go(t).Backend, [3]int{m.Side, m.Side, 3})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// A nonlinear head is no [zoo.Classifier].
func TestNoClassifier(t *testing.T) {
	for _, head := range dhkd.Heads {
		g := graph.NewGraph(devicetest.Go(t).Backend, "classifier")
		store := model.NewStore()
		model.SetStore(g, store)
		images := graph.Parameter(g, "images", shapes.Make(dtypes.Float32, 2, 8, 8, 3))
		out := newModel(t, zoo.Config{Name: "resnet8", Classes: 5, Head: head}).
			Forward(nn.New(store.Scope("/net"), nn.Options{}), images)
		if has := out.Classifier != (zoo.Classifier{}); has != (head == dhkd.LinearHead) {
			t.Errorf("%s head: classifier %v", head, out.Classifier)
		}
		g.Finalize()
	}
}
