package distill

import (
	"math"
	"slices"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/dhkd-lab/dhkd-go/dhkd/device/devicetest"
	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

// Tests of the methods that use the networks' classifiers.

// grid is a map [n, side, side, channels] in plain float64.
type grid struct {
	n, side, channels int
	values            []float64
}

func newGrid(n, side, channels int, values []float64) grid {
	if values == nil {
		values = make([]float64, n*side*side*channels)
	}
	return grid{n, side, channels, values}
}

func (g grid) at(image, row, column, channel int) *float64 {
	return &g.values[((image*g.side+row)*g.side+column)*g.channels+channel]
}

// pool averages to a side that divides.
func (g grid) pool(side int) grid {
	factor := g.side / side
	out := newGrid(g.n, side, g.channels, nil)
	g.each(func(image, row, column, c int) {
		*out.at(image, row/factor, column/factor, c) += *g.at(image, row, column, c) / float64(factor*factor)
	})
	return out
}

func (g grid) each(f func(image, row, column, channel int)) {
	for i := range g.values {
		f(i/g.channels/g.side/g.side, i/g.channels/g.side%g.side, i/g.channels%g.side, i%g.channels)
	}
}

// conv is a convolution with weight [out, in, kernel, kernel], stride 1 and the padding that keeps the size.
func (g grid) conv(weight []float64, out, kernel int) grid {
	result := newGrid(g.n, g.side, out, nil)
	result.each(func(image, row, column, o int) {
		for in := range g.channels {
			for k := range kernel * kernel {
				y, x := row+k/kernel-kernel/2, column+k%kernel-kernel/2
				if y >= 0 && y < g.side && x >= 0 && x < g.side {
					*result.at(image, row, column, o) += *g.at(image, y, x, in) * weight[(o*g.channels+in)*kernel*kernel+k]
				}
			}
		}
	})
	return result
}

// normReLU is batch norm in training, weight 1 and bias 0, and ReLU.
func (g grid) normReLU() grid {
	out := newGrid(g.n, g.side, g.channels, nil)
	count := float64(len(g.values) / g.channels)
	for c := range g.channels {
		mean, variance := 0.0, 0.0
		for i := c; i < len(g.values); i += g.channels {
			mean += g.values[i] / count
		}
		for i := c; i < len(g.values); i += g.channels {
			variance += (g.values[i] - mean) * (g.values[i] - mean) / count
		}
		for i := c; i < len(g.values); i += g.channels {
			out.values[i] = max(0, (g.values[i]-mean)/math.Sqrt(variance+1e-5))
		}
	}
	return out
}

// TestSimKD compares loss and prediction with the authors' modules in plain Go (SimKD, models/util.py and
// helper/loops.py), for a student's map that is larger than the teacher's, and smaller. Its gradient is checked by
// finite differences.
func TestSimKD(t *testing.T) {
	const n, channels, wide, classes = 3, 3, 6, 4
	m, err := New(Defaults("simkd"))
	if err != nil {
		t.Fatal(err)
	}
	weight, bias := normal(5, classes, wide), normal(6, classes)
	for _, backend := range []compute.Backend{devicetest.Open(t).Backend, devicetest.Go(t).Backend} {
		for _, sides := range [][2]int{{4, 2}, {2, 4}} {
			side, teacherSide := sides[0], sides[1]
			store := model.NewStore()
			exec := model.MustNewExec(backend, store, func(variables *model.Scope, in []*Node) []*Node {
				b := Batch{Outputs: zoo.Outputs{Features: in[:1]}, Scope: nn.New(variables, nn.Options{Training: true, Seed: 2}),
					Teacher: zoo.Outputs{Last: in[1], Classifier: zoo.Classifier{Weight: in[2], Bias: in[3]}}}
				losses := m.Losses(b)
				value := losses.Terms[0].Value
				return append([]*Node{value, losses.Logits}, Gradient(value, in...)...)
			})
			student, teacher := normal(1, n, side, side, channels), normal(2, n, teacherSide, teacherSide, wide)
			call := func(student []float64) (results [][]float64) {
				for _, out := range exec.MustCall(tensorOf(student, n, side, side, channels),
					tensorOf(teacher, n, teacherSide, teacherSide, wide), tensorOf(weight, classes, wide), tensorOf(bias, classes)) {
					results = append(results, tensors.MustCopyFlatData[float64](out))
				}
				return results
			}
			got := call(student)
			variable := func(name string) []float64 {
				return tensors.MustCopyFlatData[float64](store.GetVariable("/transfer." + name + ".weight").MustValue())
			}
			reference := func(student []float64) (loss float64, logits []float64) {
				s, target := newGrid(n, side, channels, student), newGrid(n, teacherSide, wide, teacher)
				if side > teacherSide {
					s = s.pool(teacherSide)
				} else {
					target = target.pool(side)
				}
				x := s.conv(variable("0"), wide/2, 1).normReLU().conv(variable("3"), wide/2, 3).normReLU().
					conv(variable("6"), wide, 1).normReLU()
				for i, v := range x.values {
					loss += (v - target.values[i]) * (v - target.values[i]) / float64(len(x.values))
				}
				for _, feature := range rowsOf(x.pool(1).values, wide) {
					for class, row := range rowsOf(weight, wide) {
						logits = append(logits, dotProduct(row, feature)+bias[class])
					}
				}
				return loss, logits
			}
			loss, logits := reference(student)
			closeTo(t, "loss", got[0], []float64{loss})
			closeTo(t, "logits", got[1], logits)
			for _, at := range []int{0, len(student) / 2, len(student) - 1} {
				const by = 1e-6
				moved := func(by float64) float64 {
					changed := slices.Clone(student)
					changed[at] += by
					loss, _ := reference(changed)
					return loss
				}
				if want := (moved(by) - moved(-by)) / (2 * by); math.Abs(got[2][at]-want) > 1e-7*(1+math.Abs(want)) {
					t.Errorf("gradient %d is %v, finite differences give %v", at, got[2][at], want)
				}
			}
			for i, of := range []string{"map", "weight", "bias"} {
				if slices.ContainsFunc(got[3+i], func(v float64) bool { return v != 0 }) {
					t.Errorf("a gradient reaches the teacher's %s", of)
				}
			}
			exec.Finalize()
			store.Finalize()
		}
	}
}

// TestCATKD compares with the definition in plain Go: maps at full size, then averaged, then of length 1 (CAT-KD,
// distillers/CAT_KD.py), and its gradients, of the student's map and of its classifier, with finite differences.
func TestCATKD(t *testing.T) {
	const n, side, channels, wide, classes, resolution = 2, 4, 3, 5, 3, 2
	student, teacher := normal(1, n, side, side, channels), normal(2, n, 2*side, 2*side, wide)
	weight, weightT := normal(3, classes, channels), normal(4, classes, wide)
	for _, normalized := range []bool{false, true} {
		reference := func(student, weight []float64) (loss float64) {
			maps := func(x grid, weight []float64) grid {
				cam := x.conv(weight, classes, 1).pool(resolution)
				if !normalized {
					return cam
				}
				lengths := newGrid(n, 1, classes, nil)
				cam.each(func(image, row, column, c int) {
					*lengths.at(image, 0, 0, c) += *cam.at(image, row, column, c) * *cam.at(image, row, column, c)
				})
				cam.each(func(image, row, column, c int) {
					*cam.at(image, row, column, c) /= math.Sqrt(*lengths.at(image, 0, 0, c))
				})
				return cam
			}
			s, t := maps(newGrid(n, side, channels, student), weight), maps(newGrid(n, 2*side, wide, teacher), weightT)
			for i := range s.values {
				loss += (s.values[i] - t.values[i]) * (s.values[i] - t.values[i]) / float64(len(s.values))
			}
			return loss
		}
		for _, backend := range []compute.Backend{devicetest.Open(t).Backend, devicetest.Go(t).Backend} {
			got := evaluate(t, backend, func(in []*Node) []*Node {
				maps := func(last, weight *Node) *Node {
					return ActivationMaps(zoo.Outputs{Last: last, Classifier: zoo.Classifier{Weight: weight}}, resolution)
				}
				loss := ClassAttention(maps(in[0], in[1]), maps(in[2], in[3]), normalized)
				return append([]*Node{loss}, Gradient(loss, in...)...)
			}, tensorOf(student, n, side, side, channels), tensorOf(weight, classes, channels),
				tensorOf(teacher, n, 2*side, 2*side, wide), tensorOf(weightT, classes, wide))
			closeTo(t, "loss", got[0], []float64{reference(student, weight)})
			const by = 1e-6
			for at := range student {
				moved := func(by float64) float64 {
					changed := slices.Clone(student)
					changed[at] += by
					return reference(changed, weight)
				}
				if want := (moved(by) - moved(-by)) / (2 * by); math.Abs(got[1][at]-want) > 1e-7*(1+math.Abs(want)) {
					t.Errorf("normalize %v: gradient %d of the map is %v, finite differences give %v", normalized, at, got[1][at], want)
				}
			}
			for at := range weight {
				moved := func(by float64) float64 {
					changed := slices.Clone(weight)
					changed[at] += by
					return reference(student, changed)
				}
				if want := (moved(by) - moved(-by)) / (2 * by); math.Abs(got[2][at]-want) > 1e-7*(1+math.Abs(want)) {
					t.Errorf("normalize %v: gradient %d of the classifier is %v, finite differences give %v", normalized, at,
						got[2][at], want)
				}
			}
			if slices.ContainsFunc(slices.Concat(got[3], got[4]), func(v float64) bool { return v != 0 }) {
				t.Error("a gradient reaches the teacher")
			}
		}
	}
}

// TestClassAttentionExtremes: maps of zeros and of 1e4 have finite losses and gradients in float32, with and without
// length 1.
func TestClassAttentionExtremes(t *testing.T) {
	for _, normalized := range []bool{false, true} {
		exec := MustNewExec(devicetest.Go(t).Backend, func(student, teacher *Node) []*Node {
			loss := ClassAttention(student, teacher, normalized)
			return append([]*Node{loss}, Gradient(loss, student)...)
		})
		large, zero := [][][][]float32{{{{1e4, -1e4}, {1e4, 1e-4}}}}, [][][][]float32{{{{0, 0}, {0, 0}}}}
		for _, pair := range [][2]any{{large, zero}, {zero, large}, {zero, zero}} {
			for _, out := range exec.MustCall(pair[0], pair[1]) {
				for _, v := range tensors.MustCopyFlatData[float32](out) {
					if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
						t.Errorf("normalize %v: %v", normalized, v)
					}
				}
			}
		}
		exec.Finalize()
	}
}

