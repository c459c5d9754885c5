package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dhkd-lab/dhkd-go/dhkd/internal/safefile"
)

// FileName is the name of a record's file. The run's checkpoint and its TensorBoard events lie beside it.
const FileName = "record.json"

// maxRecordBytes is the limit of a record file; 1,000 epochs of ten metrics take half a megabyte.
const maxRecordBytes = 64 << 20

// Dir is the directory of a run: dir/experiment/profile/name-seedN. Every run has its own.
func Dir(dir string, r Recipe) string {
	return filepath.Join(dir, r.Experiment, r.Profile, fmt.Sprintf("%s-seed%d", r.Name, r.Seed))
}

// Path is where a run's record is stored under dir.
func Path(dir string, r Recipe) string { return filepath.Join(Dir(dir, r), FileName) }

// Load reads and checks a record. A file that another version of the program wrote, that is cut off or that contradicts
// itself is an error that names the file and says what to do.
func Load(path string) (*Record, error) {
	data, err := readFile("record", path)
	if err != nil {
		return nil, err
	}
	r, err := decode(data)
	if err != nil {
		return nil, fmt.Errorf("record %s: %w", path, err)
	}
	return r, nil
}

// readFile reads the file of a record or of another thing that is named, and of one that is too large a byte more than the
// limit.
func readFile(what, path string) ([]byte, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() { // opening a pipe would wait for ever
		return nil, fmt.Errorf("cannot read %s %s: not a file", what, path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", what, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxRecordBytes+1))
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", what, err)
	}
	return data, nil
}

// loadFile reads what is named into v and checks it; command makes it anew.
func loadFile(what, path, command string, v interface{ Validate() error }) error {
	data, err := readFile(what, path)
	if err != nil {
		return err
	}
	if len(data) > maxRecordBytes {
		err = fmt.Errorf("larger than %d MiB", maxRecordBytes>>20)
	} else {
		decoder := json.NewDecoder(bytes.NewReader(data))
		decoder.DisallowUnknownFields()
		err = decoder.Decode(v)
	}
	if err == nil {
		err = v.Validate()
	}
	if err != nil {
		return fmt.Errorf("%s is no usable %s: %w; make it anew with %s", path, what, err, command)
	}
	return nil
}

// Save writes the record as indented JSON, whole or not at all. It refuses what [Load] would refuse.
func (r *Record) Save(path string) error {
	if err := r.Validate(); err != nil {
		return fmt.Errorf("cannot write record %s: %w", path, err)
	}
	return safefile.Write(path, func(w io.Writer) error {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", " ")
		encoder.SetEscapeHTML(false)
		return encoder.Encode(r)
	})
}

// LoadDir loads every record under dir, ordered by experiment, profile, name and seed. Files that cannot be used are
// not among the records; there is an error for each.
func LoadDir(dir string) ([]*Record, []error) {
	files, errs := LoadFiles(dir)
	var records []*Record
	for _, f := range files {
		records = append(records, f.Record)
	}
	return records, errs
}

// File is a record and where it was found.
type File struct {
	Path   string
	Record *Record
}

// LoadFiles is [LoadDir] that says where the records lie.
func LoadFiles(dir string) ([]File, []error) {
	var files []File
	var errs []error
	from := map[string]string{} // the file of a run, by its place
	walk := func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("cannot look for records: %w", err))
			if entry != nil && entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		case entry.IsDir() || entry.Name() != FileName:
			return nil
		}
		r, err := Load(path)
		if err != nil {
			errs = append(errs, err)
			return nil
		}
		if other, ok := from[Dir("", r.Recipe)]; ok {
			errs = append(errs, fmt.Errorf("record %s: the same run as in %s; move one of them away", path, other))
			return nil
		}
		from[Dir("", r.Recipe)] = path
		files = append(files, File{path, r})
		return nil
	}
	root := filepath.Clean(dir) + string(filepath.Separator) // so that dir can be a link
	if err := filepath.WalkDir(root, walk); err != nil {
		errs = append(errs, fmt.Errorf("cannot look for records: %w", err))
	}
	slices.SortStableFunc(files, func(a, b File) int { return compare(a.Record, b.Record) })
	return files, errs
}

