package experiment

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"

	"github.com/dhkd-lab/dhkd-go/dhkd/distill"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/train"
)

func TestCachedViews(t *testing.T) {
	const cifar, classes = 50_000, 100
	logits, maps := distill.Needs{Teacher: true}, distill.Needs{Teacher: true, Features: true}
	for _, c := range []struct {
		name    string
		cache   string
		augment string
		pad     int
		epochs  int
		needs   distill.Needs
		images  int
		want    int
		refused string
	}{
		{"left out", "", "none", 0, 1, logits, cifar, 1, ""},
		{"left out, augmented", "", "crop-flip", 1, 240, logits, cifar, 0, ""},
		{"left out, maps", "", "none", 0, 1, maps, cifar, 0, ""},
		{"none", "none", "none", 0, 240, logits, cifar, 0, ""},
		{"none, maps", "none", "crop-flip", 4, 240, maps, cifar, 0, ""},
		{"views", "views", "crop-flip", 1, 1, logits, cifar, 18, ""},
		{"the paper's", "views", "crop-flip", 4, 240, logits, cifar, 162, ""},
		{"no teacher needed", "views", "crop-flip", 4, 240, distill.Needs{}, cifar, 0, ""},
		{"maps", "views", "crop-flip", 1, 240, maps, 0, 0, "method kd learns from the teacher's maps"},
		{"too large", "views", "crop-flip", 8, 240, logits, cifar, 0,
			"578 views of 50000 images have 11024.5 MiB, the limit is 4096.0 MiB"},
		{"not finite", "views", "resize", 0, 240, logits, cifar, 0, "augmentation resize makes more than a finite number"},
		{"auto", "auto", "crop-flip", 1, 32, logits, cifar, 18, ""},
		{"auto that costs more than it saves", "auto", "crop-flip", 4, 161, logits, cifar, 0, ""},
		{"auto, too large", "auto", "crop-flip", 8, 1000, logits, cifar, 0, ""},
		{"auto, maps", "auto", "crop-flip", 1, 240, maps, cifar, 0, ""},
	} {
		recipe := record.Recipe{Teacher: &record.Teacher{Cache: c.cache}, Method: record.Method{Name: "kd"},
			Dataset: record.Dataset{Augment: c.augment, Pad: c.pad}, Schedule: record.Schedule{Epochs: c.epochs}}
		got, err := cachedViews(recipe, c.needs, c.images, classes)
		if c.refused != "" {
			wantError(t, err, "teacher.cache", c.refused, "none")
		} else if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if got != c.want {
			t.Errorf("%s: %d views, want %d", c.name, got, c.want)
		}
	}
}

// A cache that is not valid is refused when the experiment is read, not after its teacher was trained.
func TestCacheRefused(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{"{run: teacher}", "{run: teacher, cache: all}", `teacher.cache: unknown name "all"`},
		{"{name: kd, gamma: 0.1, alpha: 0.9, temperature: 4}", "{name: at, gamma: 1, alpha: 1000}, teacher: {cache: views}",
			"run kd: teacher.cache: views is not possible: method at"},
	} {
		path := filepath.Join(t.TempDir(), "tiny.yaml")
		check(t, os.WriteFile(path, []byte(strings.Replace(tiny, c.old, c.new, 1)), 0o600))
		_, err := Open(path)
		wantError(t, err, path, c.want)
	}
}

