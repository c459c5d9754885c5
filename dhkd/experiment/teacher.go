package experiment

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"

	"github.com/gomlx/compute/gobackend"

	"github.com/dhkd-lab/dhkd-go/dhkd/dataset"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/train"
	"github.com/dhkd-lab/dhkd-go/dhkd/weights"
	"github.com/dhkd-lab/dhkd-go/dhkd/weights/teachers"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

// teacherFile is the teacher that a recipe names.
type teacherFile struct {
	name      string // for messages: "run teacher", "crd:resnet32x4"
	data      *dataset.Set
	network   *train.Network
	path      string        // of the file that it was read from
	original  string        // name of the file that was trained or published
	sha256    string        // of that file
	reference string        // empty for a run
	published *weights.Info // what is said of it; nil for a run
	claim     string        // who says what accuracy it has
	tolerance float64       // points that ours may differ from it
	top1      *float64      // on data; nil until it has been evaluated
}

// findTeacher loads a recipe's teacher, and fetches it where that is needed.
func (r *Runner) findTeacher(ctx context.Context, set *dataset.Set, recipe record.Recipe) (*teacherFile, error) {
	if recipe.Teacher.Weights != "" {
		return r.publishedTeacher(ctx, set, recipe.Teacher)
	}
	path := teacherWeights(r.Dir, recipe)
	t := &teacherFile{name: "run " + recipe.Teacher.Run, data: set, path: path, original: WeightsFile}
	var err error
	if t.sha256, err = fileSHA256(path); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("its teacher, run %s seed %d, has not been trained yet (%w)", recipe.Teacher.Run,
			recipe.Teacher.Seed, err)
	} else if err != nil {
		return nil, err
	}
	if r.teacher.is(t, recipe.Teacher.Model) {
		return r.teacher, nil
	}
	if t.network, err = loadTeacher(path, recipe.Teacher.Model, set); err != nil {
		return nil, fmt.Errorf("its teacher: %w; move the teacher's directory away and train it again", err)
	}
	r.teacher = t
	return t, nil
}

// is says whether t, of the run before, is what other would be when loaded.
func (t *teacherFile) is(other *teacherFile, model string) bool {
	return t != nil && t.name == other.name && t.data == other.data && t.sha256 == other.sha256 &&
		t.network.Model.Name == model
}

// teacherWeights is the file that the teacher's run left.
func teacherWeights(dir string, recipe record.Recipe) string {
	run := record.Recipe{Experiment: cmp.Or(recipe.Teacher.Experiment, recipe.Experiment), Profile: recipe.Profile,
		Name: recipe.Teacher.Run, Seed: recipe.Teacher.Seed}
	return WeightsPath(dir, run)
}

