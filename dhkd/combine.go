package dhkd

import (
	"fmt"
	"slices"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/support/exceptions"
)

// AlignmentRule says how the gradients g1 and g2 of two losses are combined.
type AlignmentRule string

// The rules. With one loss's gradient alone there is nothing to combine.
const (
	AddGradients    AlignmentRule = ""          // g1 + g2
	AlignOneSided   AlignmentRule = "one-sided" // DHKD's, see [AlignGradients]
	AlignSymmetric  AlignmentRule = "pcgrad"    // each loses its component against the other as it was (Yu et al. 2020)
	AlignPerLayer   AlignmentRule = "per-layer" // one-sided, for each parameter by itself
	AlignInBackbone AlignmentRule = "backbone"  // one-sided, measured and applied on the backbone; heads are added
)

// AlignmentRules lists the rules.
var AlignmentRules = []AlignmentRule{AddGradients, AlignOneSided, AlignSymmetric, AlignPerLayer, AlignInBackbone}

// ParseAlignmentRule returns the rule of that name; the empty name is [AddGradients].
func ParseAlignmentRule(name string) (AlignmentRule, error) {
	if rule := AlignmentRule(name); slices.Contains(AlignmentRules, rule) {
		return rule, nil
	}
	return "", fmt.Errorf("unknown rule %q: choose one of %v", name, AlignmentRules[1:])
}

// CombineGradients merges the gradients of two losses by a rule. Both slices have one gradient for each parameter, as for
// [AlignGradients]; backbone tells which parameters are not a head's. The alignment is that of all parameters, as they
// came, but for [AlignInBackbone], where it is the backbone's.
func CombineGradients(rule AlignmentRule, g1, g2 []*Node, backbone []bool) (merged []*Node, alignment Alignment) {
	switch rule {
	case AddGradients:
		return addGradients(g1, g2), MeasureAlignment(g1, g2)
	case AlignOneSided:
		return AlignGradients(g1, g2)
	case AlignSymmetric:
		alignment = MeasureAlignment(g1, g2)
		merged, _ = AlignGradients(g1, g2)
		other := projection(alignment.Dot, alignment.G2Squared)
		for i := range merged {
			merged[i] = Add(merged[i], Mul(g2[i], other))
		}
		return merged, alignment
	case AlignPerLayer:
		for i := range g1 {
			one, _ := AlignGradients(g1[i:i+1], g2[i:i+1])
			merged = append(merged, one[0])
		}
		return merged, MeasureAlignment(g1, g2)
	case AlignInBackbone:
		if len(backbone) != len(g1) || !slices.Contains(backbone, true) {
			exceptions.Panicf("gradient alignment: which of the %d parameters are the backbone's is not known", len(g1))
		}
		var first, second []*Node
		for i, in := range backbone {
			if in {
				first, second = append(first, g1[i]), append(second, g2[i])
			}
		}
		aligned, alignment := AlignGradients(first, second)
		merged = addGradients(g1, g2)
		for i, in := range backbone {
			if in {
				merged[i], aligned = aligned[0], aligned[1:]
			}
		}
		return merged, alignment
	}
	exceptions.Panicf("gradient alignment: unknown rule %q", rule)
	return nil, alignment
}

func addGradients(g1, g2 []*Node) []*Node {
	merged := make([]*Node, len(g1))
	for i := range g1 {
		merged[i] = Add(g1[i], g2[i])
	}
	return merged
}
