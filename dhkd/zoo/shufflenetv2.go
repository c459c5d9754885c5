package zoo

import (
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"

	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
)

// shuffleNetsV2 holds ShuffleNetV2 1x (Ma et al. 2018) as the distillation literature has it for CIFAR: a 1x1 stem and
// no pooling after it.
var shuffleNetsV2 = fixed(32, map[string]forward{"ShuffleV2": shuffleV2})

func shuffleV2(s *nn.Scope, images *Node, m *Model) Outputs {
	x := nn.ReLU(s, pointwise(s, "1", images, 24))
	out := Outputs{Features: []*Node{x}, PreReLU: []*Node{x}}
	for stage, blocks := range [...]int{4, 8, 4} {
		var branches []*Node
		for block := range blocks {
			in := s.In(fmt.Sprintf("layer%d.%d", stage+1, block))
			if block == 0 {
				x, branches = shuffleV2Down(in, x, 116<<stage)
			} else {
				x, branches = shuffleV2Split(in, x)
			}
		}
		out.Features, out.PreReLU = append(out.Features, x), append(out.PreReLU, nn.Concat(s, branches...))
	}
	x = nn.ReLU(s, pointwise(s, "2", x, 1024))
	return out.heads(s, x, m, "linear", "linear2", nn.Linear)
}

// shuffleV2Down halves the map in two branches. Results are the unit's output, and the branches before their ReLUs.
func shuffleV2Down(s *nn.Scope, x *Node, width int) (y *Node, branches []*Node) {
	left := pointwise(s, "2", depthwise(s, "1", x, 2), width/2)
	right := nn.ReLU(s, pointwise(s, "3", x, width/2))
	right = pointwise(s, "5", depthwise(s, "4", right, 2), width/2)
	y = nn.Concat(s, nn.ReLU(s, left), nn.ReLU(s, right))
	return nn.ChannelShuffle(s, y, 2), []*Node{left, right}
}

// shuffleV2Split passes half of the channels by. Results are as those of shuffleV2Down.
func shuffleV2Split(s *nn.Scope, x *Node) (y *Node, branches []*Node) {
	width := x.Shape().Dim(3)
	left, right := nn.ChannelSlice(s, x, 0, width/2), nn.ChannelSlice(s, x, width/2, width)
	right = nn.ReLU(s, pointwise(s, "1", right, width/2))
	right = pointwise(s, "3", depthwise(s, "2", right, 1), width/2)
	y = nn.Concat(s, left, nn.ReLU(s, right))
	return nn.ChannelShuffle(s, y, 2), []*Node{left, right}
}

// pointwise is convolution and batch norm of that number, "conv1" and "bn1".
func pointwise(s *nn.Scope, number string, x *Node, width int) *Node {
	return convBN(s, "conv"+number, "bn"+number, x, nn.Conv{Channels: width, Kernel: 1, Weight: nn.KaimingUniform})
}

// depthwise is [pointwise] for a 3x3 convolution of each channel on its own.
func depthwise(s *nn.Scope, number string, x *Node, stride int) *Node {
	width := x.Shape().Dim(3)
	return convBN(s, "conv"+number, "bn"+number, x,
		nn.Conv{Channels: width, Kernel: 3, Stride: stride, Padding: 1, Groups: width, Weight: nn.KaimingUniform})
}
