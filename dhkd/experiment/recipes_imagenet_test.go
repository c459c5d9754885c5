package experiment

import (
	"slices"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"
	"github.com/google/go-cmp/cmp"

	"github.com/dhkd-lab/dhkd-go/dhkd/dataset"
	"github.com/dhkd-lab/dhkd-go/dhkd/device/devicetest"
	"github.com/dhkd-lab/dhkd-go/dhkd/distill"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/train"
)

var imageNetRecipes = []string{"imagenet-resnet34-resnet18", "imagenet-resnet50-mobilenetv1"}

// TestImageNetRecipes compares what the recipes say with the authors' and mdistiller's settings, and builds the graphs of the
// steps, for images of 64 pixels.
func TestImageNetRecipes(t *testing.T) {
	for _, name := range imageNetRecipes {
		e, err := Open(name)
		check(t, err)
		if !slices.Contains(Recipes(), name) {
			t.Errorf("%s is not listed", name)
		}
		for _, run := range e.Runs {
			got := run.Recipe
			want := record.Recipe{
				Experiment: name, Name: got.Name, Label: got.Label, Profile: "paper", BatchSize: 512, NonFinite: "stop",
				Dataset: record.Dataset{Name: "imagenet", Augment: "resized-crop-flip", Side: 224, Resize: 256, MinArea: 0.1,
					MinAspect: 0.8},
				Method: got.Method, Model: record.Model{Name: "ResNet18_imagenet", AuxHead: "none"},
				Teacher:   &record.Teacher{Model: "ResNet34_imagenet", Weights: "torchvision:resnet34"},
				Optimizer: record.Optimizer{LearningRate: 0.2, Momentum: 0.9, WeightDecay: 1e-4},
				Schedule:  record.Schedule{Epochs: 100, Milestones: []int{30, 60, 90}, Rate: 0.1, EvaluateEvery: 1},
			}
			if name == "imagenet-resnet50-mobilenetv1" {
				want.Model.Name = "MobileNetV1"
				want.Teacher = &record.Teacher{Model: "ResNet50_imagenet", Weights: "torchvision:resnet50"}
			}
			switch got.Name {
			case "ce":
				want.Teacher = nil
			case "ofd":
				want.BatchSize, want.Optimizer.LearningRate = 128, 0.05
			case "dhkd", "dhkd-double-step", "dhkd-cifar-stem", "dhkd-as-coded":
				want.BatchSize, want.Optimizer.LearningRate, want.Model.AuxHead = 256, 0.1, "linear"
				want.Method = record.Method{Name: "dhkd", Gamma: 1, Alpha: 0.1, Temperature: 2, Until: 50}
				if got.Name == "dhkd-double-step" || got.Name == "dhkd-as-coded" {
					want.Optimizer.StepsPerBatch = 2
				}
				if got.Name == "dhkd-cifar-stem" || got.Name == "dhkd-as-coded" {
					want.Model.Name = "ResNet18"
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: run %s (-want +got):\n%s", name, got.Name, diff)
			}
			traceStep(t, got, 64, 1000)
		}
	}
}

// TestImageNetStepsCompile compiles DHKD's step of each recipe, of an untrained teacher, for images of 64 pixels.
func TestImageNetStepsCompile(t *testing.T) {
	const side, classes = 64, 1000
	device := devicetest.Open(t)
	images := dataset.Split{Pixels: make([]uint8, 2*side*side*3), Labels: []int32{0, 1}}
	data := &dataset.Set{Name: "imagenet", Classes: classes, Channels: 3, Height: side, Width: side, Train: images, Test: images,
		Mean: []float32{0, 0, 0}, Std: []float32{1, 1, 1}}
	for _, name := range imageNetRecipes {
		e, err := Open(name)
		check(t, err)
		r := resolve(t, e, "dhkd")
		method, err := distill.New(r.Method)
		check(t, err)
		student, err := model(r.Model, classes)
		check(t, err)
		teacher, err := model(record.Model{Name: r.Teacher.Model, AuxHead: "none"}, classes)
		check(t, err)
		untrained, err := teacher.Undrawn(device.Backend, [3]int{side, side, 3})
		check(t, err)
		network := &train.Network{Model: teacher, Weights: map[string]*tensors.Tensor{}}
		for _, w := range untrained {
			network.Weights[w.Name] = w.Value
		}
		trainer, err := train.New(train.Config{Backend: device.Backend, Data: data, Teacher: network,
			Step: train.Step{Model: student, Method: method}})
		check(t, err)
		_, err = trainer.CompileStep(2)
		trainer.Close()
		check(t, err)
	}
}
