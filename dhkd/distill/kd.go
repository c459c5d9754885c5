package distill

import (
	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// kd is Hinton's distillation (arXiv 1503.02531): L = gamma CE(z, y) + alpha KL(z, zt; T), of z-scores where
// standardize is set. The usual setting on CIFAR-100 is gamma 0.1, alpha 0.9, T 4 (CRD, mdistiller).
type kd struct{ record.Method }

func init() {
	registry["kd"] = entry{
		make: func(p record.Method) Method { return kd{p} },
		parameters: []HyperParameter{labels(0.1), positive("alpha", 0.9, "weight of the KL divergence"), temperature(4),
			standardize("T 2, alpha 9")},
		what:   "cross-entropy and the KL divergence of softened probabilities",
		source: "Hinton et al. 2015, arXiv 1503.02531",
	}
}

func (m kd) Name() string { return m.Method.Name }

func (kd) Needs() Needs { return Needs{Teacher: true} }

func (m kd) Losses(b Batch) Losses {
	student, teacher := mainLogits(b, m.Standardize)
	return Losses{Terms: []Term{
		{Name: "ce", Value: dhkd.CrossEntropy(b.Logits, b.Labels), Weight: m.Gamma},
		{Name: "kl", Value: dhkd.KL(student, teacher, m.Temperature), Weight: m.Alpha},
	}}
}
