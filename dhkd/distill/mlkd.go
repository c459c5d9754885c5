package distill

import (
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// multiLevel is multi-level logit distillation: L = gamma CE(z, y) + alpha instance + beta (class + batch), each term
// of [MLKD] summed over the temperatures 2 to 6. Published for CIFAR-100: gamma 0.1, alpha and beta 0.9.
//
// What the published code (Jin-Ying/Multi-Level-Logit-Distillation, commit 6327e73) has beyond that is not here: every
// loss on two views of an image, weakly and strongly augmented, and for the weak view masks of the samples (classes,
// for the class level) of which the teacher is less sure. There the masks multiply losses that are already summed to
// one number, so all that they do is to halve them. Its runs take 480 epochs in the literature's tables. standardize
// acts on the instance level alone, as in the code of Sun et al. 2024.
type multiLevel struct{ record.Method }

func init() {
	registry["mlkd"] = entry{
		make: func(p record.Method) Method { return multiLevel{p} },
		parameters: []HyperParameter{labels(0.1), positive("alpha", 0.9, "weight of the instance level"),
			positive("beta", 0.9, "weight of the class and of the batch level"),
			standardize("alpha and beta 9, and its temperature 4 set to 2; acts on the instance level")},
		what:   "multi-level logits: KL divergence and correlations of classes and of samples, at five temperatures",
		source: "Jin et al. 2023, CVPR, Multi-Level Logit Distillation",
	}
}

func (m multiLevel) Name() string { return m.Method.Name }

func (multiLevel) Needs() Needs { return Needs{Teacher: true} }

func (m multiLevel) Losses(b Batch) Losses {
	terms := []Term{
		{Name: "ce", Value: dhkd.CrossEntropy(b.Logits, b.Labels), Weight: m.Gamma},
		{Name: "instance", Weight: m.Alpha},
		{Name: "class", Weight: m.Beta},
		{Name: "batch", Weight: m.Beta},
	}
	for _, temperature := range []float64{2, 3, 4, 5, 6} {
		instance, class, batch := MLKD(b.Logits, b.Teacher.Logits, temperature)
		if m.Standardize {
			student, teacher := mainLogits(b, true)
			instance = dhkd.KL(student, teacher, temperature)
		}
		for i, level := range []*Node{instance, class, batch} {
			if sum := &terms[1+i].Value; *sum == nil {
				*sum = level
			} else {
				*sum = Add(*sum, level)
			}
		}
	}
	return Losses{Terms: terms}
}

// MLKD is the loss of three levels at one temperature. With P and Q the probabilities softmax(z/T), [N, C], of
// student and teacher,
//
//	instance = KL(zs, zt; T)      class = ||P'P - Q'Q||² / C      batch = ||PP' - QQ'||² / N
//
// (' transposes, the norms are Frobenius's; see [dhkd.KL], whose T² the other two do not have). C >= 2. Source: Jin
// et al. 2023, CVPR, Multi-Level Logit Distillation, and its code.
func MLKD(student, teacher *Node, temperature float64) (instance, class, batch *Node) {
	instance = dhkd.KL(student, teacher, temperature)
	p, q := soften(student, temperature), soften(StopGradient(teacher), temperature)
	level := func(summed, kept int) *Node {
		product := func(p *Node) *Node { return DotGeneral(p, []int{summed}, nil, p, []int{summed}, nil) }
		return DivScalar(ReduceAllSum(Square(Sub(product(p), product(q)))), float64(p.Shape().Dim(kept)))
	}
	return instance, level(0, 1), level(1, 0)
}
