package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/dataset"
	"github.com/dhkd-lab/dhkd-go/dhkd/distill"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/train"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

const (
	batchSize    = 64
	classes      = 100
	batches      = 4 // in the data set
	learningRate = 0.01
)

// benchCase is a step to measure.
type benchCase struct {
	Network string `json:"network"`
	Size    int    `json:"size"`   // of an image, pixels a side
	Method  string `json:"method"` // "ce", or "dhkd" with alignment
}

var cases = []benchCase{
	{"resnet8", 16, "ce"},
	{"resnet8", 16, "dhkd"},
	{"resnet20", 32, "ce"},
	{"resnet20", 32, "dhkd"},
}

func (c benchCase) String() string {
	return fmt.Sprintf("%s %dx%d %s", c.Network, c.Size, c.Size, c.Method)
}

// stepper runs training steps of this project on random images.
type stepper struct {
	trainer *train.Trainer
	nodes   int // in the graph of the step
	step    int
}

// newStepper compiles the step and runs it once.
func newStepper(backend compute.Backend, c benchCase) (*stepper, error) {
	set := randomImages(c.Size)
	recipe, auxHead := record.Method{Name: c.Method}, dhkd.NoAuxHead
	if c.Method == "dhkd" {
		recipe = record.Method{Name: c.Method, Gamma: 1, Alpha: 1, Temperature: 2, Align: true}
		auxHead = dhkd.LinearAuxHead
	}
	method, err := distill.New(recipe)
	if err != nil {
		return nil, err
	}
	student, err := zoo.New(zoo.Config{Name: c.Network, Classes: classes, AuxHead: auxHead})
	if err != nil {
		return nil, err
	}
	config := train.Config{Backend: backend, Data: set,
		Step: train.Step{Model: student, Method: method, SGD: train.SGD{Momentum: 0.9, WeightDecay: 5e-4}}}
	if method.Needs().Teacher {
		// Without augmentation the trainer computes the teacher's logits once, so the teacher is no part of a step.
		if config.Teacher, err = untrained("resnet8", set, backend); err != nil {
			return nil, err
		}
	}
	s := &stepper{nodes: countNodes(backend, config.Step, c.Size)}
	if s.trainer, err = train.New(config); err != nil {
		return nil, err
	}
	if _, err := s.time(context.Background(), 0); err != nil {
		s.trainer.Close()
		return nil, err
	}
	return s, nil
}

// time runs steps and returns the milliseconds that each took, after one that is not timed.
func (s *stepper) time(ctx context.Context, steps int) (milliseconds []float64, err error) {
	indices := make([]int32, batchSize)
	for i := range steps + 1 {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		for j := range indices {
			indices[j] = int32(s.step%batches*batchSize + j)
		}
		start := time.Now()
		if _, err := s.trainer.RunStep(indices, learningRate, 1, 1, s.step); err != nil {
			return nil, err
		}
		if i > 0 {
			milliseconds = append(milliseconds, 1000*time.Since(start).Seconds())
		}
		s.step++
	}
	return milliseconds, nil
}

func randomImages(size int) *dataset.Set {
	rng := rand.New(rand.NewPCG(1, 2))
	images := dataset.Split{Pixels: make([]uint8, batches*batchSize*size*size*3), Labels: make([]int32, batches*batchSize)}
	for i := range images.Pixels {
		images.Pixels[i] = uint8(rng.Uint32())
	}
	for i := range images.Labels {
		images.Labels[i] = rng.Int32N(classes)
	}
	return &dataset.Set{Name: "random", Classes: classes, Channels: 3, Height: size, Width: size,
		Train: images, Test: images, Mean: []float32{0.5, 0.5, 0.5}, Std: []float32{0.29, 0.29, 0.29}}
}

// untrained is a network with its initial weights.
func untrained(name string, set *dataset.Set, backend compute.Backend) (*train.Network, error) {
	network, err := zoo.New(zoo.Config{Name: name, Classes: set.Classes})
	if err != nil {
		return nil, err
	}
	weights, err := network.Initial(backend, [3]int{set.Height, set.Width, set.Channels}, 0)
	if err != nil {
		return nil, err
	}
	n := &train.Network{Model: network, Weights: map[string]*tensors.Tensor{}}
	for _, w := range weights {
		n.Weights[w.Name] = w.Value
	}
	return n, nil
}

// countNodes builds the graph of a step and throws it away.
func countNodes(backend compute.Backend, step train.Step, size int) int {
	g := graph.NewGraph(backend, "step")
	defer g.Finalize()
	store := model.NewStore()
	defer store.Finalize()
	model.SetStore(g, store)
	input := func(name string, dtype dtypes.DType, dims ...int) *graph.Node {
		return graph.Parameter(g, name, shapes.Make(dtype, dims...))
	}
	step.Build(store.Scope("/"), 0, train.StepInputs{
		Images:        input("images", dtypes.Float32, batchSize, size, size, 3),
		Labels:        input("labels", dtypes.Int32, batchSize),
		TeacherLogits: input("teacher", dtypes.Float32, batchSize, classes),
		LearningRate:  input("rate", dtypes.Float32),
	})
	return len(g.Nodes())
}
