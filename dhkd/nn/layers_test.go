package nn_test

import (
	"math"
	"slices"
	"testing"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/dhkd-lab/dhkd-go/dhkd/device/devicetest"
	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
)

// TestConv2D compares with the definition, written out.
func TestConv2D(t *testing.T) {
	onBackends(t, func(t *testing.T, backend compute.Backend) {
		for _, c := range []struct{ kernel, stride, padding int }{{3, 1, 1}, {3, 2, 1}, {1, 2, 0}, {3, 1, 0}, {2, 1, 0}, {4, 2, 1}} {
			const n, height, width, in, out = 2, 5, 4, 3, 2
			store := model.NewStore()
			x := random(1, n, height, width, in)
			got := run(t, backend, store, nn.Options{}, x, func(s *nn.Scope, x *Node) *Node {
				return nn.Conv2D(s.In("conv"), x, out, c.kernel, c.stride, c.padding)
			})
			weight := floats(store.GetVariable("/net/conv.weight").MustValue()) // [out, in, kernel, kernel]
			pixels := floats(x)
			var want []float64
			for i := range n {
				for top := -c.padding; top+c.kernel <= height+c.padding; top += c.stride {
					for left := -c.padding; left+c.kernel <= width+c.padding; left += c.stride {
						for o := range out {
							var sum float64
							for k := range in * c.kernel * c.kernel {
								channel, y, x := k/c.kernel/c.kernel, top+k/c.kernel%c.kernel, left+k%c.kernel
								if y >= 0 && y < height && x >= 0 && x < width {
									sum += pixels[((i*height+y)*width+x)*in+channel] * weight[o*in*c.kernel*c.kernel+k]
								}
							}
							want = append(want, sum)
						}
					}
				}
			}
			near(t, "convolution", got, want, 1e-12)
		}
	})
}

func TestLinear(t *testing.T) {
	store := model.NewStore()
	x := random(1, 3, 4)
	got := run(t, devicetest.Go(t).Backend, store, nn.Options{}, x, func(s *nn.Scope, x *Node) *Node {
		return nn.Linear(s, x, 2)
	})
	weight, bias := floats(store.GetVariable("/net/weight").MustValue()),
		floats(store.GetVariable("/net/bias").MustValue())
	var want []float64
	for i := range 3 {
		for o := range 2 {
			sum := bias[o]
			for k := range 4 {
				sum += floats(x)[4*i+k] * weight[4*o+k]
			}
			want = append(want, sum)
		}
	}
	near(t, "linear", got, want, 1e-12)
}

// TestBatchNorm checks output and running statistics of two training passes, then inference, against loops.
func TestBatchNorm(t *testing.T) {
	onBackends(t, func(t *testing.T, backend compute.Backend) {
		const n, channels = 12, 3
		store := model.NewStore()
		training := newExec(t, backend, store, func(variables *model.Scope, inputs []*Node) []*Node {
			return []*Node{nn.BatchNorm(nn.New(variables.At("net"), nn.Options{Training: true}), inputs[0])}
		})
		runningMean, runningVar := make([]float64, channels), slices.Repeat([]float64{1}, channels)
		get := func(name string) []float64 { return floats(store.GetVariable("/net/" + name).MustValue()) }
		for pass := range uint64(2) {
			x := random(pass, 2, 2, 3, channels)
			got := call(t, training, x)[0]
			want := make([]float64, n*channels)
			for c := range channels {
				var mean, variance float64
				for i := range n {
					mean += floats(x)[i*channels+c] / n
				}
				for i := range n {
					variance += math.Pow(floats(x)[i*channels+c]-mean, 2) / n
				}
				for i := range n {
					want[i*channels+c] = (floats(x)[i*channels+c] - mean) / math.Sqrt(variance+1e-5)
				}
				runningMean[c] = 0.9*runningMean[c] + 0.1*mean
				runningVar[c] = 0.9*runningVar[c] + 0.1*variance*n/(n-1)
			}
			near(t, "output", got, want, 1e-12)
			near(t, "running_mean", get("running_mean"), runningMean, 1e-12)
			near(t, "running_var", get("running_var"), runningVar, 1e-12)
		}
		if store.GetVariable("/net/running_var").Trainable || !store.GetVariable("/net/weight").Trainable {
			t.Error("the running statistics are trained, or the weight is not")
		}
		set(store.GetVariable("/net/weight"), random(8, channels))
		set(store.GetVariable("/net/bias"), random(9, channels))
		x := random(3, 4, channels)
		got := run(t, backend, store, nn.Options{}, x, nn.BatchNorm)
		want := make([]float64, len(got))
		for i := range want {
			c := i % channels
			want[i] = (floats(x)[i]-runningMean[c])/math.Sqrt(runningVar[c]+1e-5)*get("weight")[c] + get("bias")[c]
		}
		near(t, "inference", got, want, 1e-12)
		near(t, "running_mean after inference", get("running_mean"), runningMean, 1e-12)
	})
}

