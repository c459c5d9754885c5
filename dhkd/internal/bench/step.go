package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/core/tensors"

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
	Size    int    `json:"size"`              // of an image, pixels a side
	Method  string `json:"method"`            // "ce", or "dhkd" with alignment
	Teacher string `json:"teacher,omitempty"` // a pair: the whole step with augmentation and this teacher is compiled, not run
}

var cases = append(timed(), pairs()...)

// timed lists the students of the literature's tables.
func timed() (cases []benchCase) {
	for _, student := range []benchCase{
		{Network: "resnet8", Size: 16}, {Network: "resnet20", Size: 32}, {Network: "resnet32", Size: 32},
		{Network: "resnet8x4", Size: 32}, {Network: "wrn_16_2", Size: 32}, {Network: "wrn_40_1", Size: 32},
		{Network: "vgg8", Size: 32}, {Network: "MobileNetV2", Size: 32}, {Network: "ShuffleV1", Size: 32},
		{Network: "ShuffleV2", Size: 32},
	} {
		for _, method := range []string{"ce", "dhkd"} {
			student.Method = method
			cases = append(cases, student)
		}
	}
	return cases
}

// pairs lists the pairs of the literature's tables, and the deepest student.
func pairs() (cases []benchCase) {
	for _, pair := range [][2]string{
		{"resnet56", "resnet20"}, {"resnet110", "resnet32"}, {"resnet110", "resnet20"}, {"resnet32x4", "resnet8x4"},
		{"wrn_40_2", "wrn_16_2"}, {"wrn_40_2", "wrn_40_1"}, {"vgg13", "vgg8"}, {"resnet32x4", "ShuffleV1"},
		{"wrn_40_2", "ShuffleV1"}, {"vgg13", "MobileNetV2"}, {"ResNet50", "MobileNetV2"}, {"resnet32x4", "ShuffleV2"},
		{"resnet110", "resnet110"},
	} {
		cases = append(cases, benchCase{pair[1], 32, "dhkd", pair[0]})
	}
	return append(cases, benchCase{"ResNet18_imagenet", 224, "dhkd", "ResNet34_imagenet"},
		benchCase{"MobileNetV1", 224, "dhkd", "ResNet50_imagenet"})
}

func (c benchCase) String() string {
	name := fmt.Sprintf("%s %dx%d %s", c.Network, c.Size, c.Size, c.Method)
	if c.Teacher != "" {
		name += " of " + c.Teacher
	}
	return name
}

// stepper runs training steps of this project on random images.
type stepper struct {
	trainer        *train.Trainer
	nodes          int // in the graph of the step
	compileSeconds float64
	step           int
}

// newStepper compiles the step.
func newStepper(ctx context.Context, backend compute.Backend, c benchCase) (s *stepper, err error) {
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
	teacher := c.Teacher
	if teacher != "" {
		config.Pad = 4
	} else {
		teacher = "resnet8"
	}
	if method.Needs().Teacher {
		if config.Teacher, err = untrained(teacher, set, backend); err != nil {
			return nil, err
		}
		if c.Teacher == "" { // its logits are given: it is no part of a step
			if config.TeacherLogits, err = logitsOf(ctx, backend, config); err != nil {
				return nil, err
			}
		}
	}
	s = &stepper{}
	if s.trainer, err = train.New(config); err != nil {
		return nil, err
	}
	if s.nodes, err = s.trainer.CompileStep(batchSize); err != nil {
		s.trainer.Close()
		return nil, err
	}
	s.compileSeconds = s.trainer.CompileTime().Seconds()
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

// logitsOf are the teacher's logits of the images that are trained on.
func logitsOf(ctx context.Context, backend compute.Backend, c train.Config) (*tensors.Tensor, error) {
	l, err := train.NewViewLogits(backend, c.Data, c.Teacher, c.Pad)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	return l.All(ctx)
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
