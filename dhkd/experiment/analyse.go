package experiment

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"gonum.org/v1/gonum/mat"

	"github.com/dhkd-lab/dhkd-go/dhkd/analysis"
	"github.com/dhkd-lab/dhkd-go/dhkd/dataset"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/train"
)

// AnalyseOptions say what of a run is analysed. The zero value is all but the probe, on the usual numbers of images, which
// are taken at equal distances.
type AnalyseOptions struct {
	CollapseImages int // training images that collapse is measured on; 0 = 10,000 or all
	CKAImages      int // test images that stages are compared on; 0 = 500 or all
	// EmbedImages are the test images in PCA and t-SNE, at most [record.MostEmbedded]; 0 = that, or all; -1 = no pictures.
	EmbedImages int
	Seed        uint64 // of t-SNE
	// Teacher is a file of weights to compare with in place of the recipe's teacher, or for a run that has none;
	// [NoTeacher] leaves the comparison out.
	Teacher string
	// Probe names a data set that linear classifiers are trained on, with the frozen features; empty = none. Its images
	// must have the shape of the network's, but Fashion-MNIST fits a network of Fashion-Pairs-100, see
	// [dataset.Articles].
	Probe       string
	ProbeImages int // of that data set to train on; 0 = 10,000 or all
	// Progress, unless nil, is told what is being done.
	Progress func(what string)
}

// Usual numbers of images.
const (
	collapseImages = 10_000
	ckaImages      = 500
	probeImages    = 10_000
)

// NoTeacher is in place of a teacher in [AnalyseOptions].
const NoTeacher = "none"

// probeL2 is the weight of the squared weights of a linear probe, the same for all networks.
const probeL2 = 1e-3

// Subject is a run that can be analysed.
type Subject struct {
	dir       string
	options   AnalyseOptions
	record    *record.Record
	candidate *Candidate
	teacher   *Candidate // nil without one, and for a published one
}

// OpenSubject reads what the directory of a completed run has, its record and its weights, and those of its teacher:
// beside it, or in the directory of the teacher's experiment beside that of its own. It opens neither device nor data.
// The error says what is lacking.
func OpenSubject(dir string, o AnalyseOptions) (*Subject, error) {
	rec, err := record.Load(filepath.Join(dir, record.FileName))
	if err != nil {
		return nil, err
	}
	if rec.Status != record.Completed {
		return nil, fmt.Errorf("%s: the run is %s: there are no weights to analyse", dir, rec.Status)
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	s := &Subject{dir: dir, options: o, record: rec}
	if s.candidate, err = OpenCandidate(filepath.Join(dir, WeightsFile), EvaluateOptions{}); err != nil {
		return nil, err
	}
	path, t := o.Teacher, rec.Recipe.Teacher
	switch {
	case path == NoTeacher || path == "" && (t == nil || t.Weights != ""):
		return s, nil
	case path == "":
		runs := filepath.Join(dir, "..") // of the same experiment and profile, see [record.Dir]
		if t.Experiment != "" {
			runs = filepath.Join(runs, "..", "..", t.Experiment, rec.Recipe.Profile)
		}
		path = filepath.Join(runs, fmt.Sprintf("%s-seed%d", t.Run, t.Seed), WeightsFile)
	}
	s.teacher, err = OpenCandidate(path, EvaluateOptions{})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: its teacher is not there (%w): name the file with --teacher FILE, or leave it out with "+
			"--teacher %s", dir, err, NoTeacher)
	}
	if err != nil {
		return nil, err
	}
	if n := s.teacher.file.Classes; n != s.candidate.file.Classes {
		return nil, fmt.Errorf("teacher %s has %d classes, the student %d", path, n, s.candidate.file.Classes)
	}
	if noted := rec.Teacher; noted != nil && o.Teacher == "" && noted.SHA256 != s.teacher.file.SHA256 {
		return nil,
			fmt.Errorf("%s is not the teacher that the run learnt from: its SHA-256 is %.12s, the record says %.12s", path,
				s.teacher.file.SHA256, noted.SHA256)
	}
	return s, nil
}

// Analyse analyses the trained network of a run. The error says which part cannot be analysed and why.
func (r *Runner) Analyse(ctx context.Context, s *Subject) (*record.Analysis, error) {
	recipe := s.record.Recipe
	loaded, err := r.load(ctx, recipe.Dataset)
	if err != nil {
		return nil, err
	}
	set := *loaded
	if s.candidate.mean != nil {
		set.Mean, set.Std = s.candidate.mean, s.candidate.std
	}
	a := &analyser{Runner: r, options: s.options, set: &set, student: s.candidate.network,
		made: &record.Analysis{Schema: record.AnalysisSchema, Recipe: recipe, Weights: s.candidate.file,
			Data: describe(&set, recipe.Dataset), Environment: environment(ctx, r.Device, &set)}}
	if s.teacher != nil {
		a.teacher, a.made.Teacher = s.teacher.network, &s.teacher.file
	} else if recipe.Teacher != nil && s.options.Teacher == "" {
		t, err := r.findTeacher(ctx, loaded, recipe)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.dir, err)
		}
		m := t.network.Model
		a.teacher, a.made.Teacher = t.network, &record.WeightsFile{Name: t.original, SHA256: t.sha256, Model: m.Name,
			Classes: m.Classes, Head: string(m.Head), AuxHead: string(m.AuxHead), Dataset: set.Name}
	}
	defer a.close()
	for _, part := range []func(context.Context) error{a.collapse, a.testImages, a.cka, a.probe} {
		if err := part(ctx); err != nil {
			return nil, fmt.Errorf("%s: %w", s.dir, err)
		}
	}
	return a.made, nil
}

