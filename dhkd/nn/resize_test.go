package nn_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/dhkd-lab/dhkd-go/dhkd/device/devicetest"
	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
)

// TestConvTranspose2D compares with the definition, written out: each input adds its kernel to the output.
func TestConvTranspose2D(t *testing.T) {
	onBackends(t, func(t *testing.T, backend compute.Backend) {
		for _, c := range []struct{ kernel, stride, padding int }{{4, 2, 1}, {2, 2, 0}, {3, 1, 1}, {6, 2, 2}, {3, 3, 0}} {
			const n, height, width, in, out = 2, 3, 2, 3, 2
			store := model.NewStore()
			x := random(1, n, height, width, in)
			build := func(s *nn.Scope, x *Node) *Node {
				return nn.ConvTranspose2D(s.In("up"), x, out, c.kernel, c.stride, c.padding)
			}
			run(t, backend, store, nn.Options{}, x, build) // makes the variables
			randomise(store)
			got := run(t, backend, store, nn.Options{}, x, build)
			weight := floats(store.GetVariable("/net/up.weight").MustValue()) // [in, out, kernel, kernel]
			bias := floats(store.GetVariable("/net/up.bias").MustValue())
			rows := (height-1)*c.stride + c.kernel - 2*c.padding
			columns := (width-1)*c.stride + c.kernel - 2*c.padding
			want := make([]float64, n*rows*columns*out)
			for i := range want {
				want[i] = bias[i%out]
			}
			for i, value := range floats(x) {
				image, y, x, channel := i/in/width/height, i/in/width%height, i/in%width, i%in
				for k := range out * c.kernel * c.kernel {
					o, row, column := k/c.kernel/c.kernel, y*c.stride+k/c.kernel%c.kernel-c.padding, x*c.stride+k%c.kernel-c.padding
					if row >= 0 && row < rows && column >= 0 && column < columns {
						want[((image*rows+row)*columns+column)*out+o] += value * weight[channel*out*c.kernel*c.kernel+k]
					}
				}
			}
			near(t, fmt.Sprintf("transposed convolution %+v", c), got, want, 1e-12)
		}
	})
}

// TestAdaptiveAveragePool2D compares with torch's definition: divisible and other sizes, and larger ones.
func TestAdaptiveAveragePool2D(t *testing.T) {
	const n, height, width, channels = 2, 6, 5, 3
	x := random(1, n, height, width, channels)
	values := floats(x)
	for _, to := range [][2]int{{6, 5}, {3, 5}, {2, 1}, {4, 3}, {9, 10}, {1, 7}} {
		got := run(t, devicetest.Open(t).Backend, model.NewStore(), nn.Options{}, x, func(s *nn.Scope, x *Node) *Node {
			return nn.AdaptiveAveragePool2D(s, x, to[0], to[1])
		})
		bounds := func(i, from, to int) (int, int) {
			return int(math.Floor(float64(i*from) / float64(to))), int(math.Ceil(float64((i+1)*from) / float64(to)))
		}
		var want []float64
		for i := range n {
			for row := range to[0] {
				for column := range to[1] {
					top, bottom := bounds(row, height, to[0])
					left, right := bounds(column, width, to[1])
					for c := range channels {
						sum := 0.0
						for y := top; y < bottom; y++ {
							for x := left; x < right; x++ {
								sum += values[((i*height+y)*width+x)*channels+c]
							}
						}
						want = append(want, sum/float64((bottom-top)*(right-left)))
					}
				}
			}
		}
		near(t, fmt.Sprintf("pool to %v", to), got, want, 1e-12)
	}
}

func TestResizePanics(t *testing.T) {
	for want, build := range map[string]func(s *nn.Scope, x *Node) *Node{
		"must be a multiple of the stride": func(s *nn.Scope, x *Node) *Node { return nn.ConvTranspose2D(s, x, 1, 3, 2, 1) },
		"nothing is left":                  func(s *nn.Scope, x *Node) *Node { return nn.ConvTranspose2D(s, x, 1, 2, 1, 2) },
		"must be [N, H, W, C]": func(s *nn.Scope, x *Node) *Node {
			return nn.ConvTranspose2D(s, ReduceMean(x, 1), 1, 4, 2, 1)
		},
		"at least 1x1": func(s *nn.Scope, x *Node) *Node { return nn.AdaptiveAveragePool2D(s, x, 0, 1) },
	} {
		_, err := CallOnce(devicetest.Go(t).Backend, func(x *Node) *Node {
			store := model.NewStore()
			model.SetStore(x.Graph(), store)
			return build(nn.New(store.Scope("/net"), nn.Options{}), x)
		}, random(1, 1, 2, 2, 1))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
