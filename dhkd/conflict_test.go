package dhkd_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/dhkd-lab/dhkd-go/dhkd"
)

func TestConflicts(t *testing.T) {
	onBackends(t, func(t *testing.T, backend compute.Backend) {
		// Two parameters, [3, 2] and [2].
		exec := newExec(t, backend, func(inputs []*graph.Node) []*graph.Node {
			parts := dhkd.MeasureConflicts(inputs[:2], inputs[2:])
			whole, rows := dhkd.SumConflicts(parts...), dhkd.RowConflicts(inputs[0], inputs[2])
			return []*graph.Node{parts[0].Cosine(), parts[1].Cosine(), whole.Cosine(), whole.Dot, whole.G1Squared,
				whole.G2Squared, rows.Cosine(), dhkd.ShareNegative(rows), dhkd.ShareNegative(rows, rows, rows)}
		})
		w1, b1 := [][]float64{{3, 4}, {1, 0}, {0, 2}}, []float64{2, 0}
		for _, test := range []struct {
			name string
			w2   [][]float64
			b2   []float64
			want [][]float64
		}{
			// <w1, w2> = 7 - 1 + 0, ||w1||² = 30, ||w2||² = 2 + 1 + 1; <b1, b2> = -2, ||b1||² = 4, ||b2||² = 4.
			{"known", [][]float64{{1, 1}, {-1, 0}, {-1, 0}}, []float64{-1, math.Sqrt(3)}, [][]float64{
				{6 / math.Sqrt(30*4)}, {-0.5}, {4 / math.Sqrt(34*8)}, {4}, {34}, {8},
				{7 / math.Sqrt(25*2), -1, 0}, {1. / 3}, {1. / 3}}},
			{"the same", w1, b1, [][]float64{{1}, {1}, {1}, {34}, {34}, {34}, {1, 1, 1}, {0}, {0}}},
			{"opposite", [][]float64{{-6, -8}, {-2, 0}, {0, -4}}, []float64{-4, 0},
				[][]float64{{-1}, {-1}, {-1}, {-68}, {34}, {136}, {-1, -1, -1}, {1}, {1}}},
			{"zero", [][]float64{{0, 0}, {0, 0}, {0, 0}}, []float64{0, 0},
				[][]float64{{0}, {0}, {0}, {0}, {34}, {0}, {0, 0, 0}, {0}, {0}}},
		} {
			got := call(t, exec, w1, b1, test.w2, test.b2)
			for i, want := range test.want {
				for j := range want {
					near(t, test.name, got[i][j], want[j], 1e-14)
				}
			}
		}
		got := call(t, exec, w1, b1, [][]float64{{math.NaN(), 0}, {1, 0}, {0, -1}}, b1)
		if !math.IsNaN(got[0][0]) || !math.IsNaN(got[2][0]) || got[1][0] != 1 {
			t.Errorf("cosines beside a NaN: %v", got)
		}
	})
}

