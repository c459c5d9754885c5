package zoo

import (
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"

	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
)

// mobileNetsV1 holds MobileNetV1 (Howard et al. 2017) at full width: a 3x3 stem of stride 2 and 13 depthwise-separable
// convolutions.
var mobileNetsV1 = fixed(224, map[string]forward{"MobileNetV1": mobileNetV1})

func mobileNetV1(s *nn.Scope, images *Node, m *Model) (out Outputs) {
	x := nn.ReLU(s, convBN(s.In("model.0"), "0", "1", images,
		nn.Conv{Channels: 32, Kernel: 3, Stride: 2, Padding: 1, Weight: nn.KaimingUniform}))
	for i, c := range [...]struct {
		width, stride int
		last          bool // of its stage
	}{
		{64, 1, false}, {128, 2, false}, {128, 1, true}, {256, 2, false}, {256, 1, true}, {512, 2, false}, {512, 1, false},
		{512, 1, false}, {512, 1, false}, {512, 1, false}, {512, 1, true}, {1024, 2, false}, {1024, 1, true},
	} {
		in := s.In(fmt.Sprint("model.", i+1))
		depthwise := nn.Conv{Channels: x.Shape().Dim(3), Kernel: 3, Stride: c.stride, Padding: 1,
			Groups: x.Shape().Dim(3), Weight: nn.KaimingUniform}
		x = nn.ReLU(s, convBN(in, "0", "1", x, depthwise))
		normalized := convBN(in, "3", "4", x, nn.Conv{Channels: c.width, Kernel: 1, Weight: nn.KaimingUniform})
		x = nn.ReLU(s, normalized)
		if c.last {
			out.Features, out.PreReLU = append(out.Features, x), append(out.PreReLU, normalized)
		}
	}
	return out.heads(s, x, m, "classifier", "classifier2", nn.Linear)
}
