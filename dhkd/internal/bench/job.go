package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dhkd-lab/dhkd-go/dhkd/distill"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

const (
	classes = 100
	// learningRate is small: the second step's losses are compared, and a batch norm of a small batch makes much of rounding.
	learningRate = 1e-3
	seed         = 0
	lastEpoch    = 20 // of the methods' warm-ups: their weights are full
)

// job is what one process measures: steps of one student with one or more methods.
type job struct {
	Student      string      `json:"student"`
	Teacher      string      `json:"teacher"`
	Size         int         `json:"size"` // of an image, pixels a side
	Batch        int         `json:"batch"`
	Classes      int         `json:"classes"`
	Images       int         `json:"images"` // of the training set
	Pad          int         `json:"pad"`    // of the augmentation
	LearningRate float64     `json:"learning_rate"`
	Methods      []jobMethod `json:"methods"`
	// Given says that images and the teacher's outputs are those of the fixture: what is left is the student's forward
	// pass, the losses, the gradients and the update.
	Given   bool   `json:"given"`
	Fixture string `json:"fixture"` // file of initial values
	Write   bool   `json:"write"`   // the fixture is to be written first

	CUDA         bool `json:"cuda"`          // the peers are to run on an NVIDIA card, as this project does
	Compile      bool `json:"compile"`       // PyTorch's
	ChannelsLast bool `json:"channels_last"` // PyTorch's
}

type jobMethod struct {
	Name   string        `json:"name"`
	Method record.Method `json:"method"`
	// Cached says that this project's whole step gathers the teacher's logits of each image and view; the peers', which
	// have nothing of the kind, run the teacher.
	Cached bool `json:"cached,omitempty"`
}

// methodNamed has the published hyper-parameters.
func methodNamed(name string) (m jobMethod) {
	method, cached := strings.CutSuffix(name, "-cached")
	method, aligned := strings.CutSuffix(method, "-aligned")
	m = jobMethod{Name: name, Method: distill.Defaults(method), Cached: cached}
	m.Method.Align = aligned
	return m
}

// pair is a student, its teacher and the size of their images, and what of it is measured if nothing is chosen.
type pair struct {
	student, teacher string
	size             int
	whole            []string // methods of whole steps
	given            []string // methods of which is measured what they add
}

// All that can be measured of a pair.
var (
	givenMethods = []string{"kd", "dkd", "dist", "rkd", "crd", "reviewkd", "dhkd", "dhkd-aligned"}
	wholeMethods = slices.Concat([]string{"ce"}, givenMethods, []string{"kd-cached", "dhkd-cached", "dhkd-aligned-cached"})
)

// pairs are those of the literature's tables.
var pairs = []pair{
	{"resnet8", "resnet20", 16, []string{"ce", "dhkd-aligned", "dhkd-aligned-cached"}, nil},
	{"resnet20", "resnet56", 32, []string{"ce", "kd", "dhkd", "dhkd-aligned", "reviewkd"}, givenMethods},
	{"resnet8x4", "resnet32x4", 32, []string{"dhkd-aligned"}, nil},
	{"wrn_16_2", "wrn_40_2", 32, []string{"dhkd-aligned"}, nil},
	{"vgg8", "vgg13", 32, []string{"dhkd-aligned"}, nil},
	{"MobileNetV2", "vgg13", 32, []string{"ce"}, nil},
	{"ShuffleV1", "resnet32x4", 32, []string{"ce"}, nil},
	{"ShuffleV2", "resnet32x4", 32, []string{"ce"}, nil},
	{"resnet32", "resnet110", 32, nil, nil},
	{"resnet20", "resnet110", 32, nil, nil},
	{"wrn_40_1", "wrn_40_2", 32, nil, nil},
	{"ShuffleV1", "wrn_40_2", 32, nil, nil},
	{"MobileNetV2", "ResNet50", 32, nil, nil},
	{"resnet110", "resnet110", 32, nil, nil},
	{"ResNet18_imagenet", "ResNet34_imagenet", 224, nil, nil},
	{"MobileNetV1", "ResNet50_imagenet", 224, nil, nil},
}

// jobs are the measurements of a pair that are chosen, and before them the one that writes its fixture; none if
// nothing is chosen.
func (p pair) jobs(chosen func(record.BenchCase) bool, batch, images int) (jobs []job) {
	pad := 4
	if p.size <= 16 {
		pad = 1
	}
	if p.size > 32 {
		images = min(images, 16*batch) // ImageNet's do not fit
	}
	base := job{Student: p.student, Teacher: p.teacher, Size: p.size, Batch: batch, Classes: classes, Images: images,
		Pad: pad, LearningRate: learningRate}
	all := base
	add := func(j job) {
		jobs = append(jobs, j)
		for _, m := range j.Methods {
			if !slices.ContainsFunc(all.Methods, func(have jobMethod) bool { return have.Name == m.Name }) {
				all.Methods = append(all.Methods, m)
			}
		}
	}
	for _, m := range wholeMethods {
		j := base
		j.Methods = []jobMethod{methodNamed(m)}
		if chosen(j.cases()[0]) {
			add(j)
		}
	}
	extra := base
	extra.Given, extra.Methods = true, []jobMethod{methodNamed("ce")}
	for _, m := range givenMethods {
		one := base
		one.Given, one.Methods = true, []jobMethod{methodNamed("ce"), methodNamed(m)}
		if chosen(one.cases()[0]) {
			extra.Methods = append(extra.Methods, methodNamed(m))
		}
	}
	if len(extra.Methods) > 1 {
		add(extra)
	}
	if len(jobs) == 0 {
		return nil
	}
	all.Given, all.Write = true, true
	return append([]job{all}, jobs...)
}

// byDefault tells whether a case of the pair is measured if nothing is chosen.
func (p pair) byDefault(c record.BenchCase) bool {
	if c.Given {
		return slices.Contains(p.given, c.Method)
	}
	return slices.Contains(p.whole, c.Method)
}

// cases are what the job measures, without the results. Cross-entropy is no case where it is what others are compared
// with.
func (j job) cases() (cases []record.BenchCase) {
	for _, m := range j.Methods {
		if !j.Given || m.Name != "ce" {
			cases = append(cases, record.BenchCase{Student: j.Student, Teacher: j.Teacher, Size: j.Size, Method: m.Name,
				Given: j.Given})
		}
	}
	return cases
}

func (j job) String() string {
	if cases := j.cases(); len(cases) == 1 && !j.Write {
		return cases[0].String()
	}
	kind := "extra"
	if j.Write {
		kind = "fixture"
	}
	return fmt.Sprintf("%s of %s %dx%d %s", j.Student, j.Teacher, j.Size, j.Size, kind)
}
