// Package distill holds the distillation methods, one file each, behind one small interface and one registry. A method adds
// named losses to a batch's outputs; the trainer knows no method by name.
package distill

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gomlx/gomlx/core/graph"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// Method turns one batch's outputs into named losses.
type Method interface {
	// Name of the registry.
	Name() string
	// Needs says what the method learns from.
	Needs() Needs
	// Losses builds the losses of a batch. It is a graph-building function.
	Losses(b Batch) Losses
}

// Needs says what a method needs beside images and labels.
type Needs struct {
	Teacher bool // the teacher's logits
	AuxHead bool // a second head on the student
}

// Batch holds what the losses of a batch are made of; all logits are [N, C].
type Batch struct {
	Logits        *graph.Node // the student's main head
	AuxLogits     *graph.Node // its auxiliary head, nil without one
	TeacherLogits *graph.Node // constants; nil without a teacher
	Labels        *graph.Node // [N] int32
}

// Losses are the terms of a method. The first is the loss on the labels where a method has one.
type Losses struct {
	Terms []Term
	// Align asks for gradient alignment: the gradient of the first term stays as it is, that of the sum of the others loses its
	// component against it (see [dhkd.AlignGradients]). Else the gradients are added.
	Align bool
}

// Term is one loss, a scalar before its weight.
type Term struct {
	Name   string // "ce", "kl", "binarykl", "binarykl_norm": metrics are named after it
	Value  *graph.Node
	Weight float64
}

// registry maps a method's name to its constructor and the hyper-parameters that it uses; each method's file adds itself.
var registry = map[string]entry{}

type entry struct {
	make func(p record.Method) Method
	uses hyperParameters
	what string
}

type hyperParameters struct{ gamma, alpha, temperature, align, literal bool }

// New returns the method with the given name and hyper-parameters. An error names the field that is missing, out of range, or
// not one of this method's.
func New(p record.Method) (Method, error) {
	e, ok := registry[p.Name]
	if !ok {
		return nil, fmt.Errorf("method.name: unknown method %q: choose one of %s", p.Name, strings.Join(Names(), ", "))
	}
	for _, field := range []struct {
		name      string
		used, set bool
		valid     bool
		want      string
	}{
		{"gamma", e.uses.gamma, p.Gamma != 0, p.Gamma > 0, "more than 0"},
		{"alpha", e.uses.alpha, p.Alpha != 0, p.Alpha > 0, "more than 0"},
		{"temperature", e.uses.temperature, p.Temperature != 0, p.Temperature > 0, "more than 0"},
		{"align", e.uses.align, p.Align, true, ""},
		{"literal", e.uses.literal, p.Literal, true, ""},
	} {
		if field.set && !field.used {
			return nil, fmt.Errorf("method.%s: method %s has no such hyper-parameter: leave it out", field.name, p.Name)
		}
		if field.used && !field.valid {
			return nil, fmt.Errorf("method.%s: method %s needs it, %s", field.name, p.Name, field.want)
		}
	}
	return e.make(p), nil
}

// Names lists the methods, sorted.
func Names() []string { return slices.Sorted(maps.Keys(registry)) }

// Describe says what the method of that name is, in one line.
func Describe(name string) string { return registry[name].what }
