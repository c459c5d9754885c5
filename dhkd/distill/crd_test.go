package distill

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
	"pgregory.net/rapid"

	"github.com/dhkd-lab/dhkd-go/dhkd/device/devicetest"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

// contrastMemory is CRD in plain float64 as the authors have it: gathered entries of the banks, Z of the first batch,
// scores as probabilities, the update of the banks. Source: RepDistiller, crd/memory.py and crd/criterion.py.
type contrastMemory struct {
	bankS, bankT [][]float64
	zS, zT       float64 // 0 = not set
	temperature  float64
	momentum     float64
}

func (c *contrastMemory) loss(vS, vT [][]float64, own []int, negatives [][]int) float64 {
	return c.side(vS, c.bankT, &c.zS, own, negatives) + c.side(vT, c.bankS, &c.zT, own, negatives)
}

func (c *contrastMemory) side(anchors, bank [][]float64, z *float64, own []int, negatives [][]int) (loss float64) {
	n := float64(len(bank))
	var scores [][]float64 // the first is the positive's
	mean, pairs := 0.0, 0.0
	for i, v := range anchors {
		row := []float64{}
		for _, j := range append([]int{own[i]}, negatives[i]...) {
			row = append(row, math.Exp(dotProduct(v, bank[j])/c.temperature))
			mean += row[len(row)-1]
			pairs++
		}
		scores = append(scores, row)
	}
	if *z == 0 {
		*z = mean / pairs * n
	}
	const epsilon = 1e-7
	for i, row := range scores {
		noise := float64(len(negatives[i])) / n
		p := row[0] / *z
		loss -= math.Log(p / (p + noise + epsilon))
		for _, score := range row[1:] {
			loss -= math.Log(noise / (score / *z + noise + epsilon))
		}
	}
	return loss / float64(len(anchors))
}

func (c *contrastMemory) update(bank, v [][]float64, own []int) {
	old := slices.Clone(bank)
	for i, at := range own {
		entry := make([]float64, len(v[i]))
		for d := range entry {
			entry[d] = c.momentum*old[at][d] + (1-c.momentum)*v[i][d]
		}
		bank[at] = unitLength(entry)
	}
}

func dotProduct(a, b []float64) (sum float64) {
	for i := range a {
		sum += a[i] * b[i]
	}
	return sum
}

func unitLength(v []float64) []float64 {
	norm := math.Sqrt(dotProduct(v, v))
	out := make([]float64, len(v))
	for i := range v {
		out[i] = v[i] / norm
	}
	return out
}

func rowsOf(values []float64, width int) (r [][]float64) {
	for part := range slices.Chunk(values, width) {
		r = append(r, slices.Clone(part))
	}
	return r
}

