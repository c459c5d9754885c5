package distill

import (
	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// kd is Hinton's distillation (arXiv 1503.02531): L = gamma CE(z, y) + alpha KL(z, zt; T).
// The usual setting on CIFAR-100 is gamma 0.1, alpha 0.9, T 4 (CRD, mdistiller).
type kd struct{ record.Method }

func init() {
	registry["kd"] = entry{
		make: func(p record.Method) Method { return kd{p} },
		uses: hyperParameters{gamma: true, alpha: true, temperature: true},
		what: "cross-entropy and the KL divergence of softened probabilities (Hinton et al. 2015)",
	}
}

func (m kd) Name() string { return m.Method.Name }

func (kd) Needs() Needs { return Needs{Teacher: true} }

func (m kd) Losses(b Batch) Losses {
	return Losses{Terms: []Term{
		{"ce", dhkd.CrossEntropy(b.Logits, b.Labels), m.Gamma},
		{"kl", dhkd.KL(b.Logits, b.TeacherLogits, m.Temperature), m.Alpha},
	}}
}
