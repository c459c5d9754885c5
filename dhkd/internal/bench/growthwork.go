package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/dhkd-lab/dhkd-go/dhkd/dataset"
	"github.com/dhkd-lab/dhkd-go/dhkd/device"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
	"github.com/dhkd-lab/dhkd-go/dhkd/train"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

// middleWidth is the layers' width at which batches are compared.
const middleWidth = 64

// layer is a layer that is timed alone.
type layer struct {
	name string
	// multiplyAdds of a value of the output; 0 where it has none to speak of.
	multiplyAdds func(width int) int
	apply        func(s *nn.Scope, x *Node, width int) *Node
}

func convolution(name string, kernel int, groups func(width int) int) layer {
	return layer{name, func(width int) int { return kernel * kernel * width / groups(width) },
		func(s *nn.Scope, x *Node, width int) *Node {
			return nn.ConvWith(s.In("conv"), x, nn.Conv{Channels: width, Kernel: kernel, Padding: kernel / 2,
				Groups: groups(width)})
		}}
}

// layers are those whose cost could grow out of proportion: convolutions by groups, windows, and what only moves values.
var layers = []layer{
	convolution("convolution 3x3", 3, func(int) int { return 1 }),
	convolution("depthwise 3x3", 3, func(width int) int { return width }),
	convolution("grouped 1x1, 4 groups", 1, func(int) int { return 4 }),
	{"max pool 3x3", nil, func(s *nn.Scope, x *Node, _ int) *Node { return nn.MaxPool2D(s, x, 3, 2, 1) }},
	{"average pool 3x3", nil, func(s *nn.Scope, x *Node, _ int) *Node { return nn.AveragePool2D(s, x, 3, 2, 1) }},
	{"channel shuffle", nil, func(s *nn.Scope, x *Node, _ int) *Node { return nn.ChannelShuffle(s, x, 4) }},
}

// growthWork does a job and prints the answer.
func growthWork(ctx context.Context, definition string, out io.Writer) error {
	var j growthJob
	if err := json.Unmarshal([]byte(definition), &j); err != nil {
		return err
	}
	d, err := device.Open(ctx, device.Options{})
	if err != nil {
		return err
	}
	defer d.Close()
	g, err := j.measure(ctx, d.Backend)
	if err != nil {
		g.Error = err.Error()
	}
	return json.NewEncoder(out).Encode(g)
}

func (j growthJob) measure(ctx context.Context, backend compute.Backend) (g grown, err error) {
	var steps []step
	if j.Layer != "" {
		steps, err = j.layerSteps(backend, &g)
	} else {
		steps, err = j.networkSteps(backend, &g)
	}
	if err != nil || j.Rounds == 0 {
		g.Timed = nil
		return g, err
	}
	for round := range j.Rounds + 1 {
		for i, s := range steps {
			if err := ctx.Err(); err != nil {
				return g, err
			}
			start, spent := time.Now(), cpuSeconds()
			if _, err := s.run(); err != nil {
				return g, fmt.Errorf("%s: %w", s.name, err)
			}
			if t := &g.Timed[i]; round > 0 {
				t.Milliseconds = append(t.Milliseconds, 1000*time.Since(start).Seconds())
				t.CPU = append(t.CPU, 1000*(cpuSeconds()-spent))
			}
		}
	}
	return g, nil
}

