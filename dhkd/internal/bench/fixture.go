package main

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
	"github.com/dhkd-lab/dhkd-go/dhkd/weights"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

var mean, std = []float32{0.5, 0.5, 0.5}, []float32{0.29, 0.29, 0.29}

// fixture is what all sides start from, a safetensors file: a batch ("images", uint8 [N, size, size, 3], "labels"), the
// labels of the training set whose first images these are ("train_labels"), initial values ("student.", "teacher.",
// "method.NAME."), the teacher's outputs on the batch as it is ("given.logits", "given.pooled", "given.map0" and so on,
// stages before their last ReLU, [N, H, W, C]), and the numbers that CRD draws in the verified steps ("u").
type fixture struct {
	job         job
	values      map[string]*tensors.Tensor
	pixels      []uint8
	trainLabels []int32
	normalized  *tensors.Tensor
}

func newFixture(backend compute.Backend, j job) (*fixture, error) {
	rng := rand.New(rand.NewPCG(3, 4))
	f := &fixture{job: j, pixels: make([]uint8, j.Batch*j.Size*j.Size*3), trainLabels: make([]int32, j.Images)}
	for i := range f.pixels {
		f.pixels[i] = uint8(rng.Uint32())
	}
	for i := range f.trainLabels {
		f.trainLabels[i] = rng.Int32N(int32(j.Classes))
	}
	f.values = map[string]*tensors.Tensor{
		"images":       tensors.FromFlatDataAndDimensions(f.pixels, j.Batch, j.Size, j.Size, 3),
		"labels":       tensors.FromValue(f.trainLabels[:j.Batch]),
		"train_labels": tensors.FromValue(f.trainLabels),
	}
	f.normalize()
	student, err := zoo.New(zoo.Config{Name: j.Student, Classes: j.Classes, AuxHead: dhkd.LinearAuxHead})
	if err != nil {
		return nil, err
	}
	initial, err := student.Initial(backend, [3]int{j.Size, j.Size, 3}, seed)
	if err != nil {
		return nil, err
	}
	for _, w := range initial {
		f.values["student."+w.Name] = w.Value
	}
	if err := f.addTeacher(backend); err != nil {
		return nil, fmt.Errorf("teacher %s: %w", j.Teacher, err)
	}
	return f, f.addDrawn(backend)
}

// addTeacher adds a teacher's weights and outputs. It is not trained, but its running statistics are those of the batch:
// without them the values of a deep network grow beyond all bounds.
func (f *fixture) addTeacher(backend compute.Backend) error {
	teacher, err := zoo.New(zoo.Config{Name: f.job.Teacher, Classes: f.job.Classes})
	if err != nil {
		return err
	}
	store := model.NewStore()
	defer store.Finalize()
	forward := func(training bool) ([]*tensors.Tensor, error) {
		exec, err := model.NewExec(backend, store, func(variables *model.Scope, images *Node) []*Node {
			out := teacher.Forward(nn.New(variables.At("teacher"), nn.Options{Training: training, Seed: 7}), images)
			return append([]*Node{out.Logits, out.Pooled}, out.PreReLU[1:]...)
		})
		if err != nil {
			return nil, err
		}
		defer exec.Finalize()
		return exec.Call(f.normalized)
	}
	if _, err := forward(true); err != nil {
		return err
	}
	for v := range store.Scope("/teacher").IterVariables() {
		value, err := v.MustValue().LocalClone()
		if err != nil {
			return err
		}
		before := float32(0)
		switch {
		case strings.HasSuffix(v.Name(), "running_var"):
			before = 1
			fallthrough
		case strings.HasSuffix(v.Name(), "running_mean"):
			moved, err := tensors.CopyFlatData[float32](value)
			if err != nil {
				return err
			}
			const momentum = 0.1
			for i := range moved {
				moved[i] = before + (moved[i]-before)/momentum
			}
			value = tensors.FromFlatDataAndDimensions(moved, len(moved))
			clone, err := value.LocalClone()
			if err != nil {
				return err
			}
			if err := v.SetValue(clone); err != nil {
				return err
			}
		}
		f.values["teacher."+v.Name()] = value
	}
	outputs, err := forward(false)
	if err != nil {
		return err
	}
	f.values["given.logits"], f.values["given.pooled"] = outputs[0], outputs[1]
	for i, x := range outputs[2:] {
		f.values[fmt.Sprint("given.map", i)] = x
	}
	return nil
}

// addDrawn adds the uniform numbers of the verified steps: the first that a step draws.
func (f *fixture) addDrawn(backend compute.Backend) error {
	negatives := methodNamed("crd").Method.Negatives
	exec, err := NewExec(backend, func(state *Node) *Node {
		_, u := RandomUniform(state, shapes.Make(dtypes.Float32, f.job.Batch, negatives))
		return u
	})
	if err != nil {
		return err
	}
	defer exec.Finalize()
	var all []float32
	for number := range verified {
		u, err := exec.Call1(randomState(number))
		if err != nil {
			return err
		}
		values, err := tensors.CopyFlatData[float32](u)
		if err != nil {
			return err
		}
		all = append(all, values...)
	}
	f.values["u"] = tensors.FromFlatDataAndDimensions(all, verified, f.job.Batch, negatives)
	return nil
}

func (f *fixture) save() error { return weights.SaveSafetensors(f.job.Fixture, f.values, nil) }

func loadFixture(j job) (*fixture, error) {
	values, _, err := weights.LoadSafetensors(j.Fixture)
	if err != nil {
		return nil, err
	}
	f := &fixture{job: j, values: values}
	if f.pixels, err = tensors.CopyFlatData[uint8](values["images"]); err != nil {
		return nil, err
	}
	if f.trainLabels, err = tensors.CopyFlatData[int32](values["train_labels"]); err != nil {
		return nil, err
	}
	f.normalize()
	return f, nil
}

// normalize computes what [train.Normalize] does in a step.
func (f *fixture) normalize() {
	x := make([]float32, len(f.pixels))
	for i, p := range f.pixels {
		x[i] = (float32(p)/255 - mean[0]) / std[0]
	}
	f.normalized = tensors.FromFlatDataAndDimensions(x, f.job.Batch, f.job.Size, f.job.Size, 3)
}

// part is the tensors whose names start with the prefix, without it.
func (f *fixture) part(prefix string) map[string]*tensors.Tensor {
	part := map[string]*tensors.Tensor{}
	for name, value := range f.values {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			part[rest] = value
		}
	}
	return part
}

// given are the names of the teacher's outputs: logits, pooled features, maps.
func (f *fixture) given() []string {
	all := slices.Sorted(maps.Keys(f.part("given."))) // logits, map0 to map4, pooled
	names := []string{"given.logits", "given.pooled"}
	for _, name := range all {
		if strings.HasPrefix(name, "map") {
			names = append(names, "given."+name)
		}
	}
	return names
}