// A run learns the same from logits that were computed before as from those of every step, continues bit for bit, and
// its record says which it was. The logits are kept, and shared.
func TestTeacherCache(t *testing.T) {
	r, e := newRunner(t), openTiny(t)
	t.Setenv("DHKD_CACHE", t.TempDir()) // after the device was opened, which is found in the real one
	defer r.Close()
	recipe := resolve(t, e, "kd")
	recipe.Dataset.Augment, recipe.Dataset.Pad = "crop-flip", 1
	records, err := r.RunAll(t.Context(), []record.Recipe{resolve(t, e, "teacher"), recipe})
	check(t, err)
	within := records[1]
	if ref := within.Teacher; ref.CachedViews != 0 || ref.CacheSeconds != 0 {
		t.Errorf("without: %+v", ref)
	}
	check(t, os.Rename(record.Dir(r.Dir, recipe), filepath.Join(r.Dir, "without")))

	recipe.Teacher.Cache = record.CacheViews
	want := reference(t, r, recipe)
	for i, epoch := range want.epochs {
		for name, value := range epoch.Metrics {
			if was := within.Epochs[i].Metrics[name]; !(math.Abs(value-was) <= 1e-3*max(1, math.Abs(was))) && !strings.HasSuffix(name, "top1") {
				t.Errorf("epoch %d, %s: %g with the cache, %g without", i+1, name, value, was)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	newHooks(r).step = onStep(2, 2, cancel)
	if _, err := r.Run(ctx, recipe); !errors.Is(err, train.ErrInterrupted) {
		t.Fatal(err)
	}
	newHooks(r)
	rec, err := r.Run(t.Context(), recipe)
	check(t, err)
	compare(t, want, r, recipe)
	if rec.Teacher.CachedViews != 18 || rec.Resumed != 1 {
		t.Errorf("resumed %d times, teacher %+v", rec.Resumed, rec.Teacher)
	}

	// From here on without training.
	files, err := filepath.Glob(filepath.Join(os.Getenv("DHKD_CACHE"), "teacher-logits", "*"))
	check(t, err)
	if len(files) != 1 {
		t.Fatalf("kept: %v", files)
	}
	set, err := r.load(t.Context(), recipe.Dataset)
	check(t, err)
	logits := tensors.MustCopyFlatData[float32](r.logits.tensor)
	load := func(recipe record.Recipe) (notes string, err error) {
		h := &notesOf{Progress: newHooks(r).Progress}
		r.Progress = h
		r.Close()
		got, err := r.teacherLogits(t.Context(), set, r.teacher, recipe)
		if err == nil && recipe.Dataset.Pad == 1 && !equal(tensors.MustCopyFlatData[float32](got.tensor), logits) {
			t.Error("other logits")
		}
		return strings.Join(h.notes, "\n"), err
	}
	kept := read(t, files[0])
	damaged := append([]byte(nil), kept...)
	damaged[len(damaged)-1]++
	for _, c := range []struct {
		name string
		file []byte
		want string
	}{
		{"as it was", kept, "0 % computed"},
		{"damaged", damaged, "by its checksum, the file is damaged; they are computed anew"},
		{"cut", kept[:len(kept)/2], "truncated or damaged; they are computed anew"},
		{"empty", nil, "they are computed anew"},
	} {
		check(t, os.WriteFile(files[0], c.file, 0o600))
		if notes, err := load(recipe); err != nil || !strings.Contains(notes, c.want) {
			t.Errorf("%s: %q, %v; want %q", c.name, notes, err, c.want)
		}
		if string(read(t, files[0])) != string(kept) {
			t.Errorf("%s: the file is not as it was", c.name)
		}
	}

	// What is whole but is not of this network: a program with another error wrote it.
	scaled := tensors.FromFlatDataAndDimensions(logits, len(logits)/100, 100)
	scaled.MustMutableFlatData(func(flat any) { flat.([]float32)[3] += 1 })
	s := logitStore{key: r.logits.key, classes: 100, dir: filepath.Dir(files[0])}
	check(t, s.write(files[0], scaled))
	if notes, err := load(recipe); err != nil || !strings.Contains(notes, "not what this program computes") {
		t.Errorf("%q, %v", notes, err)
	}

	// Another padding is another cache; where it cannot be kept, it is used all the same.
	check(t, os.RemoveAll(filepath.Dir(files[0])))
	check(t, os.WriteFile(filepath.Dir(files[0]), nil, 0o600))
	other := recipe
	other.Dataset.Pad = 2
	if notes, err := load(other); err != nil || !strings.Contains(notes, "not kept for other runs") {
		t.Errorf("%q, %v", notes, err)
	}
	if _, err := os.Stat(files[0]); !errors.Is(err, fs.ErrNotExist) && err == nil {
		t.Error("it was kept")
	}

	defer func(old func() int64) { freeMemory = old }(freeMemory)
	freeMemory = func() int64 { return 1 << 20 }
	_, err = load(recipe)
	wantError(t, err, "teacher.cache", "18 views of 96 images need", "1.0 MiB are free", "choose none")
}

// notesOf keeps what is noted.
type notesOf struct {
	Progress
	notes []string
}

func (n *notesOf) Note(message string) { n.notes = append(n.notes, message) }
