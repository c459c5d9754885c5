package zoo_test

import (
	"slices"
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/dhkd-lab/dhkd-go/dhkd/device/devicetest"
	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

// TestNorms checks which batch norms belong to the maps before ReLU: those that mdistiller's get_bn_before_relu names.
func TestNorms(t *testing.T) {
	for name, want := range map[string][]string{
		"resnet20":    {"", "layer1.2.bn2", "layer2.2.bn2", "layer3.2.bn2"},
		"wrn_16_2":    {"", "block2.layer.0.bn1", "block3.layer.0.bn1", "bn1"},
		"vgg8":        {"", "block1.1", "block2.1", "block3.1", "block4.1"},
		"ResNet50":    {"", "layer1.2.bn3", "layer2.3.bn3", "layer3.5.bn3", "layer4.2.bn3"},
		"MobileNetV2": {"", "blocks.1.1.conv.7", "blocks.2.2.conv.7", "blocks.4.2.conv.7", "blocks.6.0.conv.7"},
		"MobileNetV1": {"model.3.4", "model.5.4", "model.11.4", "model.13.4"},
		"ShuffleV2":   {"", "", "", ""},
	} {
		g := graph.NewGraph(devicetest.Go(t).Backend, name)
		store := model.NewStore()
		model.SetStore(g, store)
		m := newModel(t, zoo.Config{Name: name, Classes: 10})
		images := graph.Parameter(g, "images", shapes.Make(dtypes.Float32, 2, m.Side, m.Side, 3))
		heard := 0
		options := nn.Options{Trace: func(nn.Layer) { heard++ }}
		out := m.Forward(nn.New(store.Scope("/net"), options), images)
		names := map[*graph.Node]string{}
		for v := range store.IterVariables() {
			names[v.NodeValue(g)] = v.Name()
		}
		var got []string
		for i, norm := range out.Norms {
			if norm.Scale == nil {
				got = append(got, "")
				continue
			}
			prefix := names[norm.Scale][:len(names[norm.Scale])-len(".weight")]
			if names[norm.Shift] != prefix+".bias" {
				t.Errorf("%s, map %d: %s and %s", name, i, names[norm.Scale], names[norm.Shift])
			}
			got = append(got, prefix)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
		if heard == 0 {
			t.Errorf("%s: the trace heard nothing", name)
		}
		g.Finalize()
	}
}
