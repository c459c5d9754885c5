package distill_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/gomlx/core/graph"

	"github.com/dhkd-lab/dhkd-go/dhkd/device"
	"github.com/dhkd-lab/dhkd-go/dhkd/device/devicetest"
	"github.com/dhkd-lab/dhkd-go/dhkd/distill"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/internal/golden/fixture"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

// TestLabelSmoothing compares value and gradient with PyTorch's in float64, for logits up to 3e4, and both with the
// definition: cross-entropy with the targets (1-epsilon) onehot + epsilon/C. PyTorch 2.15 made the numbers, of 3
// samples and 5 classes:
//
//	z = (scale * torch.randn(3, 5)).float().double().requires_grad_()
//	y = torch.randint(5, (3,))
//	loss = torch.nn.functional.cross_entropy(z, y, label_smoothing=epsilon)
//	loss.backward()
func TestLabelSmoothing(t *testing.T) {
	data, err := os.ReadFile("testdata/label_smoothing.json")
	if err != nil {
		t.Fatal(err)
	}
	var torch []struct {
		Logits, Gradient []float64
		Labels           []int32
		Epsilon, Value   float64
	}
	if err := json.Unmarshal(data, &torch); err != nil || len(torch) == 0 {
		t.Fatal(len(torch), err)
	}
	for _, d := range []*device.Device{devicetest.Go(t), devicetest.Open(t)} {
		for _, c := range torch {
			value, gradient := smoothed(c.Logits, c.Labels, c.Epsilon)
			largest := math.Abs(c.Logits[0])
			closeTo(t, "value of the definition", value, c.Value, 1e-12)
			for dtype, tolerance := range map[dtypes.DType]float64{dtypes.Float64: 1e-12, dtypes.Float32: 1e-6} {
				what := fmt.Sprintf("%s, %s, logits like %.0f", d.Backend.Name(), dtype, largest)
				exec, err := graph.NewExec(d.Backend, func(logits, labels *node) []*node {
					m, err := distill.New(record.Method{Name: "label-smoothing", Alpha: c.Epsilon})
					if err != nil {
						panic(err)
					}
					terms := m.Losses(distill.Batch{Outputs: zoo.Outputs{Logits: logits}, Labels: labels}).Terms
					loss := graph.Add(terms[0].Weighted(), terms[1].Weighted())
					return []*node{loss, graph.Gradient(loss, logits)[0]}
				})
				if err != nil {
					t.Fatal(err)
				}
				out, err := exec.Call(fixture.Make(dtype, c.Logits, samples, classes), c.Labels)
				if err != nil {
					t.Fatal(err)
				}
				closeTo(t, what, flat(t, out[0])[0], c.Value, tolerance)
				for i, g := range flat(t, out[1]) {
					closeTo(t, fmt.Sprint(what, ", gradient ", i), g, c.Gradient[i], tolerance)
					closeTo(t, fmt.Sprint("gradient of the definition ", i), gradient[i], c.Gradient[i], 1e-12)
				}
				exec.Finalize()
			}
		}
	}
}

// smoothed is label smoothing by its definition.
func smoothed(z []float64, labels []int32, epsilon float64) (loss float64, gradient []float64) {
	for i, label := range labels {
		row, largest, sum := z[i*classes:(i+1)*classes], math.Inf(-1), 0.0
		for _, v := range row {
			largest = max(largest, v)
		}
		for _, v := range row {
			sum += math.Exp(v - largest)
		}
		for k, v := range row {
			target := epsilon / classes
			if k == int(label) {
				target += 1 - epsilon
			}
			loss -= target * (v - largest - math.Log(sum)) / samples
			gradient = append(gradient, (math.Exp(v-largest)/sum-target)/samples)
		}
	}
	return loss, gradient
}
