package distill_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/device/devicetest"
	"github.com/dhkd-lab/dhkd-go/dhkd/distill"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

func TestNewErrors(t *testing.T) {
	dual := record.Method{Name: "dhkd", Gamma: 1, Alpha: 0.1, Temperature: 2}
	edit := func(f func(m *record.Method)) record.Method {
		m := dual
		f(&m)
		return m
	}
	for _, test := range []struct {
		method record.Method
		want   string
	}{
		{record.Method{}, `method.name: unknown method "": choose one of ` + strings.Join(distill.Names(), ", ")},
		{record.Method{Name: "DHKD"}, `method.name: unknown method "DHKD"`},
		{record.Method{Name: "dhkd"}, "method.gamma: method dhkd needs it, more than 0"},
		{edit(func(m *record.Method) { m.Gamma = -1 }), "method.gamma"},
		{edit(func(m *record.Method) { m.Alpha = 0 }), "method.alpha"},
		{edit(func(m *record.Method) { m.Temperature = 0 }), "method.temperature"},
		{edit(func(m *record.Method) { m.Temperature = -2 }), "method.temperature"},
		{record.Method{Name: "ce", Gamma: 1}, "method.gamma: method ce has no such hyper-parameter"},
		{record.Method{Name: "ce", Alpha: 1}, "method.alpha"},
		{record.Method{Name: "ce", Temperature: 1}, "method.temperature"},
		{record.Method{Name: "ce", Align: true}, "method.align"},
		{record.Method{Name: "ce", Literal: true}, "method.literal"},
		{record.Method{Name: "kd", Gamma: 0.1, Alpha: 0.9, Temperature: 4, Align: true}, "method.align"},
		{record.Method{Name: "kd", Gamma: 0.1, Alpha: 0.9, Temperature: 4, Literal: true}, "method.literal"},
		{record.Method{Name: "kd", Gamma: 0.1, Alpha: 0.9}, "method.temperature: method kd needs it, more than 0 (published: 4)"},
		{record.Method{Name: "binarykl", Gamma: 1, Alpha: 1, Temperature: 2}, "method.gamma"},
		{record.Method{Name: "binarykl", Alpha: 1, Temperature: 2, Align: true}, "method.align"},
		{record.Method{Name: "ce+binarykl", Alpha: 1, Temperature: 2}, "method.gamma: method ce+binarykl needs it"},
		{record.Method{Name: "binarykl-norm", Gamma: 1, Alpha: 1, Temperature: 2},
			"method.gamma: method binarykl-norm has no"},
		{record.Method{Name: "ce+binarykl-norm", Alpha: 1, Temperature: 2},
			"method.gamma: method ce+binarykl-norm needs it"},
		{record.Method{Name: "dkd", Gamma: 1, Alpha: 1, Temperature: 4},
			"method.beta: method dkd needs it, more than 0 (published: 8)"},
		{record.Method{Name: "dkd", Gamma: 1, Alpha: 1, Beta: 8, Temperature: 4, Warmup: -1}, "method.warmup"},
		{record.Method{Name: "dist", Gamma: 1, Alpha: 2, Beta: 2, Temperature: 4, Standardize: true},
			"method.standardize"},
		{record.Method{Name: "ctkd", Gamma: 0.1, Alpha: 0.9, Temperature: 4}, "method.temperature: method ctkd has no"},
		{record.Method{Name: "mlkd", Gamma: 0.1, Alpha: 0.9, Beta: 0.9, Temperature: 4},
			"method.temperature: method mlkd has no"},
		{record.Method{Name: "mse"}, "method.alpha: method mse needs it"},
		{record.Method{Name: "dual-ce", Gamma: 1, Alpha: 1, Temperature: 4},
			"method.temperature: method dual-ce has no"},
		{record.Method{Name: "dhkd-detached", Gamma: 1, Alpha: 1, Temperature: 2, Align: true}, "method.align: "},
		{record.Method{Name: "label-smoothing", Alpha: 1}, "method.alpha: method label-smoothing needs it below 1"},
		{record.Method{Name: "crd", Gamma: 1, Alpha: 1, Temperature: 1, Dim: 8, Negatives: 4, BankMomentum: 1},
			"method.bank_momentum: method crd needs it below 1 (published: 0.5)"},
		{edit(func(m *record.Method) { m.With = []record.Method{distill.Defaults("dhkd-detached")} }),
			"method.with[0]: dhkd-detached cuts the auxiliary head off the backbone, and dhkd teaches the backbone through it"},
		{edit(func(m *record.Method) {
			*m = distill.Defaults("dhkd-detached")
			m.With = []record.Method{distill.Defaults("kd"), distill.Defaults("dual-ce")}
		}), "method.with[1]: dhkd-detached cuts the auxiliary head off the backbone, and dual-ce teaches"},
	} {
		m, err := distill.New(test.method)
		if err == nil || m != nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v, error %v, want %q", test.method, m, err, test.want)
		}
	}
}

