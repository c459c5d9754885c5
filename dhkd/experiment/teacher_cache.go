package experiment

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/dhkd-lab/dhkd-go/dhkd/dataset"
	"github.com/dhkd-lab/dhkd-go/dhkd/device"
	"github.com/dhkd-lab/dhkd-go/dhkd/distill"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/internal/fetch"
	"github.com/dhkd-lab/dhkd-go/dhkd/internal/progress"
	"github.com/dhkd-lab/dhkd-go/dhkd/train"
	"github.com/dhkd-lab/dhkd-go/dhkd/weights"
)

const (
	// maxLogits is the largest size of a teacher's logits that are computed before training: those of CIFAR-100 with its
	// usual padding, 162 views of 50,000 images, have 3.0 GiB.
	maxLogits = 4 << 30
	// partRows is the number of rows of a file of logits: an interrupted computation goes on after the last whole file.
	partRows = 1 << 17
)

// freeMemory is a variable for tests.
var freeMemory = device.FreeMemory

// cachedViews is the number of views of each training image of which the teacher's logits are computed before training,
// or 0: they are computed in every step. It depends on the recipe and the data alone, so that a run is continued as it
// was begun. Unless the data are known, images and classes are 0.
func cachedViews(recipe record.Recipe, needs distill.Needs, images, classes int) (views int, err error) {
	if recipe.Teacher == nil || !needs.Teacher {
		return 0, nil
	}
	views = train.Views(recipe.Dataset.Pad)
	mode := recipe.Teacher.Cache
	if mode == record.CacheNone || mode == "" && views > 1 {
		return 0, nil
	}
	why := ""
	switch size := 4 * views * images * classes; {
	case needs.Features:
		why = fmt.Sprintf("method %s learns from the teacher's maps, not from logits alone", recipe.Method.Name)
	case recipe.Dataset.Augment != "none" && recipe.Dataset.Augment != "crop-flip":
		why = fmt.Sprintf("augmentation %s makes more than a finite number of views of an image", recipe.Dataset.Augment)
	case size > maxLogits:
		why = fmt.Sprintf("the logits of %d views of %d images have %s, the limit is %s", views, images, mebibytes(size),
			mebibytes(maxLogits))
	case mode != record.CacheViews && views > recipe.Schedule.Epochs: // costs more than it saves
		return 0, nil
	}
	if why == "" {
		return views, nil
	}
	if mode == record.CacheViews {
		return 0, fmt.Errorf("teacher.cache: views is not possible: %s; choose none, or auto, which is views where possible",
			why)
	}
	return 0, nil
}

// checkMethod checks a recipe's method, and that its teacher can be cached as the recipe says.
func checkMethod(r record.Recipe) error {
	m, err := distill.New(r.Method)
	if err == nil {
		_, err = cachedViews(r, m.Needs(), 0, 0)
	}
	return err
}

// viewLogits are a teacher's logits of all views of the training images, on the device.
type viewLogits struct {
	key     string // of all that they depend on
	tensor  *tensors.Tensor
	seconds float64 // that it took to compute or read them; 0 once a record has them
}

func (l *viewLogits) free() {
	if l != nil {
		_ = l.tensor.FinalizeAll() // nothing can be done about it
	}
}

// teacherLogits returns the logits of all views: those of the run before, or from files in the cache, or computed, and
// then kept there. Those of one view take no longer than an evaluation, and are not kept.
func (r *Runner) teacherLogits(ctx context.Context, set *dataset.Set, teacher *teacherFile, recipe record.Recipe) (
	*viewLogits, error) {
	start := time.Now()
	key, err := r.logitsKey(set, teacher.network, recipe.Dataset.Pad)
	if err != nil {
		return nil, err
	}
	if r.logits != nil && r.logits.key == key {
		return r.logits, nil
	}
	r.logits.free()
	r.logits = nil
	views := train.Views(recipe.Dataset.Pad)
	rows := views * set.Train.Len()
	// On the host and on the device, which may be the same; a part two times more while it is written.
	need, free := 8*set.Classes*(rows+min(rows, partRows)), freeMemory()
	need += 4 * set.Classes * rows * max(0, r.Devices-1) // each device has them, which on a CPU is the host
	if free > 0 && int64(need) > free {
		return nil, fmt.Errorf("teacher.cache: the teacher's logits of %d views of %d images need %s of memory, %s are free: "+
			"choose none", views, set.Train.Len(), mebibytes(need), mebibytes(int(free)))
	}
	computer, err := train.NewViewLogits(r.Device.Backend, set, teacher.network, recipe.Dataset.Pad)
	if err != nil {
		return nil, fmt.Errorf("%w (its weights are %s)", err, teacher.path)
	}
	defer computer.Close()
	store := &logitStore{key: key, classes: set.Classes, computer: computer, progress: r.Progress,
		show: func(row int) {
			r.Progress.Step(progress.Update{Run: title(recipe), Phase: fmt.Sprintf("teacher's logits, %d %%", 100*row/rows)})
		}}
	if views > 1 {
		if store.dir, err = fetch.CacheDir("teacher-logits"); err != nil {
			store.cannotKeep(err)
		}
	}
	logits := tensors.FromShape(shapes.Make(dtypes.Float32, rows, set.Classes))
	accessErr := logits.MutableFlatData(func(flat any) { err = store.all(ctx, flat.([]float32)) })
	if err := cmp.Or(err, accessErr); err != nil {
		return nil, fmt.Errorf("teacher's logits: %w", err)
	}
	if views > 1 {
		r.Progress.Note(fmt.Sprintf("%s: the teacher's logits of %d views of %d images, %d %% computed and the rest read, took "+
			"%.1f s", title(recipe), views, set.Train.Len(), 100*store.computed/rows, time.Since(start).Seconds()))
	}
	if err := logits.ToDevice(r.Device.Backend, 0); err != nil {
		return nil, fmt.Errorf("teacher.cache: the device has no room for the teacher's logits, %s: choose none (%w)",
			mebibytes(4*rows*set.Classes), err)
	}
	r.logits = &viewLogits{key, logits, time.Since(start).Seconds()}
	return r.logits, nil
}

