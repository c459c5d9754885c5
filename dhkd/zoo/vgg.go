package zoo

import (
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/support/exceptions"

	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
)

// vggs are the VGG nets with batch norm (Simonyan and Zisserman 2015) as CIFAR has them: five blocks of 3x3
// convolutions, with a 2x2 max-pool between, but none between the last two unless the images are 64 pixels high, and
// one linear layer.
var vggs = fixed(32, map[string]forward{
	"vgg8":  vgg{1, 1, 1, 1, 1}.forward,
	"vgg11": vgg{1, 1, 2, 2, 2}.forward,
	"vgg13": vgg{2, 2, 2, 2, 2}.forward,
	"vgg16": vgg{2, 2, 3, 3, 3}.forward,
	"vgg19": vgg{2, 2, 4, 4, 4}.forward,
})

// vgg counts the convolutions of each block.
type vgg [5]int

func (v vgg) forward(s *nn.Scope, images *Node, m *Model) Outputs {
	if h, w := images.Shape().Dim(1), images.Shape().Dim(2); min(h, w) < 8 {
		exceptions.Panicf("%s halves its maps three times: images must be at least 8x8, not %dx%d", m.Name, h, w)
	}
	var out Outputs
	x := images
	for block, width := range [...]int{64, 128, 256, 512, 512} {
		if block > 0 && (block < 4 || images.Shape().Dim(1) == 64) {
			x = nn.MaxPool2D(s, x, 2, 2, 0)
		}
		var normalized *Node
		for i := range v[block] { // every third module is a ReLU
			in := s.In(fmt.Sprint("block", block))
			normalized = convBN(in, fmt.Sprint(3*i), fmt.Sprint(3*i+1), x,
				nn.Conv{Channels: width, Kernel: 3, Padding: 1, Bias: nn.Constant(0)})
			x = nn.ReLU(s, normalized)
		}
		if block == 0 {
			normalized = x // the stem, see Outputs.PreReLU
		}
		out.Features, out.PreReLU = append(out.Features, x), append(out.PreReLU, normalized)
	}
	return out.heads(s, x, m, "classifier", "classifier2", linearNormal)
}

// linearNormal is [nn.Linear] with weights that start as N(0, 0.01^2) and biases at 0.
func linearNormal(s *nn.Scope, x *Node, out int) *Node {
	return nn.LinearWith(s, x, out, nn.Normal(0.01), nn.Constant(0))
}
