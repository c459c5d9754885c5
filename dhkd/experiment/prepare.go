package experiment

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/dataset"
	"github.com/dhkd-lab/dhkd-go/dhkd/distill"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/train"
	"github.com/dhkd-lab/dhkd-go/dhkd/weights"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

// prepare returns a trainer for the recipe, and the digest of the teacher's weights that it has. Runs that differ in
// seed, learning rate or schedule alone share their programs.
func (r *Runner) prepare(set *dataset.Set, recipe record.Recipe) (t *train.Trainer, teacher string, err error) {
	method, err := distill.New(recipe.Method)
	if err != nil {
		return nil, "", err
	}
	student, err := model(recipe.Model, set.Classes)
	if err != nil {
		return nil, "", fmt.Errorf("model: %w", err)
	}
	needsTeacher, path := method.Needs().Teacher, ""
	if needsTeacher {
		if recipe.Teacher == nil {
			return nil, "", fmt.Errorf("method %s learns from a teacher, and the recipe has none: set teacher.run",
				method.Name())
		}
		path = teacherWeights(r.Dir, recipe)
		if teacher, err = fileSHA256(path); errors.Is(err, fs.ErrNotExist) {
			return nil, "", fmt.Errorf("its teacher, run %s seed %d, has not been trained yet (%w)", recipe.Teacher.Run,
				recipe.Teacher.Seed, err)
		} else if err != nil {
			return nil, "", err
		}
	}
	o := recipe.Optimizer
	config := train.Config{
		Backend: r.Device.Backend, Data: set, Pad: recipe.Dataset.Pad,
		Step: train.Step{Model: student, Method: method,
			SGD: train.SGD{Momentum: o.Momentum, WeightDecay: o.WeightDecay, ClipNorm: o.ClipNorm}},
	}
	o.LearningRate = 0
	key, err := json.Marshal([]any{recipe.Dataset, recipe.Model, recipe.Method, o, teacher})
	if err != nil {
		return nil, "", err
	}
	if r.trainer != nil && r.trainerKey == string(key) {
		return r.trainer, teacher, nil
	}
	r.Close()
	if needsTeacher {
		if config.Teacher, err = loadTeacher(path, recipe.Teacher.Model, set); err != nil {
			return nil, "", fmt.Errorf("its teacher: %w; move the teacher's directory away and train it again", err)
		}
	}
	if t, err = train.New(config); err != nil && needsTeacher {
		return nil, "", fmt.Errorf("%w (the teacher's weights are %s)", err, path)
	} else if err != nil {
		return nil, "", err
	}
	r.trainer, r.trainerKey = t, string(key)
	return t, teacher, nil
}

// Close frees the compiled programs and the images on the device.
func (r *Runner) Close() {
	if r.trainer != nil {
		r.trainer.Close()
		r.trainer = nil
	}
}

// WeightsPath is where a completed run's weights are stored under dir.
func WeightsPath(dir string, r record.Recipe) string {
	return filepath.Join(record.Dir(dir, r), WeightsFile)
}

// teacherWeights is the file that the teacher's run left.
func teacherWeights(dir string, recipe record.Recipe) string {
	run := record.Recipe{Experiment: recipe.Experiment, Profile: recipe.Profile, Name: recipe.Teacher.Run, Seed: recipe.Teacher.Seed}
	return WeightsPath(dir, run)
}

func loadTeacher(path, name string, set *dataset.Set) (*train.Network, error) {
	n, _, err := LoadNetwork(path)
	if err != nil {
		return nil, err
	}
	if n.Model.Name != name || n.Model.Classes != set.Classes {
		return nil, fmt.Errorf("%s holds a %s of %d classes, the recipe needs a %s of %d", path, n.Model.Name,
			n.Model.Classes, name, set.Classes)
	}
	return n, nil
}

// teacherRef identifies the teacher and evaluates it, since what a file says of itself is no measurement.
func (j *job) teacherRef(digest string) (*record.TeacherRef, error) {
	e, err := j.trainer.EvaluateTeacher()
	if err != nil {
		return nil, err
	}
	return &record.TeacherRef{Model: j.trainer.Teacher.Model.Name, Checkpoint: WeightsFile, SHA256: digest, Top1: e.Top1}, nil
}

// saveWeights writes the trained network with what is needed to use and to judge it.
func (j *job) saveWeights() error {
	values, err := j.trainer.StudentWeights()
	if err != nil {
		return err
	}
	recipe, err := json.Marshal(j.recipe)
	if err != nil {
		return err
	}
	top1, _ := j.record.Value(record.MetricStudentTest, record.AtLast)
	mean, std := channels(j.data.Mean), channels(j.data.Std)
	metadata := map[string]string{
		"dataset": j.record.Data.Name, "mean": mean, "std": std, "test_top1": strconv.FormatFloat(top1, 'f', -1, 64), "recipe": string(recipe),
	}
	if distill.PredictorOf(j.trainer.Step.Method) != nil {
		metadata["incomplete"] = "the network that test_top1 is of has this student's backbone alone: its other parts are the " +
			"modules of method " + j.trainer.Step.Method.Name() + " and a part of the teacher, which are not in this file"
	}
	return train.SaveNetwork(j.path(WeightsFile), &train.Network{Model: j.trainer.Step.Model, Weights: values}, metadata)
}

func channels(v []float32) string {
	text, _ := json.Marshal(v)
	return string(text)
}

// LoadNetwork reads a network from a file that [train.SaveNetwork] wrote: the architecture is the file's.
func LoadNetwork(path string) (n *train.Network, metadata map[string]string, err error) {
	values, metadata, err := weights.LoadSafetensors(path)
	if err != nil {
		return nil, nil, err
	}
	classes, err := strconv.Atoi(metadata["classes"])
	if err != nil || metadata["architecture"] == "" {
		return nil, nil, fmt.Errorf("%s does not say which network it holds: its metadata need architecture and classes", path)
	}
	m, err := zoo.New(zoo.Config{Name: metadata["architecture"], Classes: classes, AuxHead: dhkd.AuxHead(metadata["aux_head"])})
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return &train.Network{Model: m, Weights: values}, metadata, nil
}

func auxHead(m record.Model) dhkd.AuxHead { return dhkd.AuxHead(m.AuxHead) }

func fileSHA256(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func describe(set *dataset.Set, d record.Dataset) record.Data {
	evaluation := "test"
	if d.Holdout > 0 {
		evaluation = "holdout"
	}
	return record.Data{
		Name: set.Name, Classes: set.Classes, Shape: [3]int{set.Channels, set.Height, set.Width},
		Train: set.Train.Len(), Test: set.Test.Len(), Evaluation: evaluation, SHA256: set.SHA256,
	}
}
