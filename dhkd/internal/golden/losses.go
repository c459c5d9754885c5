package golden

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/gomlx/core/graph"

	"github.com/dhkd-lab/dhkd-go/dhkd/internal/golden/fixture"
)

// verifyLosses checks the losses and their gradients with respect to the student's logits, in float32 and, where the
// backend has it, float64. Three forms of case exist: named terms on one batch, terms swept over many batches of one
// entry, and named values of terms between pairs of logits.
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

// verifyLiteral compares the reference implementation's clamped forms. Near saturation their result hangs on the last
// bit of the sigmoid, so the value may be off by what one bit does; a saturated entry is infinite, NaN or 0 depending
// on the PyTorch release, so its gradient is not compared; and the value is not either when an entry is at the very
// edge of that.
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

// Values of a case of pairs that name a label.
const (
	crossEntropyPrefix       = "ce_student_label"
	binaryCrossEntropyPrefix = "bce_sum_student_label"
)

// verifyPairs checks values named student_<a>_teacher_<b>/<term>, where a and b are tensors of the case, and the
// tensors softmax_<a> and sigmoid_<a>.
func verifyPairs(backend compute.Backend, c *fixture.Case, dtype dtypes.DType, r *Result) error {
	tolerance, err := c.Tolerance(toleranceField(dtype, "float32"))
	if err != nil {
		return err
	}
	var values map[string]float64
	if err := c.Field("values", &values); err != nil {
		return err
	}
	// One graph with every loss serves all values: compiling takes longer than running.
	type job struct {
		name  string
		batch lossBatch
		term  int
	}
	var jobs []job
	var terms []term
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
		index := slices.Index(terms, t)
		if index < 0 {
			index, terms = len(terms), append(terms, t)
		}
		jobs = append(jobs, job{name, batch, index})
	}
	exec, err := newLossExec(backend, terms)
	if err != nil {
		return err
	}
	defer exec.Finalize()
	for _, j := range jobs {
		results, err := exec.run(dtype, j.batch)
		if err != nil {
			return err
		}
		r.MaxAbsolute(fmt.Sprintf("%s %s", j.name, dtype), results[j.term]["value"], []float64{values[j.name]},
			tolerance)
	}
	return verifyProbabilities(backend, c, dtype, tolerance, r)
}

// pairTerm is the term of a value, with the labels or the teacher that its name asks for. The sum over the classes of
// the binary cross-entropies with the label is the BinaryKL at T = 1 from a teacher that is certain of every class.
func pairTerm(name string, batch lossBatch) (term, lossBatch, error) {
	if text, ok := strings.CutPrefix(name, crossEntropyPrefix); ok {
		label, err := parseLabel(text, batch)
		batch.labels = slices.Repeat([]int64{label}, batch.n)
		return term{name: "ce", loss: "ce"}, batch, err
	}
	if text, ok := strings.CutPrefix(name, binaryCrossEntropyPrefix); ok {
		label, err := parseLabel(text, batch)
		batch.teacher = slices.Repeat([]float64{-1e6}, len(batch.teacher))
		for i := int(label); err == nil && i < len(batch.teacher); i += batch.classes {
			batch.teacher[i] = 1e6
		}
		return term{name: "bkl_T1", loss: "bkl", temperature: 1}, batch, err
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

func verifyProbabilities(backend compute.Backend, c *fixture.Case, dtype dtypes.DType, tolerance float64,
	r *Result) error {
	functions := []string{"softmax_", "sigmoid_"}
	exec, err := graph.NewExec(backend, func(logits *graph.Node) (softmax, sigmoid *graph.Node) {
		return graph.Softmax(logits), graph.Sigmoid(logits)
	})
	if err != nil {
		return err
	}
	defer exec.Finalize()
	for _, name := range c.TensorNames() {
		which := slices.IndexFunc(functions, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
		if which < 0 {
			continue
		}
		logits, err := c.Tensor(strings.TrimPrefix(name, functions[which]), dtype)
		if err != nil {
			return err
		}
		ref, err := c.Floats(name)
		if err != nil {
			return err
		}
		outputs, err := exec.Call(logits)
		if err != nil {
			return err
		}
		got, err := fixture.Flat(outputs[which])
		if err != nil {
			return err
		}
		r.MaxAbsolute(fmt.Sprintf("%s %s", name, dtype), got, ref, tolerance)
	}
	return nil
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
