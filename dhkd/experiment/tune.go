package experiment

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/goccy/go-yaml"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/train"
)

// Search is a search for learning rates.
type Search struct {
	Holdout       int // training images beyond the recipe's, on which the rates are compared; no run is trained on them
	LearningRates []float64
	Seeds         []uint64
}

// Tuned is what a search found for a run.
type Tuned struct {
	Run          string        `json:"run"`
	LearningRate float64       `json:"learning_rate"` // with the best mean; the smaller of equals
	Tuning       record.Tuning `json:"tuning"`
}

// Tune trains every named run of the experiment with every learning rate and seed on its own training images, and compares
// them on held-out training images. The experiment must say how many images it trains on. Records are kept as those of the
// experiment NAME-tuning, so that a search can be continued. Teachers keep their rates.
func (r *Runner) Tune(ctx context.Context, e *record.Experiment, runs []string, s Search) ([]Tuned, error) {
	if s.Holdout < 1 || len(s.LearningRates) == 0 || len(s.Seeds) == 0 {
		return nil, errors.New("a search needs held-out images, learning rates and seeds")
	}
	var found []Tuned
	for _, name := range runs {
		t := Tuned{Run: name, Tuning: record.Tuning{Holdout: s.Holdout, Seeds: s.Seeds}}
		best := -1.0
		for _, rate := range s.LearningRates {
			accuracies := record.TuningAccuracy{LearningRate: rate}
			for _, seed := range s.Seeds {
				top1, err := r.candidate(ctx, e, name, seed, rate, s.Holdout)
				if err != nil {
					return found, err
				}
				accuracies.Top1 = append(accuracies.Top1, top1)
			}
			t.Tuning.Candidates = append(t.Tuning.Candidates, accuracies)
			if mean := mean(accuracies.Top1); mean > best || mean == best && rate < t.LearningRate {
				best, t.LearningRate = mean, rate
			}
		}
		found = append(found, t)
	}
	return found, nil
}

// candidate is the last-epoch accuracy of a run with that learning rate on the held-out images; a run that fails has 0.
func (r *Runner) candidate(ctx context.Context, e *record.Experiment, name string, seed uint64, rate float64, holdout int) (float64, error) {
	recipe, err := e.Resolve(name, seed)
	if err != nil {
		return 0, err
	}
	if recipe.Dataset.Train == 0 {
		return 0, fmt.Errorf("%s: tuning needs dataset.train, so that there are images left to hold out", name)
	}
	search := func(recipe record.Recipe) record.Recipe {
		recipe.Experiment += "-tuning"
		if recipe.Teacher != nil && recipe.Teacher.Experiment != "" {
			recipe.Teacher.Experiment += "-tuning"
		}
		recipe.Dataset.Train += holdout
		recipe.Dataset.Holdout = holdout
		recipe.Schedule.EvaluateEvery = 0
		recipe.Tuning, recipe.Measure = nil, nil
		return recipe
	}
	if recipe.Teacher != nil && recipe.Teacher.Weights == "" {
		_, teacher, err := teacherRecipe(e, recipe)
		if err != nil {
			return 0, err
		}
		if _, err := r.Run(ctx, search(teacher)); err != nil {
			return 0, err
		}
	}
	recipe = search(recipe)
	recipe.Name = fmt.Sprintf("%s-lr%g", name, rate)
	recipe.Optimizer.LearningRate = rate
	rec, err := r.Run(ctx, recipe)
	var nonFinite *train.NonFiniteError
	if errors.As(err, &nonFinite) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	top1, _ := rec.Value(record.MetricStudentTest, record.AtLast)
	return top1, nil
}

// Apply sets the learning rates that a search found, with how they were found.
func Apply(e *record.Experiment, found []Tuned) {
	for i := range e.Runs {
		at := slices.IndexFunc(found, func(t Tuned) bool { return t.Run == e.Runs[i].Recipe.Name })
		if at >= 0 {
			e.Runs[i].Recipe.Optimizer.LearningRate, e.Runs[i].Recipe.Tuning = found[at].LearningRate, &found[at].Tuning
		}
	}
}

func mean(v []float64) float64 {
	var sum float64
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v))
}

// YAML is what the run's entry in the experiment's file needs.
func (t Tuned) YAML() ([]byte, error) {
	return yaml.Marshal(map[string]any{
		"optimizer": map[string]any{"learning_rate": t.LearningRate},
		"tuning":    t.Tuning,
	})
}
