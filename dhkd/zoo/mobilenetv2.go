package zoo

import (
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"

	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
)

// mobileNetsV2 holds MobileNetV2 (Sandler et al. 2018) at half width as the distillation literature has it for CIFAR:
// ReLU instead of ReLU6, the expanding convolution in the first block too, strides for 32x32 images, and 1280 features.
var mobileNetsV2 = fixed(32, map[string]forward{"MobileNetV2": mobileNetV2})

func mobileNetV2(s *nn.Scope, images *Node, m *Model) Outputs {
	x := nn.ReLU(s, convBN(s.In("conv1"), "0", "1", images, nn.Conv{Channels: 16, Kernel: 3, Stride: 2, Padding: 1}))
	out := Outputs{Features: []*Node{x}, PreReLU: []*Node{x}}
	for i, c := range [...]struct {
		expansion, width, blocks, stride int
		feature                          bool
	}{
		{1, 8, 1, 1, false}, {6, 12, 2, 1, true}, {6, 16, 3, 2, true}, {6, 32, 4, 2, false}, {6, 48, 3, 1, true},
		{6, 80, 3, 2, false}, {6, 160, 1, 1, true},
	} {
		for block := range c.blocks {
			stride := c.stride
			if block > 0 {
				stride = 1
			}
			x = invertedResidual(s.In(fmt.Sprintf("blocks.%d.%d.conv", i, block)), x, c.expansion, c.width, stride)
		}
		if c.feature { // linear: no ReLU follows
			out.Features, out.PreReLU = append(out.Features, x), append(out.PreReLU, x)
		}
	}
	x = nn.ReLU(s, convBN(s.In("conv2"), "0", "1", x, nn.Conv{Channels: 1280, Kernel: 1}))
	return out.heads(s, x, m, "classifier", "classifier2", linearNormal)
}

// invertedResidual expands the channels, convolves each on its own, and projects to the width, without ReLU.
func invertedResidual(s *nn.Scope, x *Node, expansion, width, stride int) *Node {
	expanded := expansion * x.Shape().Dim(3)
	y := nn.ReLU(s, convBN(s, "0", "1", x, nn.Conv{Channels: expanded, Kernel: 1}))
	y = nn.ReLU(s, convBN(s, "3", "4", y,
		nn.Conv{Channels: expanded, Kernel: 3, Stride: stride, Padding: 1, Groups: expanded}))
	y = convBN(s, "6", "7", y, nn.Conv{Channels: width, Kernel: 1})
	if stride == 1 && x.Shape().Dim(3) == width {
		return nn.Sum(s, y, x)
	}
	return y
}
