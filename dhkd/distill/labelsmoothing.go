package distill

import (
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// labelSmoothing is cross-entropy with targets (1 - alpha) onehot(y) + alpha/C, which regularises and needs no
// teacher: whatever a method gains on it is not just softer targets.
//
//	L = (1 - alpha) CE(z, y) + alpha UniformCrossEntropy(z)
//
// Published: alpha, there epsilon, 0.1 for ImageNet (section 7).
type labelSmoothing struct{ record.Method }

func init() {
	registry["label-smoothing"] = entry{
		make:       func(p record.Method) Method { return labelSmoothing{p} },
		parameters: []HyperParameter{share("alpha", 0.1, "share of the targets that all classes have in equal parts")},
		what:       "label smoothing: cross-entropy on softened labels, no teacher",
		source:     "Szegedy et al. 2016, CVPR, arXiv 1512.00567",
	}
}

func (m labelSmoothing) Name() string { return m.Method.Name }

func (labelSmoothing) Needs() Needs { return Needs{} }

func (m labelSmoothing) Losses(b Batch) Losses {
	return Losses{Terms: []Term{
		{Name: "ce", Value: dhkd.CrossEntropy(b.Logits, b.Labels), Weight: 1 - m.Alpha},
		{Name: "ce_uniform", Value: UniformCrossEntropy(b.Logits), Weight: m.Alpha},
	}}
}

// UniformCrossEntropy is the cross-entropy of the predictions with a distribution that prefers no class, H(u, p) of
// label smoothing:
//
//	L = -1/(N C) sum_ik log softmax(z_i)_k      dL/dz = (softmax(z) - 1/C) / N
//
// logits: [N, C], C >= 2. Source: Szegedy et al. 2016, arXiv 1512.00567, section 7.
func UniformCrossEntropy(logits *Node) *Node {
	checkLogits("UniformCrossEntropy", logits, logits, 2)
	return Neg(ReduceAllMean(LogSoftmax(logits)))
}
