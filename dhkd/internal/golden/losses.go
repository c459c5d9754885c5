package golden

import (
	"context"
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

// verifyLosses checks the losses and their gradients with respect to the student's logits, in float32 and, where the
// backend has it, float64. Three forms of case exist: named terms on one batch, terms swept over many batches of one entry,
// and named values of terms between pairs of logits.
func verifyLosses(ctx context.Context, backend compute.Backend, c *fixture.Case, r *Result) error {
	verify := verifyBatch
	switch {
	case c.Has("values"):
		verify = verifyPairs
	case c.Has("T"):
		verify = verifySweep
	}
	for _, dtype := range []dtypes.DType{dtypes.Float32, dtypes.Float64} {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !backend.Capabilities().DTypes[dtype] {
			continue
		}
		if err := verify(backend, c, dtype, r); err != nil {
			return err
		}
	}
	return nil
}

func verifyBatch(backend compute.Backend, c *fixture.Case, dtype dtypes.DType, r *Result) error {
	terms, err := caseTerms(c, math.NaN())
	if err != nil {
		return err
	}
	tolerance, err := c.Tolerance(toleranceField(dtype, "value"))
	if err != nil {
		return err
	}
	batch, err := readBatch(c)
	if err != nil {
		return err
	}
	exec, err := newLossExec(backend, terms)
	if err != nil {
		return err
	}
	defer exec.Finalize()
	results, err := exec.run(dtype, batch)
	if err != nil {
		return err
	}
	for i, t := range terms {
		got := results[i]
		for _, part := range []string{"value", "grad"} {
			ref, err := c.Floats(t.name + "/" + t.stablePrefix() + part + "_f64")
			if err != nil {
				return err
			}
			r.MaxRelative(fmt.Sprintf("%s %s %s", t.name, part, dtype), got[part], ref, tolerance)
		}
		if t.isBinary() {
			if err := verifyLiteral(c, t, dtype, batch, got, tolerance, r); err != nil {
				return err
			}
		}
	}
	return nil
}

func verifySweep(backend compute.Backend, c *fixture.Case, dtype dtypes.DType, r *Result) error {
	temperature, err := c.Float("T")
	if err != nil {
		return err
	}
	terms, err := caseTerms(c, temperature)
	if err != nil {
		return err
	}
	rel, err := c.Tolerance("rel")
	if err != nil {
		return err
	}
	abs, err := c.Tolerance("abs")
	if err != nil {
		return err
	}
	student, err := c.Floats("student", -1)
	if err != nil {
		return err
	}
	teacher, err := c.Floats("teacher", len(student))
	if err != nil {
		return err
	}
	exec, err := newLossExec(backend, terms)
	if err != nil {
		return err
	}
	defer exec.Finalize()
	sweeps := make([]lossResult, len(terms))
	for entry := range student {
		batch := lossBatch{student[entry : entry+1], teacher[entry : entry+1], []int64{0}, 1, 1}
		results, err := exec.run(dtype, batch)
		if err != nil {
			return err
		}
		for i, result := range results {
			if sweeps[i] == nil {
				sweeps[i] = lossResult{}
			}
			for part, values := range result {
				sweeps[i][part] = append(sweeps[i][part], values...)
			}
		}
	}
	for i, t := range terms {
		for _, part := range []string{"value", "grad"} {
			ref, err := c.Floats(t.name+"/stable_"+part+"_f64", len(student))
			if err != nil {
				return err
			}
			r.PerEntry(fmt.Sprintf("%s %s %s", t.name, part, dtype), sweeps[i][part], ref, rel, abs)
			literal, err := c.Floats(t.name+"/literal_"+part+suffix(dtype), len(student))
			if err != nil {
				return err
			}
			// Each entry is a batch of its own, compared with its own allowance for rounding.
			got := sweeps[i]["literal_"+part]
			for entry := range student {
				e := t.entry(student[entry], teacher[entry], dtype)
				if part == "value" && e.atEdge || part == "grad" && (e.atEdge || e.saturated) {
					got[entry] = literal[entry]
				} else if part == "value" && math.Abs(got[entry]-literal[entry]) <= e.slack {
					got[entry] = literal[entry]
				}
			}
			r.PerEntry(fmt.Sprintf("%s literal %s %s", t.name, part, dtype), got, literal, rel, abs)
		}
	}
	return nil
}

// verifyLiteral compares the reference implementation's clamped forms. Near saturation their result hangs on the last bit of
// the sigmoid, so the value may be off by what one bit does; a saturated entry is infinite, NaN or 0 depending on the
// PyTorch release, so its gradient is not compared; and the value is not either when an entry is at the very edge of that.
func verifyLiteral(c *fixture.Case, t term, dtype dtypes.DType, batch lossBatch, got lossResult, tolerance float64,
	r *Result) error {
	value, err := c.Floats(t.name + "/literal_value" + suffix(dtype))
	if err != nil {
		return err
	}
	grad, err := c.Floats(t.name + "/literal_grad" + suffix(dtype))
	if err != nil {
		return err
	}
	if len(value) != 1 || len(grad) != len(batch.student) {
		return fmt.Errorf("term %s: its literal reference has %d values and %d gradients, want 1 and %d",
			t.name, len(value), len(grad), len(batch.student))
	}
	var atEdge bool
	var slack float64
	var gotGrad, refGrad []float64
	for i := range batch.student {
		e := t.entry(batch.student[i], batch.teacher[i], dtype)
		atEdge = atEdge || e.atEdge
		slack += e.slack / float64(batch.n)
		if !e.atEdge && !e.saturated {
			gotGrad, refGrad = append(gotGrad, got["literal_grad"][i]), append(refGrad, grad[i])
		}
	}
	if !atEdge {
		if math.Abs(value[0]) > 0 && math.Abs(value[0]) <= math.MaxFloat64 {
			slack /= math.Abs(value[0])
		}
		r.MaxRelative(fmt.Sprintf("%s literal value %s", t.name, dtype), got["literal_value"], value, tolerance+slack)
	}
	r.MaxRelative(fmt.Sprintf("%s literal grad %s", t.name, dtype), gotGrad, refGrad, tolerance)
	return nil
}

// pairTerms are the values of a case of pairs that are not terms of their own.
const (
	crossEntropyPrefix       = "ce_student_label"
	binaryCrossEntropyPrefix = "bce_sum_student_label"
)

// verifyPairs checks values named student_<a>_teacher_<b>/<term>, where a and b are tensors of the case, and the tensors
// softmax_<a> and sigmoid_<a>.
func verifyPairs(backend compute.Backend, c *fixture.Case, dtype dtypes.DType, r *Result) error {
	tolerance, err := c.Tolerance(toleranceField(dtype, "float32"))
	if err != nil {
		return err
	}
	var values map[string]float64
	if err := c.Field("values", &values); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		pair, termName, _ := strings.Cut(name, "/")
		studentName, teacherName, ok := strings.Cut(strings.TrimPrefix(pair, "student_"), "_teacher_")
		if !ok {
			return fmt.Errorf("value %q is not named student_<a>_teacher_<b>/<term>", name)
		}
		batch, err := readLogits(c, studentName, teacherName)
		if err != nil {
			return err
		}
		t, batch, err := pairTerm(termName, batch)
		if err != nil {
			return fmt.Errorf("value %q: %w", name, err)
		}
		exec, err := newLossExec(backend, []term{t})
		if err != nil {
			return err
		}
		results, err := exec.run(dtype, batch)
		exec.Finalize()
		if err != nil {
			return err
		}
		r.MaxAbsolute(fmt.Sprintf("%s %s", name, dtype), results[0]["value"], []float64{values[name]}, tolerance)
	}
	return verifyProbabilities(backend, c, dtype, tolerance, r)
}

