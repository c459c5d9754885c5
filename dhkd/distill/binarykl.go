package distill

import (
	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// binaryKL is a logit-level loss on the student's only head, alone or with cross-entropy: the settings of the paper's
// Fig. 1(b) that DHKD is the answer to, and the same with the norm form that DHKD has on its second head.
//
//	binarykl:          L = alpha BinaryKL(z, zt; T)
//	binarykl-norm:     L = alpha BinaryKLNorm(z, zt; T)
//	ce+binarykl:       L = gamma CE(z, y) + alpha BinaryKL(z, zt; T)
//	ce+binarykl-norm:  L = gamma CE(z, y) + alpha BinaryKLNorm(z, zt; T)
type binaryKL struct {
	record.Method
	norm bool
}

func init() {
	for _, norm := range []bool{false, true} {
		construct := func(p record.Method) Method { return binaryKL{p, norm} }
		name, what := "binarykl", "the binary KL divergence of every class alone"
		source := "Yang et al. 2025, arXiv 2411.08937, Fig. 1(b)"
		if norm {
			name, what = "binarykl-norm", "BinaryKL-Norm, log cosh of the difference of the logits"
			source = "control of Yang et al. 2025, arXiv 2411.08937"
		}
		alpha := positive("alpha", 1, "weight of the logit-level loss")
		registry[name] = entry{
			make:       construct,
			parameters: []HyperParameter{alpha, temperature(2), literal},
			what:       what + ", on one head",
			source:     source,
		}
		registry["ce+"+name] = entry{
			make:       construct,
			parameters: []HyperParameter{labels(1), alpha, temperature(2), align, alignRule, literal},
			what:       "cross-entropy and " + what + ", on one head",
			source:     source,
		}
	}
}

func (m binaryKL) Name() string { return m.Method.Name }

func (binaryKL) Needs() Needs { return Needs{Teacher: true} }

func (m binaryKL) Losses(b Batch) Losses {
	name, loss := "binarykl", dhkd.BinaryKL
	switch {
	case m.norm && m.Literal:
		name, loss = "binarykl_norm_main", dhkd.LiteralBinaryKLNorm
	case m.norm: // not the name of DHKD's term, which is of another head
		name, loss = "binarykl_norm_main", dhkd.BinaryKLNorm
	case m.Literal:
		loss = dhkd.LiteralBinaryKL
	}
	logitLevel := Term{Name: name, Value: loss(b.Logits, b.Teacher.Logits, m.Temperature), Weight: m.Alpha}
	if m.Gamma == 0 { // only where it is no hyper-parameter
		return Losses{Terms: []Term{logitLevel}}
	}
	return Losses{
		Terms: []Term{{Name: "ce", Value: dhkd.CrossEntropy(b.Logits, b.Labels), Weight: m.Gamma}, logitLevel},
		Align: alignment(m.Method),
	}
}
