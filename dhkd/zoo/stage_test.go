package zoo_test

import (
	"slices"
	"testing"

	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

// TestStage lists the stages of a network of each family, in order.
func TestStage(t *testing.T) {
	resNet := []string{"conv1", "bn1", "layer1", "layer2", "layer3"}
	for name, want := range map[string][]string{
		"resnet8":  resNet,
		"wrn_10_1": {"conv1", "block1", "block2", "block3", "bn1"},
		"vgg8":     {"block0", "block1", "block2", "block3", "block4"},
		"ResNet18": append(slices.Clone(resNet), "layer4"),
		"MobileNetV2": {"conv1", "blocks.0", "blocks.1", "blocks.2", "blocks.3", "blocks.4", "blocks.5", "blocks.6",
			"conv2"},
		"ShuffleV2":         append(slices.Clone(resNet), "conv2", "bn2"),
		"ResNet18_imagenet": append(slices.Clone(resNet), "layer4"),
	} {
		var got []string
		for _, w := range initial(t, zoo.Config{Name: name, Classes: 5}, 1) {
			if stage := zoo.Stage(w.Name); !zoo.InHead(w.Name) && !slices.Contains(got, stage) {
				got = append(got, stage)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	if got := zoo.Stage("model.5.0.weight"); got != "model.5" { // MobileNetV1
		t.Error(got)
	}
}