// TestReLU checks the values at which implementations differ: a gradient of 0 at 0, and NaN, which must not vanish.
func TestReLU(t *testing.T) {
	onBackends(t, func(t *testing.T, backend compute.Backend) {
		exec := newExec(t, backend, model.NewStore(), func(variables *model.Scope, inputs []*Node) []*Node {
			y := nn.ReLU(nn.New(variables.At("net"), nn.Options{}), inputs[0])
			return append([]*Node{y}, Gradient(ReduceAllSum(y), inputs[0])...)
		})
		inf := math.Inf(1)
		outputs := call(t, exec, tensors.FromValue([]float64{-inf, -2, math.Copysign(0, -1), 0, 3, inf, math.NaN()}))
		near(t, "value", outputs[0][:6], []float64{0, 0, 0, 0, 3, inf}, 0)
		near(t, "gradient", outputs[1][:6], []float64{0, 0, 0, 0, 1, 1}, 0)
		if !math.IsNaN(outputs[0][6]) {
			t.Errorf("ReLU(NaN) is %g", outputs[0][6])
		}
	})
}

// TestNaN checks that a NaN reaches the outputs of a network, so that a run that diverged is seen to.
func TestNaN(t *testing.T) {
	onBackends(t, func(t *testing.T, backend compute.Backend) {
		for _, training := range []bool{true, false} {
			x := moved(random(1, 2, 4, 4, 2), 5, math.NaN())
			got := run(t, backend, model.NewStore(), nn.Options{Training: training}, x,
				layersUnderTest[len(layersUnderTest)-1].build)
			if !math.IsNaN(got[0]) {
				t.Errorf("training %v: %v", training, got)
			}
		}
	})
}

func TestDropout(t *testing.T) {
	const n, probability = 40000, 0.1
	onBackends(t, func(t *testing.T, backend compute.Backend) {
		ones := tensors.FromFlatDataAndDimensions(slices.Repeat([]float64{1}, n), n/100, 100)
		drop := func(seed uint64, o nn.Options) [][]float64 {
			exec := newExec(t, backend, model.NewStore(), func(variables *model.Scope, inputs []*Node) []*Node {
				if o.Training && !o.NoDropout {
					o.RNG = Const(inputs[0].Graph(), []uint64{seed, 2, 3})
				}
				s := nn.New(variables.At("net"), o)
				first, second := nn.Dropout(s.In("a"), inputs[0], probability), nn.Dropout(s.In("b"), inputs[0], probability)
				return append([]*Node{first, second}, Gradient(ReduceAllSum(first), inputs[0])...)
			})
			return call(t, exec, ones)
		}
		got := drop(1, nn.Options{Training: true})
		dropped := 0
		for _, v := range got[0] {
			if v == 0 {
				dropped++
			} else if math.Abs(v-1/(1-probability)) > 1e-15 {
				t.Fatalf("a kept value grew to %g", v)
			}
		}
		sigma := math.Sqrt(n * probability * (1 - probability))
		if math.Abs(float64(dropped)-n*probability) > 4*sigma {
			t.Errorf("%d of %d dropped, want %g +- %.0f", dropped, n, n*probability, sigma)
		}
		near(t, "gradient", got[2], got[0], 0) // of x = 1
		if slices.Equal(got[0], got[1]) {
			t.Error("two layers drop the same values")
		}
		again, other := drop(1, nn.Options{Training: true}), drop(4, nn.Options{Training: true})
		if !slices.Equal(got[0], again[0]) || !slices.Equal(got[1], again[1]) {
			t.Error("the same state of the generator drops other values")
		}
		if slices.Equal(got[0], other[0]) {
			t.Error("another state of the generator drops the same values")
		}
		for _, o := range []nn.Options{{}, {Training: true, NoDropout: true}} {
			near(t, "switched off", drop(1, o)[0], floats(ones), 0)
		}
	})
}