// TestMethods checks every method's needs, terms and weights.
func TestMethods(t *testing.T) {
	seen := map[string]bool{}
	for _, test := range []struct {
		method record.Method
		needs  distill.Needs
		want   string // terms and weights, "aligned"
	}{
		{record.Method{Name: "ce"}, distill.Needs{}, "ce 1"},
		{record.Method{Name: "kd", Gamma: 0.1, Alpha: 0.9, Temperature: 4}, distill.Needs{Teacher: true}, "ce 0.1 kl 0.9"},
		{record.Method{Name: "binarykl", Alpha: 2, Temperature: 4}, distill.Needs{Teacher: true}, "binarykl 2"},
		{record.Method{Name: "ce+binarykl", Gamma: 1, Alpha: 2, Temperature: 4, Align: true}, distill.Needs{Teacher: true},
			"ce 1 binarykl 2 aligned"},
		{record.Method{Name: "dhkd", Gamma: 1, Alpha: 0.1, Temperature: 2}, distill.Needs{Teacher: true, AuxHead: true},
			"ce 1 binarykl_norm 0.1"},
		{record.Method{Name: "dhkd", Gamma: 1, Alpha: 0.1, Temperature: 2, Align: true, Literal: true},
			distill.Needs{Teacher: true, AuxHead: true}, "ce 1 binarykl_norm 0.1 aligned"},
		{distill.Defaults("binarykl-norm"), distill.Needs{Teacher: true}, "binarykl_norm_main 1"},
		{distill.Defaults("ce+binarykl-norm"), distill.Needs{Teacher: true}, "ce 1 binarykl_norm_main 1"},
		{distill.Defaults("dkd"), distill.Needs{Teacher: true, Epoch: true, Classes: 3}, "ce 1 tckd 1 nckd 8"},
		{record.Method{Name: "dkd", Gamma: 1, Alpha: 9, Beta: 72, Temperature: 2, Standardize: true},
			distill.Needs{Teacher: true, Classes: 3}, "ce 1 tckd 9 nckd 72"},
		{distill.Defaults("dist"), distill.Needs{Teacher: true}, "ce 1 inter 2 intra 2"},
		{distill.Defaults("ctkd"), distill.Needs{Teacher: true, Modules: true, Epoch: true}, "ce 0.1 ctkd 0.9"},
		{distill.Defaults("mlkd"), distill.Needs{Teacher: true}, "ce 0.1 instance 0.9 class 0.9 batch 0.9"},
		{distill.Defaults("mse"), distill.Needs{Teacher: true}, "mse 1"},
		{record.Method{Name: "mse", Gamma: 0.5, Alpha: 1}, distill.Needs{Teacher: true}, "ce 0.5 mse 1"},
		{distill.Defaults("dual-ce"), distill.Needs{AuxHead: true}, "ce 1 ce_aux 1"},
		{distill.Defaults("dual-kl"), distill.Needs{Teacher: true, AuxHead: true}, "ce 1 kl_aux 1"},
		{record.Method{Name: "dual-binarykl", Gamma: 1, Alpha: 1, Temperature: 2, Align: true},
			distill.Needs{Teacher: true, AuxHead: true}, "ce 1 binarykl_aux 1 aligned"},
		{distill.Defaults("dhkd-detached"), distill.Needs{Teacher: true, AuxHead: true, DetachAux: true},
			"ce 1 binarykl_norm 1"},
		{distill.Defaults("fitnet"), distill.Needs{Teacher: true, Features: true, Modules: true}, "ce 1 fitnet 100"},
		{distill.Defaults("at"), distill.Needs{Teacher: true, Features: true}, "ce 1 at 1000"},
		{distill.Defaults("rkd"), distill.Needs{Teacher: true, Features: true}, "ce 1 rkd_distance 25 rkd_angle 50"},
		{distill.Defaults("sp"), distill.Needs{Teacher: true, Features: true}, "ce 1 sp 3000"},
		{distill.Defaults("pkt"), distill.Needs{Teacher: true, Features: true}, "ce 1 pkt 30000"},
		{distill.Defaults("vid"), distill.Needs{Teacher: true, Features: true, Modules: true}, "ce 1 vid 1"},
		{distill.Defaults("ofd"), distill.Needs{Teacher: true, Features: true, Modules: true}, "ce 1 ofd 0.001"},
		{record.Method{Name: "reviewkd", Gamma: 1, Alpha: 5, Warmup: 20, Dim: 512},
			distill.Needs{Teacher: true, Features: true, Modules: true, Epoch: true}, "ce 1 reviewkd 5"},
		{record.Method{Name: "crd", Gamma: 1, Alpha: 0.8, Temperature: 0.07, Dim: 8, Negatives: 4, BankMomentum: 0.5},
			distill.Needs{Teacher: true, Features: true, Modules: true, Random: true, Indices: true}, "ce 1 crd 0.8"},
		{distill.Defaults("simkd"), distill.Needs{Teacher: true, Features: true, Modules: true, Classifier: true}, "simkd 1"},
		{distill.Defaults("catkd"), distill.Needs{Teacher: true, Features: true, Classifier: true}, "ce 1 catkd 15"},
		{distill.Defaults("label-smoothing"), distill.Needs{}, "ce 0.9 ce_uniform 0.1"},
	} {
		m, err := distill.New(test.method)
		if err != nil {
			t.Fatal(err)
		}
		seen[test.method.Name] = true
		if m.Name() != test.method.Name || m.Needs() != test.needs || describe(m.Name()) == "" {
			t.Errorf("%+v: name %s, needs %+v", test.method, m.Name(), m.Needs())
		}
		var got string
		gradients(t, m, func(losses distill.Losses) {
			var words []string
			for _, term := range losses.Terms {
				words = append(words, term.Name, fmt.Sprint(term.Weight))
			}
			if losses.Align != "" {
				words = append(words, "aligned")
			}
			got = strings.Join(words, " ")
		})
		if got != test.want {
			t.Errorf("%+v: %s, want %s", test.method, got, test.want)
		}
	}
	for _, name := range distill.Names() {
		if !seen[name] {
			t.Errorf("method %s is not tested here", name)
		}
	}
	if describe("none") != "" {
		t.Error("an unknown method is described")
	}
}

