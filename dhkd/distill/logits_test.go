package distill_test

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	"pgregory.net/rapid"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/device"
	"github.com/dhkd-lab/dhkd-go/dhkd/device/devicetest"
	"github.com/dhkd-lab/dhkd-go/dhkd/distill"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/internal/golden/fixture"
	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

type (
	node = graph.Node
	// logitLoss is of the student's and the teacher's logits and the labels.
	logitLoss func(s, t, labels *node) *node
)

const testT = 3 // temperature

var logitLosses = map[string]logitLoss{
	"tckd": func(s, t, labels *node) *node { target, _ := distill.DKD(s, t, labels, testT); return target },
	"nckd": func(s, t, labels *node) *node { _, others := distill.DKD(s, t, labels, testT); return others },
	"standardized tckd": func(s, t, labels *node) *node {
		target, _ := distill.DKD(distill.Standardize(s), distill.Standardize(t), labels, 0.5)
		return target
	},
	"inter":    func(s, t, _ *node) *node { inter, _ := distill.DIST(s, t, testT); return inter },
	"intra":    func(s, t, _ *node) *node { _, intra := distill.DIST(s, t, testT); return intra },
	"instance": func(s, t, _ *node) *node { l, _, _ := distill.MLKD(s, t, testT); return l },
	"class":    func(s, t, _ *node) *node { _, l, _ := distill.MLKD(s, t, testT); return l },
	"batch":    func(s, t, _ *node) *node { _, _, l := distill.MLKD(s, t, testT); return l },
	"standardized kl": func(s, t, _ *node) *node {
		return dhkd.KL(distill.Standardize(s), distill.Standardize(t), 0.5)
	},
	"learnt kl": func(s, t, _ *node) *node {
		return distill.LearntKL(s, t, graph.Scalar(s.Graph(), s.DType(), testT))
	},
	"mse": func(s, t, _ *node) *node { return distill.MSE(s, t) },
}

// batch of logits, [samples, classes] row-major.
type batch struct {
	student, teacher []float64
	labels           []int32
}

const samples, classes = 3, 5

func randomBatch(seed uint64, scale float64) (b batch) {
	r := rand.New(rand.NewPCG(seed, 0))
	for range samples {
		for range classes {
			b.student, b.teacher = append(b.student, scale*r.NormFloat64()), append(b.teacher, scale*r.NormFloat64())
		}
		b.labels = append(b.labels, r.Int32N(classes))
	}
	return b
}

// result of a loss and its gradient with respect to the student's logits.
type result struct {
	value    float64
	gradient []float64
}

// run computes all losses of a batch, by name.
type run func(dtype dtypes.DType, b batch) map[string]result

func onBackends(t *testing.T, test func(t *testing.T, run run)) {
	t.Run("go", func(t *testing.T) { test(t, newRun(t, devicetest.Go(t))) })
	t.Run("xla", func(t *testing.T) { test(t, newRun(t, devicetest.Open(t))) })
}