// TestActivationMapsOfNetworks: for a network of each family, the mean of a class's activation map, and its bias, is
// its logit.
func TestActivationMapsOfNetworks(t *testing.T) {
	for _, name := range []string{"resnet8", "wrn_16_1", "vgg8", "MobileNetV2", "ShuffleV1", "ShuffleV2"} {
		network, err := zoo.New(zoo.Config{Name: name, Classes: 5})
		if err != nil {
			t.Fatal(err)
		}
		store := model.NewStore()
		exec := model.MustNewExec(devicetest.Go(t).Backend, store, func(variables *model.Scope, images *Node) *Node {
			out := network.Forward(nn.New(variables, nn.Options{Seed: 1}), images)
			maps := ActivationMaps(out, out.Last.Shape().Dim(1))
			fromMaps := Add(ReduceMean(maps, 1, 2), ExpandAxes(out.Classifier.Bias, 0))
			return Stack([]*Node{out.Logits, fromMaps, out.Classifier.Logits(out.Pooled)}, 0)
		})
		images := normal(3, 2, 32, 32, 3)
		out := exec.MustCall(tensorOf(images, 2, 32, 32, 3))[0]
		for i, row := range rowsOf(tensors.MustCopyFlatData[float64](out), 10)[1:] {
			closeTo(t, name+[]string{" from maps", " from the classifier"}[i], row,
				tensors.MustCopyFlatData[float64](out)[:10])
		}
		exec.Finalize()
		store.Finalize()
	}
}

