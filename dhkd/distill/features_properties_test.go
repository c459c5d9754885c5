package distill

import (
	"math"
	"strings"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	"pgregory.net/rapid"

	"github.com/dhkd-lab/dhkd-go/dhkd/device/devicetest"
	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
)

// TestFeatureLossProperties checks what does not matter to the losses that compare relations or attention: for all, the
// order of the images; and each loss's own.
func TestFeatureLossProperties(t *testing.T) {
	const n, d = 4, 6
	dims := []int{n, d}
	losses := func(inputs []*Node) []*Node {
		student, teacher := inputs[0], inputs[1]
		distance, angle := RKD(student, teacher)
		return []*Node{distance, angle, PKT(student, teacher), SimilarityPreserving(student, teacher),
			AttentionTransfer(Reshape(student, n, 1, 3, 2), Reshape(teacher, n, 1, 3, 2))}
	}
	names := []string{"distance", "angle", "PKT", "similarity", "attention"}
	exec, err := NewExec(devicetest.Go(t).Backend, losses)
	if err != nil {
		t.Fatal(err)
	}
	defer exec.Finalize()
	value := func(student, teacher []float64) (values []float64) {
		out, err := exec.Call(tensorOf(student, dims...), tensorOf(teacher, dims...))
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range out {
			values = append(values, tensors.MustCopyFlatData[float64](v)[0])
		}
		return values
	}
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		factor := rapid.Float64Range(0.01, 100).Draw(t, "factor")
		shift := rapid.Float64Range(-10, 10).Draw(t, "shift")
		images := rapid.Permutation([]int{0, 1, 2, 3}).Draw(t, "images")
		student, teacher := normal(seed, dims...), normal(seed+1, dims...)
		moved := func(x []float64, f func(row, column int, value float64) float64, rows, columns []int) []float64 {
			y := make([]float64, len(x))
			for i := range y {
				row, column := rows[i/d], columns[i%d]
				y[i] = f(row, column, x[row*d+column])
			}
			return y
		}
		same := func(_, _ int, v float64) float64 { return v }
		inOrder, columns := []int{0, 1, 2, 3}, []int{0, 1, 2, 3, 4, 5}
		want := value(student, teacher)
		for _, change := range []struct {
			what             string
			student, teacher []float64
			losses           string
		}{
			{"the order of the images", moved(student, same, images, columns), moved(teacher, same, images, columns),
				"distance angle PKT similarity attention"},
			{"the order of the features", moved(student, same, inOrder, []int{3, 0, 5, 4, 1, 2}), teacher,
				"distance angle PKT similarity"},
			{"the order of the channels", moved(student, same, inOrder, []int{1, 0, 3, 2, 5, 4}), teacher,
				"distance angle PKT similarity attention"},
			{"a factor", moved(student, func(_, _ int, v float64) float64 { return factor * v }, inOrder, columns), teacher,
				"distance angle PKT similarity attention"},
			{"a factor for each image", moved(student, func(row, _ int, v float64) float64 {
				return v * (1 + factor*float64(row))
			}, inOrder, columns), teacher, "PKT attention"},
			{"a shift", moved(student, func(_, column int, v float64) float64 {
				return v + shift*float64(column)
			}, inOrder, columns), teacher, "distance angle"},
			{"a sign for each feature", moved(student, func(_, column int, v float64) float64 {
				return v * float64(1-2*(column%2))
			}, inOrder, columns), teacher, "distance angle PKT similarity attention"},
		} {
			got := value(change.student, change.teacher)
			for i, name := range names {
				if strings.Contains(change.losses, name) && math.Abs(got[i]-want[i]) > 1e-4*math.Abs(want[i])+1e-9 { // PKT's e
					t.Fatalf("%s matters to %s: %v, want %v", change.what, name, got[i], want[i])
				}
			}
		}
		for i, v := range value(teacher, teacher) {
			if v != 0 {
				t.Fatalf("%s of the teacher itself is %v", names[i], v)
			}
		}
	})
}

// TestExtremeFeatures has features of 1e4 and 1e-4, of nothing, of equal images, and a batch of one image, in float32:
// all is finite, and is what float64 has for the same features.
func TestExtremeFeatures(t *testing.T) {
	for _, backend := range []compute.Backend{devicetest.Go(t).Backend, devicetest.Open(t).Backend} {
		for _, test := range featureLosses {
			if strings.HasPrefix(test.name, "hint") {
				continue // batch norm makes a map of nothing noise
			}
			inBoth := precisions(t, backend, test)
			for name, change := range map[string]func(x []float64, images int){
				"large":          func(x []float64, _ int) { scale(x, 1e4) },
				"small":          func(x []float64, _ int) { scale(x, 1e-4) },
				"zeros":          func(x []float64, _ int) { scale(x, 0) },
				"one image zero": func(x []float64, images int) { scale(x[:len(x)/images], 0) },
				"equal images":   func(x []float64, images int) { copy(x[len(x)/images:], x[:len(x)/images]) },
			} {
				student, teacher := normal(1, test.student...), normal(2, test.teacher...)
				change(student, test.student[0])
				change(teacher, test.teacher[0])
				got, want := inBoth(student, teacher)
				largest := 0.0
				for _, v := range want[1:] {
					largest = max(largest, math.Abs(v))
				}
				for i := range got {
					off := math.Abs(got[i] - want[i])
					if i == 0 && !(off <= 1e-4*math.Abs(want[0])+1e-6) || i > 0 && !(off <= 1e-4*largest+1e-6) {
						t.Errorf("%s, %s, %s: result %d is %v, in float64 %v", backend.Name(), test.name, name, i, got[i], want[i])
						break
					}
				}
			}
		}
	}
}

func scale(x []float64, by float64) {
	for i := range x {
		x[i] *= by
	}
}

// precisions returns a program for the value of a loss and its gradient with respect to the student's features, in
// float32 and in float64.
func precisions(t *testing.T, backend compute.Backend, test featureLoss) func(student, teacher []float64) (narrow,
	wide []float64) {
	t.Helper()
	store := model.NewStore()
	exec, err := model.NewExec(backend, store, func(variables *model.Scope, inputs []*Node) (out []*Node) {
		for _, dtype := range []dtypes.DType{dtypes.Float32, dtypes.Float64} {
			f, ft := ConvertDType(inputs[0], dtype), ConvertDType(inputs[1], dtype)
			loss := test.loss(nn.New(variables.At("%s", dtype), nn.Options{Training: true, Seed: 1}), f, ft)
			out = append(out, ConvertDType(loss, dtypes.Float64), ConvertDType(Gradient(loss, f)[0], dtypes.Float64))
		}
		return out
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		exec.Finalize()
		store.Finalize()
	})
	return func(student, teacher []float64) (narrow, wide []float64) {
		out, err := exec.Call(tensorOf(student, test.student...), tensorOf(teacher, test.teacher...))
		if err != nil {
			t.Fatal(err)
		}
		flat := func(i int) []float64 { return tensors.MustCopyFlatData[float64](out[i]) }
		return append(flat(0), flat(1)...), append(flat(2), flat(3)...)
	}
}