func newRun(t *testing.T, d *device.Device) run {
	t.Helper()
	names := slices.Sorted(maps.Keys(logitLosses))
	exec, err := graph.NewExec(d.Backend, func(inputs []*node) (outputs []*node) {
		for _, name := range names {
			l := logitLosses[name](inputs[0], inputs[1], inputs[2])
			gradients := graph.Gradient(l, inputs[:2]...)
			outputs = append(outputs, l, gradients[0], gradients[1])
		}
		return outputs
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(exec.Finalize)
	return func(dtype dtypes.DType, b batch) map[string]result {
		n := len(b.labels)
		out, err := exec.Call(fixture.Make(dtype, b.student, n, len(b.student)/n),
			fixture.Make(dtype, b.teacher, n, len(b.student)/n), b.labels)
		if err != nil {
			t.Fatal(err)
		}
		results := map[string]result{}
		for i, name := range names {
			results[name] = result{flat(t, out[3*i])[0], flat(t, out[3*i+1])}
			if slices.ContainsFunc(flat(t, out[3*i+2]), func(g float64) bool { return g != 0 }) {
				t.Errorf("%s: a gradient reaches the teacher", name)
			}
		}
		return results
	}
}

func flat(t *testing.T, x *tensors.Tensor) []float64 {
	t.Helper()
	values, err := fixture.Flat(x)
	if err != nil {
		t.Fatal(err)
	}
	return values
}

// TestLogitLossGradients compares gradients with central differences in float64.
func TestLogitLossGradients(t *testing.T) {
	onBackends(t, func(t *testing.T, run run) {
		const step = 1e-5
		b := randomBatch(1, 3)
		at := run(dtypes.Float64, b)
		for i, x := range b.student {
			b.student[i] = x + step
			above := run(dtypes.Float64, b)
			b.student[i] = x - step
			below := run(dtypes.Float64, b)
			b.student[i] = x
			for name := range logitLosses {
				closeTo(t, fmt.Sprint(name, ": gradient ", i), at[name].gradient[i],
					(above[name].value-below[name].value)/(2*step), 1e-8)
			}
		}
	})
}

// TestLogitLossReference compares values with plain Go, written from the papers' equations with no regard to stability.
func TestLogitLossReference(t *testing.T) {
	onBackends(t, func(t *testing.T, run run) {
		for seed := range uint64(5) {
			b := randomBatch(seed, 2)
			want := map[string]float64{}
			for i, label := range b.labels {
				zs, zt := b.student[i*classes:(i+1)*classes], b.teacher[i*classes:(i+1)*classes]
				ps, pt := softmax(zs, testT), softmax(zt, testT)
				y := int(label)
				want["learnt kl"] += testT * testT * divergence(pt, ps) / samples
				want["instance"] = want["learnt kl"]
				want["tckd"] += testT * testT / samples *
					divergence([]float64{pt[y], 1 - pt[y]}, []float64{ps[y], 1 - ps[y]})
				want["nckd"] += testT * testT / samples * divergence(without(pt, y), without(ps, y))
				want["standardized kl"] += 0.25 / samples *
					divergence(softmax(zscore(zt), 0.5), softmax(zscore(zs), 0.5))
				want["inter"] += testT * testT / samples * (1 - correlation(ps, pt))
				for k := range classes {
					want["mse"] += math.Pow(zs[k]-zt[k], 2) / (samples * classes)
				}
			}
			got := run(dtypes.Float64, b)
			for name, value := range want {
				closeTo(t, name, got[name].value, value, 1e-9)
			}
		}
	})
}

// TestLogitLossProperties: nothing changes when a constant is added to a sample's logits (but for MSE), or when
// samples or classes change places; with the teacher's own logits a loss is 0 and has gradient 0; DKD's parts add up
// to Hinton's loss.
func TestLogitLossProperties(t *testing.T) {
	run := newRun(t, devicetest.Go(t))
	rapid.Check(t, func(rt *rapid.T) {
		b := randomBatch(rapid.Uint64().Draw(rt, "seed"), rapid.Float64Range(0.1, 5).Draw(rt, "scale"))
		shift := rapid.Float64Range(-50, 50).Draw(rt, "shift")
		factor := rapid.Float64Range(0.1, 10).Draw(rt, "factor")
		class := rapid.Permutation([]int{0, 1, 2, 3, 4}).Draw(rt, "classes")
		sample := rapid.Permutation([]int{0, 1, 2}).Draw(rt, "samples")
		var shifted, permuted, own batch
		shifted, own = b, b
		shifted.student, permuted.labels = nil, make([]int32, samples)
		permuted.student, permuted.teacher = make([]float64, len(b.student)), make([]float64, len(b.student))
		own.student = b.teacher
		for i, z := range b.student {
			shifted.student = append(shifted.student, z+shift*float64(1+i/classes))
			to := sample[i/classes]*classes + class[i%classes]
			permuted.student[to], permuted.teacher[to] = z, b.teacher[i]
		}
		for i, label := range b.labels {
			permuted.labels[sample[i]] = int32(class[label])
		}
		scaled := b
		scaled.student = nil
		for _, z := range b.student {
			scaled.student = append(scaled.student, z*factor)
		}

		at, atShifted, atPermuted := run(dtypes.Float64, b), run(dtypes.Float64, shifted), run(dtypes.Float64, permuted)
		atOwn, atScaled := run(dtypes.Float64, own), run(dtypes.Float64, scaled)
		for name, r := range at {
			if r.value < -1e-12 {
				rt.Errorf("%s is negative: %g", name, r.value)
			}
			if name != "mse" {
				closeTo(rt, name+" of shifted logits", atShifted[name].value, r.value, 1e-9)
			}
			closeTo(rt, name+" of permuted logits", atPermuted[name].value, r.value, 1e-9)
			if strings.HasPrefix(name, "int") {
				continue // DIST's 1e-8 counts where probabilities hardly vary
			}
			closeTo(rt, name+" of the teacher's logits", atOwn[name].value, 0, 1e-9)
			for _, g := range atOwn[name].gradient {
				closeTo(rt, "gradient of "+name+" at the teacher's logits", g, 0, 1e-9)
			}
		}
		closeTo(rt, "standardized KL of scaled logits", atScaled["standardized kl"].value,
			at["standardized kl"].value, 1e-4)

		one := run(dtypes.Float64, batch{b.student[:classes], b.teacher[:classes], b.labels[:1]})
		p := softmax(b.teacher[:classes], testT)[b.labels[0]]
		closeTo(rt, "TCKD + (1 - pt) NCKD", one["tckd"].value+(1-p)*one["nckd"].value, one["learnt kl"].value, 1e-9)
	})
}

// TestExtremeLogits: values and gradients stay finite for logits of 1e4, one-hot teachers and equal logits, and in
// float32 are those of float64.
func TestExtremeLogits(t *testing.T) {
	constant := func(value float64) (x []float64) {
		for range samples * classes {
			x = append(x, value)
		}
		return x
	}
	oneHot, flipped := constant(-1e4), constant(0)
	for i := range samples {
		oneHot[i*classes+i] = 1e4
		flipped[i*classes+classes-1-i] = 1e4
	}
	small, large := randomBatch(3, 2), randomBatch(4, 1e4)
	aside := make([]float64, len(small.student))
	for i, z := range small.student {
		aside[i] = 1e4 + math.Round(z*64)/64 // exact in float32
	}
	labels := []int32{0, 4, 2}
	onBackends(t, func(t *testing.T, run run) {
		for what, b := range map[string]batch{
			"large student":               {large.student, small.teacher, labels},
			"large both":                  {large.student, large.teacher, labels},
			"one-hot teacher":             {small.student, oneHot, labels},
			"one-hot teacher and student": {oneHot, oneHot, labels},
			"one-hot, another class":      {flipped, oneHot, labels},
			"one-hot student":             {oneHot, small.teacher, labels},
			"equal logits":                {constant(1e4), small.teacher, labels},
			"equal logits of both":        {constant(0), constant(-1e4), labels},
			"teacher without preference":  {small.student, constant(7), labels},
			"far from zero":               {aside, small.teacher, labels},
		} {
			wide, narrow := run(dtypes.Float64, b), run(dtypes.Float32, b)
			for name, want := range wide {
				got, largest := narrow[name], 0.0
				for _, g := range append(want.gradient, got.gradient...) {
					if math.IsNaN(g) || math.IsInf(g, 0) {
						t.Errorf("%s: a gradient of %s is %g", what, name, g)
					}
					largest = max(largest, math.Abs(g))
				}
				closeTo(t, what+": "+name, got.value, want.value, 1e-5)
				if strings.HasPrefix(name, "int") && what == "equal logits" {
					continue // of correlations with what is constant, the slope depends on the last digit
				}
				for i, g := range want.gradient {
					closeTo(t, fmt.Sprintf("%s: gradient %d of %s", what, i, name), got.gradient[i]/max(1, largest),
						g/max(1, largest), 1e-5)
				}
			}
		}
	})
}

// TestCurriculum checks the temperature, and that its gradient is that of the loss, reversed and as strong as the
// epoch says.
func TestCurriculum(t *testing.T) {
	b := randomBatch(5, 4)
	klAt := func(temperature float64) (kl float64) {
		for i := range samples {
			zs, zt := b.student[i*classes:(i+1)*classes], b.teacher[i*classes:(i+1)*classes]
			kl += temperature * temperature / samples * divergence(softmax(zt, temperature), softmax(zs, temperature))
		}
		return kl
	}
	sigma := 1 / (1 + math.Exp(-1))
	slope := (klAt(1+20*sigma+1e-4) - klAt(1+20*sigma-1e-4)) / 2e-4 * 20 * sigma * (1 - sigma)
	for _, test := range []struct {
		warmup   int
		epoch    float64
		strength float64
	}{
		{10, 1, (1 - math.Cos(math.Pi/10)) / 2}, {10, 5, 0.5}, {10, 10, 1}, {10, 240, 1}, {0, 1, 1},
	} {
		m, err := distill.New(record.Method{Name: "ctkd", Gamma: 0.1, Alpha: 0.9, Warmup: test.warmup})
		if err != nil {
			t.Fatal(err)
		}
		store := model.NewStore()
		build := func(variables *model.Scope, inputs []*node) []*node {
			kl := m.Losses(distill.Batch{
				Outputs: zoo.Outputs{Logits: inputs[0]}, Teacher: zoo.Outputs{Logits: inputs[1]}, Labels: inputs[2],
				Epoch: inputs[3], Scope: nn.New(variables, nn.Options{}),
			}).Terms[1]
			theta := variables.GetVariable("global_T").NodeValue(inputs[0].Graph())
			return []*node{kl.Value, graph.Gradient(kl.Value, theta)[0]}
		}
		exec, err := model.NewExec(devicetest.Go(t).Backend, store, build)
		if err != nil {
			t.Fatal(err)
		}
		out, err := exec.Call(fixture.Make(dtypes.Float64, b.student, samples, classes),
			fixture.Make(dtypes.Float64, b.teacher, samples, classes), b.labels, test.epoch)
		if err != nil {
			t.Fatal(err)
		}
		closeTo(t, "loss", flat(t, out[0])[0], klAt(1+20*sigma), 1e-9)
		closeTo(t, fmt.Sprintf("gradient in epoch %g of %d", test.epoch, test.warmup), flat(t, out[1])[0],
			-test.strength*slope, 1e-6)
		exec.Finalize()
		store.Finalize()
	}
}

func TestLogitLossArguments(t *testing.T) {
	three, two := [][]float32{{1, 2, 3}}, [][]float32{{1, 2}}
	for _, test := range []struct {
		loss             string
		student, teacher any
		labels           any
		want             string
	}{
		{"tckd", two, two, []int32{0}, "DKD: logits must be floats of shape [batch, classes] with at least 3 classes"},
		{"tckd", three, three, []float32{0}, "DKD: labels must be 1 integers"},
		{"tckd", three, three, []int32{0, 1}, "DKD: labels must be 1 integers"},
		{"inter", three, two, []int32{0}, "DIST: student logits (Float32)[1, 3] and teacher logits (Float32)[1, 2]"},
		{"inter", []float32{1, 2}, []float32{1, 2}, []int32{0}, "DIST: logits must be"},
		{"class", three, two, []int32{0}, "KL: student logits"},
		{"standardized kl", [][]float32{{1}}, [][]float32{{1}}, []int32{0}, "Standardize: logits must be"},
		{"learnt kl", three, two, []int32{0}, "LearntKL: student logits"},
		{"mse", three, two, []int32{0}, "MSE: student logits"},
	} {
		_, err := graph.CallOnceN(devicetest.Go(t).Backend, func(inputs []*node) []*node {
			return []*node{logitLosses[test.loss](inputs[0], inputs[1], inputs[2])}
		}, test.student, test.teacher, test.labels)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.loss, err, test.want)
		}
	}
}

