package train

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/gomlx/compute/dtypes"
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
	for _, pair := range benchPairs {
		for _, name := range []string{"ce+binarykl", "dhkd"} {
			b.Run(fmt.Sprintf("%s/%s", pair, name), func(b *testing.B) {
				m := distill.Defaults(name)
				m.Align = name == "dhkd"
				step := timedStep(b, benchConfig(b, pair, m))
				ratio := inTurns(b, "measured", func() float64 { return step(true) }, func() float64 { return step(false) })
				b.ReportMetric(1+(ratio-1)/record.GradientsEvery, "run-ratio")
			})
		}
	}
}

// BenchmarkBFloat16 times whole steps with convolutions in bfloat16 and in float32 in turn, in one process:
//
//	go test ./dhkd/train -run '^$' -bench BFloat16 -benchtime 10x
func BenchmarkBFloat16(b *testing.B) {
	for _, pair := range benchPairs {
		b.Run(pair.String(), func(b *testing.B) {
			c := benchConfig(b, pair, distill.Defaults("kd"))
			wide := timedStep(b, c)
			c.Step.Convolutions = dtypes.BFloat16
			narrow := timedStep(b, c)
			inTurns(b, "bfloat16", func() float64 { return narrow(false) }, func() float64 { return wide(false) })
		})
	}
}

type benchPair struct {
	student, teacher string
	side             int // of an image, pixels
}

var benchPairs = []benchPair{{"resnet8", "resnet20", 16}, {"resnet20", "resnet56", 32}}

func (p benchPair) String() string { return fmt.Sprintf("%s@%d", p.student, p.side) }

const benchImages, benchBatch = 640, 64

func benchConfig(b *testing.B, pair benchPair, m record.Method) Config {
	b.Helper()
	const classes = 100
	side := pair.side
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
		Teacher: &Network{Model: network(pair.teacher, dhkd.NoAuxHead), Weights: map[string]*tensors.Tensor{}},
		Step:    Step{Model: network(pair.student, head), Method: method, SGD: SGD{Momentum: 0.9, WeightDecay: 5e-4}},
		Data: &dataset.Set{Name: "noise", Classes: classes, Channels: 3, Height: side, Width: side, Train: noise(benchImages),
			Test: noise(benchBatch), Mean: []float32{0.5, 0.5, 0.5}, Std: []float32{0.3, 0.3, 0.3}}}
	initial, err := c.Teacher.Model.Initial(c.Backend, [3]int{side, side, 3}, 1)
	if err != nil {
		b.Fatal(err)
	}
	for _, w := range initial {
		c.Teacher.Weights[w.Name] = w.Value
	}
	return c
}

// timedStep is a step that says how long it took, ms.
func timedStep(b *testing.B, c Config) func(measured bool) float64 {
	b.Helper()
	trainer, err := New(c)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(trainer.Close)
	number := 0
	return func(measured bool) float64 {
		indices := order(benchImages, 1, number)[:benchBatch]
		number++
		start := time.Now()
		if _, _, err := trainer.runStep(indices, 1e-3, 1, 1, number, measured); err != nil {
			b.Fatal(err)
		}
		return float64(time.Since(start).Microseconds()) / 1e3
	}
}

// inTurns reports the medians of both, and returns the median over turns of the first over the second.
func inTurns(b *testing.B, name string, of, plain func() float64) float64 {
	b.Helper()
	for range 3 { // compile, and warm up
		of()
		plain()
	}
	var ofs, plains, ratios []float64
	for b.Loop() {
		p, q := plain(), of()
		ofs, plains, ratios = append(ofs, q), append(plains, p), append(ratios, q/p)
	}
	median := func(x []float64) float64 {
		slices.Sort(x)
		return x[len(x)/2]
	}
	ratio := median(ratios)
	b.ReportMetric(median(plains), "plain-ms")
	b.ReportMetric(median(ofs), name+"-ms")
	b.ReportMetric(ratio, "ratio")
	b.ReportMetric(0, "ns/op")
	return ratio
}
