package distill

import (
	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// binaryKL is the logit-level loss on the student's only head, alone or with cross-entropy: the settings of the paper's
// Fig. 1(b) that DHKD is the answer to.
//
//	binarykl:     L = alpha BinaryKL(z, zt; T)
//	ce+binarykl:  L = gamma CE(z, y) + alpha BinaryKL(z, zt; T)
type binaryKL struct{ record.Method }

func init() {
	construct := func(p record.Method) Method { return binaryKL{p} }
	registry["binarykl"] = entry{
		make:       construct,
		parameters: []HyperParameter{positive("alpha", 1, "weight of BinaryKL"), temperature(2), literal},
		what:       "the binary KL divergence of every class alone, on one head",
		source:     "Yang et al. 2025, arXiv 2411.08937, Fig. 1(b)",
	}
	registry["ce+binarykl"] = entry{
		make:       construct,
		parameters: []HyperParameter{labels(1), positive("alpha", 1, "weight of BinaryKL"), temperature(2), align, alignRule, literal},
		what:       "cross-entropy and the binary KL divergence on one head",
		source:     "Yang et al. 2025, arXiv 2411.08937, Fig. 1(b)",
	}
}

func (m binaryKL) Name() string { return m.Method.Name }

func (binaryKL) Needs() Needs { return Needs{Teacher: true} }

func (m binaryKL) Losses(b Batch) Losses {
	loss := dhkd.BinaryKL
	if m.Literal {
		loss = dhkd.LiteralBinaryKL
	}
	logitLevel := Term{Name: "binarykl", Value: loss(b.Logits, b.Teacher.Logits, m.Temperature), Weight: m.Alpha}
	if m.Method.Name == "binarykl" {
		return Losses{Terms: []Term{logitLevel}}
	}
	return Losses{
		Terms: []Term{{Name: "ce", Value: dhkd.CrossEntropy(b.Logits, b.Labels), Weight: m.Gamma}, logitLevel},
		Align: alignment(m.Method),
	}
}
