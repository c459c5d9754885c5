package zoo

import (
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"

	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
)

// resNets are the CIFAR ResNets of depth 6n+2 (He et al. 2016): a 3x3 stem and three stages of n basic blocks, with
// post-activation, and a 1x1 convolution with batch norm as the shortcut where the shape changes. In the nets named x4
// the stages are four times as wide and the stem twice.
var resNets = family{
	names: []string{"resnet8", "resnet14", "resnet20", "resnet32", "resnet44", "resnet56", "resnet110", "resnet8x4",
		"resnet32x4"},
	others: "resnet<depth> and resnet<depth>x4 with a depth of 6n+2 up to 1202",
	side:   32,
	find: func(name string) forward {
		var depth int
		for format, widths := range map[string][4]int{"resnet%d": {16, 16, 32, 64}, "resnet%dx4": {32, 64, 128, 256}} {
			if scan(name, format, &depth) && depth >= 8 && depth <= 1202 && depth%6 == 2 {
				return resNet{depth / 6, widths}.forward
			}
		}
		return nil
	},
}

type resNet struct {
	blocks int    // n, blocks a stage
	widths [4]int // channels of the stem and the three stages
}

func (r resNet) forward(s *nn.Scope, images *Node, m *Model) Outputs {
	x := nn.ReLU(s, convBN(s, "conv1", "bn1", images, nn.Conv{Channels: r.widths[0], Kernel: 3, Padding: 1}))
	out := Outputs{Features: []*Node{x}, PreReLU: []*Node{x}}
	for stage, width := range r.widths[1:] {
		var sum *Node
		for block := range r.blocks {
			stride := 1
			if stage > 0 && block == 0 {
				stride = 2
			}
			sum = basicBlock(s.In(fmt.Sprintf("layer%d.%d", stage+1, block)), x, width, stride, "downsample")
			x = nn.ReLU(s, sum)
		}
		out.Features, out.PreReLU = append(out.Features, x), append(out.PreReLU, sum)
	}
	return out.heads(s, x, m, "fc", "fc2", nn.Linear)
}

// basicBlock returns the block's output before its last ReLU.
func basicBlock(s *nn.Scope, x *Node, width, stride int, shortcut string) *Node {
	y := nn.ReLU(s, convBN(s, "conv1", "bn1", x, nn.Conv{Channels: width, Kernel: 3, Stride: stride, Padding: 1}))
	y = convBN(s, "conv2", "bn2", y, nn.Conv{Channels: width, Kernel: 3, Padding: 1})
	return nn.Sum(s, y, project(s.In(shortcut), x, width, stride))
}

// project is x, or a 1x1 convolution with batch norm of it where a block changes the shape.
func project(s *nn.Scope, x *Node, width, stride int) *Node {
	if stride == 1 && x.Shape().Dim(3) == width {
		return x
	}
	return convBN(s, "0", "1", x, nn.Conv{Channels: width, Kernel: 1, Stride: stride})
}