func describe(name string) string {
	what, _ := distill.Describe(name)
	return what
}

// TestWhoTeachesWhom checks which logits get a gradient from which term: with DHKD the labels reach only the main head
// and the teacher only the auxiliary one; nothing flows to the teacher.
func TestWhoTeachesWhom(t *testing.T) {
	for _, test := range []struct {
		method record.Method
		want   []string // for each term, the logits with a gradient
	}{
		{record.Method{Name: "ce"}, []string{"main"}},
		{record.Method{Name: "kd", Gamma: 1, Alpha: 1, Temperature: 4}, []string{"main", "main"}},
		{record.Method{Name: "binarykl", Alpha: 1, Temperature: 2}, []string{"main"}},
		{record.Method{Name: "ce+binarykl", Gamma: 1, Alpha: 1, Temperature: 2, Literal: true}, []string{"main", "main"}},
		{record.Method{Name: "dhkd", Gamma: 1, Alpha: 1, Temperature: 2}, []string{"main", "aux"}},
		{record.Method{Name: "dhkd", Gamma: 1, Alpha: 1, Temperature: 2, Literal: true}, []string{"main", "aux"}},
		{record.Method{Name: "kd", Gamma: 1, Alpha: 9, Temperature: 2, Standardize: true}, []string{"main", "main"}},
		{distill.Defaults("ce+binarykl-norm"), []string{"main", "main"}},
		{record.Method{Name: "ce+binarykl-norm", Gamma: 1, Alpha: 1, Temperature: 2, Literal: true},
			[]string{"main", "main"}},
		{distill.Defaults("dkd"), []string{"main", "main", "main"}},
		{distill.Defaults("dist"), []string{"main", "main", "main"}},
		{distill.Defaults("ctkd"), []string{"main", "main"}},
		{distill.Defaults("mlkd"), []string{"main", "main", "main", "main"}},
		{record.Method{Name: "mlkd", Gamma: 1, Alpha: 9, Beta: 9, Standardize: true},
			[]string{"main", "main", "main", "main"}},
		{distill.Defaults("mse"), []string{"main"}},
		{distill.Defaults("dual-ce"), []string{"main", "aux"}},
		{distill.Defaults("dual-kl"), []string{"main", "aux"}},
		{distill.Defaults("dual-binarykl"), []string{"main", "aux"}},
		{record.Method{Name: "dual-binarykl", Gamma: 1, Alpha: 1, Temperature: 2, Literal: true},
			[]string{"main", "aux"}},
		{distill.Defaults("dhkd-detached"), []string{"main", "aux"}},
		{distill.Defaults("label-smoothing"), []string{"main", "main"}},
	} {
		m, err := distill.New(test.method)
		if err != nil {
			t.Fatal(err)
		}
		for term, want := range test.want {
			var reached []string
			for i, gradient := range gradients(t, m, func(distill.Losses) {})[term] {
				if slices.ContainsFunc(gradient, func(v float32) bool { return v != 0 }) {
					reached = append(reached, []string{"main", "aux", "teacher"}[i])
				}
			}
			if got := strings.Join(reached, " "); got != want {
				t.Errorf("%+v, term %d: a gradient reaches %q, want %q", test.method, term, got, want)
			}
		}
	}
}

