package distill

import (
	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// crossEntropy trains on the labels alone: L = CE(z, y).
type crossEntropy struct{}

func init() {
	registry["ce"] = entry{
		make: func(record.Method) Method { return crossEntropy{} },
		what: "cross-entropy on the labels, no teacher",
	}
}

func (crossEntropy) Name() string { return "ce" }

func (crossEntropy) Needs() Needs { return Needs{} }

func (crossEntropy) Losses(b Batch) Losses {
	return Losses{Terms: []Term{{Name: "ce", Value: dhkd.CrossEntropy(b.Logits, b.Labels), Weight: 1}}}
}
