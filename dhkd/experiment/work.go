package experiment

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/gobackend"

	"github.com/dhkd-lab/dhkd-go/dhkd/dataset"
	"github.com/dhkd-lab/dhkd-go/dhkd/distill"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

// Work is what a run computes in its networks: the multiplications, with an addition each, of convolutions and linear
// layers. Batch norm, losses, a method's own modules and memory banks, and what is measured are not in it.
type Work struct {
	Images     float64 `json:"images"`     // trained on, over all epochs
	Student    float64 `json:"student"`    // multiply-adds of the training steps, without the teacher's
	Teacher    float64 `json:"teacher"`    // of the teacher's outputs in training, or of those computed before
	Evaluation float64 `json:"evaluation"` // of both networks on the test images
}

// Total is all multiply-adds.
func (w Work) Total() float64 { return w.Student + w.Teacher + w.Evaluation }

// Plus is the work of both.
func (w Work) Plus(v Work) Work {
	return Work{w.Images + v.Images, w.Student + v.Student, w.Teacher + v.Teacher, w.Evaluation + v.Evaluation}
}

// WorkOf counts the work of runs on the networks as they are built; nothing is trained and no data are read. Of a network's
// forward pass on an image, a training step is three: the pass itself, and the gradients with respect to inputs and to
// weights. Where gradients are aligned it is five, since there are two backward passes. A teacher's is one, in each step or
// for each view that is computed before.
//
// A data set that is the user's own, whose images and classes are not known, is an error, and so is a teacher from a file
// whose network the recipe does not name.
func WorkOf(recipes []record.Recipe) ([]Work, error) {
	backend, err := gobackend.New("") // traces as well as XLA, without a plugin
	if err != nil {
		return nil, err
	}
	defer backend.Finalize()
	c := counter{backend: backend, passes: map[passKey]float64{}, sets: dataset.List()}
	works := make([]Work, len(recipes))
	for i, recipe := range recipes {
		if works[i], err = c.work(recipe); err != nil {
			return nil, fmt.Errorf("run %s of %s: %w", recipe.Name, recipe.Experiment, err)
		}
	}
	return works, nil
}

// counter counts each network once.
type counter struct {
	backend compute.Backend
	passes  map[passKey]float64
	sets    []dataset.Info
}

type passKey struct {
	model record.Model
	image [3]int // channels, height, width
	class int
}

func (c *counter) work(r record.Recipe) (w Work, err error) {
	method, err := distill.New(r.Method)
	if err != nil {
		return w, err
	}
	at := slices.IndexFunc(c.sets, func(info dataset.Info) bool { return info.Name == r.Dataset.Name })
	if at < 0 {
		return w, fmt.Errorf("dataset.name: %q is unknown", r.Dataset.Name)
	}
	info := c.sets[at]
	if info.Classes == 0 {
		return w, fmt.Errorf("dataset.name: how many images and classes %s has is not known before they are read", info.Name)
	}
	train, test := cmp.Or(r.Dataset.Train, info.Train), cmp.Or(r.Dataset.Test, info.Test)
	if r.Dataset.Holdout > 0 {
		train, test = train-r.Dataset.Holdout, r.Dataset.Holdout
	}
	if r.Dataset.Side > 0 {
		info.Shape[1], info.Shape[2] = r.Dataset.Side, r.Dataset.Side
	}
	student, err := c.pass(r.Model, info)
	if err != nil {
		return w, fmt.Errorf("model: %w", err)
	}
	w.Images = float64(r.Schedule.Epochs) * float64(train)
	passes := 3.0
	if r.Method.Align {
		passes = 5
	}
	w.Student = w.Images * passes * student
	evaluations := 1
	if every := r.Schedule.EvaluateEvery; every > 0 {
		evaluations = (r.Schedule.Epochs + every - 1) / every // the last epoch's is always there
	}
	w.Evaluation = float64(evaluations) * float64(test) * student
	if !method.Needs().Teacher || r.Teacher == nil {
		return w, nil
	}
	if r.Teacher.Model == "" {
		return w, fmt.Errorf("teacher.model: the network of %s is not known before it is read", r.Teacher.Weights)
	}
	teacher, err := c.pass(record.Model{Name: r.Teacher.Model}, info)
	if err != nil {
		return w, fmt.Errorf("teacher: %w", err)
	}
	views, err := cachedViews(r, method.Needs(), train, info.Classes)
	if err != nil {
		return w, err
	}
	w.Teacher = w.Images * teacher
	if views > 0 {
		w.Teacher = float64(views) * float64(train) * teacher
	}
	w.Evaluation += float64(test) * teacher
	return w, nil
}

// pass is the multiply-adds of a forward pass on one image.
func (c *counter) pass(m record.Model, info dataset.Info) (float64, error) {
	m.AuxHead = ""
	key := passKey{m, info.Shape, info.Classes}
	if n, known := c.passes[key]; known {
		return n, nil
	}
	network, err := model(m, info.Classes)
	if err != nil {
		return 0, err
	}
	var d *zoo.Description
	if d, err = network.Describe(c.backend, [3]int{info.Shape[1], info.Shape[2], info.Shape[0]}); err != nil {
		return 0, err
	}
	c.passes[key] = float64(d.MultiplyAdds)
	return c.passes[key], nil
}
