package zoo

import (
	"slices"
	"strings"

	. "github.com/gomlx/gomlx/core/graph"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
)

// convBN is a convolution and its batch norm, in the parts of s of these names.
func convBN(s *nn.Scope, conv, norm string, x *Node, c nn.Conv) *Node {
	return nn.BatchNorm(s.In(norm), nn.ConvWith(s.In(conv), x, c))
}

// headNames are the parts of a network that are heads.
var headNames = []string{"fc", "fc2", "classifier", "classifier2", "linear", "linear2"}

// InHead tells whether the variable of that name belongs to a head; all others are the backbone's.
func InHead(name string) bool {
	part, _, _ := strings.Cut(name, ".")
	return slices.Contains(headNames, part)
}

// InMainHead tells whether the variable of that name belongs to the main head.
func InMainHead(name string) bool {
	part, _, _ := strings.Cut(name, ".")
	return InHead(name) && !strings.HasSuffix(part, "2")
}

// Stage is the top-level module that the variable of that name belongs to: "layer1" of "layer1.0.conv1.weight", "conv1"
// and "bn1" of the stem. Modules of a numbered list are one each: "blocks.3" of MobileNetV2, "model.5" of MobileNetV1.
func Stage(name string) string {
	part, rest, _ := strings.Cut(name, ".")
	number, _, nested := strings.Cut(rest, ".")
	if nested && !strings.ContainsAny(part, digits) && strings.Trim(number, digits) == "" {
		return part + "." + number
	}
	return part
}

const digits = "0123456789"

// Classifier is a linear head as [nn.Linear] has it: weight [classes, d], bias [classes].
type Classifier struct{ Weight, Bias *Node }

// Logits of features [N, d]: [N, classes].
func (c Classifier) Logits(pooled *Node) *Node {
	return Add(DotGeneral(pooled, []int{1}, nil, c.Weight, []int{1}, nil), ExpandAxes(c.Bias, 0))
}

// heads completes the outputs with the pooled last map x and the heads on it, whose linear layers are made by linear.
func (out Outputs) heads(s *nn.Scope, x *Node, m *Model, main, auxiliary string,
	linear func(s *nn.Scope, x *Node, out int) *Node) Outputs {
	head := s.In(main)
	out.Last, out.Pooled = x, nn.GlobalAveragePool(s, x)
	out.Logits = m.Head.Logits(head, out.Pooled, m.Classes, linear)
	if m.Head == dhkd.LinearHead {
		out.Classifier = Classifier{ // which linear has made
			Weight: head.Parameter(x, "weight", nil, m.Classes, x.Shape().Dim(-1)), Bias: head.Parameter(x, "bias", nil, m.Classes),
		}
	}
	read := out.Pooled
	if m.DetachAux {
		read = StopGradient(read)
	}
	out.AuxLogits = m.AuxHead.Logits(s.In(auxiliary), read, m.Classes, linear)
	return out
}
