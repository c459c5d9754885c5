package dhkd_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"pgregory.net/rapid"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/internal/golden/fixture"
)

type loss func(student, teacher *graph.Node, temperature float64) *graph.Node

// The outputs of lossExec, in this order: value and gradient of each.
var losses = []loss{dhkd.KL, dhkd.BinaryKL, dhkd.BinaryKLNorm, dhkd.LiteralBinaryKL, dhkd.LiteralBinaryKLNorm}

const kl, bkl, norm, literalBKL, literalNorm = 0, 2, 4, 6, 8

func lossExec(t *testing.T, backend compute.Backend, temperature float64) *graph.Exec {
	return newExec(t, backend, func(inputs []*graph.Node) (outputs []*graph.Node) {
		for _, loss := range losses {
			value := loss(inputs[0], inputs[1], temperature)
			outputs = append(outputs, value, graph.Gradient(value, inputs[0])[0])
		}
		return outputs
	})
}

// TestLossProperties draws logits and checks what must hold of any.
func TestLossProperties(t *testing.T) {
	const n, classes = 3, 4
	onBackends(t, func(t *testing.T, backend compute.Backend) {
		for _, temperature := range []float64{1, 2} {
			exec := lossExec(t, backend, temperature)
			rapid.Check(t, func(rt *rapid.T) {
				logit := rapid.Float64Range(-9, 9) // at T = 1 the clamps of the literal forms begin at 18.4
				student := rapid.SliceOfN(logit, n*classes, n*classes).Draw(rt, "student")
				teacher := rapid.SliceOfN(logit, n*classes, n*classes).Draw(rt, "teacher")
				shift := rapid.Float64Range(0.1, 5).Draw(rt, "shift")
				run := func(student, teacher []float64) [][]float64 {
					return call(t, exec, fixture.Make(dtypes.Float64, student, n, classes),
						fixture.Make(dtypes.Float64, teacher, n, classes))
				}
				out := run(student, teacher)

				var logCosh float64
				for i := range student {
					logCosh += math.Log(math.Cosh((student[i] - teacher[i]) / (2 * temperature)))
				}
				near(rt, "BinaryKLNorm is log cosh", out[norm][0], temperature*temperature/n*logCosh, 1e-11)
				near(rt, "literal BinaryKL", out[literalBKL][0], out[bkl][0], 1e-7)
				near(rt, "literal BinaryKLNorm", out[literalNorm][0], out[norm][0], 1e-7)
				for _, which := range []int{kl, bkl, norm} {
					if out[which][0] < -1e-13 {
						rt.Fatalf("loss %d is negative: %g", which, out[which][0])
					}
				}
				for i := range student {
					near(rt, "gradient of BinaryKL", out[bkl+1][i],
						temperature*(sigmoid(student[i]/temperature)-sigmoid(teacher[i]/temperature))/n, 1e-13)
					near(rt, "gradient of BinaryKLNorm", out[norm+1][i],
						temperature/2*math.Tanh((student[i]-teacher[i])/(2*temperature))/n, 1e-13)
					for _, which := range []int{bkl, norm} {
						if out[which+1][i]*(student[i]-teacher[i]) < 0 {
							rt.Fatalf("gradient %d of loss %d has not the sign of student - teacher", i, which)
						}
					}
				}

				shifted := make([]float64, len(student))
				for i, x := range student {
					shifted[i] = x + shift
				}
				near(rt, "KL of shifted logits", run(shifted, teacher)[kl][0], out[kl][0], 1e-11)
				same := run(student, student)
				for _, which := range []int{kl, bkl, norm} {
					near(rt, "loss at equality", same[which][0], 0, 1e-15)
				}
				apart := run(shifted, student)
				near(rt, "KL of logits that differ by a constant", apart[kl][0], 0, 1e-11)
				if apart[bkl][0] <= 1e-9 || apart[norm][0] <= 1e-4 {
					rt.Fatalf("the binary losses do not see a shift: %g, %g", apart[bkl][0], apart[norm][0])
				}
			})
		}
	})
}

// TestGradients compares the gradients with finite differences in float64.
func TestGradients(t *testing.T) {
	const n, classes, step = 2, 3, 1e-5
	student := []float64{0.3, -2, 5, 1, 0, -0.5}
	teacher := []float64{0.3, 1, 4, -3, 2, -0.4} // equal in the first entry
	onBackends(t, func(t *testing.T, backend compute.Backend) {
		exec := lossExec(t, backend, 1.5)
		labels := tensors.FromValue([]int32{2, 0})
		crossEntropy := newExec(t, backend, func(inputs []*graph.Node) []*graph.Node {
			value := graph.MulScalar(dhkd.CrossEntropy(inputs[0], inputs[1]), 3) // a weight must reach the gradient
			return []*graph.Node{value, graph.Gradient(value, inputs[0])[0]}
		})
		run := func(student []float64) [][]float64 {
			logits := fixture.Make(dtypes.Float64, student, n, classes)
			return append(call(t, exec, logits, fixture.Make(dtypes.Float64, teacher, n, classes)),
				call(t, crossEntropy, logits, labels)...)
		}
		at := run(student)
		for i := range student {
			up, down := append([]float64{}, student...), append([]float64{}, student...)
			up[i] += step
			down[i] -= step
			above, below := run(up), run(down)
			for which := 0; which < len(at); which += 2 {
				near(t, fmt.Sprintf("gradient %d of loss %d", i, which/2), at[which+1][i],
					(above[which][0]-below[which][0])/(2*step), 1e-8)
			}
		}
	})
}

