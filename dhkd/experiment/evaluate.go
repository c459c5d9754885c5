package experiment

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/dhkd-lab/dhkd-go/dhkd/dataset"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/metric"
	"github.com/dhkd-lab/dhkd-go/dhkd/train"
)

// EvaluateOptions say on what a network is evaluated. The zero value is the main head on the test images of the data
// that the network was trained on.
type EvaluateOptions struct {
	Dataset string // empty = the file's, as its recipe has it; another one is taken whole
	Split   string // record.TestSplit (also when empty) or record.TrainSplit
	Head    string // record.MainHead (also when empty) or record.AuxHead
	Latency bool   // measure latencies too, which takes about ten seconds
	// Progress, unless nil, is called with the images done so far and their total.
	Progress func(done, total int)
}

// Candidate is a network that can be evaluated.
type Candidate struct {
	options   EvaluateOptions
	network   *train.Network
	file      record.WeightsFile
	data      record.Dataset
	own       bool // the data are those that the network was trained on
	mean, std []float32
}

// OpenCandidate reads a file of weights and finds out what it must be evaluated on. It opens neither device nor data.
// The error names the file: it cannot be read, does not say which network it holds, or does not fit the options.
func OpenCandidate(path string, o EvaluateOptions) (c *Candidate, err error) {
	if o.Head == "" {
		o.Head = record.MainHead
	}
	if o.Split == "" {
		o.Split = record.TestSplit
	}
	if !slices.Contains([]string{record.MainHead, record.AuxHead}, o.Head) ||
		!slices.Contains([]string{record.TestSplit, record.TrainSplit}, o.Split) {
		return nil, fmt.Errorf("cannot evaluate head %q on split %q: heads are main and aux, splits test and train", o.Head,
			o.Split)
	}
	c = &Candidate{options: o}
	var metadata map[string]string
	if c.network, metadata, err = LoadNetwork(path); err != nil {
		return nil, err
	}
	m := c.network.Model
	if o.Head == record.AuxHead && m.AuxHead == "none" {
		return nil, fmt.Errorf("%s: its %s has no auxiliary head", path, m.Name)
	}
	digest, err := fileSHA256(path)
	if err != nil {
		return nil, err
	}
	c.file = record.WeightsFile{Name: filepath.Base(path), SHA256: digest, Model: m.Name, Classes: m.Classes,
		Head: string(m.Head), AuxHead: string(m.AuxHead), Dataset: metadata["dataset"]}
	if top1, err := strconv.ParseFloat(metadata["test_top1"], 64); err == nil && top1 >= 0 && top1 <= 100 {
		c.file.Top1 = &top1
	}
	if err := c.chooseData(metadata); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// chooseData finds the data set, and what its images are normalised with: that is part of the network.
func (c *Candidate) chooseData(metadata map[string]string) error {
	var recipe record.Recipe
	if err := json.Unmarshal([]byte(metadata["recipe"]), &recipe); err == nil {
		c.data = recipe.Dataset
	}
	if c.data.Name == "" {
		c.data = record.Dataset{Name: c.file.Dataset, Seed: 1}
	}
	c.own = c.options.Dataset == "" || c.options.Dataset == c.data.Name
	if !c.own {
		c.data = record.Dataset{Name: c.options.Dataset, Seed: 1}
	}
	if c.data.Name == "" {
		return fmt.Errorf("its metadata do not say which data the network is for: give --dataset NAME")
	}
	i := slices.IndexFunc(dataset.List(), func(d dataset.Info) bool { return d.Name == c.data.Name })
	if i < 0 {
		_, err := dataset.Load(context.Background(), c.data.Name, dataset.Options{}) // says which there are
		return err
	}
	info := dataset.List()[i]
	if info.Classes != 0 && c.file.Classes != info.Classes { // else the user's data say how many there are
		return fmt.Errorf("the network has %d classes, data set %s has %d", c.file.Classes, info.Name, info.Classes)
	}
	if metadata["mean"] == "" && metadata["std"] == "" {
		return nil
	}
	for name, values := range map[string]*[]float32{"mean": &c.mean, "std": &c.std} {
		if err := json.Unmarshal([]byte(metadata[name]), values); err != nil || len(*values) == 0 {
			return fmt.Errorf("its metadata's %s is no list of numbers, one a channel: %.40q", name, metadata[name])
		}
		if len(*values) != info.Shape[0] {
			return fmt.Errorf("the network takes images of %d channels, those of data set %s have %d", len(*values), info.Name,
				info.Shape[0])
		}
	}
	return nil
}

// Evaluate evaluates a network. When ctx ends, so does the evaluation, with its error.
func (r *Runner) Evaluate(ctx context.Context, c *Candidate) (*record.Evaluation, error) {
	loaded, err := r.load(ctx, c.data)
	if err != nil {
		return nil, err
	}
	set := *loaded
	if c.mean != nil {
		set.Mean, set.Std = c.mean, c.std
	}
	split := set.Test
	if c.options.Split == record.TrainSplit {
		split = set.Train
	}
	if split.Len() == 0 {
		return nil, fmt.Errorf("%s has no %s images", set.Name, c.options.Split)
	}
	inference, err := train.NewInference(r.Device.Backend, &set, c.network, c.options.Head)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.file.Name, err)
	}
	defer inference.Close()
	measured := metric.NewClassification(set.Classes)
	batch, done := min(train.EvaluationBatch(&set), split.Len()), 0
	err = inference.Each(ctx, split, batch, func(logits []float32, labels []int32) error {
		if done += len(labels); c.options.Progress != nil {
			c.options.Progress(done, split.Len())
		}
		return measured.Add(logits, labels)
	})
	if err != nil {
		return nil, err
	}
	e := &record.Evaluation{Schema: record.EvaluationSchema, Weights: c.file, Model: c.file.Model, Head: c.options.Head,
		Data: describe(&set, c.data), Split: c.options.Split, Scores: measured.Scores(set.ClassNames),
		Environment: environment(ctx, r.Device, &set)}
	if c.file.Top1 != nil && c.own && e.Head == record.MainHead && e.Split == record.TestSplit {
		e.Difference = new(e.Top1 - *c.file.Top1)
	}
	if e.Parameters, e.InferenceParameters, err = inference.Parameters(); err != nil {
		return nil, err
	}
	if e.Head == record.MainHead && c.network.Predictor == nil { // the description is of the main head
		d, err := c.network.Model.Describe(r.Device.Backend, [3]int{set.Height, set.Width, set.Channels})
		if err != nil {
			return nil, err
		}
		e.MultiplyAdds = int64(d.MultiplyAdds)
	}
	if c.options.Latency {
		e.Latency, err = latencies(ctx, inference, split, batch)
	}
	return e, err
}

// latencies measures single images and the evaluation's batches.
func latencies(ctx context.Context, inference *train.Inference, s dataset.Split, batch int) ([]record.Latency, error) {
	var all []record.Latency
	const budget = 5 * time.Second
	for _, n := range slices.Compact([]int{1, batch}) {
		order := make([]int32, n)
		for i := range order {
			order[i] = int32(i)
		}
		stream := s.Stream(ctx, order, n, nil)
		images, err := stream.Next()
		stream.Close()
		if err != nil {
			return nil, err
		}
		calls, err := inference.Time(ctx, images.Pixels, budget)
		if err != nil {
			return nil, err
		}
		slices.Sort(calls)
		quantile := func(q float64) float64 {
			return calls[int(q*float64(len(calls)-1)+0.5)].Seconds() * 1000
		}
		l := record.Latency{Batch: n, Calls: len(calls), Median: quantile(0.5), P10: quantile(0.1), P90: quantile(0.9)}
		l.ImagesPerSecond = float64(n) / l.Median * 1000
		all = append(all, l)
	}
	return all, nil
}
