package golden

import (
	"math"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/device/devicetest"
	"github.com/dhkd-lab/dhkd-go/dhkd/internal/golden/fixture"
	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

// TestNonlinearMainHead gives a network's only head the weights of a case's nonlinear auxiliary head: the logits, the
// head's gradients and its running statistics are that head's in PyTorch. The case's loss has the mean of the auxiliary
// logits, in which the main head has no part.
func TestNonlinearMainHead(t *testing.T) {
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	const tolerance = 1e-8
	backend := devicetest.Go(t).Backend
	c, err := fixture.Load("testdata/networks/model_resnet20_nonlinear")
	check(err)
	dual, err := readModel(c)
	check(err)
	images, image, err := readInput(c, dtypes.Float64)
	check(err)
	n, err := newNetwork(dual, c, backend, "bn_summary_order", image)
	check(err)
	buffers := map[string][]float64{}
	for _, name := range n.buffers.names {
		buffers[name], err = c.Floats("buffers/" + name)
		check(err)
	}
	store, err := n.store(c, dtypes.Float64, buffers)
	check(err)
	for name := range n.initial {
		if rest, ok := strings.CutPrefix(name, "fc2."); ok {
			v := store.GetVariable(studentScope + "/" + name)
			value, err := v.MustValue().LocalClone()
			check(err)
			clone, err := store.CreateVariable(studentScope+"/fc."+rest, value)
			check(err)
			clone.SetTrainable(v.Trainable)
		}
	}
	single, err := zoo.New(zoo.Config{Name: dual.Name, Classes: dual.Classes, Head: dhkd.NonlinearHead})
	check(err)

	var compared []int // rows of the summary of the gradients
	run, err := model.NewExec(backend, store, func(variables *model.Scope, inputs []*Node) []*Node {
		x, student := channelsLast(inputs[0]), variables.At("student")
		eval := single.Forward(nn.New(student, nn.Options{NoDropout: true}), x)
		train := single.Forward(nn.New(student, nn.Options{NoDropout: true, Training: true}), x)
		loss := ReduceAllMean(train.Logits)
		var values []*Node
		for i, name := range n.parameters.names {
			if rest, ok := strings.CutPrefix(name, "fc2."); ok {
				compared = append(compared, i)
				values = append(values, student.GetVariable("fc."+rest).NodeValue(loss))
			}
		}
		return append([]*Node{eval.Logits, train.Logits}, Gradient(loss, values...)...)
	})
	check(err)
	defer run.Finalize()
	outputs, err := run.Call(images)
	check(err)

	var r Result
	for i, name := range []string{"eval_f64/aux", "train_f64/aux"} {
		got, err := fixture.Flat(outputs[i])
		check(err)
		want, err := c.Floats(name)
		check(err)
		r.MaxRelative(name, got, want, tolerance)
	}
	globalL2, err := c.Float("grad_global_l2")
	check(err)
	rows := func(prefix string, list tensorList, indices []int, globalL2 float64, value func(k, i int) []float64) {
		all, err := c.Summary(prefix, len(list.names))
		check(err)
		var got, want fixture.Summary
		var part tensorList
		for k, i := range indices {
			part.add(list.names[i], list.sizes[i])
			got.Append(c.Salt+"/p/"+list.names[i], value(k, i))
			want.L2, want.Sum = append(want.L2, all.L2[i]), append(want.Sum, all.Sum[i])
			want.Proj, want.First8 = append(want.Proj, all.Proj[i]), append(want.First8, all.First8[i])
		}
		if math.IsNaN(globalL2) {
			globalL2 = want.GlobalL2()
		}
		r.Summary(prefix, &got, &want, part.names, part.sizes, globalL2, tolerance)
	}
	rows("grad_f64", n.parameters, compared, globalL2, func(k, _ int) []float64 {
		gradient, err := fixture.Flat(outputs[2+k])
		check(err)
		return gradient
	})
	var statistics []int
	for i, name := range n.buffers.names {
		if strings.HasPrefix(name, "fc2.") {
			statistics = append(statistics, i)
		}
	}
	rows("bn_after_f64", n.buffers, statistics, math.NaN(), func(_, i int) []float64 {
		after, err := value(store, "fc."+strings.TrimPrefix(n.buffers.names[i], "fc2."))
		check(err)
		return after
	})
	if len(compared) != 6 || len(statistics) != 2 {
		t.Errorf("%d gradients and %d running statistics compared, want 6 and 2", len(compared), len(statistics))
	}
	for _, check := range r.Checks {
		if !(check.Deviation <= check.Tolerance) {
			t.Errorf("%s is off by %g", check.Name, check.Deviation)
		}
	}
}