func TestCrossEntropyLabels(t *testing.T) {
	onBackends(t, func(t *testing.T, backend compute.Backend) {
		exec := newExec(t, backend, func(inputs []*graph.Node) []*graph.Node {
			value := dhkd.CrossEntropy(inputs[0], inputs[1])
			return []*graph.Node{value, graph.Gradient(value, inputs[0])[0]}
		})
		logits := [][]float32{{1, 2, 3}, {1000, 0, -1000}}
		for _, labels := range []any{[]int64{2, 0}, []int32{2, 0}, []uint8{2, 0}} {
			out := call(t, exec, logits, labels)
			near(t, fmt.Sprintf("loss with %T", labels), out[0][0], 0.4076059/2, 1e-6)
		}
		for _, outside := range []int32{-1, 3} {
			out := call(t, exec, logits, []int32{outside, 0})
			if !math.IsNaN(out[0][0]) || !math.IsNaN(out[1][0]) || math.IsNaN(out[1][3]) {
				t.Errorf("label %d: loss %v, gradient %v; want NaN in the loss and in the first row",
					outside, out[0], out[1])
			}
		}
	})
}

// TestLargeLogits checks that the stable losses stay finite and keep their slope where the literal ones break.
func TestLargeLogits(t *testing.T) {
	onBackends(t, func(t *testing.T, backend compute.Backend) {
		exec := lossExec(t, backend, 1)
		tests := []struct {
			student, teacher []float32
			bkl, norm        float64 // value
			bklGrad          float64 // of the first entry
		}{
			{[]float32{1e4, 0}, []float32{0, 0}, 1e4/2 - math.Ln2, 1e4/2 - math.Ln2, 0.5},
			{[]float32{-1e4, 0}, []float32{0, 0}, 1e4/2 - math.Ln2, 1e4/2 - math.Ln2, -0.5},
			{[]float32{-1e4, 0}, []float32{1e4, 0}, 1e4, 1e4 - math.Ln2, -1},
			{[]float32{1e4, 0}, []float32{1e4 - 1, 0}, 0, math.Log(math.Cosh(0.5)), 0},
		}
		for _, test := range tests {
			out := call(t, exec, [][]float32{test.student}, [][]float32{test.teacher})
			for i, values := range out[:literalBKL] {
				for _, value := range values {
					if math.IsNaN(value) || math.IsInf(value, 0) {
						t.Errorf("%v: output %d is %v", test, i, values)
					}
				}
			}
			near(t, "BinaryKL", out[bkl][0], test.bkl, 1e-6)
			near(t, "BinaryKLNorm", out[norm][0], test.norm, 1e-6)
			near(t, "gradient of BinaryKL", out[bkl+1][0], test.bklGrad, 1e-6)
		}
		nan := float32(math.NaN())
		out := call(t, exec, [][]float32{{nan, 0}}, [][]float32{{0, 0}})
		for which := 0; which < len(out); which += 2 {
			if !math.IsNaN(out[which][0]) {
				t.Errorf("loss %d of a NaN logit is %g", which/2, out[which][0])
			}
		}
	})
}

// TestLargeLogitsInFloat32 has small differences of large logits, which float32 holds exactly: nothing of them is lost.
func TestLargeLogitsInFloat32(t *testing.T) {
	student := []float64{10000.25, 10001.5, 9998.75, -9999.5, -10002.25, -10000.75}
	teacher := []float64{9999.75, 10003, 10000.5, 9997.25, 9999.5, 10001.25}
	onBackends(t, func(t *testing.T, backend compute.Backend) {
		exec := lossExec(t, backend, 3)
		run := func(dtype dtypes.DType) [][]float64 {
			return call(t, exec, fixture.Make(dtype, student, 2, 3), fixture.Make(dtype, teacher, 2, 3))[:literalBKL]
		}
		narrow := run(dtypes.Float32)
		for output, want := range run(dtypes.Float64) {
			for i, value := range want {
				near(t, fmt.Sprintf("output %d of loss %d, entry %d", output%2, output/2, i), narrow[output][i], value, 1e-6)
			}
		}
	})
}

