package main

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime/debug"
	"strings"
	"time"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/dataset"
	"github.com/dhkd-lab/dhkd-go/dhkd/distill"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/train"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

// wholeSteps are the steps that users run: images as uint8 on the device, augmentation, the teacher's forward pass.
func wholeSteps(backend compute.Backend, j job, h *hello) (steps []step, err error) {
	f, err := loadFixture(j)
	if err != nil {
		return nil, err
	}
	set, err := train.ShareImages(backend, f.set())
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(f.values, func(name string, _ *tensors.Tensor) bool { return strings.HasPrefix(name, "given.") })
	debug.FreeOSMemory() // of these, and of the images, which are on the device
	for _, m := range j.Methods {
		c, err := stepOf(j, m.Method)
		if err != nil {
			return nil, err
		}
		config := train.Config{Backend: backend, Data: set, Step: c, Pad: j.Pad}
		config.Teacher = &train.Network{Weights: f.part("teacher.")}
		if config.Teacher.Model, err = zoo.New(zoo.Config{Name: j.Teacher, Classes: j.Classes}); err != nil {
			return nil, err
		}
		if m.Cached { // a step's time does not depend on the values
			config.TeacherLogits = tensors.FromShape(shapes.Make(dtypes.Float32, j.Images*train.Views(j.Pad), j.Classes))
		}
		trainer, err := train.New(config)
		if err != nil {
			return nil, err
		}
		before := trainer.CompileTime()
		if h.Nodes[m.Name], err = trainer.CompileStep(j.Batch); err != nil {
			return nil, err
		}
		h.CompileSeconds[m.Name] = (trainer.CompileTime() - before).Seconds()
		if h.MultiplyAdds[m.Name], err = multiplyAdds(backend, j, m); err != nil {
			return nil, err
		}
		rng, indices, number := rand.New(rand.NewPCG(1, 1)), make([]int32, j.Batch), 0
		steps = append(steps, step{m.Name, func() (float64, error) {
			for i := range indices {
				indices[i] = rng.Int32N(int32(j.Images))
			}
			number++
			metrics, err := trainer.RunStep(indices, j.LearningRate, seed, lastEpoch, number)
			if err != nil {
				return 0, err
			}
			return metrics[0].Value, nil
		}})
	}
	return steps, nil
}

// givenSteps are steps on the fixture's batch, with the teacher's outputs as inputs. The first steps' losses are those
// that all sides must have.
func givenSteps(backend compute.Backend, j job, h *hello) (steps []step, err error) {
	var f *fixture
	if j.Write {
		f, err = newFixture(backend, j)
	} else {
		f, err = loadFixture(j)
	}
	if err != nil {
		return nil, err
	}
	for _, m := range j.Methods {
		s, err := newGivenStep(backend, j, m, f, h)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.Name, err)
		}
		steps = append(steps, s)
	}
	if j.Write {
		if err := f.save(); err != nil {
			return nil, err
		}
	}
	for _, s := range steps {
		for range verified {
			loss, err := s.run()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", s.name, err)
			}
			h.Losses[s.name] = append(h.Losses[s.name], loss)
		}
	}
	return steps, nil
}

