package plots

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// Source is what figures are drawn from.
type Source struct {
	Records     []*record.Record
	Analyses    []*record.Analysis
	Evaluations []*record.Evaluation
	Benches     []*record.Bench
	Growths     []*record.Growth
	paths       []string
}

// maxFileBytes is more than any record has; opening a pipe would wait for ever.
const maxFileBytes = 64 << 20

// Load reads records and analyses, by their names, from directories and all below them; and from files also what dhkd
// evaluate --out and the bench wrote. Every file that cannot be used is in the error, and then nothing is returned: a
// figure of a part of the runs would mislead.
func Load(paths ...string) (*Source, error) {
	s := &Source{paths: paths}
	var errs []error
	for _, path := range paths {
		info, err := os.Stat(path)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("cannot read runs: %w", err))
		case !info.IsDir() && (!info.Mode().IsRegular() || info.Size() > maxFileBytes):
			errs = append(errs, fmt.Errorf("%s is no file of at most %d MiB: name a record, an analysis or an evaluation", path,
				maxFileBytes>>20))
		case info.IsDir():
			records, problems := record.LoadDir(path)
			s.Records = append(s.Records, records...)
			errs = append(append(errs, problems...), s.loadAnalyses(path)...)
		default:
			errs = append(errs, s.loadFile(path))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return s, nil
}

// String says what there is.
func (s *Source) String() string {
	where := "no runs were named"
	if len(s.paths) > 0 {
		where = fmt.Sprintf("in %s there are %d records, %d analyses and %d evaluations",
			Printable(strings.Join(s.paths, ", "), 200), len(s.Records), len(s.Analyses), len(s.Evaluations))
	}
	return where
}

// loadAnalyses loads what lies under a directory, in the order of the paths.
func (s *Source) loadAnalyses(dir string) (errs []error) {
	walk := func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || entry.Name() != record.AnalysisFile {
			return nil // what cannot be read at all, LoadDir has said
		}
		if err := load(&s.Analyses, path, record.LoadAnalysis); err != nil {
			errs = append(errs, err)
		}
		return nil
	}
	return append(errs, filepath.WalkDir(filepath.Clean(dir)+string(filepath.Separator), walk))
}

// loadFile loads one file, whose fields say what it is.
func (s *Source) loadFile(path string) error {
	var fields map[string]json.RawMessage
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("cannot read %s: %w", path, err)
	}
	if json.Unmarshal(data, &fields) != nil {
		return fmt.Errorf("%s is no JSON: name a directory of runs, or what dhkd evaluate --out or dhkd analyse wrote", path)
	}
	has := func(name string) bool { return fields[name] != nil }
	switch {
	case has("cases"):
		return load(&s.Benches, path, record.LoadBench)
	case has("compiled"), has("timed"):
		return load(&s.Growths, path, record.LoadGrowth)
	case has("confusion"):
		return load(&s.Evaluations, path, record.LoadEvaluation)
	case has("epochs"):
		return load(&s.Records, path, record.Load)
	}
	return load(&s.Analyses, path, record.LoadAnalysis)
}

// load appends what a file holds.
func load[T any](to *[]*T, path string, read func(string) (*T, error)) error {
	value, err := read(path)
	if err == nil {
		*to = append(*to, value)
	}
	return err
}
