package experiment

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dhkd-lab/dhkd-go/dhkd/dataset"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

const folderRecipes = `
name: folder
profile: smoke
dataset: {name: image-folder, augment: resized-crop-flip, side: 16, resize: 18, min_area: 0.3, min_aspect: 0.75, bad_images: skip}
model: {name: resnet8}
teacher: {run: teacher}
batch_size: 200
optimizer: {learning_rate: 0.05, momentum: 0.9, weight_decay: 1e-4, steps_per_batch: 2}
schedule: {epochs: 1, milestones: [], rate: 0.1}
seeds: [1]
runs:
  - {name: teacher, method: {name: ce}}
  - name: dhkd
    model: {aux_head: linear}
    method: {name: dhkd, gamma: 1, alpha: 0.1, temperature: 2, until: 1}
`

// folder draws disks, one colour and size a class, of 100 classes, in ImageNet's layout.
func folder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for i := range 300 {
		class, split := i%100, "train"
		if i >= 200 {
			split = "val"
		}
		m := image.NewRGBA(image.Rect(0, 0, 24+i%5, 20+i%7))
		for y := range m.Bounds().Dy() {
			for x := range m.Bounds().Dx() {
				if (x-12)*(x-12)+(y-10)*(y-10) < 20+class {
					m.Set(x, y, color.RGBA{uint8(class * 2), uint8(255 - class), uint8(class * 37), 255})
				}
			}
		}
		var b bytes.Buffer
		check(t, jpeg.Encode(&b, m, nil))
		at := filepath.Join(dir, split, fmt.Sprintf("n%08d", class))
		check(t, os.MkdirAll(at, 0o755))
		check(t, os.WriteFile(filepath.Join(at, fmt.Sprintf("%03d.JPEG", i)), b.Bytes(), 0o600))
	}
	return dir
}

// TestFolder trains a teacher and a student on a folder of images, of which one cannot be read, and evaluates the student.
func TestFolder(t *testing.T) {
	dir := folder(t)
	check(t, os.WriteFile(filepath.Join(dir, "train", "n00000007", "107.JPEG"), []byte("no image"), 0o600))
	path := filepath.Join(t.TempDir(), "folder.yaml")
	check(t, os.WriteFile(path, []byte(folderRecipes), 0o600))
	e, err := Open(path)
	check(t, err)
	r := newRunner(t)
	r.Data = dataset.Options{Dir: dir}
	defer func() { r.Data = dataset.Options{} }()
	records, err := r.RunAll(t.Context(), e.Recipes())
	check(t, err)
	decoder, _ := dataset.JPEGDecoder()
	for _, rec := range records {
		if d := rec.Data; rec.Status != record.Completed || d.Classes != 100 || d.Train != 200 || d.Test != 100 ||
			d.Shape != [3]int{3, 16, 16} || !slices.Equal(rec.Environment.JPEG, []string{decoder}) || !slices.Equal(d.Skipped, []string{"train/n00000007/107.JPEG"}) {
			t.Errorf("%s: %s %+v %v", rec.Recipe.Name, rec.Status, d, rec.Environment.JPEG)
		}
	}
	c, err := OpenCandidate(WeightsPath(r.Dir, records[1].Recipe), EvaluateOptions{})
	check(t, err)
	evaluation, err := r.Evaluate(t.Context(), c)
	check(t, err)
	if evaluation.Images != 100 || evaluation.Difference == nil || *evaluation.Difference != 0 {
		t.Errorf("%d images, difference %v", evaluation.Images, evaluation.Difference)
	}

	recipe := resolve(t, e, "teacher")
	recipe.Name = "memory"
	recipe.Dataset.Name = "fashion-mnist"
	r.Data = dataset.Options{}
	if _, err := r.Run(t.Context(), recipe); err == nil || !strings.Contains(err.Error(), "is no folder of images") &&
		!strings.Contains(err.Error(), "not on this machine") {
		t.Error(err)
	}
	recipe = resolve(t, e, "teacher")
	recipe.Name, recipe.Dataset.BadImages = "stops", ""
	r.Data = dataset.Options{Dir: dir}
	if _, err := r.Run(t.Context(), recipe); err == nil || !strings.Contains(err.Error(), "n00000007/107.JPEG") {
		t.Error(err)
	}
}

// TestJPEGDecoders: a run on image files that is continued with another decoder says so; others say nothing.
func TestJPEGDecoders(t *testing.T) {
	t.Setenv("DHKD_TURBOJPEG", "off")
	files := &dataset.Set{Train: dataset.Split{Files: &dataset.Files{}}}
	for _, test := range []struct {
		set          *dataset.Set
		before, want []string
		other        bool
	}{
		{&dataset.Set{}, nil, nil, false},
		{files, nil, []string{dataset.GoJPEG}, false},
		{files, []string{dataset.GoJPEG}, []string{dataset.GoJPEG}, false},
		{files, []string{dataset.TurboJPEG}, []string{dataset.TurboJPEG, dataset.GoJPEG}, true},
	} {
		e := record.Environment{JPEG: test.before}
		if other := noteJPEG(&e, test.set); other != test.other || !slices.Equal(e.JPEG, test.want) {
			t.Errorf("%v became %v, %v", test.before, e.JPEG, other)
		}
	}
}
