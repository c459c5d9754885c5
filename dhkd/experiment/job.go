package experiment

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/dataset"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/internal/claim"
	"github.com/dhkd-lab/dhkd-go/dhkd/internal/progress"
	"github.com/dhkd-lab/dhkd-go/dhkd/internal/tensorboard"
	"github.com/dhkd-lab/dhkd-go/dhkd/train"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

// job is one run in progress.
type job struct {
	*Runner
	recipe   record.Recipe
	dir      string
	claim    *claim.Claim
	record   *record.Record // nil until set up, unless the run is continued
	trainer  *train.Trainer
	events   *tensorboard.Writer
	started  time.Time
	lastSave time.Time
	stage    Stage // with what the trainer and the record had spent before, negative
}

func (j *job) path(name string) string { return filepath.Join(j.dir, name) }

func (j *job) run(ctx context.Context) (*record.Record, error) {
	j.started = time.Now()
	j.Progress.Start(title(j.recipe))
	if err := j.setUp(ctx); err != nil {
		j.Progress.Done("")
		if ctx.Err() != nil {
			err = train.ErrInterrupted
		}
		return nil, fmt.Errorf("%s: %w", title(j.recipe), err)
	}
	p, err := j.begin()
	if j.events != nil {
		defer j.events.Close()
	}
	if err != nil {
		j.Progress.Done("")
		return nil, fmt.Errorf("%s: %w", title(j.recipe), err)
	}
	j.spend(p, -1)
	j.Progress.Step(progress.Update{Run: title(j.recipe), Epoch: len(p.Epochs) + 1, Epochs: j.recipe.Schedule.Epochs,
		Elapsed: time.Since(j.started), Phase: "compile"})
	err = j.trainer.Fit(ctx, j.plan(), p, train.Hooks{
		AfterStep:  func(p *train.Progress, m record.Metrics) { j.Progress.Step(j.update(p, m)) },
		AfterEpoch: j.afterEpoch,
		Measure:    j.measureCollapse,
		Save:       func(p *train.Progress) error { return j.save(p, ctx.Err() != nil) },
	})
	return j.finish(p, err)
}

// setUp loads the data and the teacher and prepares the trainer, or takes those of the run before.
func (j *job) setUp(ctx context.Context) error {
	if err := removeTemporary(j.dir); err != nil {
		return err
	}
	if _, err := os.Stat(j.path(CheckpointFile)); errors.Is(err, fs.ErrNotExist) {
		j.record = nil // nothing to go on from
	}
	loading := time.Now()
	set, err := j.load(ctx, j.recipe.Dataset)
	if err != nil {
		return err
	}
	j.stage.All -= time.Since(loading)
	if _, err := collapseOf(j.recipe, set.Train.Len()); err != nil {
		return err
	}
	var teacher *teacherFile
	if j.trainer, teacher, err = j.prepare(ctx, set, j.recipe); err != nil {
		return err
	}
	j.stage.Compile -= j.trainer.CompileTime()
	if err := j.trainer.Reset(j.recipe.Seed); err != nil {
		return err
	}
	if j.record != nil {
		if t := j.record.Teacher; t != nil && t.SHA256 != teacher.sha256 {
			return fmt.Errorf("the weights of its teacher, %s, are not those that it was started with; "+
				"move %s away to start it anew", teacher.name, j.dir)
		}
		return nil
	}
	if err := j.checkTeacher(ctx, teacher); err != nil {
		return err
	}
	j.record = &record.Record{
		Schema: record.SchemaVersion, Recipe: j.recipe, Status: record.Running, Started: j.started.UTC().Truncate(time.Second),
		Environment: environment(ctx, j.Device, set), Data: describe(set, j.recipe.Dataset), Parameters: j.trainer.Parameters(),
	}
	if j.devices() > 1 {
		j.record.Devices = []int{j.devices()}
	}
	if teacher != nil {
		j.record.Teacher, err = j.teacherRef(teacher)
	}
	return err
}

