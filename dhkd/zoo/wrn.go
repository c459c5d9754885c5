package zoo

import (
	"fmt"
	"math"

	. "github.com/gomlx/gomlx/core/graph"

	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
)

// wideResNets are those of Zagoruyko and Komodakis (2016), without dropout: wrn_<depth>_<width> has a 3x3 stem of 16
// channels and three stages of n = (depth-4)/6 pre-activation blocks of 16, 32 and 64 times width channels.
var wideResNets = family{
	names:  []string{"wrn_16_1", "wrn_16_2", "wrn_40_1", "wrn_40_2", "wrn_28_10"},
	others: "wrn_<depth>_<width> with a depth of 6n+4 up to 1204 and a width up to 32",
	side:   32,
	find: func(name string) forward {
		var depth, width int
		if scan(name, "wrn_%d_%d", &depth, &width) && depth >= 10 && depth <= 1204 && depth%6 == 4 &&
			width >= 1 && width <= 32 {
			return wideResNet{(depth - 4) / 6, width}.forward
		}
		return nil
	},
}

type wideResNet struct{ blocks, width int }

func (r wideResNet) forward(s *nn.Scope, images *Node, m *Model) Outputs {
	x := nn.Conv2D(s.In("conv1"), images, 16, 3, 1, 1)
	out := Outputs{Features: []*Node{x}, PreReLU: []*Node{x}}
	for stage := range 3 {
		for block := range r.blocks {
			stride := 1
			if stage > 0 && block == 0 {
				stride = 2
			}
			var normalized *Node
			x, normalized = preActivationBlock(s.In(fmt.Sprintf("block%d.layer.%d", stage+1, block)), x,
				16<<stage*r.width, stride)
			if stage > 0 && block == 0 {
				out.PreReLU = append(out.PreReLU, normalized) // of the stage before
			}
		}
		out.Features = append(out.Features, x)
	}
	x = nn.BatchNorm(s.In("bn1"), x)
	out.PreReLU = append(out.PreReLU, x)
	return out.heads(s, nn.ReLU(s, x), m, "fc", "fc2", linearZeroBias)
}

// preActivationBlock returns the block's output and its first batch norm's. Where the width changes, the shortcut is a
// 1x1 convolution of the activation; else it is x itself.
func preActivationBlock(s *nn.Scope, x *Node, width, stride int) (sum, normalized *Node) {
	normalized = nn.BatchNorm(s.In("bn1"), x)
	active := nn.ReLU(s, normalized)
	y := nn.Conv2D(s.In("conv1"), active, width, 3, stride, 1)
	y = nn.ReLU(s, nn.BatchNorm(s.In("bn2"), y))
	y = nn.Conv2D(s.In("conv2"), y, width, 3, 1, 1)
	if x.Shape().Dim(3) != width {
		x = nn.Conv2D(s.In("convShortcut"), active, width, 1, stride, 0)
	}
	return nn.Sum(s, x, y), normalized
}

// linearZeroBias is [nn.Linear] with biases that start at 0.
func linearZeroBias(s *nn.Scope, x *Node, out int) *Node {
	return nn.LinearWith(s, x, out, nn.Uniform(1/math.Sqrt(float64(x.Shape().Dim(1)))), nn.Constant(0))
}