// analyser is one analysis in progress.
type analyser struct {
	*Runner
	options          AnalyseOptions
	set              *dataset.Set
	student, teacher *train.Network // the teacher is nil without one
	made             *record.Analysis
	programs         []program
}

// collapse measures neural collapse on the training images. A head that modules of a method stand in for has none.
func (a *analyser) collapse(ctx context.Context) error {
	networks := []struct {
		network *train.Network
		names   map[string]string // of heads
	}{{a.student, map[string]string{record.MainHead: record.MainHead, record.AuxHead: record.AuxHead}},
		{a.teacher, map[string]string{record.MainHead: record.TeacherNetwork}}}
	for _, n := range networks {
		if n.network == nil {
			continue
		}
		a.options.Progress("neural collapse of " + n.network.Model.Name)
		split, err := some(a.set.Train, a.options.CollapseImages, collapseImages)
		if err != nil {
			return err
		}
		seen, err := a.look(ctx, n.network, a.set, split, false)
		if err != nil {
			return err
		}
		for _, head := range []string{record.MainHead, record.AuxHead} {
			of, layer := n.names[head], seen.last[head]
			if of == "" || layer.Weight == nil {
				continue
			}
			c, err := analysis.Collapse(layer)
			if err != nil {
				return fmt.Errorf("neural collapse of %s: %w", of, err)
			}
			c.Of = of
			a.made.Collapse = append(a.made.Collapse, c)
		}
	}
	return nil
}

// picture is a network to draw the features of.
type picture struct {
	of string
	*seen
}

// testImages describes the logits of the test images and draws pictures of their features.
func (a *analyser) testImages(ctx context.Context) error {
	a.options.Progress("logits")
	student, err := a.look(ctx, a.student, a.set, a.set.Test, false)
	if err != nil {
		return err
	}
	var outputs []analysis.Output
	for _, head := range []string{record.MainHead, record.AuxHead} {
		if z := student.logits[head]; z != nil {
			outputs = append(outputs, analysis.Output{Of: head, Logits: z})
		}
	}
	pictures := []picture{{record.StudentNetwork, student}}
	if a.teacher != nil {
		teacher, err := a.look(ctx, a.teacher, a.set, a.set.Test, false)
		if err != nil {
			return err
		}
		outputs = append(outputs, analysis.Output{Of: record.TeacherNetwork, Logits: teacher.logits[record.MainHead]})
		pictures = append(pictures, picture{record.TeacherNetwork, teacher})
	}
	if a.made.Logits, err = analysis.Logits(student.labels, a.set.Classes, outputs...); err != nil {
		return fmt.Errorf("logits of %w", err)
	}
	if a.options.EmbedImages < 0 {
		return nil
	}
	return a.embed(pictures)
}

func (a *analyser) embed(pictures []picture) error {
	labels := pictures[0].labels
	n, err := count(len(labels), a.options.EmbedImages, record.MostEmbedded)
	if err != nil {
		return err
	}
	a.made.Embeddings = &record.Embeddings{}
	chosen := dataset.Spread(len(labels), n)
	for _, i := range chosen {
		a.made.Embeddings.Labels = append(a.made.Embeddings.Labels, int(labels[i]))
	}
	for _, p := range pictures {
		width := len(p.pooled) / len(labels)
		features := mat.NewDense(n, width, nil)
		for row, i := range chosen {
			for k, v := range p.pooled[int(i)*width:][:width] {
				features.Set(row, k, float64(v))
			}
		}
		a.options.Progress("PCA and t-SNE of the " + p.of)
		pca, err := analysis.PCA(features)
		if err != nil {
			return fmt.Errorf("PCA of the %s: %w", p.of, err)
		}
		tsne, err := analysis.TSNE(features, analysis.TSNEOptions{Seed: a.options.Seed})
		if err != nil {
			return fmt.Errorf("t-SNE of the %s: %w", p.of, err)
		}
		pca.Of, tsne.Of = p.of, p.of
		a.made.Embeddings.All = append(a.made.Embeddings.All, pca, tsne)
	}
	return nil
}

// cka compares stages with the teacher's.
func (a *analyser) cka(ctx context.Context) error {
	if a.teacher == nil {
		return nil
	}
	a.options.Progress("CKA")
	split, err := some(a.set.Test, a.options.CKAImages, ckaImages)
	if err != nil {
		return err
	}
	var stages [2][]analysis.Stage
	images := 0
	for i, n := range []*train.Network{a.student, a.teacher} {
		seen, err := a.look(ctx, n, a.set, split, true)
		if err != nil {
			return err
		}
		images = len(seen.labels)
		for k, features := range seen.stages {
			stages[i] = append(stages[i], analysis.Stage{Name: fmt.Sprintf("map %d", k+1), Features: features})
		}
		stages[i] = append(stages[i], analysis.Stage{Name: "pooled", Features: seen.pooled},
			analysis.Stage{Name: "logits", Features: seen.logits[record.MainHead]})
	}
	a.made.CKA, err = analysis.CKAOfStages(images, stages[0], stages[1])
	return err
}

// some is so many images of a split, at equal distances, or all where the usual number is more.
func some(s dataset.Split, asked, usual int) (dataset.Split, error) {
	n, err := count(s.Len(), asked, usual)
	if err != nil {
		return s, err
	}
	return s.Spread(n)
}

func count(there, asked, usual int) (int, error) {
	if asked < 0 || asked > there {
		return 0, fmt.Errorf("cannot take %d images: there are %d", asked, there)
	}
	if asked == 0 {
		asked = min(usual, there)
	}
	return asked, nil
}
