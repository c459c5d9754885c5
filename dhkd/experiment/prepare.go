package experiment

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/gomlx/compute/dtypes"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/dataset"
	"github.com/dhkd-lab/dhkd-go/dhkd/device"
	"github.com/dhkd-lab/dhkd-go/dhkd/distill"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/train"
	"github.com/dhkd-lab/dhkd-go/dhkd/weights"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

// prepare returns a trainer for the recipe, and the teacher that it has. Runs that differ in seed, learning rate or
// schedule alone share their programs.
func (r *Runner) prepare(ctx context.Context, set *dataset.Set, recipe record.Recipe) (t *train.Trainer, teacher *teacherFile,
	err error) {
	method, err := distill.New(recipe.Method)
	if err != nil {
		return nil, nil, err
	}
	student, err := model(recipe.Model, set.Classes)
	if err != nil {
		return nil, nil, fmt.Errorf("model: %w", err)
	}
	digest := ""
	if method.Needs().Teacher {
		if recipe.Teacher == nil {
			return nil, nil, fmt.Errorf("method %s learns from a teacher, and the recipe has none: set teacher.run or "+
				"teacher.weights", method.Name())
		}
		if teacher, err = r.findTeacher(ctx, set, recipe); err != nil {
			return nil, nil, err
		}
		digest = teacher.sha256
	}
	if err := checkPrecision(r.Device, recipe.Precision); err != nil {
		return nil, nil, err
	}
	o := recipe.Optimizer
	config := train.Config{
		Backend: r.Device.Backend, Data: set, Pad: recipe.Dataset.Pad, Devices: r.Devices,
		Step: train.Step{Model: student, Method: method,
			SGD: train.SGD{Momentum: o.Momentum, WeightDecay: o.WeightDecay, ClipNorm: o.ClipNorm, Steps: o.StepsPerBatch}},
	}
	if m := recipe.Measure; m != nil && m.Gradients != nil {
		config.MeasureTerms = m.Gradients.Terms
	}
	if recipe.Precision == record.BFloat16 {
		config.Step.Convolutions = dtypes.BFloat16
	}
	views, err := cachedViews(recipe, method.Needs(), set.Train.Len(), set.Classes)
	if err != nil {
		return nil, nil, err
	}
	if set.Train.Files != nil && recipe.Teacher != nil {
		if recipe.Teacher.Cache == record.CacheViews {
			return nil, nil, fmt.Errorf("teacher.cache: views is for images in memory, those of %s are decoded as they are needed: "+
				"choose none", set.Name)
		}
		views = 0
	}
	o.LearningRate, o.ReferenceBatch = 0, 0
	key, err := json.Marshal([]any{recipe.Dataset, recipe.Model, recipe.Method, o, recipe.Precision, digest, views,
		config.MeasureTerms, r.Devices})
	if err != nil {
		return nil, nil, err
	}
	if r.trainer != nil && r.trainerKey == string(key) {
		return r.trainer, teacher, nil
	}
	r.closeTrainer()
	if teacher != nil {
		config.Teacher = teacher.network
	}
	if views > 0 {
		logits, err := r.teacherLogits(ctx, set, teacher, recipe)
		if err != nil {
			return nil, nil, err
		}
		config.TeacherLogits = logits.tensor
	}
	if t, err = train.New(config); err != nil && teacher != nil {
		return nil, nil, fmt.Errorf("%w (the teacher's weights are %s)", err, teacher.path)
	} else if err != nil {
		return nil, nil, err
	}
	r.trainer, r.trainerKey = t, string(key)
	return t, teacher, nil
}

// checkPrecision refuses a recipe that says something else of its products than the device will do, which is one for all
// runs of a process.
func checkPrecision(d *device.Device, precision string) error {
	switch wanted := precision == record.TF32; {
	case wanted && d.Name != "xla:cuda":
		return fmt.Errorf("precision: tf32 is what NVIDIA cards compute in, this is %s: choose float32 or bfloat16", d.Name)
	case wanted && !d.TF32:
		return errors.New("precision: tf32, but the card computes in float32: set GOMLX_BACKEND=xla:cuda,tf32=true for the process")
	case !wanted && d.TF32:
		return fmt.Errorf("precision: %s, but the card rounds float32 to tf32 in this process (another run asked for it, or "+
			"GOMLX_BACKEND): do this run by itself with GOMLX_BACKEND=xla:cuda,tf32=false", cmp.Or(precision, record.Float32))
	}
	return nil
}

// Close frees the compiled programs, and the images and the teacher's logits on the device.
func (r *Runner) Close() {
	r.closeTrainer()
	r.logits.free()
	r.logits = nil
}

func (r *Runner) closeTrainer() {
	if r.trainer != nil {
		r.trainer.Close()
		r.trainer = nil
	}
}

// WeightsPath is where a completed run's weights are stored under dir.
func WeightsPath(dir string, r record.Recipe) string {
	return filepath.Join(record.Dir(dir, r), WeightsFile)
}

// saveWeights writes the trained network with what is needed to use and to judge it.
func (j *job) saveWeights() error {
	network, err := j.trainer.Network()
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
	return train.SaveNetwork(j.path(WeightsFile), network, metadata)
}

// incompleteKey is the key, in the metadata of older files, of what the network lacks that the file's accuracy is of.
const incompleteKey = "incomplete"

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
	m, err := zoo.New(zoo.Config{Name: metadata["architecture"], Classes: classes, Head: dhkd.Head(metadata["head"]),
		AuxHead: dhkd.AuxHead(metadata["aux_head"])})
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	if noted := metadata[weights.DigestKey]; noted != "" {
		if digest, err := weights.Digest(values); err != nil || digest != noted {
			return nil, nil, fmt.Errorf("%s: its weights are not those that it was written with, by the checksum in it (%w)", path,
				cmp.Or(err, errors.New("the file is damaged or was changed")))
		}
	}
	if lacks := metadata[incompleteKey]; lacks != "" {
		return nil, nil, fmt.Errorf("%s cannot be used: %s; its accuracy is in the run's record", path, lacks)
	}
	n = &train.Network{Model: m, Weights: values}
	if metadata[weights.PredictorKey] != "" {
		if n.Predictor, err = Predictor(metadata["recipe"], classes); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	return n, metadata, nil
}

// Predictor is that of a network trained with a recipe, which is JSON from a file's metadata.
func Predictor(recipe string, classes int) (p *train.Predictor, err error) {
	var of record.Recipe
	p = &train.Predictor{}
	if err = json.Unmarshal([]byte(recipe), &of); err == nil {
		p.Method, err = distill.New(of.Method)
	}
	if err == nil && (distill.PredictorOf(p.Method) == nil || of.Teacher == nil) {
		err = errors.New("its student, or no teacher, is what predicts")
	}
	if err == nil {
		p.Teacher, err = zoo.New(zoo.Config{Name: of.Teacher.Model, Classes: classes})
	}
	if err != nil {
		return nil, fmt.Errorf("recipe in the metadata does not say how modules of a method predict: %w", err)
	}
	return p, nil
}

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
		Skipped: set.Train.Files.Bad(),
	}
}
