package train

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/distill"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

// Quantities of a measured step, the first words of its metrics' names. What follows is the kind and the name of a part (see
// [record.GradientPart]), or head, what is measured there, and the loss.
const (
	quantityG1       = "g1" // ||g1||²
	quantityG2       = "g2"
	quantityDot      = "dot"
	quantityCosine   = "cosine"
	quantityRows     = "rows"    // share with a negative cosine
	quantityFilters  = "filters" // likewise
	quantityPull     = "pull"
	quantityOppose   = "oppose"
	quantityAligning = "aligning" // the coefficient of alignment
)

// MeasureStep is [Trainer.RunStep] on a batch of which it measures first how the gradients of two losses lie to each other:
// at the same weights, with the same augmentation and dropout, [Config].MeasureTerms says of which losses.
//
// The measurement is a program of its own, which only reads. A step that did both would be compiled otherwise, its sums
// added up in another order, and a run that is measured would not be the run that is not, bit for bit. So the forward pass
// is computed twice in a measured step, but no other step pays anything.
func (t *Trainer) MeasureStep(indices []int32, learningRate float64, seed uint64, epoch, step int) (m, measured Metrics,
	err error) {
	return t.runStep(indices, learningRate, seed, epoch, step, true)
}

// measure runs the measuring program on a step's inputs.
func (t *Trainer) measure(inputs [][]any) (Metrics, error) {
	out, err := t.call1(t.measurement, inputs)
	if err != nil {
		return nil, err
	}
	return named(t.measured, out)
}

// buildMeasurement is the program that measures. Its first part is the step's.
func (t *Trainer) buildMeasurement(variables *model.Scope, inputs []*Node) *Node {
	restore := unchanged(inputs[0].Graph(), variables.At(studentScope), variables.At(methodScope))
	in := t.batchInputs(variables, inputs)
	m := t.Step.measureGradients(variables, in, t.MeasureTerms)
	restore()
	t.measured, t.measuredTerms = m.names, m.terms
	return Concatenate(m.values, 0)
}

// unchanged returns a function that takes back what building the graph has done to variables, such as the running statistics
// of batch norm: the program will then neither update nor own them.
func unchanged(g *Graph, scopes ...*model.Scope) (restore func()) {
	before := map[*model.Variable]*Node{}
	for _, scope := range scopes {
		for v := range scope.IterVariables() {
			before[v] = v.NodeValue(g)
		}
	}
	return func() {
		for v, value := range before {
			v.SetNodeValue(value)
		}
	}
}

// measurement are the values of a measuring program.
type measurement struct {
	terms  []string
	names  []string
	values []*Node // [1] each, float32
}

func (m *measurement) add(value *Node, name ...string) {
	m.names = append(m.names, strings.TrimSpace(strings.Join(name, " ")))
	m.values = append(m.values, Reshape(ConvertDType(value, dtypes.Float32), 1))
}

// measureGradients builds what compares the gradients of two losses. It changes variables as a forward pass does.
func (st Step) measureGradients(variables *model.Scope, in StepInputs, wanted []string) *measurement {
	outputs, losses := st.forward(variables, 0, in)
	names, pair, err := chooseTerms(losses.Terms, wanted, st.Method.Name())
	if err != nil {
		panic(err)
	}
	m := &measurement{terms: names}
	trained := trainedIn(variables)
	heads := []struct {
		name   string
		logits *Node
	}{{record.HeadMain, outputs.Logits}, {record.HeadAux, outputs.AuxLogits}}
	if outputs.AuxLogits == nil {
		heads = heads[:1]
	}
	at := trained.values(in.Images.Graph())
	for _, h := range heads {
		at = append(at, h.logits)
	}
	var gradients, atLogits [2][]*Node // by loss
	for i, loss := range pair {
		all := Gradient(loss, at...)
		gradients[i], atLogits[i] = all[:len(trained.variables)], all[len(trained.variables):]
	}
	if len(pair) > 1 {
		m.addParts(trained, gradients[0], gradients[1])
	}
	for h, head := range heads {
		for i := range pair {
			p := dhkd.MeasurePull(atLogits[i][h], in.Labels)
			m.add(p.TruePull, quantityPull, head.name, "true_pull", names[i])
			m.add(p.TruePush, quantityPull, head.name, "true_push", names[i])
			m.add(p.OtherPull, quantityPull, head.name, "other_pull", names[i])
			m.add(p.OtherPush, quantityPull, head.name, "other_push", names[i])
		}
		if len(pair) > 1 {
			o := dhkd.MeasureOppositions(atLogits[0][h], atLogits[1][h], in.Labels)
			m.add(o.All, quantityOppose, head.name, "all")
			m.add(o.True, quantityOppose, head.name, "true")
			m.add(o.Other, quantityOppose, head.name, "other")
		}
	}
	return m
}

