package golden

import (
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"

	"github.com/dhkd-lab/dhkd-go/dhkd/distill"
)

// attentionBaseline is attention transfer over four stages; the case stores the part of each.
func attentionBaseline(b *baselineCase) (*Node, map[string]*Node) {
	const stages = 4
	student, teacher := b.mapPairs(stages)
	terms := map[string]*Node{}
	var sum *Node
	for i := range stages {
		term := distill.AttentionTransfer(student[i], teacher[i])
		terms[fmt.Sprint("stage", i)] = term
		if i == 0 {
			sum = term
		} else {
			sum = Add(sum, term)
		}
	}
	return sum, terms
}

func hintBaseline(b *baselineCase) (*Node, map[string]*Node) {
	return distill.Hint(b.maps("student"), b.maps("teacher")), nil
}

// regressedHintBaseline is the hint through the regressor for the maps' sizes.
func regressedHintBaseline(b *baselineCase) (*Node, map[string]*Node) {
	for name, variable := range map[string]string{"weight": "conv.weight", "bias": "conv.bias", "bn_weight": "bn.weight",
		"bn_bias": "bn.bias"} {
		b.module(name, variable)
	}
	teacher := b.maps("teacher")
	return distill.Hint(distill.HintRegressor(b.scope, b.maps("student"), teacher), teacher), nil
}

func pktBaseline(b *baselineCase) (*Node, map[string]*Node) {
	return distill.PKT(b.input("student"), b.input("teacher")), nil
}

func rkdBaseline(b *baselineCase) (*Node, map[string]*Node) {
	distance, angle := distill.RKD(b.input("student"), b.input("teacher"))
	return Add(MulScalar(distance, b.hyper("distance_weight")), MulScalar(angle, b.hyper("angle_weight"))),
		map[string]*Node{"distance": distance, "angle": angle}
}

func spBaseline(b *baselineCase) (*Node, map[string]*Node) {
	return distill.SimilarityPreserving(b.maps("student"), b.maps("teacher")), nil
}
