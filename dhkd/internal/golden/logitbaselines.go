package golden

import (
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/distill"
)

// Baselines on logits.

func standardizedBaseline(b *baselineCase) (*Node, map[string]*Node) {
	return dhkd.KL(distill.Standardize(b.input("student")), distill.Standardize(b.input("teacher")), b.hyper("T")), nil
}

func dkdBaseline(b *baselineCase) (*Node, map[string]*Node) {
	target, others := distill.DKD(b.input("student"), b.input("teacher"), b.input("labels"), b.hyper("T"))
	loss := Add(MulScalar(target, b.hyper("alpha")), MulScalar(others, b.hyper("beta")))
	return loss, map[string]*Node{"tckd": target, "nckd": others}
}

// distBaseline gives the terms without the square of the temperature, as the case stores them.
func distBaseline(b *baselineCase) (*Node, map[string]*Node) {
	tau := b.hyper("tau")
	inter, intra := distill.DIST(b.input("student"), b.input("teacher"), tau)
	loss := Add(MulScalar(inter, b.hyper("beta")), MulScalar(intra, b.hyper("gamma")))
	return loss, map[string]*Node{"inter": DivScalar(inter, tau*tau), "intra": DivScalar(intra, tau*tau)}
}

func mlkdBaseline(b *baselineCase) (*Node, map[string]*Node) {
	var hyper struct{ T []float64 }
	if err := b.Field("hyper", &hyper); err != nil {
		panic(err)
	}
	loss, terms := ScalarZero(b.input("student").Graph(), b.dtype), map[string]*Node{}
	for _, temperature := range hyper.T {
		instance, class, batch := distill.MLKD(b.input("student"), b.input("teacher"), temperature)
		for name, term := range map[string]*Node{"instance": instance, "class": class, "batch": batch} {
			terms[fmt.Sprintf("%s_T%g", name, temperature)] = term
		}
		loss = Add(loss, Add(instance, Add(class, batch)))
	}
	return loss, terms
}