func loadTeacher(path, name string, set *dataset.Set) (*train.Network, error) {
	n, metadata, err := LoadNetwork(path)
	if err != nil {
		return nil, err
	}
	if err := (weights.Info{Architecture: n.Model.Name, Predictor: metadata[weights.PredictorKey]}).Alone(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if n.Model.Name != name || n.Model.Classes != set.Classes {
		return nil, fmt.Errorf("%s holds a %s of %d classes, the recipe needs a %s of %d", path, n.Model.Name,
			n.Model.Classes, name, set.Classes)
	}
	return n, nil
}

// checkTeacher compares a teacher's accuracy with the published one, on the images that this is of.
func (j *job) checkTeacher(ctx context.Context, t *teacherFile) error {
	if t == nil || t.published == nil {
		return nil
	}
	p := t.published
	if p.TestTop1 == nil || p.Dataset != t.data.Name {
		j.Progress.Note(fmt.Sprintf("teacher %s: no published accuracy on %s is known to compare with", t.name,
			t.data.Name))
		return nil
	}
	if _, done := j.checked[t.sha256]; done {
		return nil
	}
	c, err := OpenCandidate(t.path, EvaluateOptions{})
	if err != nil {
		return err
	}
	e, err := j.Evaluate(ctx, c)
	if err != nil {
		return fmt.Errorf("teacher %s: %w", t.name, err)
	}
	found := fmt.Sprintf("teacher %s: %.2f %% on the test images of %s, %.2f %% according to %s", t.name, e.Top1,
		e.Data.Name, *p.TestTop1, t.claim)
	tolerance := max(t.tolerance, 200/float64(max(1, e.Images))) // two images may round another way
	if math.Abs(e.Top1-*p.TestTop1) > tolerance {
		if !j.AcceptTeacher {
			return fmt.Errorf("%s: more than %.2f points apart, so the file or the images are not what they should be "+
				"(--accept-teacher uses it all the same)", found, tolerance)
		}
		found += "; accepted all the same"
	}
	j.Progress.Note(found)
	if j.checked == nil {
		j.checked = map[string]float64{}
	}
	j.checked[t.sha256] = e.Top1
	return nil
}

// teacherRef identifies the teacher and evaluates it, since what a file says of itself is no measurement: once for all runs
// that have it.
func (j *job) teacherRef(t *teacherFile) (*record.TeacherRef, error) {
	if t.top1 == nil {
		e, err := j.trainer.EvaluateTeacher()
		if err != nil {
			return nil, err
		}
		t.top1 = &e.Top1
	}
	ref := &record.TeacherRef{Model: t.network.Model.Name, Checkpoint: t.original, SHA256: t.sha256, Top1: *t.top1,
		Reference: t.reference}
	if j.trainer.TeacherLogits != nil {
		ref.CachedViews, ref.CacheSeconds = train.Views(j.trainer.Pad), j.logits.seconds
		j.logits.seconds = 0
	}
	if t.published != nil {
		ref.Published = t.published.TestTop1
	}
	if top1, ok := j.checked[t.sha256]; ok {
		ref.Checked = &top1
	}
	return ref, nil
}

// FindTeacher returns what a recipe says of the teacher that a reference names (see [teachers.Resolve]): of which network
// it is. If no model is given, it is the list's, or else the file, which is fetched for that, must say or show it.
func FindTeacher(ctx context.Context, ref, model string, o teachers.Options) (*record.Teacher, error) {
	t := &record.Teacher{Model: model, Weights: ref}
	if model != "" {
		_, err := zoo.New(zoo.Config{Name: model, Classes: 2})
		return t, err
	}
	entry, err := teachers.Lookup(ref)
	if err != nil {
		return nil, err
	}
	if entry != nil {
		t.Model = entry.Model
		return t, nil
	}
	r, err := teachers.Resolve(ctx, ref, o)
	if err != nil {
		return nil, err
	}
	if r.Teacher != nil {
		t.Model = r.Teacher.Model
		return t, nil
	}
	t.Model, err = identify(r.Path)
	return t, err
}

// identify finds the network that a file of weights is of.
func identify(path string) (string, error) {
	c, err := weights.Load(path)
	if err != nil {
		return "", err
	}
	if info, err := fileInfo(c); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	} else if info.Architecture != "" {
		return info.Architecture, nil
	}
	backend, err := gobackend.New("") // traces as well as XLA, without a plugin
	if err != nil {
		return "", err
	}
	defer backend.Finalize()
	fitting, err := weights.Detect(backend, c)
	if err != nil {
		return "", err
	}
	switch len(fitting) {
	case 0:
		return "", fmt.Errorf("%s fits no network of dhkd list models: name one of another depth or width with "+
			"--teacher-model, or see what dhkd weights inspect says", path)
	case 1:
		return fitting[0].Name, nil
	}
	return "", fmt.Errorf("%s fits %s and %s: say which it is with --teacher-model", path, fitting[0].Name, fitting[1].Name)
}

// fileInfo is what a file of weights says of itself. PyTorch's files say nothing that is meant for others.
func fileInfo(c *weights.Checkpoint) (weights.Info, error) {
	if c.Format != weights.FormatSafetensors {
		return weights.Info{}, nil
	}
	return weights.ReadInfo(c.Metadata)
}

func baseName(r *teachers.Resolved) string {
	if r.Teacher != nil && r.Teacher.Member != "" {
		return filepath.Base(r.Teacher.Member)
	}
	if r.Teacher != nil && len(r.Teacher.URLs) > 0 {
		return filepath.Base(r.Teacher.URLs[0])
	}
	return filepath.Base(r.Path)
}
