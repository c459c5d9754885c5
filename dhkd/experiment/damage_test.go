package experiment

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/train"
	"github.com/dhkd-lab/dhkd-go/dhkd/weights"
)

// interrupted leaves a run in its second epoch.
func interrupted(t *testing.T, r *Runner, recipe record.Recipe) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	newHooks(r).step = onStep(2, 2, cancel)
	if _, err := r.Run(ctx, recipe); !errors.Is(err, train.ErrInterrupted) {
		t.Fatal(err)
	}
}

// Files that a run cannot go on from are refused, by name and with what to do, and stay as they are.
func TestDamagedRun(t *testing.T) {
	const aside, unusable, damaged = "move the file away", "not a usable safetensors file", "progress is damaged"
	r, recipe := newRunner(t), resolve(t, openTiny(t), "teacher")
	interrupted(t, r, recipe)
	dir := record.Dir(r.Dir, recipe)
	whole := snapshot(t, dir)
	recordFile, checkpoint := filepath.Join(dir, record.FileName), filepath.Join(dir, CheckpointFile)

	edit := func(change func(values map[string]*tensors.Tensor, metadata map[string]string)) func(string) {
		return func(path string) {
			values, metadata, err := weights.LoadSafetensors(path)
			check(t, err)
			change(values, metadata)
			check(t, weights.SaveSafetensors(path, values, metadata))
		}
	}
	metadata := func(key, value string) func(string) {
		return edit(func(_ map[string]*tensors.Tensor, metadata map[string]string) { metadata[key] = value })
	}
	progress := func(change func(p *train.Progress)) func(string) {
		return edit(func(_ map[string]*tensors.Tensor, metadata map[string]string) {
			var p train.Progress
			check(t, json.Unmarshal([]byte(metadata["progress"]), &p))
			change(&p)
			text, err := json.Marshal(p)
			check(t, err)
			metadata["progress"] = string(text)
		})
	}
	content := func(change func(old []byte) []byte) func(string) {
		return func(path string) { check(t, os.WriteFile(path, change(read(t, path)), 0o600)) }
	}
	restore := func() {
		for path, text := range whole {
			check(t, os.WriteFile(path, []byte(text), 0o600))
		}
	}
	other := recipe
	other.Optimizer.LearningRate = 0.5

	for name, c := range map[string]struct {
		path   string
		damage func(path string)
		recipe record.Recipe
		want   []string
	}{
		"record of another version": {recordFile, content(func(old []byte) []byte {
			return bytes.Replace(old, []byte(`"schema": 1`), []byte(`"schema": 2`), 1)
		}), recipe, []string{"has format 2, this program reads format 1", "run again"}},
		"record cut off": {recordFile, content(func(old []byte) []byte { return old[:len(old)/2] }), recipe,
			[]string{"not valid JSON", "line", "move it away"}},
		"record that is none": {recordFile, content(func([]byte) []byte { return []byte("[1]") }), recipe,
			[]string{"move it away"}},
		"empty record": {recordFile, content(func([]byte) []byte { return nil }), recipe, []string{"move it away"}},
		"another recipe": {dir, func(string) {}, other, []string{
			"holds a run with another recipe (it differs in optimizer)", "choose another directory, or move this one away"}},

		"checkpoint cut off in the tensors": {checkpoint, content(func(old []byte) []byte { return old[:len(old)-100] }),
			recipe, []string{unusable, aside}},
		"checkpoint cut off in the header": {checkpoint, content(func(old []byte) []byte { return old[:100] }), recipe,
			[]string{unusable, aside}},
		"empty checkpoint": {checkpoint, content(func([]byte) []byte { return nil }), recipe,
			[]string{unusable, aside}},
		"another kind of file": {checkpoint, metadata("format", "dhkd-weights"), recipe,
			[]string{"no checkpoint", aside}},
		"checkpoint of another version": {checkpoint, metadata("version", "2"), recipe,
			[]string{`format version "2", this program reads "1"`, aside}},
		"checkpoint of another run": {checkpoint, metadata("run", "{}"), recipe, []string{"another recipe", aside}},
		"progress that is none":     {checkpoint, metadata("progress", "{"), recipe, []string{damaged, aside}},
		"progress before the start": {checkpoint, progress(func(p *train.Progress) { p.Step = -1 }), recipe,
			[]string{damaged, aside}},
		"progress behind the end of the epoch": {checkpoint, progress(func(p *train.Progress) { p.Step = 9 }), recipe,
			[]string{damaged, aside}},
		"progress without images": {checkpoint, progress(func(p *train.Progress) { p.Sums.Images = 0 }), recipe,
			[]string{damaged, aside}},
		"epochs out of order": {checkpoint, progress(func(p *train.Progress) { p.Epochs[0].Epoch = 2 }), recipe,
			[]string{damaged, aside}},
		"more epochs than planned": {checkpoint, progress(func(p *train.Progress) {
			for range 3 {
				e := p.Epochs[len(p.Epochs)-1]
				e.Epoch, e.Step = e.Epoch+1, e.Step+3
				p.Epochs = append(p.Epochs, e)
			}
		}), recipe, []string{damaged, aside}},
		"a tensor is missing": {checkpoint, edit(func(values map[string]*tensors.Tensor, _ map[string]string) {
			delete(values, "student/fc.weight")
		}), recipe, []string{"missing fc.weight", aside}},
		"a momentum is missing": {checkpoint, edit(func(values map[string]*tensors.Tensor, _ map[string]string) {
			delete(values, "momentum/fc.bias")
		}), recipe, []string{"momentum", "missing fc.bias", aside}},
		"a tensor too many": {checkpoint, edit(func(values map[string]*tensors.Tensor, _ map[string]string) {
			values["student/fc9.weight"] = values["student/fc.weight"]
		}), recipe, []string{"not known fc9.weight", aside}},
		"a tensor of another network": {checkpoint, edit(func(values map[string]*tensors.Tensor, _ map[string]string) {
			values["student/fc.weight"] = values["student/fc.bias"]
		}), recipe, []string{"fc.weight has shape", aside}},
	} {
		t.Run(name, func(t *testing.T) {
			restore()
			c.damage(c.path)
			before := snapshot(t, dir)
			newHooks(r)
			_, err := r.Run(t.Context(), c.recipe)
			wantError(t, err, append(c.want, c.path)...)
			unchanged(t, dir, before)
		})
	}

	// The remedy helps.
	restore()
	check(t, os.WriteFile(checkpoint, nil, 0o600))
	check(t, os.Rename(checkpoint, checkpoint+".bad"))
	rec, err := r.Run(t.Context(), recipe)
	check(t, err)
	if rec.Status != record.Completed || rec.Resumed != 0 {
		t.Errorf("%s, resumed %d times", rec.Status, rec.Resumed)
	}
}