// devices is the number of devices that batches are divided among.
func (j *job) devices() int { return max(1, j.Devices) }

// noteDevices notes with how many devices the run is continued.
func (j *job) noteDevices() {
	if len(j.record.Devices) == 0 {
		j.record.Devices = []int{1}
	}
	j.record.Devices = append(j.record.Devices, j.devices())
	if j.record.Devices = slices.Compact(j.record.Devices); slices.Equal(j.record.Devices, []int{1}) {
		j.record.Devices = nil
	}
}

// begin returns the progress to go on from: that of the checkpoint if there is one.
func (j *job) begin() (*train.Progress, error) {
	if err := j.trainer.Check(j.plan(), &train.Progress{}); err != nil {
		return nil, err
	}
	p, err := j.trainer.LoadCheckpoint(j.path(CheckpointFile), j.key(), j.plan())
	if errors.Is(err, fs.ErrNotExist) {
		if j.events, err = tensorboard.Create(j.path(EventsDir)); err != nil {
			return nil, err
		}
		return &train.Progress{}, j.save(&train.Progress{}, true)
	}
	if err != nil {
		return nil, err
	}
	step := 0
	if n := len(p.Epochs); n > 0 {
		step = p.Epochs[n-1].Step
	}
	if j.events, err = tensorboard.Resume(j.path(EventsDir), step); err != nil {
		return nil, err
	}
	j.noteDevices()
	if all := &j.record.Environment; noteJPEG(all, j.trainer.Data) {
		j.Progress.Note(fmt.Sprintf("%s: JPEG files are decoded by %s from now on, whose pixels differ by rounding from those so far, "+
			"and %s says so", title(j.recipe), all.JPEG[len(all.JPEG)-1], record.FileName))
	}
	j.record.Resumed++
	j.record.Status = record.Running
	j.lastSave = time.Now()
	j.Progress.Note(fmt.Sprintf("%s: continued after epoch %d, step %d of the next", title(j.recipe), len(p.Epochs), p.Step))
	j.fill(p)
	return p, j.record.Save(j.path(record.FileName))
}

func (j *job) plan() train.Plan {
	r := j.recipe
	every := 0
	if m := r.Measure; m != nil && m.Gradients != nil {
		every = m.Gradients.Every
	}
	return train.Plan{
		Seed: r.Seed, Epochs: r.Schedule.Epochs, BatchSize: r.BatchSize, LearningRate: r.LearningRate(),
		Milestones: r.Schedule.Milestones, Rate: r.Schedule.Rate, EvaluateEvery: r.Schedule.EvaluateEvery,
		StopOnNonFinite: r.NonFinite == "stop", MeasureEvery: every,
	}
}

// key identifies the run that a checkpoint belongs to.
func (j *job) key() string {
	recipe := j.recipe
	recipe.Label, recipe.Tuning = "", nil
	text, _ := json.Marshal(recipe)
	return string(text)
}

func (j *job) afterEpoch(p *train.Progress) {
	e := p.Epochs[len(p.Epochs)-1]
	now := time.Now()
	j.events.Scalar("learning_rate", e.Step, e.LearningRate, now)
	for name, v := range e.Metrics {
		j.events.Scalar(name, e.Step, v, now)
	}
	for _, kind := range []string{record.PartWhole, record.PartBackbone, record.PartClassifierWeight} {
		if part, ok := e.Gradients.Part(kind, ""); ok {
			j.events.Scalar("gradient/cosine/"+kind, e.Step, part.Cosine.Mean, now)
		}
	}
	j.Progress.Epoch(j.update(p, e.Metrics))
}