// pairTerm is the term of a value, with the labels or the teacher that its name asks for. The sum over the classes of the
// binary cross-entropies with the label is the BinaryKL at T = 1 from a teacher that is certain of every class.
func pairTerm(name string, batch lossBatch) (term, lossBatch, error) {
	if text, ok := strings.CutPrefix(name, crossEntropyPrefix); ok {
		label, err := parseLabel(text, batch)
		batch.labels = slices.Repeat([]int64{label}, batch.n)
		return term{name: name, loss: "ce"}, batch, err
	}
	if text, ok := strings.CutPrefix(name, binaryCrossEntropyPrefix); ok {
		label, err := parseLabel(text, batch)
		batch.teacher = slices.Repeat([]float64{-1e6}, len(batch.teacher))
		for i := int(label); err == nil && i < len(batch.teacher); i += batch.classes {
			batch.teacher[i] = 1e6
		}
		return term{name: name, loss: "bkl", temperature: 1}, batch, err
	}
	t, err := parseTerm(name, math.NaN())
	return t, batch, err
}

func parseLabel(text string, batch lossBatch) (int64, error) {
	label, err := strconv.ParseInt(text, 10, 64)
	if err != nil || label < 0 || label >= int64(batch.classes) {
		return 0, fmt.Errorf("%q is not a label of %d classes", text, batch.classes)
	}
	return label, nil
}

func verifyProbabilities(backend compute.Backend, c *fixture.Case, dtype dtypes.DType, tolerance float64, r *Result) error {
	for _, name := range c.TensorNames() {
		function := graph.Sigmoid
		logits, ok := strings.CutPrefix(name, "sigmoid_")
		if !ok {
			if logits, ok = strings.CutPrefix(name, "softmax_"); !ok {
				continue
			}
			function = func(x *graph.Node) *graph.Node { return graph.Softmax(x) }
		}
		input, err := c.Tensor(logits, dtype)
		if err != nil {
			return err
		}
		ref, err := c.Floats(name)
		if err != nil {
			return err
		}
		output, err := graph.CallOnce(backend, function, input)
		if err != nil {
			return err
		}
		got, err := fixture.Flat(output)
		if err != nil {
			return err
		}
		r.MaxAbsolute(fmt.Sprintf("%s %s", name, dtype), got, ref, tolerance)
	}
	return nil
}

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

func toleranceField(dtype dtypes.DType, float32Field string) string {
	if dtype == dtypes.Float64 {
		return "float64"
	}
	return float32Field
}

func suffix(dtype dtypes.DType) string {
	if dtype == dtypes.Float64 {
		return "_f64"
	}
	return "_f32"
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
