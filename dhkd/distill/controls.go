package distill

import (
	"github.com/gomlx/gomlx/core/graph"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// control is DHKD with another loss on its second head: controls of what the two heads' separation and BinaryKL-Norm
// each do. With a the auxiliary head's logits,
//
//	dual-ce:        L = gamma CE(z, y) + alpha CE(a, y)             a second head without a teacher
//	dual-kl:        L = gamma CE(z, y) + alpha KL(a, zt; T)         separation with Hinton's loss
//	dual-binarykl:  L = gamma CE(z, y) + alpha BinaryKL(a, zt; T)   the ablation without the norm form
type control struct {
	record.Method
	term  string
	needs Needs
	loss  func(m record.Method, b Batch) *graph.Node
}

// detached is DHKD whose second head reads the backbone's feature and does not shape it: what the teacher teaches is
// kept from the network that is used, which is then trained by cross-entropy alone.
type detached struct{ dualHead }

func init() {
	const source = "control of Yang et al. 2025, arXiv 2411.08937"
	alpha := positive("alpha", 1, "weight of the auxiliary head's loss")
	add := func(name, what string, c control, parameters ...HyperParameter) {
		registry[name] = entry{
			make:       func(p record.Method) Method { return control{p, c.term, c.needs, c.loss} },
			parameters: append([]HyperParameter{labels(1), alpha, align, alignRule}, parameters...),
			what:       what,
			source:     source,
		}
	}
	add("dual-ce", "two heads, cross-entropy on both: a second head without a teacher", control{
		term: "ce_aux", needs: Needs{AuxHead: true},
		loss: func(_ record.Method, b Batch) *graph.Node { return dhkd.CrossEntropy(b.AuxLogits, b.Labels) },
	})
	add("dual-kl", "two heads, KL divergence on the auxiliary one: DHKD with Hinton's loss", control{
		term: "kl_aux", needs: Needs{AuxHead: true, Teacher: true},
		loss: func(m record.Method, b Batch) *graph.Node {
			return dhkd.KL(b.AuxLogits, b.Teacher.Logits, m.Temperature)
		},
	}, temperature(4))
	add("dual-binarykl", "two heads, plain BinaryKL on the auxiliary one: DHKD without the norm form", control{
		term: "binarykl_aux", needs: Needs{AuxHead: true, Teacher: true},
		loss: func(m record.Method, b Batch) *graph.Node {
			if m.Literal {
				return dhkd.LiteralBinaryKL(b.AuxLogits, b.Teacher.Logits, m.Temperature)
			}
			return dhkd.BinaryKL(b.AuxLogits, b.Teacher.Logits, m.Temperature)
		},
	}, temperature(2), literal)
	registry["dhkd-detached"] = entry{
		make:       func(p record.Method) Method { return detached{dualHead{p}} },
		parameters: []HyperParameter{labels(1), alpha, temperature(2), literal, until},
		what:       "DHKD whose auxiliary head has no gradient to the backbone",
		source:     source,
	}
}

func (m control) Name() string { return m.Method.Name }

func (m control) Needs() Needs { return m.needs }

func (m control) Losses(b Batch) Losses {
	return Losses{
		Terms: []Term{
			{Name: "ce", Value: dhkd.CrossEntropy(b.Logits, b.Labels), Weight: m.Gamma},
			{Name: m.term, Value: m.loss(m.Method, b), Weight: m.Alpha},
		},
		Align: alignment(m.Method),
	}
}

func (m detached) Needs() Needs {
	needs := m.dualHead.Needs()
	needs.DetachAux = true
	return needs
}