// TestCRD compares two steps with the authors' computation: the losses, the banks, and the gradient of the student's
// feature by finite differences of theirs. An image is in the batch twice.
func TestCRD(t *testing.T) {
	const (
		batch, width, teacherWidth, dim, negatives = 4, 3, 5, 6, 7
		temperature, momentum                      = 0.3, 0.25
	)
	trainLabels := []int32{2, 0, 1, 1, 0, 2, 2, 0, 1, 2, 0}
	steps := []struct {
		indices []int32
		rng     []uint64
	}{{[]int32{3, 7, 9, 3}, []uint64{1, 2, 3}}, {[]int32{9, 0, 4, 1}, []uint64{4, 5, 6}}}
	method, err := New(record.Method{Name: "crd", Gamma: 1, Alpha: 1, Temperature: temperature, Dim: dim,
		Negatives: negatives, BankMomentum: momentum})
	if err != nil {
		t.Fatal(err)
	}
	images := sortByClass(trainLabels)
	for _, backend := range []compute.Backend{devicetest.Open(t).Backend, devicetest.Go(t).Backend} {
		t.Run(backend.Name(), func(t *testing.T) {
			store := model.NewStore()
			defer store.Finalize()
			exec := model.MustNewExec(backend, store, func(variables *model.Scope, in []*Node) []*Node {
				scope := func() *nn.Scope { return nn.New(variables, nn.Options{Training: true, Seed: 3, RNG: in[4]}) }
				b := Batch{Outputs: zoo.Outputs{Logits: ReduceAndKeep(in[0], ReduceSum, -1), Pooled: in[0]},
					Teacher: zoo.Outputs{Pooled: in[1]}, Labels: in[2], Indices: in[3], TrainLabels: trainLabels, Scope: scope()}
				b.Logits = Concatenate([]*Node{b.Logits, b.Logits, b.Logits}, -1)
				drawn := images.draw(scope(), b.Labels, negatives, dtypes.Float64) // as in the loss: it draws first
				loss := method.Losses(b).Terms[1].Value
				return append([]*Node{loss, drawn}, Gradient(loss, in[0], in[1])...)
			})
			defer exec.Finalize()
			values := func(name string) []float64 {
				return tensors.MustCopyFlatData[float64](store.GetVariable("/" + name).MustValue())
			}
			var reference *contrastMemory
			for step, s := range steps {
				pooled, pooledT := normal(uint64(step), batch, width), normal(uint64(10+step), batch, teacherWidth)
				labels := make([]int32, batch)
				own := make([]int, batch)
				for i, image := range s.indices {
					labels[i], own[i] = trainLabels[image], int(images.place[image])
				}
				out := exec.MustCall(tensorOf(pooled, batch, width), tensorOf(pooledT, batch, teacherWidth), labels,
					s.indices, s.rng)
				results := make([][]float64, len(out))
				for i := range out {
					results[i] = tensors.MustCopyFlatData[float64](out[i])
				}
				if reference == nil { // the banks were made by the first call, and have moved: make them again
					reference = &contrastMemory{temperature: temperature, momentum: momentum}
					fresh := initialBanks(t, backend, trainLabels, method, batch, width, teacherWidth)
					reference.bankS, reference.bankT = rowsOf(fresh["memory_s"], dim), rowsOf(fresh["memory_t"], dim)
				}
				drawn := make([][]int, batch)
				for i, row := range rowsOf(results[1], len(trainLabels)) {
					for image, times := range row {
						for range int(times) {
							drawn[i] = append(drawn[i], image)
						}
					}
				}
				embedded := func(pooled []float64, width int, network string) (v [][]float64) {
					weight, bias := rowsOf(values(network+".linear.weight"), width), values(network+".linear.bias")
					for _, x := range rowsOf(pooled, width) {
						e := make([]float64, dim)
						for d := range e {
							e[d] = dotProduct(weight[d], x) + bias[d]
						}
						v = append(v, unitLength(e))
					}
					return v
				}
				vS, vT := embedded(pooled, width, "embed_s"), embedded(pooledT, teacherWidth, "embed_t")
				closeTo(t, "loss", results[0], []float64{reference.loss(vS, vT, own, drawn)})
				for at := range pooled {
					const by = 1e-5
					moved := func(by float64) float64 {
						changed := slices.Clone(pooled)
						changed[at] += by
						return reference.loss(embedded(changed, width, "embed_s"), vT, own, drawn)
					}
					want := (moved(by) - moved(-by)) / (2 * by)
					if got := results[2][at]; math.Abs(got-want) > 1e-6*(1+math.Abs(want)) {
						t.Errorf("step %d: gradient %d is %v, finite differences give %v", step, at, got, want)
					}
				}
				if slices.ContainsFunc(results[3], func(v float64) bool { return v != 0 }) {
					t.Error("a gradient reaches the teacher")
				}
				reference.update(reference.bankS, vS, own)
				reference.update(reference.bankT, vT, own)
				closeTo(t, "student's bank", values("memory_s"), slices.Concat(reference.bankS...))
				closeTo(t, "teacher's bank", values("memory_t"), slices.Concat(reference.bankT...))
				closeTo(t, "Z", []float64{math.Exp(values("log_z_s")[0]), math.Exp(values("log_z_t")[0])},
					[]float64{reference.zS, reference.zT})
			}
		})
	}
}

// initialBanks are the method's variables before its first step.
func initialBanks(t *testing.T, backend compute.Backend, trainLabels []int32, m Method,
	batch, width, teacherWidth int) map[string][]float64 {
	t.Helper()
	g := NewGraph(backend, "banks")
	defer g.Finalize()
	store := model.NewStore()
	defer store.Finalize()
	model.SetStore(g, store)
	b := Batch{Outputs: zoo.Outputs{Logits: Const(g, make2d(batch, 3)), Pooled: Const(g, make2d(batch, width))},
		Teacher: zoo.Outputs{Pooled: Const(g, make2d(batch, teacherWidth))}, Labels: Const(g, make([]int32, batch)),
		Indices: Const(g, make([]int32, batch)), TrainLabels: trainLabels,
		Scope: nn.New(store.Scope("/"), nn.Options{Training: true, Seed: 3, RNG: Const(g, []uint64{1, 2, 3})})}
	m.Losses(b)
	initial := map[string][]float64{}
	for v := range store.Scope("/").IterVariables() {
		initial[v.Name()] = tensors.MustCopyFlatData[float64](v.MustValue())
	}
	return initial
}

func make2d(n, width int) [][]float64 {
	values := make([][]float64, n)
	for i := range values {
		values[i] = make([]float64, width)
	}
	return values
}

func closeTo(t *testing.T, what string, got, want []float64) {
	t.Helper()
	for i := range want {
		if len(got) != len(want) || !(math.Abs(got[i]-want[i]) <= 1e-11*(1+math.Abs(want[i]))) {
			t.Errorf("%s: %v, want %v", what, got, want)
			return
		}
	}
}