// A run whose record is cut in half loses nothing: with the record out of the way it goes on from its checkpoint, to the
// same end.
func TestCutRecord(t *testing.T) {
	r, recipe := newRunner(t), resolve(t, openTiny(t), "teacher")
	want := reference(t, r, recipe)
	interrupted(t, r, recipe)
	path := record.Path(r.Dir, recipe)
	whole := read(t, path)
	check(t, os.Truncate(path, int64(len(whole)/2)))
	_, err := r.Run(t.Context(), recipe)
	wantError(t, err, path, "not valid JSON", "move it away")
	check(t, os.Rename(path, path+".bad"))
	rec, err := r.Run(t.Context(), recipe)
	check(t, err)
	if rec.Status != record.Completed || rec.Resumed != 1 {
		t.Errorf("%s, resumed %d times", rec.Status, rec.Resumed)
	}
	compare(t, want, r, recipe)
}

// Whatever becomes of a checkpoint's bytes, reading it neither panics nor takes long.
func TestDamagedCheckpointBytes(t *testing.T) {
	r, recipe := newRunner(t), resolve(t, openTiny(t), "teacher")
	interrupted(t, r, recipe)
	path := filepath.Join(record.Dir(r.Dir, recipe), CheckpointFile)
	whole := read(t, path)
	job := &job{Runner: r, recipe: recipe}
	header := 8 + bytes.Index(whole[8:], []byte("}}")) // the end of the header, where most can go wrong
	generator := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		damaged := bytes.Clone(whole)
		for range 1 + generator.IntN(3) {
			damaged[generator.IntN(min(header, 4000))] = byte(generator.Uint32())
		}
		if generator.IntN(4) == 0 {
			damaged = damaged[:generator.IntN(len(damaged))]
		}
		check(t, os.WriteFile(path, damaged, 0o600))
		if _, err := r.trainer.LoadCheckpoint(path, job.key(), job.plan()); err != nil {
			wantError(t, err, path, "move the file away")
		}
	}
}

