package dhkd

import (
	"fmt"
	"slices"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/support/exceptions"

	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
)

// AuxHead is the kind of a student's second, auxiliary classifier, which learns from the teacher while the main one learns
// from the labels. Inference does not use it.
type AuxHead string

// The kinds of auxiliary head.
const (
	NoAuxHead        AuxHead = "none"
	LinearAuxHead    AuxHead = "linear"    // Linear(d, C), as the main head
	NonlinearAuxHead AuxHead = "nonlinear" // Linear(d, 200), dropout 0.1, batch norm, ReLU, Linear(200, C), in this order
)

// AuxHeads lists the kinds.
var AuxHeads = []AuxHead{NoAuxHead, LinearAuxHead, NonlinearAuxHead}

// Constants of the nonlinear head, from the authors' code.
const (
	auxHeadWidth   = 200
	auxHeadDropout = 0.1
)

// ParseAuxHead returns the kind of that name; the empty name is [NoAuxHead].
func ParseAuxHead(name string) (AuxHead, error) {
	if name == "" {
		return NoAuxHead, nil
	}
	if kind := AuxHead(name); slices.Contains(AuxHeads, kind) {
		return kind, nil
	}
	return "", fmt.Errorf("unknown auxiliary head %q: choose one of %v", name, AuxHeads)
}

// Logits builds the head on the pooled feature [N, d] and returns its logits [N, classes], or nil for [NoAuxHead]. The linear
// layers are made by linear, since families of networks differ in their initial values. The variables of the nonlinear head
// are net.0 (Linear), net.2 (BatchNorm) and net.4 (Linear).
func (kind AuxHead) Logits(s *nn.Scope, pooled *Node, classes int,
	linear func(s *nn.Scope, x *Node, out int) *Node) *Node {
	switch kind {
	case NoAuxHead:
		return nil
	case LinearAuxHead:
		return linear(s, pooled, classes)
	case NonlinearAuxHead:
		net := s.In("net")
		x := linear(net.In("0"), pooled, auxHeadWidth)
		x = nn.Dropout(net.In("1"), x, auxHeadDropout)
		x = nn.ReLU(s, nn.BatchNorm(net.In("2"), x))
		return linear(net.In("4"), x, classes)
	}
	exceptions.Panicf("dhkd: unknown auxiliary head %q", kind)
	return nil
}