// save stores the record and the checkpoint when it is time. A run that another process has taken over is left as it is.
func (j *job) save(p *train.Progress, now bool) error {
	if !now && len(p.Epochs) < j.recipe.Schedule.Epochs && time.Since(j.lastSave) < saveInterval {
		return nil
	}
	if err := j.claim.Check(); err != nil {
		return err
	}
	j.lastSave = time.Now()
	if err := j.trainer.SaveCheckpoint(j.path(CheckpointFile), j.key(), p); err != nil {
		return err
	}
	j.fill(p)
	return errors.Join(j.events.Sync(), j.record.Save(j.path(record.FileName)))
}

// fill brings the record up to date.
func (j *job) fill(p *train.Progress) {
	j.record.Epochs, j.record.Last, j.record.Best = p.Epochs, len(p.Epochs), 0
	skipped := slices.Concat(j.record.Data.Skipped, j.trainer.Data.Train.Files.Bad()) // those of before an interruption too
	slices.Sort(skipped)
	j.record.Data.Skipped = slices.Compact(skipped)
	best := -1.0
	for _, e := range p.Epochs {
		if top1, ok := e.Metrics[record.MetricStudentTest]; ok && top1 > best {
			best, j.record.Best = top1, e.Epoch
		}
	}
	j.record.TrainSeconds, j.record.CompileSeconds = p.TrainSeconds, p.CompileSeconds
	if p.StepSeconds > 0 {
		images := len(p.Epochs)*j.record.Data.Train + p.Sums.Images
		j.record.ImagesPerSecond = float64(images) / p.StepSeconds
	}
	j.record.Finished = time.Now().UTC().Truncate(time.Second)
}

// spend adds what the run has spent in training and in evaluating to its stage, or subtracts it.
func (j *job) spend(p *train.Progress, sign float64) {
	add := func(to *time.Duration, seconds float64) { *to += time.Duration(sign * seconds * float64(time.Second)) }
	add(&j.stage.Train, p.StepSeconds)
	add(&j.stage.Evaluate, p.TrainSeconds-p.StepSeconds)
}

// finish records how the run ended.
func (j *job) finish(p *train.Progress, err error) (*record.Record, error) {
	defer func() {
		j.spend(p, 1)
		j.stage.Name = title(j.recipe)
		j.stage.Compile += j.trainer.CompileTime()
		j.stage.All += time.Since(j.started)
		j.Stages = append(j.Stages, j.stage)
	}()
	var nonFinite *train.NonFiniteError
	switch {
	case errors.Is(err, train.ErrInterrupted):
		j.record.Status = record.Interrupted
	case errors.As(err, &nonFinite):
		j.record.Status = record.Failed
		j.record.Failure = &record.Failure{Message: nonFinite.Error(), Term: nonFinite.Term, Epoch: nonFinite.Epoch, Step: nonFinite.Step}
	case err != nil:
		j.Progress.Done("")
		return j.record, fmt.Errorf("%s: %w", title(j.recipe), err) // as it was saved last: it can be continued
	default:
		j.record.Status = record.Completed
	}
	if bad := j.trainer.Data.Train.Files.Bad(); len(bad) > 0 {
		j.Progress.Note(fmt.Sprintf("%s: %d image files could not be read and were skipped, %s first; %s names all",
			title(j.recipe), len(bad), bad[0], j.path(record.FileName)))
	}
	j.fill(p)
	if saveErr := j.saveEnd(); saveErr != nil {
		j.Progress.Done("")
		return j.record, fmt.Errorf("%s: %w", title(j.recipe), saveErr)
	}
	j.Progress.Done(j.summary())
	if err != nil {
		err = fmt.Errorf("%s: %w", title(j.recipe), err)
	}
	return j.record, err
}

// saveEnd saves in an order in which each file, once there, says the truth: the checkpoint goes when nothing needs it
// any more.
func (j *job) saveEnd() error {
	if err := errors.Join(j.claim.Check(), j.events.Sync()); err != nil {
		return err
	}
	if j.record.Status == record.Completed {
		if err := j.saveWeights(); err != nil {
			return err
		}
	}
	if err := j.record.Save(j.path(record.FileName)); err != nil || j.record.Status == record.Interrupted {
		return err
	}
	return remove(j.path(CheckpointFile))
}

