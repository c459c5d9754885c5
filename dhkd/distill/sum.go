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
	scope := b.Scope
	known := map[string]bool{}
	for i, m := range s {
		if scope != nil {
			b.Scope = scope.In(fmt.Sprint(i))
		}
		losses := m.Losses(b)
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
