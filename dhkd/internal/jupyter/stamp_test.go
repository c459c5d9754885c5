package jupyter

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// stamp is what notebooks/stamp.py keeps in a notebook's metadata.
type stamp struct {
	Notebook, Profile, Backend, Device, Commit string

	Cells, Code string // digests of what was run
	Runs        []struct{ Experiment, Profile, Place, Files, Records string }
}

const recordsPlace = "notebooks/records/"

// codeFolders are what cells import, as in stamp.py.
var codeFolders = []string{"dhkd", "plots", "notebooks/nb"}

// checkStamp lists what contradicts that a notebook's outputs are those of its cells, run in the checkout at root on
// its records. Other code than now is no problem, since most changes of the code change no output, but a note: whether
// the outputs still hold is for "run.py --check" to find out.
func checkStamp(root, name string, data []byte) (problems []string, note string) {
	problem := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	var notebook struct {
		Metadata struct{ DHKD *stamp }
		Cells    []struct {
			CellType string `json:"cell_type"`
			Source   lines
		}
	}
	if err := json.Unmarshal(data, &notebook); err != nil {
		return []string{fmt.Sprintf("not a notebook: %v", err)}, ""
	}
	const again = ": run it again, with notebooks/run.py --inplace"
	s := notebook.Metadata.DHKD
	if s == nil {
		return []string{"it has no stamp" + again}, ""
	}
	if s.Notebook != name {
		problem("its stamp is of the notebook %q, want %q: its first Go cell calls book.Stamp, with nb.New(%[2]q)",
			s.Notebook, name)
	}
	var sources []string
	for _, cell := range notebook.Cells {
		if cell.CellType == "code" {
			sources = append(sources, string(cell.Source))
		}
	}
	if s.Cells != pythonDigest(sources...) {
		problem("its cells have been changed since its outputs were made" + again)
	}
	for _, run := range s.Runs {
		what := fmt.Sprintf("it shows runs of experiment %s from %s", run.Experiment, run.Place)
		switch {
		case run.Profile == "smoke":
			problem("%s of smoke size, which say nothing%s on records", what, again)
		case !strings.HasPrefix(run.Place, recordsPlace):
			problem("%s, which readers do not have: copy the records to %s", what, recordsPlace)
		default:
			kept := cmp.Or(run.Files, "record.json") // analyses have another name
			isRecord := func(path string) bool { return filepath.Base(path) == kept }
			now, err := digestFiles(root, run.Place, isRecord, run.Place)
			if err != nil {
				problem("%s: %v", what, err)
			} else if now != run.Records {
				problem("%s, and they have been changed since%s", what, again)
			}
		}
	}
	code, err := digestFiles(root, "", isSource, codeFolders...)
	if err != nil {
		problem("cannot read the code: %v", err)
	} else if code != s.Code {
		note = fmt.Sprintf("its outputs were made by other code (commit %s); notebooks/run.py --check tells whether they "+
			"still hold", s.Commit)
	}
	return problems, note
}

func isSource(path string) bool {
	ext := filepath.Ext(path)
	return (ext == ".go" || ext == ".yaml") && !strings.HasSuffix(path, "_test.go") &&
		!slices.Contains(strings.Split(filepath.ToSlash(path), "/"), "testdata")
}

// digestFiles is that of the files below folders of root that are wanted, with their names relative to base.
func digestFiles(root, base string, want func(string) bool, folders ...string) (string, error) {
	var names []string
	for _, folder := range folders {
		err := filepath.WalkDir(filepath.Join(root, folder), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			name, err := filepath.Rel(filepath.Join(root, base), path)
			if err == nil && want(name) {
				names = append(names, filepath.ToSlash(name))
			}
			return err
		})
		if err != nil {
			return "", err
		}
	}
	slices.Sort(names)
	var parts []string
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(root, base, name))
		if err != nil {
			return "", err
		}
		parts = append(parts, name, string(data))
	}
	return pythonDigest(parts...), nil
}

