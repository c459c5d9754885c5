package zoo

import (
	"strconv"

	. "github.com/gomlx/gomlx/core/graph"

	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
)

// resNet is a CIFAR ResNet of depth 6n+2 (He et al. 2016): a 3x3 stem and three stages of n basic blocks, with
// post-activation, and a 1x1 convolution with batch norm as the shortcut where the shape changes.
type resNet struct {
	blocks int    // n, blocks a stage
	widths [4]int // channels of the stem and the three stages
}

func init() {
	narrow, wide := [4]int{16, 16, 32, 64}, [4]int{32, 64, 128, 256}
	for depth, n := range map[int]int{8: 1, 14: 2, 20: 3, 32: 5, 44: 7, 56: 9, 110: 18} {
		families["resnet"+strconv.Itoa(depth)] = resNet{n, narrow}.forward
	}
	families["resnet8x4"] = resNet{1, wide}.forward
	families["resnet32x4"] = resNet{5, wide}.forward
}

func (r resNet) forward(s *nn.Scope, images *Node, m *Model) Outputs {
	x := nn.Conv2D(s.In("conv1"), images, r.widths[0], 3, 1, 1)
	x = nn.ReLU(s, nn.BatchNorm(s.In("bn1"), x))
	out := Outputs{Features: []*Node{x}, PreReLU: []*Node{x}}
	for stage, width := range r.widths[1:] {
		var sum *Node
		for block := range r.blocks {
			stride := 1
			if stage > 0 && block == 0 {
				stride = 2
			}
			sum = basicBlock(s.In("layer"+strconv.Itoa(stage+1)+"."+strconv.Itoa(block)), x, width, stride)
			x = nn.ReLU(s, sum)
		}
		out.Features, out.PreReLU = append(out.Features, x), append(out.PreReLU, sum)
	}
	out.Pooled = nn.GlobalAveragePool(s, x)
	out.Logits = nn.Linear(s.In("fc"), out.Pooled, m.Classes)
	out.AuxLogits = m.AuxHead.Logits(s.In("fc2"), out.Pooled, m.Classes, nn.Linear)
	return out
}

// basicBlock returns the block's output before its last ReLU.
func basicBlock(s *nn.Scope, x *Node, width, stride int) *Node {
	y := nn.Conv2D(s.In("conv1"), x, width, 3, stride, 1)
	y = nn.ReLU(s, nn.BatchNorm(s.In("bn1"), y))
	y = nn.Conv2D(s.In("conv2"), y, width, 3, 1, 1)
	y = nn.BatchNorm(s.In("bn2"), y)
	if stride != 1 || x.Shape().Dim(3) != width {
		x = nn.Conv2D(s.In("downsample.0"), x, width, 1, stride, 0)
		x = nn.BatchNorm(s.In("downsample.1"), x)
	}
	return nn.Sum(s, y, x)
}