// TestDHKDWithReviewKD is the sum that the paper's second version tries: the terms are named apart, cross-entropy counts
// once, and the rule is DHKD's.
func TestDHKDWithReviewKD(t *testing.T) {
	both := distill.Defaults("dhkd")
	both.Align = true
	both.With = []record.Method{distill.Defaults("reviewkd")}
	m, err := distill.New(both)
	if err != nil {
		t.Fatal(err)
	}
	needs := distill.Needs{Teacher: true, AuxHead: true, Features: true, Modules: true, Epoch: true}
	if m.Name() != "dhkd+reviewkd" || m.Needs() != needs {
		t.Errorf("%s needs %+v", m.Name(), m.Needs())
	}
	gradients(t, m, func(losses distill.Losses) {
		var names []string
		for _, term := range losses.Terms {
			names = append(names, term.Name)
		}
		if !slices.Equal(names, []string{"ce", "binarykl_norm", "reviewkd"}) || losses.Align != dhkd.AlignOneSided {
			t.Errorf("terms %v, alignment %q", names, losses.Align)
		}
	})
}

// gradients of each term with respect to the logits of the main head, the auxiliary head and the teacher. All else that a
// method may need is there too.
func gradients(t *testing.T, m distill.Method, look func(distill.Losses)) [][][]float32 {
	t.Helper()
	store := model.NewStore()
	defer store.Finalize()
	build := func(variables *model.Scope, inputs []*graph.Node) (all []*graph.Node) {
		g := inputs[0].Graph()
		network := func(logits *graph.Node, width int) zoo.Outputs {
			out := zoo.Outputs{Logits: logits}
			for stage := range 4 { // the stem and three stages
				side, channels := 8>>max(stage-1, 0), width<<max(stage-1, 0)
				x := graph.IotaFull(g, shapes.Make(logits.DType(), 2, side, side, channels))
				out.Features = append(out.Features, graph.Sin(x))
			}
			out.Last = out.Features[3]
			out.Classifier = zoo.Classifier{Weight: graph.IotaFull(g, shapes.Make(logits.DType(), 3, out.Last.Shape().Dim(3))),
				Bias: graph.IotaFull(g, shapes.Make(logits.DType(), 3))}
			out.PreReLU, out.Pooled = out.Features, graph.ReduceMean(out.Features[3], 1, 2)
			for _, x := range out.PreReLU {
				ones := graph.Ones(g, shapes.Make(x.DType(), x.Shape().Dim(3)))
				out.Norms = append(out.Norms, zoo.Norm{Scale: ones, Shift: ones})
			}
			return out
		}
		b := distill.Batch{Outputs: network(inputs[0], 2), Teacher: network(inputs[2], 3), Labels: inputs[3],
			Epoch: graph.Const(g, float32(1)), Indices: graph.Const(g, []int32{1, 3}), TrainLabels: []int32{1, 0, 1, 2, 2},
			Scope: nn.New(variables, nn.Options{Training: true, RNG: graph.Const(g, []uint64{1, 2, 3})})}
		b.AuxLogits = inputs[1]
		losses := m.Losses(b)
		look(losses)
		for _, term := range losses.Terms {
			all = append(all, graph.Gradient(term.Value, inputs[:3]...)...)
		}
		return all
	}
	exec, err := model.NewExec(devicetest.Go(t).Backend, store, build)
	if err != nil {
		t.Fatal(err)
	}
	defer exec.Finalize()
	outputs, err := exec.Call([][]float32{{1, 2, 3}, {0, -1, 1}}, [][]float32{{0, 1, -2}, {3, 1, 1}},
		[][]float32{{2, 0, 1}, {-1, 4, 2}}, []int32{0, 2})
	if err != nil {
		t.Fatal(err)
	}
	var all [][][]float32
	for i, output := range outputs {
		if i%3 == 0 {
			all = append(all, nil)
		}
		all[i/3] = append(all[i/3], tensors.MustCopyFlatData[float32](output))
	}
	return all
}
