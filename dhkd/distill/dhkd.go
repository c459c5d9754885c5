package distill

import (
	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// dualHead is Dual-Head Knowledge Distillation (arXiv 2411.08937): labels teach the main head, the teacher's logits the
// auxiliary one, and the second gradient is aligned to the first where align is set.
//
//	L = gamma CE(z, y) + alpha BinaryKLNorm(a, zt; T)
type dualHead struct{ record.Method }

func init() {
	registry["dhkd"] = entry{
		make: func(p record.Method) Method { return dualHead{p} },
		parameters: []HyperParameter{labels(1), positive("alpha", 1, "weight of BinaryKL-Norm (0.1 on ImageNet)"), temperature(2),
			align, alignRule, literal, until},
		what:   "DHKD: cross-entropy on the main head, BinaryKL-Norm on an auxiliary head, gradients aligned or added",
		source: "Yang et al. 2025, arXiv 2411.08937",
	}
}

func (m dualHead) Name() string { return m.Method.Name }

func (m dualHead) Needs() Needs { return Needs{Teacher: true, AuxHead: true, Epoch: m.Until > 0} }

func (m dualHead) Losses(b Batch) Losses {
	loss := dhkd.BinaryKLNorm
	if m.Literal {
		loss = dhkd.LiteralBinaryKLNorm
	}
	return Losses{
		Terms: []Term{
			{Name: "ce", Value: dhkd.CrossEntropy(b.Logits, b.Labels), Weight: m.Gamma},
			{Name: "binarykl_norm", Value: loss(b.AuxLogits, b.Teacher.Logits, m.Temperature), Weight: m.Alpha,
				Factor: before(b, m.Until)},
		},
		Align: alignment(m.Method),
	}
}
