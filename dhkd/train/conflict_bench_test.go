package train

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/gomlx/gomlx/core/tensors"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/dataset"
	"github.com/dhkd-lab/dhkd-go/dhkd/device/devicetest"
	"github.com/dhkd-lab/dhkd-go/dhkd/distill"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

// BenchmarkMeasure times whole steps, teacher and augmentation included, and measured ones in turn, in one process. It
// reports the medians, the median over turns of measured over plain, and what that makes a run of [record.GradientsEvery]
// take of its time without measuring:
//
//	go test ./dhkd/train -run '^$' -bench Measure -benchtime 30x
func BenchmarkMeasure(b *testing.B) {
	for _, pair := range []struct {
		student, teacher string
		side             int
	}{{"resnet8", "resnet20", 16}, {"resnet20", "resnet56", 32}} {
		for _, name := range []string{"ce+binarykl", "dhkd"} {
			b.Run(fmt.Sprintf("%s@%d/%s", pair.student, pair.side, name), func(b *testing.B) {
				m := distill.Defaults(name)
				m.Align = name == "dhkd"
				benchmarkMeasure(b, m, pair.student, pair.teacher, pair.side)
			})
		}
	}
}

func benchmarkMeasure(b *testing.B, m record.Method, student, teacher string, side int) {
	const classes, images, batch = 100, 640, 64
	rng := rand.New(rand.NewPCG(1, 2))
	noise := func(n int) (s dataset.Split) {
		for range n * side * side * 3 {
			s.Pixels = append(s.Pixels, uint8(rng.Uint32()))
		}
		for range n {
			s.Labels = append(s.Labels, rng.Int32N(classes))
		}
		return s
	}
	method, err := distill.New(m)
	if err != nil {
		b.Fatal(err)
	}
	network := func(name string, head dhkd.AuxHead) *zoo.Model {
		n, err := zoo.New(zoo.Config{Name: name, Classes: classes, AuxHead: head})
		if err != nil {
			b.Fatal(err)
		}
		return n
	}
	head := dhkd.NoAuxHead
	if method.Needs().AuxHead {
		head = dhkd.LinearAuxHead
	}
	c := Config{Backend: devicetest.Open(b).Backend, Pad: 1,
		Teacher: &Network{Model: network(teacher, dhkd.NoAuxHead), Weights: map[string]*tensors.Tensor{}},
		Step:    Step{Model: network(student, head), Method: method, SGD: SGD{Momentum: 0.9, WeightDecay: 5e-4}},
		Data: &dataset.Set{Name: "noise", Classes: classes, Channels: 3, Height: side, Width: side, Train: noise(images),
			Test: noise(batch), Mean: []float32{0.5, 0.5, 0.5}, Std: []float32{0.3, 0.3, 0.3}}}
	initial, err := c.Teacher.Model.Initial(c.Backend, [3]int{side, side, 3}, 1)
	if err != nil {
		b.Fatal(err)
	}
	for _, w := range initial {
		c.Teacher.Weights[w.Name] = w.Value
	}
	trainer, err := New(c)
	if err != nil {
		b.Fatal(err)
	}
	defer trainer.Close()
	number := 0
	timed := func(measured bool) float64 {
		indices := order(images, 1, number)[:batch]
		number++
		start := time.Now()
		if _, _, err := trainer.runStep(indices, 1e-3, 1, 1, number, measured); err != nil {
			b.Fatal(err)
		}
		return float64(time.Since(start).Microseconds()) / 1e3
	}
	for range 3 { // compile, and warm up
		timed(true)
	}
	var plain, measured, ratios []float64
	for b.Loop() {
		p, q := timed(false), timed(true)
		plain, measured, ratios = append(plain, p), append(measured, q), append(ratios, q/p)
	}
	median := func(x []float64) float64 {
		slices.Sort(x)
		return x[len(x)/2]
	}
	ratio := median(ratios)
	b.ReportMetric(median(plain), "plain-ms")
	b.ReportMetric(median(measured), "measured-ms")
	b.ReportMetric(ratio, "ratio")
	b.ReportMetric(1+(ratio-1)/record.GradientsEvery, "run-ratio")
	b.ReportMetric(0, "ns/op")
}