// TestLinearModel has the gradients that automatic differentiation finds of a linear classifier, and what is measured of
// them, against the closed forms of cross-entropy, BinaryKL and BinaryKL-Norm.
func TestLinearModel(t *testing.T) {
	const n, d, classes, temperature, alpha = 6, 3, 4, 2.0, 0.7
	rng := rand.New(rand.NewPCG(1, 2))
	matrix := func(rows, columns int) [][]float64 {
		m := make([][]float64, rows)
		for i := range m {
			for range columns {
				m[i] = append(m[i], 2*rng.NormFloat64())
			}
		}
		return m
	}
	h, w, teacher, labels := matrix(n, d), matrix(classes, d), matrix(n, classes), []int32{0, 1, 2, 3, 1, 0}

	// f are the coefficients: of cross-entropy, BinaryKL and BinaryKL-Norm, [loss][image][class].
	sigma := func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
	var f [3][n][classes]float64
	for i := range n {
		var z [classes]float64
		sum := 0.0
		for k := range classes {
			z[k] = dot(w[k], h[i])
			sum += math.Exp(z[k])
		}
		for k := range classes {
			f[0][i][k] = -math.Exp(z[k]) / sum
			if int32(k) == labels[i] {
				f[0][i][k]++
			}
			f[1][i][k] = alpha * temperature * (sigma(teacher[i][k]/temperature) - sigma(z[k]/temperature))
			f[2][i][k] = alpha * temperature * (0.5 - sigma((z[k]-teacher[i][k])/temperature))
		}
	}
	gradient := func(loss int) (flat []float64) { // of w
		for k := range classes {
			for j := range d {
				g := 0.0
				for i := range n {
					g -= f[loss][i][k] * h[i][j] / n
				}
				flat = append(flat, g)
			}
		}
		return flat
	}

	onBackends(t, func(t *testing.T, backend compute.Backend) {
		exec := newExec(t, backend, func(inputs []*graph.Node) []*graph.Node {
			h, w, teacher, labels := inputs[0], inputs[1], inputs[2], inputs[3]
			z := graph.DotGeneral(h, []int{1}, nil, w, []int{1}, nil)
			losses := []*graph.Node{dhkd.CrossEntropy(z, labels),
				graph.MulScalar(dhkd.BinaryKL(z, teacher, temperature), alpha),
				graph.MulScalar(dhkd.BinaryKLNorm(z, teacher, temperature), alpha)}
			var out, atW, atZ []*graph.Node
			for i, loss := range losses {
				g := graph.Gradient(loss, w, z)
				atW, atZ = append(atW, g[0]), append(atZ, g[1])
				p := dhkd.MeasurePull(g[1], labels)
				c := dhkd.MeasureConflicts(atW[:1], atW[i:])[0]
				rows := dhkd.RowConflicts(atW[0], g[0])
				o := dhkd.MeasureOppositions(atZ[0], g[1], labels)
				out = append(out, c.Dot, c.Cosine(), dhkd.ShareNegative(rows), p.TruePull, p.TruePush, p.OtherPull, p.OtherPush,
					o.All, o.True, o.Other)
			}
			return out
		})
		got := call(t, exec, h, w, teacher, labels)
		for loss := range f {
			g1, g2 := gradient(0), gradient(loss)
			negative, pulls, opposed := 0.0, [4]float64{}, [2]float64{}
			for k := range classes {
				if dot(g1[k*d:][:d], g2[k*d:][:d]) < 0 {
					negative++
				}
				for i := range n {
					at, v := 2, f[loss][i][k] // of others
					if int32(k) == labels[i] {
						at = 0
					}
					pulls[at] += max(v, 0)
					pulls[at+1] += max(-v, 0)
					if v*f[0][i][k] < 0 {
						opposed[at/2]++
					}
				}
			}
			const others = n * (classes - 1)
			want := []float64{dot(g1, g2), dot(g1, g2) / math.Sqrt(dot(g1, g1)*dot(g2, g2)), negative / classes,
				pulls[0] / n, pulls[1] / n, pulls[2] / others, pulls[3] / others,
				(opposed[0] + opposed[1]) / (n * classes), opposed[0] / n, opposed[1] / others}
			for i := range want {
				near(t, "quantity", got[10*loss+i][0], want[i], 1e-12)
			}
			if loss > 0 && (opposed[0] == 0 || opposed[1] == 0 || negative == 0) {
				t.Errorf("loss %d: the example has no conflict", loss)
			}
		}
	})
}

// Signs oppose even where the product of two coefficients is too small for a number.
func TestOppositionsOfSmallNumbers(t *testing.T) {
	onBackends(t, func(t *testing.T, backend compute.Backend) {
		exec := newExec(t, backend, func(inputs []*graph.Node) []*graph.Node {
			o := dhkd.MeasureOppositions(inputs[0], inputs[1], inputs[2])
			return []*graph.Node{o.All, o.True, o.Other}
		})
		got := call(t, exec, [][]float32{{1e-30, -1, 1}}, [][]float32{{-1e-30, 0, 1}}, []int32{0})
		near(t, "all", got[0][0], 1./3, 1e-6)
		near(t, "true", got[1][0], 1, 0)
		near(t, "other", got[2][0], 0, 0)
	})
}

func TestConflictArguments(t *testing.T) {
	onBackends(t, func(t *testing.T, backend compute.Backend) {
		for want, build := range map[string]func(x, y, labels *graph.Node){
			"got 1 and 2":          func(x, y, _ *graph.Node) { dhkd.MeasureConflicts([]*graph.Node{x}, []*graph.Node{x, y}) },
			"must be equal":        func(x, y, _ *graph.Node) { dhkd.RowConflicts(x, graph.Transpose(y, 0, 1)) },
			"has no rows":          func(x, y, labels *graph.Node) { dhkd.RowConflicts(labels, labels) },
			"nothing to put":       func(x, y, _ *graph.Node) { dhkd.SumConflicts() },
			"no rows":              func(x, y, _ *graph.Node) { dhkd.ShareNegative() },
			"labels [N], got":      func(x, y, _ *graph.Node) { dhkd.MeasurePull(x, y) },
			"of 2 classes at leas": func(x, y, labels *graph.Node) { dhkd.MeasurePull(labels, labels) },
		} {
			_, err := graph.CallOnce(backend, func(x, y, labels *graph.Node) *graph.Node { build(x, y, labels); return x },
				[][]float32{{1, 2, 3}, {1, 2, 3}}, [][]float32{{1, 2, 3}, {1, 2, 3}}, tensors.FromValue([]int32{1, 2}))
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want one with %q", err, want)
			}
		}
	})
}
