package zoo

import (
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"

	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
)

// cifarResNets are ResNet18, 34 and 50 with a stem for small images, one 3x3 convolution, which the distillation
// literature calls resnetv2; the authors of DHKD use it at 224 pixels too. Parameters are named as there.
var cifarResNets = fixed(32, map[string]forward{
	"ResNet18": resNetV2{blocks: [4]int{2, 2, 2, 2}}.forward,
	"ResNet34": resNetV2{blocks: [4]int{3, 4, 6, 3}}.forward,
	"ResNet50": resNetV2{blocks: [4]int{3, 4, 6, 3}, bottleneck: true}.forward,
})

// imageNetResNets are the same nets with ImageNet's stem (He et al. 2016): a 7x7 convolution and a 3x3 max-pool, each
// of stride 2. Parameters are named as torchvision's, whose weights fit.
var imageNetResNets = fixed(224, map[string]forward{
	"ResNet18_imagenet": resNetV2{blocks: [4]int{2, 2, 2, 2}, imageNet: true}.forward,
	"ResNet34_imagenet": resNetV2{blocks: [4]int{3, 4, 6, 3}, imageNet: true}.forward,
	"ResNet50_imagenet": resNetV2{blocks: [4]int{3, 4, 6, 3}, imageNet: true, bottleneck: true}.forward,
})

type resNetV2 struct {
	blocks     [4]int // of each stage
	bottleneck bool   // else basic blocks
	imageNet   bool   // the stem, and torchvision's names
}

func (r resNetV2) forward(s *nn.Scope, images *Node, m *Model) Outputs {
	stem := nn.Conv{Channels: 64, Kernel: 3, Padding: 1}
	linear, auxiliary, shortcut := "linear", "linear2", "shortcut"
	if r.imageNet {
		stem = nn.Conv{Channels: 64, Kernel: 7, Stride: 2, Padding: 3}
		linear, auxiliary, shortcut = "fc", "fc2", "downsample"
	}
	x := nn.ReLU(s, convBN(s, "conv1", "bn1", images, stem))
	if r.imageNet {
		x = nn.MaxPool2D(s, x, 3, 2, 1)
	}
	out := Outputs{Features: []*Node{x}, PreReLU: []*Node{x}}
	for stage, blocks := range r.blocks {
		width := 64 << stage
		var sum *Node
		for block := range blocks {
			stride := 1
			if stage > 0 && block == 0 {
				stride = 2
			}
			in := s.In(fmt.Sprintf("layer%d.%d", stage+1, block))
			if r.bottleneck {
				sum = bottleneckBlock(in, x, width, stride, shortcut)
			} else {
				sum = basicBlock(in, x, width, stride, shortcut)
			}
			x = nn.ReLU(s, sum)
		}
		out.Features, out.PreReLU = append(out.Features, x), append(out.PreReLU, sum)
	}
	return out.heads(s, x, m, linear, auxiliary, nn.Linear)
}

// bottleneckBlock returns the output, four times as wide, before the last ReLU. The stride is the 3x3 convolution's.
func bottleneckBlock(s *nn.Scope, x *Node, width, stride int, shortcut string) *Node {
	y := nn.ReLU(s, convBN(s, "conv1", "bn1", x, nn.Conv{Channels: width, Kernel: 1}))
	y = nn.ReLU(s, convBN(s, "conv2", "bn2", y, nn.Conv{Channels: width, Kernel: 3, Stride: stride, Padding: 1}))
	y = convBN(s, "conv3", "bn3", y, nn.Conv{Channels: 4 * width, Kernel: 1})
	return nn.Sum(s, y, project(s.In(shortcut), x, 4*width, stride))
}
