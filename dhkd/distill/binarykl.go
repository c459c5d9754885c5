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
		make: construct,
		uses: hyperParameters{alpha: true, temperature: true, literal: true},
		what: "the binary KL divergence of every class alone, on one head",
	}
	registry["ce+binarykl"] = entry{
		make: construct,
		uses: hyperParameters{gamma: true, alpha: true, temperature: true, align: true, literal: true},
		what: "cross-entropy and the binary KL divergence on one head",
	}
}

func (m binaryKL) Name() string { return m.Method.Name }

func (binaryKL) Needs() Needs { return Needs{Teacher: true} }

func (m binaryKL) Losses(b Batch) Losses {
	loss := dhkd.BinaryKL
	if m.Literal {
		loss = dhkd.LiteralBinaryKL
	}
	logitLevel := Term{"binarykl", loss(b.Logits, b.TeacherLogits, m.Temperature), m.Alpha}
	if m.Method.Name == "binarykl" {
		return Losses{Terms: []Term{logitLevel}}
	}
	return Losses{
		Terms: []Term{{"ce", dhkd.CrossEntropy(b.Logits, b.Labels), m.Gamma}, logitLevel},
		Align: m.Align,
	}
}