// networkSteps compiles a step for each batch: of cross-entropy, or of DHKD with alignment where there is a teacher.
func (j growthJob) networkSteps(backend compute.Backend, g *grown) (steps []step, err error) {
	of := job{Student: j.Student, Teacher: j.Teacher, Size: j.Size, Classes: classes}
	method, pad := "ce", 4
	if j.Teacher != "" {
		method = "dhkd-aligned"
	}
	c, err := stepOf(of, methodNamed(method).Method)
	if err != nil {
		return nil, err
	}
	config := train.Config{Backend: backend, Data: noise(j.Size), Step: c, Pad: pad}
	if j.Teacher != "" {
		if config.Teacher, err = undrawn(backend, j.Teacher, j.Size); err != nil {
			return nil, err
		}
	}
	trainer, err := train.New(config)
	if err != nil {
		return nil, err
	}
	before, nodes, spent := device.CountPrograms(), 0, cpuSeconds()
	for _, batch := range j.Batches {
		if nodes, err = trainer.CompileStep(batch); err != nil {
			return nil, err
		}
		g.Compiled.CPU = []float64{cpuSeconds() - spent}
		work, err := multiplyAdds(backend, job{Student: j.Student, Size: j.Size, Classes: classes, Batch: batch, Given: true},
			methodNamed("ce"))
		if err != nil {
			return nil, err
		}
		g.Timed = append(g.Timed, record.GrowthTimed{Name: j.Student, Batch: batch, Work: float64(work)})
		rng, indices, number := rand.New(rand.NewPCG(1, 1)), make([]int32, batch), 0
		steps = append(steps, step{j.String(), func() (float64, error) {
			for i := range indices {
				indices[i] = rng.Int32N(growthImages)
			}
			number++
			_, err := trainer.RunStep(indices, learningRate, seed, lastEpoch, number)
			return 0, err
		}})
	}
	g.Compiled = record.GrowthCompiled{Student: j.Student, Teacher: j.Teacher, Size: j.Size, Depth: j.Depth,
		Nodes: nodes, TextBytes: device.CountPrograms().Bytes - before.Bytes,
		Seconds: []float64{trainer.CompileTime().Seconds()}, CPU: g.Compiled.CPU, PeakRSS: []float64{peakRSS()}}
	return steps, nil
}

// layerSteps compiles a layer for each batch: its output's mean square, and the gradients by its input and its weights.
func (j growthJob) layerSteps(backend compute.Backend, g *grown) (steps []step, err error) {
	for _, l := range layers {
		if l.name != j.Layer {
			continue
		}
		for _, batch := range j.Batches {
			store := model.NewStore()
			exec, err := model.NewExec(backend, store, func(variables *model.Scope, x *Node) []*Node {
				y := l.apply(nn.New(variables, nn.Options{Training: true}), x, j.Width)
				by := []*Node{x}
				for v := range variables.IterVariables() {
					by = append(by, v.NodeValue(x.Graph()))
				}
				return Gradient(ReduceAllMean(Mul(y, y)), by...)
			})
			if err != nil {
				return nil, err
			}
			shape := shapes.Make(dtypes.Float32, batch, j.Size, j.Size, j.Width)
			rng, values := rand.New(rand.NewPCG(5, 6)), make([]float32, shape.Size())
			for i := range values {
				values[i] = float32(rng.NormFloat64())
			}
			x := tensors.FromFlatDataAndDimensions(values, shape.Dimensions...)
			if err := x.ToDevice(backend, 0); err != nil {
				return nil, err
			}
			if _, err := exec.Compile(shape); err != nil {
				return nil, err
			}
			work := float64(shape.Size())
			if l.multiplyAdds != nil {
				work *= float64(3 * l.multiplyAdds(j.Width)) // with two gradients
			}
			g.Timed = append(g.Timed, record.GrowthTimed{Name: l.name, Layer: true, Width: j.Width, Batch: batch, Work: work})
			steps = append(steps, step{j.String(), func() (float64, error) {
				outputs, err := exec.Call(x)
				for _, y := range outputs {
					y.MustFinalizeAll()
				}
				return 0, err
			}})
		}
		return steps, nil
	}
	return nil, fmt.Errorf("no layer is called %q", j.Layer)
}

const growthImages = 512

// noise is a data set of random images.
func noise(size int) *dataset.Set {
	rng := rand.New(rand.NewPCG(1, 2))
	s := dataset.Split{Pixels: make([]uint8, growthImages*size*size*3), Labels: make([]int32, growthImages)}
	for i := range s.Pixels {
		s.Pixels[i] = uint8(rng.Uint32())
	}
	for i := range s.Labels {
		s.Labels[i] = rng.Int32N(classes)
	}
	return &dataset.Set{Name: "random", Classes: classes, Channels: 3, Height: size, Width: size, Train: s, Test: s,
		Mean: mean, Std: std}
}

// undrawn is a teacher of which only the program matters.
func undrawn(backend compute.Backend, name string, size int) (*train.Network, error) {
	m, err := zoo.New(zoo.Config{Name: name, Classes: classes})
	if err != nil {
		return nil, err
	}
	all, err := m.Undrawn(backend, [3]int{size, size, 3})
	n := &train.Network{Model: m, Weights: map[string]*tensors.Tensor{}}
	for _, w := range all {
		n.Weights[w.Name] = w.Value
	}
	return n, err
}
