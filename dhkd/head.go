package dhkd

import (
	"fmt"
	"slices"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/support/exceptions"

	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
)

// Head is the kind of a network's main classifier. The nonlinear one is not of the paper: it is a control, one head with
// the capacity that an auxiliary head would add.
type Head string

// The kinds of main head.
const (
	LinearHead    Head = "linear"    // Linear(d, C)
	NonlinearHead Head = "nonlinear" // Linear(d, 200), dropout 0.1, batch norm, ReLU, Linear(200, C), in this order
)

// Heads lists the kinds.
var Heads = []Head{LinearHead, NonlinearHead}

// AuxHead is the kind of a student's second, auxiliary classifier, which learns from the teacher while the main one learns
// from the labels. Inference does not use it.
type AuxHead string

// The kinds of auxiliary head.
const (
	NoAuxHead        AuxHead = "none"
	LinearAuxHead    AuxHead = "linear"    // as [LinearHead]
	NonlinearAuxHead AuxHead = "nonlinear" // as [NonlinearHead]
)

// AuxHeads lists the kinds.
var AuxHeads = []AuxHead{NoAuxHead, LinearAuxHead, NonlinearAuxHead}

// Constants of the nonlinear head, from the authors' code.
const (
	nonlinearWidth   = 200
	nonlinearDropout = 0.1
)

// ParseHead returns the kind of that name; the empty name is [LinearHead].
func ParseHead(name string) (Head, error) {
	if name == "" {
		return LinearHead, nil
	}
	if kind := Head(name); slices.Contains(Heads, kind) {
		return kind, nil
	}
	return "", fmt.Errorf("unknown head %q: choose one of %v", name, Heads)
}

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

// Logits builds the head on the pooled feature [N, d] and returns its logits [N, classes]. The linear layers are made by
// linear, since families of networks differ in their initial values. The variables of the nonlinear head are net.0
// (Linear), net.2 (BatchNorm) and net.4 (Linear).
func (kind Head) Logits(s *nn.Scope, pooled *Node, classes int,
	linear func(s *nn.Scope, x *Node, out int) *Node) *Node {
	switch kind {
	case LinearHead:
		return linear(s, pooled, classes)
	case NonlinearHead:
		net := s.In("net")
		x := linear(net.In("0"), pooled, nonlinearWidth)
		x = nn.Dropout(net.In("1"), x, nonlinearDropout)
		x = nn.ReLU(s, nn.BatchNorm(net.In("2"), x))
		return linear(net.In("4"), x, classes)
	}
	exceptions.Panicf("dhkd: unknown head %q", kind)
	return nil
}

// Logits is [Head.Logits] of the same kind, or nil for [NoAuxHead].
func (kind AuxHead) Logits(s *nn.Scope, pooled *Node, classes int,
	linear func(s *nn.Scope, x *Node, out int) *Node) *Node {
	if kind == NoAuxHead {
		return nil
	}
	return Head(kind).Logits(s, pooled, classes, linear)
}
