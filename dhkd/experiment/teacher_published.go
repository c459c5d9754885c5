package experiment

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"path/filepath"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/dataset"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/internal/fetch"
	"github.com/dhkd-lab/dhkd-go/dhkd/train"
	"github.com/dhkd-lab/dhkd-go/dhkd/weights"
	"github.com/dhkd-lab/dhkd-go/dhkd/weights/teachers"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

// publishedTeacher fetches a teacher that others have trained, fits it to its network, and keeps it as a file of ours.
func (r *Runner) publishedTeacher(ctx context.Context, set *dataset.Set, named *record.Teacher) (*teacherFile, error) {
	wrap := func(err error) error { return fmt.Errorf("teacher %s: %w", named.Weights, err) }
	if e, err := teachers.Lookup(named.Weights); err != nil {
		return nil, err
	} else if e != nil { // before anything is fetched
		if err := r.fits(infoOf(e), named.Model, set); err != nil {
			return nil, wrap(err)
		}
	}
	found, err := teachers.Resolve(ctx, named.Weights,
		teachers.Options{Offline: !r.Data.Fetch, Progress: r.Data.Progress})
	if err != nil {
		return nil, err
	}
	t := &teacherFile{name: named.Weights, data: set, original: baseName(found), sha256: found.SHA256, reference: named.Weights,
		tolerance: teachers.Tolerance, claim: "the file"}
	if r.teacher.is(t, named.Model) {
		return r.teacher, nil
	}
	c, err := weights.Load(found.Path)
	if err != nil {
		return nil, wrap(err)
	}
	info, err := fileInfo(c)
	if err != nil {
		return nil, wrap(fmt.Errorf("%s: %w", found.Path, err))
	}
	if found.Teacher != nil {
		info, t.tolerance, t.claim = infoOf(found.Teacher), found.Teacher.Tolerance, found.Teacher.Top1Source
	}
	info.Source = cmp.Or(info.Source, named.Weights)
	if err := r.fits(info, named.Model, set); err != nil {
		return nil, wrap(err)
	}
	info.Architecture, info.Classes, info.AuxHead = named.Model, set.Classes, string(dhkd.NoAuxHead)
	t.published = &info
	if t.network, err = r.fit(c, named.Model, set); err != nil {
		return nil, wrap(fmt.Errorf("%s is no %s of %d classes for %s: %w", found.Path, named.Model, set.Classes, set.Name,
			err))
	}
	if t.path, err = convert(t); err != nil {
		return nil, wrap(err)
	}
	r.teacher = t
	return t, nil
}

// infoOf is what the list says of a teacher.
func infoOf(e *teachers.Teacher) weights.Info {
	return weights.Info{Architecture: e.Model, Classes: e.Classes, Dataset: e.Dataset, Mean: e.Mean, Std: e.Std,
		TestTop1: e.Top1, Source: e.Reference, Licence: e.Licence}
}

// fits checks what is said of a teacher against what the run needs.
func (r *Runner) fits(info weights.Info, model string, set *dataset.Set) error {
	switch {
	case info.Alone() != nil:
		return info.Alone()
	case info.Architecture != "" && info.Architecture != model:
		return fmt.Errorf("it is a %s, the recipe has teacher.model %s", info.Architecture, model)
	case info.Classes != 0 && info.Classes != set.Classes:
		return fmt.Errorf("it has %d classes, data set %s has %d", info.Classes, set.Name, set.Classes)
	case info.Dataset != "" && info.Dataset != set.Name && !r.AcceptTeacher:
		return fmt.Errorf("it was trained on %s, the run is on %s (--accept-teacher uses it all the same)", info.Dataset,
			set.Name)
	}
	// Teacher and student get the same images: those that are normalised for the data set.
	for what, values := range map[string][2][]float64{
		"mean": {info.Mean, wide(set.Mean)}, "std": {info.Std, wide(set.Std)},
	} {
		its, ours := values[0], values[1]
		if len(its) != 0 && len(its) != len(ours) {
			return fmt.Errorf("it takes images of %d channels, those of %s have %d", len(its), set.Name, len(ours))
		}
		for i := range its {
			if math.Abs(its[i]-ours[i]) > 1./255 && !r.AcceptTeacher { // a step of grey
				return fmt.Errorf("its images are normalised with %s %.4g, those of %s with %.4g (--accept-teacher uses it "+
					"all the same)", what, its, set.Name, ours)
			}
		}
	}
	return nil
}

func wide(values []float32) []float64 {
	all := make([]float64, len(values))
	for i, v := range values {
		all[i] = float64(v)
	}
	return all
}

// fit makes a network of what a file holds. A teacher needs its main head alone, of the kind that the file has.
func (r *Runner) fit(c *weights.Checkpoint, name string, set *dataset.Set) (*train.Network, error) {
	head, _ := c.MainHead()
	m, err := zoo.New(zoo.Config{Name: name, Classes: set.Classes, Head: head, AuxHead: dhkd.NoAuxHead})
	if err != nil {
		return nil, err
	}
	want, err := m.Undrawn(r.Device.Backend, [3]int{set.Height, set.Width, set.Channels})
	if err != nil {
		return nil, err
	}
	fitted, err := c.Fit(want, weights.FitOptions{DropAuxHead: true})
	if err != nil {
		return nil, err
	}
	return &train.Network{Model: m, Weights: fitted.Tensors}, nil
}

// convert stores a teacher in the cache, as a file that dhkd evaluate takes, unless it is there.
func convert(t *teacherFile) (path string, err error) {
	dir, err := fetch.CacheDir("teachers")
	if err != nil {
		return "", err
	}
	path = filepath.Join(dir, "converted", t.sha256+"-"+t.network.Model.Name+".safetensors")
	metadata, err := t.network.Metadata(t.published.Metadata())
	if err != nil {
		return "", err
	}
	if _, have, err := LoadNetwork(path); err == nil && maps.Equal(have, metadata) { // which have the tensors' digest
		return path, nil
	}
	return path, train.SaveNetwork(path, t.network, metadata)
}
