package record

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// The values that a recipe may name. Models and methods have registries of their own, see [Names].
var (
	Profiles     = []string{"paper", "offline", "smoke"}
	Augmentation = []string{"none", "crop-flip", "resized-crop-flip"}
	Heads        = []string{"linear", "nonlinear"}
	AuxHeads     = []string{"none", "linear", "nonlinear"}
	OnNonFinite  = []string{"stop", "continue"}
	OnBadImages  = []string{"stop", "skip"}
	Caches       = []string{CacheNone, CacheViews, CacheAuto}
)

// Values of [Teacher.Cache].
const (
	CacheNone  = "none"
	CacheViews = "views"
	CacheAuto  = "auto"
)

// Names lists what exists, to be checked against. An empty list accepts any name: this package knows no registry.
type Names struct {
	Datasets, Models, Methods []string
	// Teachers are the models of published teachers by reference, so that a recipe need not name them.
	Teachers map[string]string
}

// fileName is what an experiment's or a run's name must be: it becomes a directory.
var fileName = regexp.MustCompile(`^[a-z0-9][a-z0-9._+-]{0,99}$`)

// problem is a field with a value that it must not have.
type problem struct{ path, message string }

// Validate says which field of the recipe has a value that no run could use, by its path in YAML, or nil.
func (r Recipe) Validate() error { return Names{}.Validate(r) }

// Validate is [Recipe.Validate] that also refuses names of data sets, models and methods that are not listed.
func (n Names) Validate(r Recipe) error {
	if p := r.check(n); p != nil {
		return fmt.Errorf("%s: %s", p.path, p.message)
	}
	return nil
}