func softmax(z []float64, temperature float64) (p []float64) {
	sum := 0.0
	for _, v := range z {
		p = append(p, math.Exp(v/temperature))
		sum += p[len(p)-1]
	}
	for i := range p {
		p[i] /= sum
	}
	return p
}

func divergence(p, q []float64) (sum float64) {
	for i := range p {
		sum += p[i] * math.Log(p[i]/q[i])
	}
	return sum
}

// without is the distribution over all but one class.
func without(p []float64, class int) (q []float64) {
	for k, v := range p {
		if k != class {
			q = append(q, v/(1-p[class]))
		}
	}
	return q
}

func centered(x []float64) (c []float64) {
	mean := 0.0
	for _, v := range x {
		mean += v / float64(len(x))
	}
	for _, v := range x {
		c = append(c, v-mean)
	}
	return c
}

func zscore(z []float64) []float64 {
	scores, squares := centered(z), 0.0
	for _, v := range scores {
		squares += v * v
	}
	for i := range scores {
		scores[i] /= math.Sqrt(squares/float64(len(z)-1)) + 1e-7
	}
	return scores
}

func correlation(x, y []float64) float64 {
	a, b := centered(x), centered(y)
	ab, aa, bb := 0.0, 0.0, 0.0
	for i := range a {
		ab, aa, bb = ab+a[i]*b[i], aa+a[i]*a[i], bb+b[i]*b[i]
	}
	return ab / (math.Sqrt(aa*bb) + 1e-8)
}

// closeTo fails unless got is within tolerance of want, relative where want is large.
func closeTo(t interface{ Errorf(string, ...any) }, what string, got, want, tolerance float64) {
	if !(math.Abs(got-want) <= tolerance*max(1, math.Abs(want))) {
		t.Errorf("%s: %.12g, want %.12g (tolerance %g)", what, got, want, tolerance)
	}
}
