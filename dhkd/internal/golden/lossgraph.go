package golden

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/internal/golden/fixture"
)

// term is one loss at one temperature.
type term struct {
	name        string // as the case names it
	loss        string // "ce", "kd", "bkl" (BinaryKL) or "bkln" (BinaryKL-Norm)
	temperature float64
}

// caseTerms reads the terms of a case; temperature is that of the terms whose name has none.
func caseTerms(c *fixture.Case, temperature float64) ([]term, error) {
	var named map[string]json.RawMessage
	if err := c.Field("terms", &named); err != nil {
		return nil, err
	}
	var terms []term
	for _, name := range slices.Sorted(maps.Keys(named)) {
		t, err := parseTerm(name, temperature)
		if err != nil {
			return nil, err
		}
		terms = append(terms, t)
	}
	return terms, nil
}

// parseTerm reads names such as "ce", "kd_T4" and, given a temperature, "bkl".
func parseTerm(name string, temperature float64) (term, error) {
	loss, text, ok := strings.Cut(name, "_T")
	if ok {
		var err error
		if temperature, err = strconv.ParseFloat(text, 64); err != nil {
			return term{}, fmt.Errorf("term %q: %q is not a temperature", name, text)
		}
	}
	switch loss {
	case "ce":
		return term{name: name, loss: loss}, nil
	case "kd", "bkl", "bkln":
		if !(temperature > 0) || math.IsInf(temperature, 1) {
			return term{}, fmt.Errorf("term %q: it has no temperature, or one that is not positive and finite", name)
		}
		return term{name, loss, temperature}, nil
	}
	return term{}, fmt.Errorf("term %q: unknown loss; known are ce, kd_T*, bkl_T* and bkln_T*", name)
}

func (t term) isBinary() bool { return t.loss == "bkl" || t.loss == "bkln" }

func (t term) stablePrefix() string {
	if t.isBinary() {
		return "stable_"
	}
	return ""
}

// entryState says how one entry of a literal form behaves.
type entryState struct {
	saturated bool    // the sigmoid is 1, so that the float32 value is not finite and the gradient is not defined
	atEdge    bool    // within 1e-3 of where that begins, or where a clamp begins to hold
	slack     float64 // what the last bit of the sigmoid does to the value, before the mean over the batch
}

func (t term) entry(student, teacher float64, dtype dtypes.DType) entryState {
	x, weight := student/t.temperature, 1/(1+math.Exp(teacher/t.temperature))
	if t.loss == "bkln" {
		x, weight = (student-teacher)/t.temperature, 0.5
	}
	const edgeWidth = 1e-3
	lowerEdge, upperEdge, lastBit := math.Log(1e-8), -math.Log(1e-8), math.Ldexp(1, -52)
	if dtype == dtypes.Float32 {
		upperEdge, lastBit = 24*math.Ln2, math.Ldexp(1, -23)
	}
	return entryState{
		saturated: dtype == dtypes.Float32 && x >= upperEdge,
		atEdge:    math.Abs(x-lowerEdge) <= edgeWidth || math.Abs(x-upperEdge) <= edgeWidth,
		slack:     t.temperature * t.temperature * weight * lastBit * (1 + math.Exp(min(x, upperEdge))),
	}
}

// lossBatch is the input of the losses: flat logits of n samples, and their labels.
type lossBatch struct {
	student, teacher []float64
	labels           []int64
	n, classes       int
}

func readBatch(c *fixture.Case) (lossBatch, error) {
	batch, err := readLogits(c, "student", "teacher")
	if err == nil && c.HasTensor("labels") {
		batch.labels, err = c.Ints("labels", batch.n)
	}
	return batch, err
}

func readLogits(c *fixture.Case, student, teacher string) (batch lossBatch, err error) {
	if batch.student, err = c.Floats(student, -1, -1); err != nil {
		return batch, err
	}
	shape, err := c.Shape(student)
	if err != nil {
		return batch, err
	}
	batch.n, batch.classes = shape[0], shape[1]
	batch.labels = make([]int64, batch.n)
	batch.teacher, err = c.Floats(teacher, batch.n, batch.classes)
	return batch, err
}

// lossResult holds "value", "grad" and, for the binary losses, "literal_value" and "literal_grad" of one term.
type lossResult map[string][]float64

type lossExec struct {
	*graph.Exec
	terms []term
}

func newLossExec(backend compute.Backend, terms []term) (*lossExec, error) {
	exec, err := graph.NewExec(backend, func(inputs []*graph.Node) (outputs []*graph.Node) {
		student, teacher, labels := inputs[0], inputs[1], inputs[2]
		add := func(value *graph.Node) {
			outputs = append(outputs, value, graph.Gradient(value, student)[0])
		}
		for _, t := range terms {
			switch t.loss {
			case "ce":
				add(dhkd.CrossEntropy(student, labels))
			case "kd":
				add(dhkd.KL(student, teacher, t.temperature))
			case "bkl":
				add(dhkd.BinaryKL(student, teacher, t.temperature))
				add(dhkd.LiteralBinaryKL(student, teacher, t.temperature))
			case "bkln":
				add(dhkd.BinaryKLNorm(student, teacher, t.temperature))
				add(dhkd.LiteralBinaryKLNorm(student, teacher, t.temperature))
			}
		}
		return outputs
	})
	if err != nil {
		return nil, err
	}
	if len(terms) == 0 {
		return nil, errors.New("the case names no terms")
	}
	return &lossExec{exec, terms}, nil
}

// run gives one result for each term.
func (e *lossExec) run(dtype dtypes.DType, batch lossBatch) ([]lossResult, error) {
	outputs, err := e.Call(
		fixture.Make(dtype, batch.student, batch.n, batch.classes),
		fixture.Make(dtype, batch.teacher, batch.n, batch.classes),
		tensors.FromFlatDataAndDimensions(batch.labels, batch.n))
	if err != nil {
		return nil, err
	}
	results := make([]lossResult, len(e.terms))
	next := 0
	for i, t := range e.terms {
		parts := []string{"value", "grad"}
		if t.isBinary() {
			parts = append(parts, "literal_value", "literal_grad")
		}
		results[i] = lossResult{}
		for _, part := range parts {
			if results[i][part], err = fixture.Flat(outputs[next]); err != nil {
				return nil, err
			}
			next++
		}
	}
	return results, nil
}
