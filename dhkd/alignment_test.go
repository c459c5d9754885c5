package dhkd_test

import (
	"math"
	"strings"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"pgregory.net/rapid"

	"github.com/dhkd-lab/dhkd-go/dhkd"
)

// alignExec takes two gradients of the parameters [3] and [2, 2] each and returns the merged ones and the diagnosis.
func alignExec(t *testing.T, backend compute.Backend) *graph.Exec {
	return newExec(t, backend, func(inputs []*graph.Node) []*graph.Node {
		merged, a := dhkd.AlignGradients(inputs[:2], inputs[2:])
		return append(merged, a.Dot, a.G1Squared, a.G2Squared, a.Cosine, a.Conflict, a.Coefficient)
	})
}

func TestAlignGradients(t *testing.T) {
	onBackends(t, func(t *testing.T, backend compute.Backend) {
		exec := alignExec(t, backend)
		split := func(x []float64) (any, any) { return x[:3], [][]float64{x[3:5], x[5:7]} }
		align := func(g1, g2 []float64) (merged []float64, diagnosis [][]float64) {
			a1, b1 := split(g1)
			a2, b2 := split(g2)
			out := call(t, exec, a1, b1, a2, b2)
			return append(out[0], out[1]...), out[2:]
		}
		rapid.Check(t, func(rt *rapid.T) {
			entry := rapid.Float64Range(-10, 10)
			g1, g2 := rapid.SliceOfN(entry, 7, 7).Draw(rt, "g1"), rapid.SliceOfN(entry, 7, 7).Draw(rt, "g2")
			merged, diagnosis := align(g1, g2)
			d, n1, n2 := dot(g1, g2), dot(g1, g1), dot(g2, g2)
			for i, want := range []float64{d, n1, n2} {
				near(rt, "dot, ||g1||², ||g2||²", diagnosis[i][0], want, 1e-12)
			}
			if n1 < 1e-100 || n2 < 1e-100 || math.Abs(d) < 1e-9 {
				return // rounding decides
			}
			near(rt, "cosine", diagnosis[3][0], d/math.Sqrt(n1*n2), 1e-12)
			if d < 0 {
				near(rt, "conflict", diagnosis[4][0], 1, 0)
				near(rt, "c", diagnosis[5][0], -d/n1, 1e-12)
				near(rt, "<merged, g1> = ||g1||²", dot(merged, g1)/n1, 1, 1e-9*max(1, n2/n1))
			} else {
				near(rt, "conflict", diagnosis[4][0], 0, 0)
				near(rt, "c", diagnosis[5][0], 0, 0)
			}
			for i := range merged {
				near(rt, "merged", merged[i], (1+max(0, -d)/n1)*g1[i]+g2[i], 1e-12)
			}
		})

		// The opposite of a gradient cancels out; a zero gradient is nobody's enemy.
		g1, opposite := []float64{1, 2, 3, 4, 5, 6, 7}, []float64{-2, -4, -6, -8, -10, -12, -14}
		zero := make([]float64, 7)
		for _, test := range []struct {
			name             string
			g1, g2, want     []float64
			cosine, conflict float64
		}{
			{"opposite", g1, opposite, g1, -1, 1},
			{"g1 is zero", zero, g1, g1, 0, 0},
			{"g2 is zero", g1, zero, g1, 0, 0},
			{"both are zero", zero, zero, zero, 0, 0},
		} {
			merged, diagnosis := align(test.g1, test.g2)
			for i := range merged {
				near(t, test.name, merged[i], test.want[i], 1e-14)
			}
			near(t, test.name+": cosine", diagnosis[3][0], test.cosine, 1e-14)
			near(t, test.name+": conflict", diagnosis[4][0], test.conflict, 0)
		}
		poisoned := append([]float64{math.NaN()}, g1[1:]...)
		if merged, _ := align(g1, poisoned); !math.IsNaN(merged[0]) || merged[1] != 4 {
			t.Errorf("g1 + g2 with a NaN in g2's first entry is %v", merged) // and nothing is projected: NaN is not negative
		}
	})
}

func TestClipGlobalNorm(t *testing.T) {
	onBackends(t, func(t *testing.T, backend compute.Backend) {
		exec := newExec(t, backend, func(inputs []*graph.Node) []*graph.Node {
			clipped, norm, scale := dhkd.ClipGlobalNorm(inputs, 2)
			return append(clipped, norm, scale)
		})
		for _, test := range []struct {
			a           []float32
			b           float32
			norm, scale float64
		}{
			{[]float32{3, 0}, 4, 5, 2 / 5.000001},
			{[]float32{0.3, 0}, 0.4, 0.5, 1},
			{[]float32{0, 0}, 0, 0, 1},
		} {
			out := call(t, exec, test.a, test.b)
			near(t, "norm", out[2][0], test.norm, 1e-6)
			near(t, "scale", out[3][0], test.scale, 1e-6)
			near(t, "first gradient", out[0][0], float64(test.a[0])*test.scale, 1e-6)
			near(t, "second gradient", out[1][0], float64(test.b)*test.scale, 1e-6)
		}
		many := make([]float32, 1<<20)
		for i := range many {
			many[i] = 0.1
		}
		out := call(t, exec, tensors.FromFlatDataAndDimensions(many, 1<<10, 1<<10), float32(0))
		near(t, "norm of a million entries", out[2][0], 102.4, 5e-5)

		out = call(t, exec, []float32{float32(math.NaN()), 1}, float32(1))
		if !math.IsNaN(out[0][1]) || !math.IsNaN(out[1][0]) {
			t.Errorf("gradients beside a NaN: %v, want NaN", out)
		}
	})
}

func TestAlignmentArguments(t *testing.T) {
	tests := []struct {
		name  string
		build func(x, y *graph.Node)
		want  string
	}{
		{"none", func(x, y *graph.Node) { dhkd.AlignGradients(nil, nil) }, "two gradients for each"},
		{"one missing", func(x, y *graph.Node) { dhkd.MeasureAlignment([]*graph.Node{x, y}, []*graph.Node{x}) },
			"got 2 and 1"},
		{"shapes", func(x, y *graph.Node) { dhkd.MeasureAlignment([]*graph.Node{x}, []*graph.Node{y}) },
			"must be equal"},
		{"limit", func(x, y *graph.Node) { dhkd.ClipGlobalNorm([]*graph.Node{x}, 0) }, "limit"},
		{"infinite limit", func(x, y *graph.Node) { dhkd.ClipGlobalNorm([]*graph.Node{x}, math.Inf(1)) }, "limit"},
		{"nothing to clip", func(x, y *graph.Node) { dhkd.ClipGlobalNorm(nil, 1) }, "no gradients"},
	}
	onBackends(t, func(t *testing.T, backend compute.Backend) {
		for _, test := range tests {
			_, err := graph.CallOnce(backend, func(x, y *graph.Node) *graph.Node { test.build(x, y); return x },
				[]float32{1, 2}, []float32{1, 2, 3})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s: error %v, want one with %q", test.name, err, test.want)
			}
		}
	})
}

func dot(a, b []float64) (sum float64) {
	for i := range a {
		sum += a[i] * b[i]
	}
	return sum
}