// addParts compares two gradients of the parameters in all parts of the network.
func (m *measurement) addParts(trained parameters, g1, g2 []*Node) {
	layers := dhkd.MeasureConflicts(g1, g2)
	type part struct{ kind, name string }
	var parts []part // in the order of [record.PartKinds], stages and layers in the network's
	members := map[part][]dhkd.Conflict{}
	add := func(kind, name string, c dhkd.Conflict) {
		p := part{kind, name}
		if members[p] == nil {
			parts = append(parts, p)
		}
		members[p] = append(members[p], c)
	}
	var rows, filters []dhkd.Conflict
	for i, name := range trained.names {
		add(record.PartWhole, "", layers[i])
		add(record.PartLayer, name, layers[i])
		kind := lastLayer(name)
		switch {
		case trained.backbone[i]:
			add(record.PartBackbone, "", layers[i])
			add(record.PartStage, zoo.Stage(name), layers[i])
			if g1[i].Rank() == 4 {
				filters = append(filters, dhkd.RowConflicts(g1[i], g2[i]))
			}
		case kind != "":
			add(record.PartClassifier, "", layers[i])
			add(kind, "", layers[i])
			if kind == record.PartClassifierWeight {
				rows = append(rows, dhkd.RowConflicts(g1[i], g2[i]))
			}
		}
	}
	slices.SortStableFunc(parts, func(a, b part) int {
		return slices.Index(record.PartKinds, a.kind) - slices.Index(record.PartKinds, b.kind)
	})
	for _, p := range parts {
		c := dhkd.SumConflicts(members[p]...)
		m.add(c.G1Squared, quantityG1, p.kind, p.name)
		m.add(c.G2Squared, quantityG2, p.kind, p.name)
		m.add(c.Cosine(), quantityCosine, p.kind, p.name)
		m.add(c.Dot, quantityDot, p.kind, p.name)
	}
	if len(rows) > 0 {
		m.add(dhkd.ShareNegative(rows...), quantityRows, record.PartClassifierWeight)
	}
	if len(filters) > 0 {
		m.add(dhkd.ShareNegative(filters...), quantityFilters, record.PartBackbone)
	}
}

// lastLayer is the kind of part that the parameter of that name is of the main head's last layer, or "".
func lastLayer(name string) string {
	if !zoo.InMainHead(name) {
		return ""
	}
	_, rest, _ := strings.Cut(name, ".")
	switch strings.TrimPrefix(rest, "net.4.") { // the last of a nonlinear head, see [dhkd.Head.Logits]
	case "weight":
		return record.PartClassifierWeight
	case "bias":
		return record.PartClassifierBias
	}
	return ""
}

// chooseTerms returns the two losses that are wanted of a method's, with their weights, or its first two; only one where it has
// no other and none is wanted.
func chooseTerms(terms []distill.Term, wanted []string, method string) (names []string, losses []*Node, err error) {
	var known []string
	for _, t := range terms {
		known = append(known, t.Name)
	}
	if len(wanted) == 0 {
		wanted = known[:min(2, len(known))]
	}
	for i, name := range wanted {
		at := slices.Index(known, name)
		switch {
		case at >= 0:
			losses = append(losses, terms[at].Weighted())
		case name == record.RestTerm && i > 0 && len(terms) > 1:
			first := slices.Index(known, wanted[0])
			losses = append(losses, weightedSum(slices.Delete(slices.Clone(terms), first, first+1)))
		default:
			return nil, nil, fmt.Errorf("measure.gradients.terms: method %s has no loss %q: name two of %s, or one and %s", method,
				name, strings.Join(known, ", "), record.RestTerm)
		}
	}
	return wanted, losses, nil
}

// named are a program's values, [n] float32, by their names; out is freed.
func named(names []string, out *tensors.Tensor) (Metrics, error) {
	defer out.FinalizeAll()
	values, err := tensors.CopyFlatData[float32](out)
	if err != nil {
		return nil, err
	}
	m := make(Metrics, len(values))
	for i, v := range values {
		m[i] = Metric{names[i], float64(v)}
	}
	return m, nil
}
