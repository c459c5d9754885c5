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
		uses: hyperParameters{gamma: true, alpha: true, temperature: true, align: true, literal: true},
		what: "DHKD: cross-entropy on the main head, BinaryKL-Norm on an auxiliary head, gradients aligned or added",
	}
}

func (m dualHead) Name() string { return m.Method.Name }

func (dualHead) Needs() Needs { return Needs{Teacher: true, AuxHead: true} }

func (m dualHead) Losses(b Batch) Losses {
	loss := dhkd.BinaryKLNorm
	if m.Literal {
		loss = dhkd.LiteralBinaryKLNorm
	}
	return Losses{
		Terms: []Term{
			{"ce", dhkd.CrossEntropy(b.Logits, b.Labels), m.Gamma},
			{"binarykl_norm", loss(b.AuxLogits, b.TeacherLogits, m.Temperature), m.Alpha},
		},
		Align: m.Align,
	}
}