// TestLiteralOverflow checks where the reference implementation's formulas break in float32, and how.
func TestLiteralOverflow(t *testing.T) {
	edge := 24 * math.Ln2
	onBackends(t, func(t *testing.T, backend compute.Backend) {
		for _, temperature := range []float64{1, 2} {
			exec := lossExec(t, backend, temperature)
			for _, d := range []float64{-40, -18.43, -18.41, edge - 2e-3, edge + 2e-3, 40, 1000} {
				// The teacher is 0, so that d is the argument of the sigmoid in both losses.
				out := call(t, exec, [][]float32{{float32(d * temperature), 1}}, [][]float32{{0, 0}})
				for _, which := range []int{literalBKL, literalNorm} {
					value, grad := out[which][0], out[which+1]
					wantGrad := out[norm+1][0]
					switch {
					case d > edge:
						if !math.IsInf(value, 1) || !math.IsNaN(grad[0]) {
							t.Errorf("d %g: value %g, gradient %g; want +Inf and NaN", d, value, grad[0])
						}
					case d < math.Log(1e-8):
						wantGrad = 0
						fallthrough
					default:
						near(t, fmt.Sprintf("gradient at d %g", d), grad[0], wantGrad, 1e-6)
						if math.IsInf(value, 0) || math.IsNaN(value) {
							t.Errorf("d %g: value %g", d, value)
						}
					}
					near(t, "gradient of the other entry", grad[1], out[norm+1][1], 1e-6)
				}
			}
			large := float32(40 * temperature)
			out := call(t, exec, [][]float32{{large, 0}, {0, 0}}, [][]float32{{large, 0}, {large, 0}})
			if !math.IsNaN(out[literalBKL][0]) || out[literalNorm][0] > 1e3 {
				t.Errorf("both saturated: %g, %g; want NaN and a number", out[literalBKL][0], out[literalNorm][0])
			}
		}
	})
}

func TestLossArguments(t *testing.T) {
	two := func(loss loss, temperature float64) func(inputs []*graph.Node) *graph.Node {
		return func(inputs []*graph.Node) *graph.Node { return loss(inputs[0], inputs[1], temperature) }
	}
	crossEntropy := func(inputs []*graph.Node) *graph.Node { return dhkd.CrossEntropy(inputs[0], inputs[1]) }
	logits := [][]float32{{1, 2}, {3, 4}}
	tests := []struct {
		name   string
		loss   func(inputs []*graph.Node) *graph.Node
		inputs [2]any
		want   string
	}{
		{"rank", two(dhkd.KL, 1), [2]any{[]float32{1, 2}, []float32{1, 2}}, "shape [batch, classes]"},
		{"shapes", two(dhkd.BinaryKL, 1), [2]any{logits, [][]float32{{1, 2}}}, "same shape"},
		{"dtypes", two(dhkd.BinaryKLNorm, 1), [2]any{logits, [][]float64{{1, 2}, {3, 4}}}, "same shape and dtype"},
		{"integers", two(dhkd.BinaryKL, 1), [2]any{[][]int32{{1, 2}}, [][]int32{{1, 2}}}, "float32 or float64"},
		{"one class", two(dhkd.KL, 1), [2]any{[][]float32{{1}}, [][]float32{{1}}}, "2 classes"},
		{"zero temperature", two(dhkd.KL, 0), [2]any{logits, logits}, "temperature"},
		{"negative temperature", two(dhkd.BinaryKL, -1), [2]any{logits, logits}, "temperature"},
		{"NaN temperature", two(dhkd.LiteralBinaryKL, math.NaN()), [2]any{logits, logits}, "temperature"},
		{"infinite temperature", two(dhkd.LiteralBinaryKLNorm, math.Inf(1)), [2]any{logits, logits}, "temperature"},
		{"float labels", crossEntropy, [2]any{logits, []float32{0, 1}}, "integers"},
		{"too few labels", crossEntropy, [2]any{logits, []int32{0}}, "2 integers"},
		{"labels of rank 2", crossEntropy, [2]any{logits, [][]int32{{0}, {1}}}, "2 integers"},
		{"one class for labels", crossEntropy, [2]any{[][]float32{{1}}, []int32{0}}, "2 classes"},
	}
	onBackends(t, func(t *testing.T, backend compute.Backend) {
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				_, err := graph.CallOnce(backend, test.loss, test.inputs[0], test.inputs[1])
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("error %v, want one with %q", err, test.want)
				}
			})
		}
	})
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// near fails unless got is within tolerance of want, relative where want is large.
func near(t interface{ Errorf(string, ...any) }, what string, got, want, tolerance float64) {
	if !(math.Abs(got-want) <= tolerance*max(1, math.Abs(want))) {
		t.Errorf("%s: %.12g, want %.12g (tolerance %g)", what, got, want, tolerance)
	}
}
