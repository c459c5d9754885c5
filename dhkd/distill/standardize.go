package distill

import (
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/support/exceptions"
)

// Standardize is the z-score of each sample's logits, [N, C] with C >= 2:
//
//	z' = (z - mean) / (std + 1e-7),      mean and std over the classes, std with C-1 in the denominator
//
// A constant added to all logits of a sample and a positive factor on them make no difference (but for the 1e-7), so
// a student need not match the size of its teacher's logits. Equal logits give 0. Methods apply it to both networks
// before the temperature where their recipe sets standardize. Source: Sun et al. 2024, Logit Standardization in
// Knowledge Distillation, CVPR, arXiv 2403.01427, and its code (sunshangquan/logit-standardization-KD), which sets T
// 2 (3 for some pairs) and weights nine times those without; CTKD's temperature stays learnt.
func Standardize(logits *Node) *Node {
	if !logits.DType().IsFloat() || logits.Rank() != 2 || logits.Shape().Dim(1) < 2 {
		exceptions.Panicf("Standardize: logits must be floats of shape [batch, classes] with at least 2 classes, "+
			"got %s", logits.Shape())
	}
	centered := center(fromLargest(logits), -1)
	variance := DivScalar(ReduceAndKeep(Square(centered), ReduceSum, -1), float64(logits.Shape().Dim(1)-1))
	return Div(centered, AddScalar(root(variance), 1e-7))
}

// standardize is the switch of methods that may standardise; with says which other hyper-parameters were published
// for it.
func standardize(with string) HyperParameter {
	return option("standardize", "z-score the logits of both networks (Sun et al. 2024; published with "+with+")")
}

// mainLogits are those of both networks, standardised or not.
func mainLogits(b Batch, standardized bool) (student, teacher *Node) {
	if standardized {
		return Standardize(b.Logits), Standardize(b.Teacher.Logits)
	}
	return b.Logits, b.Teacher.Logits
}