func (j *job) summary() string {
	switch j.record.Status {
	case record.Completed:
		top1, _ := j.record.Value(record.MetricStudentTest, record.AtLast)
		return fmt.Sprintf("%s: %.2f %% after %d epochs, %.0f s (%.0f images/s)", title(j.recipe), top1, j.record.Last,
			j.record.TrainSeconds+j.record.CompileSeconds, j.record.ImagesPerSecond)
	case record.Failed:
		return fmt.Sprintf("%s: failed: %s", title(j.recipe), j.record.Failure.Message)
	}
	return fmt.Sprintf("%s: interrupted after epoch %d; run the same command again to continue", title(j.recipe), j.record.Last)
}

func (j *job) update(p *train.Progress, m record.Metrics) progress.Update {
	epochs := j.recipe.Schedule.Epochs
	steps := (j.record.Data.Train + j.recipe.BatchSize - 1) / j.recipe.BatchSize
	u := progress.Update{Run: title(j.recipe), Epoch: min(len(p.Epochs)+1, epochs), Epochs: epochs, Step: p.Step, Steps: steps,
		Metrics: m, Elapsed: time.Since(j.started)}
	done := len(p.Epochs)*steps + p.Step
	if p.Step == 0 && len(p.Epochs) > 0 { // an epoch has just ended
		u.Epoch, u.Step = len(p.Epochs), steps
	}
	u.LearningRate = train.MultiStep(j.recipe.LearningRate(), j.recipe.Schedule.Milestones, j.recipe.Schedule.Rate, u.Epoch)
	if p.StepSeconds > 0 {
		u.ImagesPerSecond = float64(len(p.Epochs)*j.record.Data.Train+p.Sums.Images) / p.StepSeconds
		u.ETA = time.Duration(p.TrainSeconds / float64(done) * float64(epochs*steps-done) * float64(time.Second))
	}
	return u
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// removeTemporary removes what a killed process left half-written.
func removeTemporary(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") && strings.HasSuffix(e.Name(), ".tmp") {
			err = errors.Join(err, remove(filepath.Join(dir, e.Name())))
		}
	}
	return err
}

// load returns the data set of a recipe, from memory if the run before had the same.
func (r *Runner) load(ctx context.Context, d record.Dataset) (*dataset.Set, error) {
	key := fmt.Sprintf("%+v", d)
	if r.data != nil && r.dataKey == key {
		return r.data, nil
	}
	start := time.Now()
	o := r.Data
	o.Train, o.Test, o.Seed = d.Train, d.Test, d.Seed
	o.View = dataset.View{Side: d.Side, Resize: d.Resize, MinArea: d.MinArea, MinAspect: d.MinAspect}
	o.SkipBad = d.BadImages == "skip"
	set, err := dataset.Load(ctx, d.Name, o)
	if err == nil && set.Train.Files == nil && (o.View != dataset.View{} || d.BadImages != "") {
		err = fmt.Errorf("%s is no folder of images: augment: resized-crop-flip, side, resize and bad_images are for those", set.Name)
	}
	if err == nil && d.Holdout > 0 {
		set, err = set.Holdout(d.Holdout)
	}
	if err == nil {
		set, err = train.ShareImages(r.Device.Backend, set)
	}
	if err != nil {
		return nil, err
	}
	r.data, r.dataKey = set, key
	debug.FreeOSMemory() // that of the files, and of the images where they are shared now
	r.Stages = append(r.Stages, Stage{Name: "data " + d.Name, All: time.Since(start)})
	return set, nil
}

// model builds a recipe's model for the classes of a data set.
func model(m record.Model, classes int) (*zoo.Model, error) {
	return zoo.New(zoo.Config{Name: m.Name, Classes: classes, Head: dhkd.Head(m.Head), AuxHead: dhkd.AuxHead(m.AuxHead)})
}
