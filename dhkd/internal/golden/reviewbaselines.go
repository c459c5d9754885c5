package golden

import (
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"

	"github.com/dhkd-lab/dhkd-go/dhkd/distill"
)

// reviewABF is the fusion of three maps, deepest first, and the loss on what it gives.
func reviewABF(b *baselineCase) (*Node, map[string]*Node) {
	const levels = 3
	for level := range levels {
		abf := fmt.Sprintf("abf%d.", level)
		for _, parameter := range []string{"conv1.0.weight", "conv1.1.weight", "conv1.1.bias", "conv2.0.weight",
			"conv2.1.weight", "conv2.1.bias"} {
			b.module(abf+parameter, abf+parameter)
		}
		if level > 0 {
			b.module(abf+"att_conv.0.weight", abf+"att_conv.0.weight")
			b.module(abf+"att_conv.0.bias", abf+"att_conv.0.bias")
		}
	}
	student, teacher := b.mapPairs(levels)
	fused := distill.FuseMaps(b.scope, student, teacher, int(b.hyper("mid")))
	return distill.HierarchicalContext(fused, teacher), nil
}

// reviewHCL is the loss on four maps; the case stores the part of each.
func reviewHCL(b *baselineCase) (*Node, map[string]*Node) {
	const pairs = 4
	student, teacher := b.mapPairs(pairs)
	terms := map[string]*Node{}
	for i := range pairs {
		terms[fmt.Sprint("pair", i)] = distill.HierarchicalContext(student[i:i+1], teacher[i:i+1])
	}
	return distill.HierarchicalContext(student, teacher), terms
}

// mapPairs are the maps s0, s1, ... and t0, t1, ... of a case.
func (b *baselineCase) mapPairs(n int) (student, teacher []*Node) {
	for i := range n {
		student, teacher = append(student, b.maps(fmt.Sprint("s", i))), append(teacher, b.maps(fmt.Sprint("t", i)))
	}
	return student, teacher
}
