package distill

import (
	"fmt"

	"github.com/dhkd-lab/dhkd-go/dhkd"
)

// sum is several methods at once: their terms are added. The first one's rule combines the gradients, its first term
// against all others. A term that an earlier method has already, such as cross-entropy, is counted once: the first one.
type sum []Method

func (s sum) Name() string {
	name := s[0].Name()
	for _, m := range s[1:] {
		name += "+" + m.Name()
	}
	return name
}

func (s sum) Needs() (all Needs) {
	for _, m := range s {
		all = all.or(m.Needs())
	}
	return all
}

func (s sum) Losses(b Batch) (all Losses) {
	known := map[string]bool{}
	for i, m := range s {
		losses := m.Losses(s.part(b, i))
		if all.Logits == nil {
			all.Logits = losses.Logits
		}
		for _, term := range losses.Terms {
			if !known[term.Name] {
				known[term.Name] = true
				all.Terms = append(all.Terms, term)
			}
		}
		if i == 0 {
			all.Align = losses.Align
		}
	}
	if len(all.Terms) < 2 {
		all.Align = dhkd.AddGradients
	}
	return all
}

// fits refuses a method where of it and another one cuts the auxiliary head off the backbone, which would cut it off for both.
func (s sum) fits(m Method) error {
	for _, other := range s {
		cuts, teaches := m, other
		if other.Needs().DetachAux {
			cuts, teaches = other, m
		}
		if cuts.Needs().DetachAux && teaches.Needs().AuxHead && !teaches.Needs().DetachAux {
			return fmt.Errorf("%s cuts the auxiliary head off the backbone, and %s teaches the backbone through it: leave one "+
				"of them out", cuts.Name(), teaches.Name())
		}
	}
	return nil
}

// part is the batch as method number i gets it: its modules have a scope of their own.
func (s sum) part(b Batch, i int) Batch {
	if b.Scope != nil {
		b.Scope = b.Scope.In(fmt.Sprint(i))
	}
	return b
}