// check returns the first problem of a recipe.
func (r Recipe) check(known Names) *problem {
	var first *problem
	require := func(ok bool, path, format string, args ...any) {
		if !ok && first == nil {
			first = &problem{path, fmt.Sprintf(format, args...)}
		}
	}
	oneOf := func(path, value string, options []string) {
		require(value != "", path, "is missing")
		require(len(options) == 0 || slices.Contains(options, value), path,
			"unknown name %q; %s", value, suggest(value, options))
	}
	atLeast := func(path string, value, least float64) {
		require(value >= least && !math.IsInf(value, 0), path, "must be a number of at least %g, is %g", least, value)
	}
	positive := func(path string, value float64) {
		require(value > 0 && !math.IsInf(value, 0), path, "must be a number greater than 0, is %g", value)
	}
	count := func(path string, value, least int) {
		require(value >= least, path, "must be at least %d, is %d", least, value)
	}
	name := func(path, value string) {
		require(value != "", path, "is missing")
		require(fileName.MatchString(value), path,
			"%q is no file name: use up to 100 of a-z 0-9 . _ + -, the first a letter or digit", value)
	}

	name("experiment", r.Experiment)
	name("name", r.Name)
	require(r.Label != "", "label", "is missing")
	require(printable(r.Label) && len(r.Label) <= 200, "label", "must be one line of at most 200 printable characters")
	oneOf("profile", r.Profile, Profiles)

	oneOf("dataset.name", r.Dataset.Name, known.Datasets)
	count("dataset.train", r.Dataset.Train, 0)
	count("dataset.test", r.Dataset.Test, 0)
	count("dataset.holdout", r.Dataset.Holdout, 0)
	require(r.Dataset.Train == 0 || r.Dataset.Holdout < r.Dataset.Train, "dataset.holdout",
		"must leave images to train on: %d of %d are held out", r.Dataset.Holdout, r.Dataset.Train)
	oneOf("dataset.augment", r.Dataset.Augment, Augmentation)
	require(r.Dataset.Pad >= 0 && r.Dataset.Pad <= 64, "dataset.pad", "must be 0 to 64 pixels, is %d", r.Dataset.Pad)
	require(r.Dataset.Pad == 0 || r.Dataset.Augment == "crop-flip", "dataset.pad", "needs augment: crop-flip")
	require(r.Dataset.Pad > 0 || r.Dataset.Augment != "crop-flip", "dataset.augment",
		"crop-flip needs dataset.pad of at least 1: without a margin there is nothing to crop, and nothing is flipped")
	d, resized := r.Dataset, r.Dataset.Augment == "resized-crop-flip"
	require(d.Side >= 0 && d.Side <= 4096, "dataset.side", "must be 0 to 4096 pixels, is %d", d.Side)
	require(d.Resize == 0 || d.Side > 0 && d.Resize >= d.Side && d.Resize <= 8192, "dataset.resize",
		"must be at least dataset.side, and at most 8192 pixels, is %d", d.Resize)
	share := func(path string, value float64) {
		require(!resized || value > 0 && value <= 1, path, "must be greater than 0 and at most 1, is %g", value)
		require(resized || value == 0, path, "needs augment: resized-crop-flip")
	}
	share("dataset.min_area", d.MinArea)
	share("dataset.min_aspect", d.MinAspect)
	require(d.BadImages == "" || slices.Contains(OnBadImages, d.BadImages), "dataset.bad_images", "unknown name %q; %s",
		d.BadImages, suggest(d.BadImages, OnBadImages))

	if r.Teacher != nil {
		if t := r.Teacher; t.Weights == "" {
			name("teacher.run", t.Run)
			require(t.Run != r.Name || t.Experiment != "", "teacher.run", "a run cannot learn from itself")
			if t.Experiment != "" {
				name("teacher.experiment", t.Experiment)
			}
		} else {
			require(t.Run == "", "teacher.weights", "a teacher is a run or weights: both are given")
			require(t.Experiment == "", "teacher.experiment", "is a run's: weights have none")
			require(printable(t.Weights) && len(t.Weights) <= 500, "teacher.weights",
				"must be one line of at most 500 printable characters")
			require(t.Seed == 0, "teacher.seed", "is a run's: weights have none")
		}
		if r.Teacher.Cache != "" {
			oneOf("teacher.cache", r.Teacher.Cache, Caches)
		}
		require(r.Teacher.Model != "", "teacher.model", "is missing") // known or not is its own run's problem
	}
	oneOf("model.name", r.Model.Name, known.Models)
	require(r.Model.Head == "" || slices.Contains(Heads, r.Model.Head), "model.head", "unknown name %q; %s", r.Model.Head,
		suggest(r.Model.Head, Heads))
	oneOf("model.aux_head", r.Model.AuxHead, AuxHeads)
	oneOf("method.name", r.Method.Name, known.Methods)
	atLeast("method.gamma", r.Method.Gamma, 0)
	atLeast("method.alpha", r.Method.Alpha, 0)
	atLeast("method.temperature", r.Method.Temperature, 0)

	positive("optimizer.learning_rate", r.Optimizer.LearningRate)
	require(r.Optimizer.Momentum >= 0 && r.Optimizer.Momentum < 1, "optimizer.momentum",
		"must be at least 0 and less than 1, is %g", r.Optimizer.Momentum)
	atLeast("optimizer.weight_decay", r.Optimizer.WeightDecay, 0)
	atLeast("optimizer.clip_norm", r.Optimizer.ClipNorm, 0)
	require(r.Optimizer.StepsPerBatch >= 0 && r.Optimizer.StepsPerBatch <= 10, "optimizer.steps_per_batch",
		"must be 0 to 10, is %d", r.Optimizer.StepsPerBatch)
	count("optimizer.reference_batch", r.Optimizer.ReferenceBatch, 0)

	count("schedule.epochs", r.Schedule.Epochs, 1)
	for i, m := range r.Schedule.Milestones {
		path := fmt.Sprintf("schedule.milestones[%d]", i)
		require(m >= 1 && m < r.Schedule.Epochs, path,
			"must be an epoch before the last (1 to %d), is %d", r.Schedule.Epochs-1, m)
		require(i == 0 || m > r.Schedule.Milestones[i-1], path, "must be greater than the milestone before it, is %d", m)
	}
	require(len(r.Schedule.Milestones) == 0 || r.Schedule.Rate != 0, "schedule.rate", "is missing")
	atLeast("schedule.rate", r.Schedule.Rate, 0)
	count("schedule.evaluate_every", r.Schedule.EvaluateEvery, 0)

	count("batch_size", r.BatchSize, 2)
	require(r.Dataset.Train == 0 || r.BatchSize <= r.Dataset.Train-r.Dataset.Holdout, "batch_size",
		"must be at most the %d training images, is %d", r.Dataset.Train-r.Dataset.Holdout, r.BatchSize)
	require(r.Precision == "" || slices.Contains(Precisions, r.Precision), "precision", "unknown name %q; %s", r.Precision,
		suggest(r.Precision, Precisions))
	oneOf("non_finite", r.NonFinite, OnNonFinite)
	if p := r.Measure.check(); p != nil && first == nil {
		first = p
	}

	if r.Tuning != nil {
		count("tuning.holdout", r.Tuning.Holdout, 1)
		require(len(r.Tuning.Seeds) > 0, "tuning.seeds", "is missing")
		require(len(r.Tuning.Candidates) > 0, "tuning.candidates", "is missing")
		for i, c := range r.Tuning.Candidates {
			path := fmt.Sprintf("tuning.candidates[%d]", i)
			positive(path+".learning_rate", c.LearningRate)
			require(len(c.Top1) == len(r.Tuning.Seeds), path+".top1",
				"has %d values for %d seeds", len(c.Top1), len(r.Tuning.Seeds))
			for j, top1 := range c.Top1 {
				require(top1 >= 0 && top1 <= 100, fmt.Sprintf("%s.top1[%d]", path, j), "must be 0 to 100 per cent, is %g", top1)
			}
		}
	}
	return first
}

// printable text can be shown on a terminal as it is: no control characters.
func printable(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) < 0
}