func newGivenStep(backend compute.Backend, j job, m jobMethod, f *fixture, h *hello) (s step, err error) {
	definition, err := stepOf(j, m.Method)
	if err != nil {
		return s, err
	}
	names := f.given()
	store := model.NewStore()
	exec, err := model.NewExec(backend, store, func(variables *model.Scope, in []*Node) *Node {
		images, labels, rate, epoch, rng, indices, given := in[0], in[1], in[2], in[3], in[4], in[5], in[6:]
		inputs := train.StepInputs{Images: images, Labels: labels, LearningRate: rate, RNG: rng, Epoch: epoch,
			Indices: indices, TrainLabels: f.trainLabels, Teacher: zoo.Outputs{Logits: given[0], Pooled: given[1]}}
		inputs.Teacher.PreReLU = append([]*Node{nil}, given[2:]...) // the stem's is not used
		return definition.Build(variables, seed, inputs).Loss
	})
	if err != nil {
		return s, err
	}
	indices := make([]int32, j.Batch)
	for i := range indices {
		indices[i] = int32(i)
	}
	inputs := []any{f.normalized, f.values["labels"], tensors.FromScalar(float32(j.LearningRate)),
		tensors.FromScalar(float32(lastEpoch)), randomState(0), tensors.FromValue(indices)}
	for _, name := range names {
		inputs = append(inputs, f.values[name])
	}
	dims := make([]shapes.Shape, len(inputs))
	for i, input := range inputs {
		dims[i] = input.(*tensors.Tensor).Shape()
	}
	start := time.Now()
	g, err := exec.Compile(dims...)
	if err != nil {
		return s, err
	}
	h.CompileSeconds[m.Name], h.Nodes[m.Name] = time.Since(start).Seconds(), len(g.Nodes())
	if h.MultiplyAdds[m.Name], err = multiplyAdds(backend, j, m); err != nil {
		return s, err
	}
	if j.Write {
		for v := range store.Scope("/method").IterVariables() {
			if f.values["method."+m.Name+"."+v.Name()], err = v.MustValue().LocalClone(); err != nil {
				return s, err
			}
		}
	}
	number := 0
	return step{m.Name, func() (float64, error) {
		inputs[4] = randomState(number)
		number++
		loss, err := exec.Call1(inputs...)
		if err != nil {
			return 0, err
		}
		defer loss.MustFinalizeAll()
		return float64(tensors.ToScalar[float32](loss)), nil
	}}, nil
}

func stepOf(j job, m record.Method) (s train.Step, err error) {
	head := dhkd.NoAuxHead
	if m.Name == "dhkd" {
		head = dhkd.LinearAuxHead
	}
	s.SGD = train.SGD{Momentum: 0.9, WeightDecay: 5e-4}
	if s.Method, err = distill.New(m); err != nil {
		return s, err
	}
	s.Model, err = zoo.New(zoo.Config{Name: j.Student, Classes: j.Classes, AuxHead: head})
	return s, err
}

// multiplyAdds of a step's networks: the student's forward pass, twice that for a backward pass, the teacher's forward.
func multiplyAdds(backend compute.Backend, j job, m jobMethod) (n int, err error) {
	of := func(name string) int {
		network, e := zoo.New(zoo.Config{Name: name, Classes: j.Classes})
		if e == nil {
			var d *zoo.Description
			if d, e = network.Describe(backend, [3]int{j.Size, j.Size, 3}); e == nil {
				return d.MultiplyAdds
			}
		}
		err = e
		return 0
	}
	n = 3 * of(j.Student)
	if m.Method.Align {
		n += n / 3 * 2
	}
	if !j.Given && m.Name != "ce" && !m.Cached {
		n += of(j.Teacher)
	}
	return n * j.Batch, err
}

// randomState is that of a step.
func randomState(number int) *tensors.Tensor {
	source := rand.NewPCG(seed, uint64(number))
	return tensors.FromValue([]uint64{source.Uint64(), source.Uint64(), source.Uint64()})
}

// set is the training set: the batch that is verified, and noise.
func (f *fixture) set() *dataset.Set {
	rng := rand.New(rand.NewPCG(1, 2))
	size := f.job.Size
	images := dataset.Split{Pixels: make([]uint8, f.job.Images*size*size*3), Labels: f.trainLabels}
	for i := range images.Pixels {
		images.Pixels[i] = uint8(rng.Uint32())
	}
	copy(images.Pixels, f.pixels)
	few := dataset.Split{Pixels: f.pixels, Labels: f.trainLabels[:f.job.Batch]}
	return &dataset.Set{Name: "random", Classes: f.job.Classes, Channels: 3, Height: size, Width: size,
		Train: images, Test: few, Mean: mean, Std: std}
}
