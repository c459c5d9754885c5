package experiment

import (
	"context"
	"fmt"

	"github.com/dhkd-lab/dhkd-go/dhkd/analysis"
	"github.com/dhkd-lab/dhkd-go/dhkd/dataset"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/train"
)

// seen is what a network computes of all images of a split.
type seen struct {
	labels []int32
	logits map[string][]float32
	pooled []float32
	stages [][]float32
	last   map[string]analysis.Layer // by head, with what they read
}

// look shows the images of a split to a network.
func (a *analyser) look(ctx context.Context, n *train.Network, set *dataset.Set, split dataset.Split,
	stages bool) (*seen, error) {
	activations, err := a.network(n, set, stages)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", n.Model.Name, err)
	}
	s := &seen{logits: map[string][]float32{}, last: map[string]analysis.Layer{}}
	inputs := map[string][]float32{}
	batch := min(train.EvaluationBatch(set), split.Len())
	err = activations.Each(ctx, split, batch, func(part train.Activation) error {
		s.labels = append(s.labels, part.Labels...)
		s.pooled = append(s.pooled, part.Pooled...)
		for head, z := range part.Logits {
			s.logits[head] = append(s.logits[head], z...)
		}
		for head, x := range part.Inputs {
			inputs[head] = append(inputs[head], x...)
		}
		for k, x := range part.Stages {
			if k == len(s.stages) {
				s.stages = append(s.stages, nil)
			}
			s.stages[k] = append(s.stages[k], x...)
		}
		return nil
	})
	if err == nil && len(s.labels) == 0 {
		err = fmt.Errorf("no image could be read")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", n.Model.Name, err)
	}
	for head, x := range inputs {
		layer := analysis.Layer{Width: len(x) / len(s.labels), Features: x, Labels: s.labels}
		if layer.Weight, layer.Bias, err = activations.Last(head); err != nil {
			return nil, err
		}
		s.last[head] = layer
	}
	return s, nil
}

// network is n on the device, compiled once: all images that are looked at have one shape and one normalisation.
func (a *analyser) network(n *train.Network, set *dataset.Set, stages bool) (*train.Activations, error) {
	for _, p := range a.programs {
		if p.network == n && p.stages == stages {
			return p.Activations, nil
		}
	}
	activations, err := train.NewActivations(a.Device.Backend, set, n, stages)
	if err == nil {
		a.programs = append(a.programs, program{activations, n, stages})
	}
	return activations, err
}

// program is a network on the device.
type program struct {
	*train.Activations
	network *train.Network
	stages  bool
}

func (a *analyser) close() {
	for _, p := range a.programs {
		p.Close()
	}
}

// probe trains linear classifiers on another data set.
func (a *analyser) probe(ctx context.Context) error {
	name := a.options.Probe
	if name == "" {
		return nil
	}
	other, err := a.load(ctx, record.Dataset{Name: name, Seed: 1, Side: a.made.Recipe.Dataset.Side,
		Resize: a.made.Recipe.Dataset.Resize})
	if err != nil {
		return err
	}
	fitted := *other
	if name == "fashion-mnist" && a.set.Name == "fashion-pairs-100" {
		articles, err := dataset.Articles(other)
		if err != nil {
			return err
		}
		fitted = *articles
	}
	if fitted.Height != a.set.Height || fitted.Width != a.set.Width || fitted.Channels != a.set.Channels {
		return fmt.Errorf("images of data set %s are %dx%dx%d, the network takes %dx%dx%d: choose another to probe with",
			name,
			fitted.Height, fitted.Width, fitted.Channels, a.set.Height, a.set.Width, a.set.Channels)
	}
	fitted.Mean, fitted.Std = a.set.Mean, a.set.Std // which the network was trained with
	if fitted.Train, err = some(fitted.Train, a.options.ProbeImages, probeImages); err != nil {
		return fmt.Errorf("data set %s: %w", name, err)
	}
	p := &record.Probe{Dataset: name, Classes: fitted.Classes, Train: fitted.Train.Len(), Test: fitted.Test.Len(),
		L2: probeL2}
	for _, n := range []struct {
		of      string
		network *train.Network
	}{{record.StudentNetwork, a.student}, {record.TeacherNetwork, a.teacher}} {
		if n.network == nil {
			continue
		}
		a.options.Progress("linear probe of the " + n.of + " on " + name)
		var parts [2]analysis.Labelled
		for i, split := range []dataset.Split{fitted.Train, fitted.Test} {
			s, err := a.look(ctx, n.network, &fitted, split, false)
			if err != nil {
				return err
			}
			parts[i] = analysis.Labelled{Features: s.pooled, Labels: s.labels}
		}
		score, err := analysis.LinearProbe(parts[0], parts[1], fitted.Classes, probeL2)
		if err != nil {
			return fmt.Errorf("linear probe of the %s: %w", n.of, err)
		}
		score.Of = n.of
		p.Results = append(p.Results, score)
	}
	a.made.Probe = p
	return nil
}
