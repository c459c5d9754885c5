package distill

import (
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// similarity is similarity-preserving distillation: images whose last maps are alike for the teacher are to be alike
// for the student.
//
//	L = gamma CE(z, y) + alpha SimilarityPreserving(f, ft)
//
// Published: alpha 3000, on the last stage's maps (RepDistiller, scripts/run_cifar_distill.sh and train_student.py;
// mdistiller, engine/cfg.py).
type similarity struct{ record.Method }

func init() {
	registry["sp"] = entry{
		make:       func(p record.Method) Method { return similarity{p} },
		parameters: []HyperParameter{labels(1), positive("alpha", 3000, "weight of the similarities' loss")},
		what:       "similarity-preserving KD: the batch's images are as alike in the last map as for the teacher",
		source:     "Tung and Mori 2019, ICCV, arXiv 1907.09682",
	}
}

func (m similarity) Name() string { return m.Method.Name }

func (similarity) Needs() Needs { return Needs{Teacher: true, Features: true} }

func (m similarity) Losses(b Batch) Losses {
	student, teacher := b.Features[len(b.Features)-1], b.Teacher.Features[len(b.Teacher.Features)-1]
	return Losses{Terms: []Term{
		{Name: "ce", Value: dhkd.CrossEntropy(b.Logits, b.Labels), Weight: m.Gamma},
		{Name: "sp", Value: SimilarityPreserving(student, teacher), Weight: m.Alpha},
	}}
}

// SimilarityPreserving compares the similarities within a batch, the rows of F F^T, where F is the flattened features:
//
//	G = rows of F F^T, each divided by its L2 norm, [N, N]        L = sum of (Gs - Gt)² / N²
//
// student, teacher: [N, ...], whose other axes may differ. A rotation of the features, or a factor on all, does not
// matter. The row of an image with features 0 is 0, with gradient 0. The teacher is a constant. Source: Tung and Mori
// 2019, arXiv 1907.09682; RepDistiller for the rows without features.
func SimilarityPreserving(student, teacher *Node) *Node {
	checkFeatures("SimilarityPreserving", student, teacher, 0)
	similarities := func(f *Node) *Node {
		f = flat(f)
		return normalize(DotGeneral(f, []int{1}, nil, f, []int{1}, nil))
	}
	return ReduceAllMean(Square(Sub(similarities(student), similarities(StopGradient(teacher)))))
}