// decode reads a record from JSON and checks it.
func decode(data []byte) (*Record, error) {
	const advice = "move it away and run again, or restore it from a backup"
	if len(data) > maxRecordBytes {
		return nil, fmt.Errorf("larger than %d MiB: not a record; %s", maxRecordBytes>>20, advice)
	}
	var version struct{ Schema int }
	if err := json.Unmarshal(data, &version); err != nil {
		return nil, fmt.Errorf("not valid JSON (%w)%s; %s", err, lineOf(data, err), advice)
	}
	if version.Schema != SchemaVersion {
		return nil, fmt.Errorf("has format %d, this program reads format %d; "+
			"read it with the version that wrote it, or run again", version.Schema, SchemaVersion)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	var r Record
	if err := decoder.Decode(&r); err != nil {
		return nil, fmt.Errorf("%s%s; %s", strings.TrimPrefix(err.Error(), "json: "), lineOf(data, err), advice)
	}
	if err := r.Validate(); err != nil {
		return nil, fmt.Errorf("%w; %s", err, advice)
	}
	return &r, nil
}

// Validate says what in a record contradicts the rest of it, or nil.
func (r *Record) Validate() error {
	if r.Schema != SchemaVersion {
		return fmt.Errorf("schema: is %d, want %d", r.Schema, SchemaVersion)
	}
	if err := r.Recipe.Validate(); err != nil {
		return fmt.Errorf("recipe.%w", err)
	}
	statuses := []string{Running, Completed, Interrupted, Failed}
	if !slices.Contains(statuses, r.Status) {
		return fmt.Errorf("status: unknown name %q; known are %s", r.Status, strings.Join(statuses, ", "))
	}
	if (r.Status == Failed) != (r.Failure != nil) {
		return fmt.Errorf("failure: belongs to a failed run and to no other, status is %s", r.Status)
	}
	if r.Status == Completed && len(r.Epochs) == 0 {
		return errors.New("epochs: none, but status is completed")
	}
	sizes := map[string]float64{"train_seconds": r.TrainSeconds, "compile_seconds": r.CompileSeconds,
		"images_per_second": r.ImagesPerSecond, "parameters": float64(r.Parameters), "resumed": float64(r.Resumed)}
	for _, name := range slices.Sorted(maps.Keys(sizes)) {
		if v := sizes[name]; !(v >= 0) || math.IsInf(v, 0) {
			return fmt.Errorf("%s: must be a number of at least 0, is %g", name, v)
		}
	}
	for i, n := range r.Devices {
		if n < 1 || n == 1 && len(r.Devices) == 1 {
			return fmt.Errorf("devices[%d]: is %d, must be at least 1, and greater where it is the only one", i, n)
		}
	}
	step := 0
	for i, e := range r.Epochs {
		if e.Epoch != i+1 {
			return fmt.Errorf("epochs[%d].epoch: is %d, want %d", i, e.Epoch, i+1)
		}
		if e.Step <= step {
			return fmt.Errorf("epochs[%d].step: must be greater than %d, is %d", i, step, e.Step)
		}
		step = e.Step
		if !(e.LearningRate >= 0) || math.IsInf(e.LearningRate, 0) || !(e.Seconds >= 0) || math.IsInf(e.Seconds, 0) {
			return fmt.Errorf("epochs[%d]: learning_rate and seconds must be numbers of at least 0", i)
		}
		for _, name := range []string{MetricStudentTest, MetricStudentTrain, MetricAuxTest, MetricTeacherTest} {
			if v, ok := e.Metrics[name]; ok && !(v >= 0 && v <= 100) {
				return fmt.Errorf("epochs[%d].metrics.%s: must be 0 to 100 per cent, is %g", i, name, v)
			}
		}
		if err := e.Gradients.check(); err != nil {
			return fmt.Errorf("epochs[%d].gradients.%w", i, err)
		}
	}
	if r.Last != len(r.Epochs) {
		return fmt.Errorf("last_epoch: is %d, but there are %d epochs", r.Last, len(r.Epochs))
	}
	if r.Best < 0 || r.Best > r.Last {
		return fmt.Errorf("best_epoch: is %d, but the last is %d", r.Best, r.Last)
	}
	return nil
}

// lineOf says where in data a JSON error lies.
func lineOf(data []byte, err error) string {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	offset := int64(-1)
	if errors.As(err, &syntax) {
		offset = syntax.Offset
	} else if errors.As(err, &kind) {
		offset = kind.Offset
	}
	if offset < 0 || offset > int64(len(data)) {
		return ""
	}
	return fmt.Sprintf(" at line %d", 1+bytes.Count(data[:offset], []byte("\n")))
}