// logitsKey is a digest of all that the logits depend on: the pixels, the network, the padding, and what computes them.
func (r *Runner) logitsKey(set *dataset.Set, teacher *train.Network, pad int) (string, error) {
	digest, err := weights.Digest(teacher.Weights)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintf(h, "1 %q %q %q %s %s %d %d %d %d %d %v %v\n", r.Device.Name, r.Device.Description, os.Getenv("XLA_FLAGS"),
		teacher.Model.Name, digest, pad, set.Classes, set.Height, set.Width, set.Channels, set.Mean, set.Std)
	h.Write(set.Train.Pixels)
	return hex.EncodeToString(h.Sum(nil)), nil
}

// logitStore reads parts of logits from files, and computes and writes those that are not there.
type logitStore struct {
	dir, key string // dir is "" where nothing is kept
	classes  int
	computer *train.ViewLogits
	progress Progress
	show     func(row int)
	first    int // row of the part in progress
	computed int // rows
}

func (s *logitStore) all(ctx context.Context, logits []float32) error {
	for part := range slices.Chunk(logits, partRows*s.classes) {
		if err := s.part(ctx, part); err != nil {
			return err
		}
		s.first += partRows
	}
	return nil
}

// part fills in the rows of a part. A file that is damaged, or whose first rows are not what the network has now (it was
// written by a program with another error), is replaced.
func (s *logitStore) part(ctx context.Context, logits []float32) error {
	rows := len(logits) / s.classes
	path := filepath.Join(s.dir, fmt.Sprintf("%s-%d.safetensors", s.key, s.first/partRows))
	batch := min(s.computer.Batch(), rows)
	if s.dir != "" {
		err := s.read(path, logits)
		if err == nil {
			sample := make([]float32, batch*s.classes)
			if err := s.computer.Compute(ctx, s.first, sample); err != nil {
				return err
			}
			if equal(sample, logits[:len(sample)]) {
				s.show(s.first + rows)
				return nil
			}
			err = errors.New("they are not what this program computes")
		}
		if !errors.Is(err, fs.ErrNotExist) {
			s.progress.Note(fmt.Sprintf("%s: the teacher's logits in it cannot be used: %v; they are computed anew", path, err))
		}
	}
	for start := 0; start < rows; start += batch {
		s.show(s.first + start)
		end := min(start+batch, rows)
		if err := s.computer.Compute(ctx, s.first+start, logits[start*s.classes:end*s.classes]); err != nil {
			return err
		}
	}
	s.computed += rows
	if s.dir == "" {
		return nil
	}
	if err := s.write(path, tensors.FromFlatDataAndDimensions(logits, rows, s.classes)); err != nil {
		s.cannotKeep(err)
	}
	return nil
}

func (s *logitStore) write(path string, logits *tensors.Tensor) error {
	values := map[string]*tensors.Tensor{"logits": logits}
	digest, err := weights.Digest(values)
	if err != nil {
		return err
	}
	return weights.SaveSafetensors(path, values, map[string]string{weights.DigestKey: digest, "key": s.key,
		"first_row": strconv.Itoa(s.first)})
}

// cannotKeep says why nothing more is written: a run needs no file of logits.
func (s *logitStore) cannotKeep(err error) {
	s.dir = ""
	s.progress.Note(fmt.Sprintf("the teacher's logits are not kept for other runs: %v", err))
}

func (s *logitStore) read(path string, logits []float32) error {
	values, metadata, err := weights.LoadSafetensors(path)
	if err != nil {
		return err
	}
	found := values["logits"]
	if found == nil || found.Size() != len(logits) || len(values) != 1 || metadata["key"] != s.key ||
		metadata["first_row"] != strconv.Itoa(s.first) {
		return errors.New("the file is of something else")
	}
	if digest, err := weights.Digest(values); err != nil || digest != metadata[weights.DigestKey] {
		return cmp.Or(err, errors.New("by its checksum, the file is damaged"))
	}
	flat, err := tensors.CopyFlatData[float32](found)
	copy(logits, flat)
	return err
}

// equal says whether logits are, but for rounding.
func equal(a, b []float32) bool {
	for i := range a {
		d := math.Abs(float64(a[i] - b[i]))
		if !(d <= 1e-4*max(1, math.Abs(float64(b[i])))) && math.Float32bits(a[i]) != math.Float32bits(b[i]) {
			return false
		}
	}
	return true
}

func mebibytes(n int) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
