package main

import (
	"cmp"
	"context"
	"errors"
	"os"
	"strings"

	"github.com/dhkd-lab/dhkd-go/dhkd/weights"
	"github.com/dhkd-lab/dhkd-go/dhkd/weights/teachers"
)

// sourceHelp is the part of a help text about the argument that names a file of weights.
const sourceHelp = `In place of a path, a file may be a known teacher (crd:resnet32x4) or one of the Hugging Face hub
(hf://organisation/repository/file), which is downloaded where it is not on this machine.

`

// resolveWeights finds the file that a command's argument names, and downloads it if it is a reference to one.
func resolveWeights(ctx context.Context, out output, ref string) (*teachers.Resolved, error) {
	info, err := os.Stat(ref)
	if err == nil && !info.Mode().IsRegular() || err != nil && !strings.Contains(ref, ":") {
		return &teachers.Resolved{Reference: ref, Path: ref}, nil // whoever reads it says what is wrong
	}
	r, err := teachers.Resolve(ctx, ref, teachers.Options{Progress: downloadProgress(out.stderr)})
	if errors.Is(err, teachers.ErrNotFound) {
		return nil, withCode(exitMissing, err)
	}
	return r, withCode(exitUsage, err)
}

// openReference is [architecture.open] of what a reference names. What the list of teachers knows of the file is added
// where neither the flags nor the file say it.
func (a architecture) openReference(ctx context.Context, out output, ref string) (
	*loadedNetwork, *teachers.Resolved, error) {
	r, err := resolveWeights(ctx, out, ref)
	if err != nil {
		return nil, nil, err
	}
	listed := r.Teacher != nil && a.Model == ""
	if listed {
		a.Model, a.Classes = r.Teacher.Model, cmp.Or(a.Classes, r.Teacher.Classes)
	}
	n, err := a.open(r.Path)
	if err != nil {
		return nil, nil, withCode(exitUsage, err)
	}
	if listed {
		n.How = "as the list of teachers says of " + r.Teacher.Reference
	}
	if r.Teacher != nil {
		addTeacher(&n.Info, r.Teacher)
		if r.Teacher.Note != "" {
			n.Notes = append(n.Notes, r.Teacher.Note)
		}
	}
	return n, r, nil
}

// addTeacher fills in what is not known.
func addTeacher(i *weights.Info, t *teachers.Teacher) {
	i.Dataset, i.Licence = cmp.Or(i.Dataset, t.Dataset), cmp.Or(i.Licence, t.Licence)
	if len(t.URLs) > 0 {
		i.Source = cmp.Or(i.Source, t.URLs[0])
	}
	if len(i.Mean) == 0 {
		i.Mean, i.Std = t.Mean, t.Std
	}
	i.TestTop1 = cmp.Or(i.TestTop1, t.Top1)
}
