package distill

import (
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// attention is attention transfer: at every stage the student learns where the teacher's map is large.
//
//	L = gamma CE(z, y) + alpha sum over stages of AttentionTransfer(f, ft)
//
// Published: alpha 1000 (RepDistiller, scripts/run_cifar_distill.sh; mdistiller, engine/cfg.py, for ImageNet too).
// Stages are paired from the last; mdistiller pairs from the first, which differs from ResNet50 to MobileNetV1 alone.
type attention struct{ record.Method }

func init() {
	registry["at"] = entry{
		make:       func(p record.Method) Method { return attention{p} },
		parameters: []HyperParameter{labels(1), positive("alpha", 1000, "weight of the attention maps' loss")},
		what:       "attention transfer: where each stage's map is large, as in the teacher's",
		source:     "Zagoruyko and Komodakis 2017, ICLR, arXiv 1612.03928",
	}
}

func (m attention) Name() string { return m.Method.Name }

func (attention) Needs() Needs { return Needs{Teacher: true, Features: true} }

func (m attention) Losses(b Batch) Losses {
	student, teacher := stages(b.Features, b.Teacher.Features)
	return Losses{Terms: []Term{
		{Name: "ce", Value: dhkd.CrossEntropy(b.Logits, b.Labels), Weight: m.Gamma},
		{Name: "at", Value: overStages(student, teacher, AttentionTransfer), Weight: m.Alpha},
	}}
}

// AttentionTransfer compares the attention maps of two maps f, [N, H, W, C], whose sizes and channels may differ:
//
//	a = q / ||q||,  q = mean of f² over channels, [N, H W]        L = mean of (as - at)² over N H W
//
// The larger map is averaged to the size of the smaller first. Neither a factor on a map nor the order of its channels
// matters. A map of zeros has a = 0, with gradient 0. The teacher is a constant. Source: Zagoruyko and Komodakis 2017,
// arXiv 1612.03928, with p = 2; the mean over places is RepDistiller's.
func AttentionTransfer(student, teacher *Node) *Node {
	checkFeatures("AttentionTransfer", student, teacher, 4)
	student, teacher = sameSize(student, teacher)
	where := func(f *Node) *Node { return normalize(flat(ReduceMean(Square(f), -1))) }
	return ReduceAllMean(Square(Sub(where(student), where(teacher))))
}