// pythonDigest is stamp.py's digest.
func pythonDigest(parts ...string) string {
	var all bytes.Buffer
	for _, part := range parts {
		fmt.Fprintf(&all, "%d:%s", len(part), part)
	}
	return fmt.Sprintf("%x", sha256.Sum256(all.Bytes()))
}

// TestCheckStamp spoils a good stamp in every way that matters.
func TestCheckStamp(t *testing.T) {
	root := t.TempDir()
	for path, text := range map[string]string{
		"notebooks/records/quick/offline/a-seed1/record.json":   "{}",
		"notebooks/records/quick/README.md":                     "not counted",
		"notebooks/records/quick/offline/a-seed1/analysis.json": "[]",
		"dhkd/a.go":          "package dhkd",
		"dhkd/a_test.go":     "not counted",
		"dhkd/testdata/x.go": "not counted",
		"plots/b.yaml":       "b: 1",
		"notebooks/nb/c.go":  "package nb",
	} {
		write(t, filepath.Join(root, path), text)
	}
	const source = "%%\nfmt.Println(1)"
	good := map[string]any{
		"notebook": "01-x", "profile": "offline", "commit": "abc",
		"cells": pythonDigest(source),
		"code":  pythonDigest("dhkd/a.go", "package dhkd", "notebooks/nb/c.go", "package nb", "plots/b.yaml", "b: 1"),
		"runs": []any{map[string]any{"experiment": "quick", "profile": "offline", "place": "notebooks/records/quick",
			"records": pythonDigest("offline/a-seed1/record.json", "{}")}},
	}
	set := func(key, value string) func(map[string]any) { return func(s map[string]any) { s[key] = value } }
	run := func(key, value string) func(map[string]any) {
		return func(s map[string]any) { s["runs"].([]any)[0].(map[string]any)[key] = value }
	}
	for _, test := range []struct {
		name   string
		spoil  func(stamp map[string]any)
		source string
		want   string // a problem; "note: " before what is only noted
	}{
		{name: "good", want: ""},
		{name: "no stamp", spoil: func(s map[string]any) { clear(s) }, want: "it has no stamp"},
		{name: "not called", spoil: set("notebook", ""), want: `of the notebook "", want "01-x"`},
		{name: "a copied notebook", spoil: set("notebook", "00-y"), want: `of the notebook "00-y"`},
		{name: "edited cell", source: "%%\nfmt.Println(2)", want: "cells have been changed"},
		{name: "smoke", spoil: run("profile", "smoke"), want: "of smoke size"},
		{name: "own runs", spoil: run("place", "runs/quick"), want: "which readers do not have"},
		{name: "other records", spoil: run("records", "123"), want: "they have been changed since"},
		{name: "analyses", spoil: func(s map[string]any) {
			run("files", "analysis.json")(s)
			run("records", pythonDigest("offline/a-seed1/analysis.json", "[]"))(s)
		}, want: ""},
		{name: "other analyses", spoil: run("files", "analysis.json"), want: "they have been changed since"},
		{name: "no records", spoil: run("place", "notebooks/records/slow"), want: "no such file"},
		{name: "other code", spoil: set("code", "123"), want: "note: its outputs were made by other code (commit abc)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			text, err := json.Marshal(good)
			if err != nil {
				t.Fatal(err)
			}
			var s map[string]any
			if err := json.Unmarshal(text, &s); err != nil {
				t.Fatal(err)
			}
			if test.spoil != nil {
				test.spoil(s)
			}
			metadata := map[string]any{"dhkd": s}
			if len(s) == 0 {
				delete(metadata, "dhkd")
			}
			if test.source == "" {
				test.source = source
			}
			data, err := json.Marshal(map[string]any{"metadata": metadata,
				"cells": []any{map[string]any{"cell_type": "markdown", "source": "text"},
					map[string]any{"cell_type": "code", "source": []string{test.source}}}})
			if err != nil {
				t.Fatal(err)
			}
			problems, note := checkStamp(root, "01-x", data)
			got := strings.Join(problems, "; ")
			if note != "" {
				got += "note: " + note
			}
			if test.want == "" && got != "" || !strings.Contains(got, test.want) {
				t.Errorf("it says %q, want %q", got, test.want)
			}
		})
	}
}
