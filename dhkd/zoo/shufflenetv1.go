package zoo

import (
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"

	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
)

// shuffleNetsV1 holds ShuffleNet (Zhang et al. 2018) with 3 groups as the distillation literature has it for CIFAR: a
// 1x1 stem and no pooling after it.
var shuffleNetsV1 = fixed(32, map[string]forward{"ShuffleV1": shuffleV1})

const shuffleV1Groups = 3

func shuffleV1(s *nn.Scope, images *Node, m *Model) Outputs {
	x := nn.ReLU(s, convBN(s, "conv1", "bn1", images, nn.Conv{Channels: 24, Kernel: 1, Weight: nn.KaimingUniform}))
	out := Outputs{Features: []*Node{x}, PreReLU: []*Node{x}}
	for stage, blocks := range [...]int{4, 8, 4} {
		var joined *Node
		for block := range blocks {
			joined = shuffleV1Unit(s.In(fmt.Sprintf("layer%d.%d", stage+1, block)), x, 240<<stage, block == 0)
			x = nn.ReLU(s, joined)
		}
		out.Features, out.PreReLU = append(out.Features, x), append(out.PreReLU, joined)
	}
	return out.heads(s, x, m, "linear", "linear2", nn.Linear)
}

// shuffleV1Unit returns the unit's output before its last ReLU. The first unit of a stage halves the map and makes only
// the channels that the pooled input beside them leaves.
func shuffleV1Unit(s *nn.Scope, x *Node, width int, first bool) *Node {
	in, stride, groups := x.Shape().Dim(3), 1, shuffleV1Groups
	if first {
		width, stride = width-in, 2
	}
	if in == 24 { // the stem's output is not grouped
		groups = 1
	}
	middle := width / 4
	y := nn.ReLU(s, convBN(s, "conv1", "bn1", x,
		nn.Conv{Channels: middle, Kernel: 1, Groups: groups, Weight: nn.KaimingUniform}))
	y = nn.ChannelShuffle(s, y, groups)
	y = nn.ReLU(s, convBN(s, "conv2", "bn2", y,
		nn.Conv{Channels: middle, Kernel: 3, Stride: stride, Padding: 1, Groups: middle, Weight: nn.KaimingUniform}))
	y = convBN(s, "conv3", "bn3", y,
		nn.Conv{Channels: width, Kernel: 1, Groups: shuffleV1Groups, Weight: nn.KaimingUniform})
	if first {
		return nn.Concat(s, y, nn.AveragePool2D(s, x, 3, 2, 1))
	}
	return nn.Sum(s, y, x)
}