// TestPredictorOf finds the network that is trained, alone and in a sum.
func TestPredictorOf(t *testing.T) {
	simkd := Defaults("simkd")
	both := Defaults("kd")
	both.With = append(both.With, simkd)
	for name, recipe := range map[string]struct {
		method Method
		other  bool
	}{"kd": {must(New(Defaults("kd"))), false}, "simkd": {must(New(simkd)), true}, "kd+simkd": {must(New(both)), true}} {
		predict := PredictorOf(recipe.method)
		if (predict != nil) != recipe.other {
			t.Errorf("%s predicts otherwise than the student: %v", name, predict != nil)
		}
		if predict == nil {
			continue
		}
		g := NewGraph(devicetest.Go(t).Backend, name)
		store := model.NewStore()
		model.SetStore(g, store)
		constant := func(dims ...int) *Node { return IotaFull(g, shapes.Make(dtypes.Float32, dims...)) }
		logits := predict(Batch{Outputs: zoo.Outputs{Features: []*Node{constant(2, 4, 4, 3)}},
			Teacher: zoo.Outputs{Last: constant(2, 4, 4, 6), Classifier: zoo.Classifier{Weight: constant(5, 6), Bias: constant(5)}},
			Scope:   nn.New(store.Scope("/"), nn.Options{})})
		module := map[string]string{"simkd": "/transfer.0.weight", "kd+simkd": "/1.transfer.0.weight"}[name]
		if !slices.Equal(logits.Shape().Dimensions, []int{2, 5}) || store.GetVariable(module) == nil {
			t.Errorf("%s: logits %s, no module %s", name, logits.Shape(), module)
		}
		g.Finalize()
		store.Finalize()
	}
}

func must(m Method, err error) Method {
	if err != nil {
		panic(err)
	}
	return m
}