// TestDraw checks that negatives are of other classes, as many as asked for, and uniform: chi-square of 9 degrees of
// freedom below its 99.9th percentile, 27.9.
func TestDraw(t *testing.T) {
	labels := []int32{3, 0, 3, 1, 1, 0, 3, 1, 0, 0, 3, 3, 3, 1} // none of class 2; 4 others of 14 are of class 0 and 1
	images := sortByClass(labels)
	const negatives = 4000
	for _, backend := range []compute.Backend{devicetest.Open(t).Backend, devicetest.Go(t).Backend} {
		counts := evaluate(t, backend, func(in []*Node) []*Node {
			s := nn.New(nil, nn.Options{Training: true, RNG: in[0]})
			return []*Node{images.draw(s, in[1], negatives, dtypes.Float64)}
		}, []uint64{7, 8, 9}, []int32{0, 1, 3})[0]
		for i, class := range []int32{0, 1, 3} {
			others := float64(len(labels)) - float64(images.count[class])
			expected, total, chi := negatives/others, 0.0, 0.0
			for image, label := range labels {
				times := counts[i*len(labels)+int(images.place[image])]
				total += times
				if label == class {
					if times != 0 {
						t.Errorf("image %d of class %d was drawn as a negative of it", image, class)
					}
					continue
				}
				chi += (times - expected) * (times - expected) / expected
			}
			if total != negatives || chi > 27.9 {
				t.Errorf("%s, class %d: %g negatives, chi-square %g", backend.Name(), class, total, chi)
			}
		}
	}
}

// TestNoiseContrastiveProperties: the order of images does not matter, an image drawn twice counts twice, and losses
// and gradients are finite and right where scores are extreme, in float32.
func TestNoiseContrastiveProperties(t *testing.T) {
	backend := devicetest.Go(t).Backend
	exec := MustNewExec(backend, func(positive, scores, drawn *Node) []*Node {
		loss := NoiseContrastive(positive, scores, drawn, 4)
		return append([]*Node{loss}, Gradient(loss, positive, scores)...)
	})
	defer exec.Finalize()
	call := func(positive []float32, scores, drawn [][]float32) (results [][]float32) {
		for _, out := range exec.MustCall(positive, scores, drawn) {
			results = append(results, tensors.MustCopyFlatData[float32](out))
		}
		return results
	}
	rapid.Check(t, func(t *rapid.T) {
		const n = 5
		value := rapid.Float32Range(-20, 20)
		positive := []float32{value.Draw(t, "positive")}
		scores := rapid.SliceOfN(value, n, n).Draw(t, "scores")
		drawn := []float32{1, 0, 2, 1, 0}
		order := rapid.Permutation([]int{0, 1, 2, 3, 4}).Draw(t, "order")
		permutedScores, permutedDrawn := make([]float32, n), make([]float32, n)
		for i, from := range order {
			permutedScores[i], permutedDrawn[i] = scores[from], drawn[from]
		}
		first := call(positive, [][]float32{scores}, [][]float32{drawn})
		second := call(positive, [][]float32{permutedScores}, [][]float32{permutedDrawn})
		if math.Abs(float64(first[0][0]-second[0][0])) > 1e-5*math.Abs(float64(first[0][0])) {
			t.Fatalf("%v, in another order %v", first[0], second[0])
		}
		for i, gradient := range first[2] {
			p := math.Exp(float64(scores[i]))
			if want := float64(drawn[i]) * p / (p + 4.0/n + 1e-7); math.Abs(float64(gradient)-want) > 1e-5*(want+1e-3) {
				t.Fatalf("gradient of score %v drawn %v times is %v, want %v", scores[i], drawn[i], gradient, want)
			}
		}
	})
	extreme := call([]float32{-1e4, 1e4}, [][]float32{{1e4, -1e4, 0}, {-1e4, 1e4, 0}}, [][]float32{{2, 2, 0}, {4, 0, 0}})
	if want := float32((1e4 + 2e4) / 2); math.Abs(float64(extreme[0][0]/want-1)) > 1e-3 {
		t.Errorf("extreme scores: %v, want about %v", extreme[0], want)
	}
	if !slices.Equal(extreme[1], []float32{-0.5, 0}) || !slices.Equal(extreme[2], []float32{1, 0, 0, 0, 0, 0}) {
		t.Errorf("gradients of extreme scores: %v, %v", extreme[1], extreme[2])
	}
}

func TestCRDErrors(t *testing.T) {
	recipe := Defaults("crd")
	recipe.Negatives = 0
	if _, err := New(recipe); err == nil || !strings.Contains(err.Error(), "method.negatives") {
		t.Errorf("no negatives: %v", err)
	}
	_, err := ExecOnce(devicetest.Go(t).Backend, func(labels *Node) *Node {
		return sortByClass([]int32{1, 1, 1}).draw(nn.New(nil, nn.Options{}), labels, 3, dtypes.Float32)
	}, []int32{1})
	if err == nil || !strings.Contains(err.Error(), "all of one class") {
		t.Errorf("one class: %v", err)
	}
}