func TestTeacher(t *testing.T) {
	r, e := newRunner(t), openTiny(t)
	teacher, recipe := resolve(t, e, "teacher"), resolve(t, e, "kd")
	path := WeightsPath(r.Dir, teacher)
	_, err := r.Run(t.Context(), recipe)
	wantError(t, err, "kd seed 1: its teacher, run teacher seed 1, has not been trained yet", path)

	_, err = r.Run(t.Context(), teacher)
	check(t, err)
	whole := read(t, path)
	const remedy = "move the teacher's directory away and train it again"
	for name, c := range map[string]struct {
		change func(values map[string]*tensors.Tensor, metadata map[string]string)
		want   []string
	}{
		"cut off": {nil, []string{"not a usable safetensors file", remedy}},
		"ten classes": {setTo("classes", "10"),
			[]string{"holds a resnet8 of 10 classes, the recipe needs a resnet8 of 100", remedy}},
		"another architecture": {setTo("architecture", "resnet14"), []string{"holds a resnet14", remedy}},
		"an unknown one":       {setTo("architecture", "resnet9"), []string{`unknown model "resnet9"`, remedy}},
		"no number of classes": {setTo("classes", "many"), []string{"does not say which network it holds", remedy}},
		"impossible classes":   {setTo("classes", "-1"), []string{"needs at least 2 classes", remedy}},
		"changed weights": {func(v map[string]*tensors.Tensor, _ map[string]string) { v["fc.bias"] = v["bn1.bias"] },
			[]string{"its weights are not those that it was written with, by the checksum in it", remedy}},
		"another shape": {func(v map[string]*tensors.Tensor, m map[string]string) {
			v["fc.weight"] = v["fc.bias"]
			delete(m, weights.DigestKey)
		}, []string{"fc.weight has shape"}},
		"a tensor that is lost": {func(v map[string]*tensors.Tensor, m map[string]string) {
			delete(v, "fc.weight")
			delete(m, weights.DigestKey)
		}, []string{"missing fc.weight"}},
	} {
		t.Run(name, func(t *testing.T) {
			check(t, os.WriteFile(path, whole, 0o600))
			if c.change == nil {
				check(t, os.WriteFile(path, whole[:len(whole)/2], 0o600))
			} else {
				values, metadata, err := weights.LoadSafetensors(path)
				check(t, err)
				c.change(values, metadata)
				check(t, weights.SaveSafetensors(path, values, metadata))
			}
			_, err := r.Run(t.Context(), recipe)
			wantError(t, err, append(c.want, "kd seed 1", path)...)
			if files := snapshot(t, record.Dir(r.Dir, recipe)); len(files) > 1 {
				t.Errorf("files were made: %d", len(files))
			}
		})
	}

	recipe.Teacher = nil
	_, err = r.Run(t.Context(), recipe)
	wantError(t, err, "kd seed 1", "the recipe has none", "teacher.run")
	recipe = resolve(t, e, "dhkd")
	recipe.Model.AuxHead = "none"
	check(t, os.WriteFile(path, whole, 0o600))
	_, err = r.Run(t.Context(), recipe)
	wantError(t, err, "needs a student with an auxiliary head", "model.aux_head")
}

func setTo(key, value string) func(map[string]*tensors.Tensor, map[string]string) {
	return func(_ map[string]*tensors.Tensor, metadata map[string]string) { metadata[key] = value }
}

// What no run can be made of is said before anything is written.
func TestInvalidRecipe(t *testing.T) {
	r, recipe := newRunner(t), resolve(t, openTiny(t), "teacher")
	for _, c := range []struct {
		change func(*record.Recipe)
		want   string
	}{
		{func(r *record.Recipe) { r.BatchSize = 1 }, "batch_size: must be at least 2"},
		{func(r *record.Recipe) { r.Name = "../up" }, "no file name"},
		{func(r *record.Recipe) { r.Dataset.Train = 40_000 }, "40000 training pairs"},
		{func(r *record.Recipe) { r.Dataset.Name = "imagenette" }, `"imagenette"`},
		{func(r *record.Recipe) { r.Model.Name = "resnet9" }, `"resnet9"`},
		{func(r *record.Recipe) { r.Method.Name = "dkkd" }, `"dkkd"`},
		{func(r *record.Recipe) { r.BatchSize = 95 }, "batch_size 95 leaves a last batch of one image"},
	} {
		changed := recipe
		c.change(&changed)
		_, err := r.Run(t.Context(), changed)
		wantError(t, err, c.want)
		if strings.HasPrefix(record.Dir(r.Dir, changed), r.Dir+"/") {
			for path := range snapshot(t, r.Dir) {
				t.Errorf("%s: made %s", c.want, path)
			}
		}
	}
}
