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
	paths       []string
}

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
		where = Printable(strings.Join(s.paths, ", "), 200) + " has"
		if len(s.paths) > 1 {
			where = strings.TrimSuffix(where, " has") + " have"
		}
		where += fmt.Sprintf(" %d records, %d analyses, %d evaluations", len(s.Records), len(s.Analyses), len(s.Evaluations))
	}
	return where
}

// loadAnalyses loads what lies under a directory, in the order of the paths.
func (s *Source) loadAnalyses(dir string) (errs []error) {
	walk := func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || entry.Name() != record.AnalysisFile {
			return nil // what cannot be read at all, LoadDir has said
		}
		a, err := record.LoadAnalysis(path)
		if err != nil {
			errs = append(errs, err)
			return nil
		}
		s.Analyses = append(s.Analyses, a)
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
		b, err := record.LoadBench(path)
		if err != nil {
			return err
		}
		s.Benches = append(s.Benches, b)
	case has("confusion"):
		e, err := record.LoadEvaluation(path)
		if err != nil {
			return err
		}
		s.Evaluations = append(s.Evaluations, e)
	case has("epochs"):
		r, err := record.Load(path)
		if err != nil {
			return err
		}
		s.Records = append(s.Records, r)
	default:
		a, err := record.LoadAnalysis(path)
		if err != nil {
			return err
		}
		s.Analyses = append(s.Analyses, a)
	}
	return nil
}
