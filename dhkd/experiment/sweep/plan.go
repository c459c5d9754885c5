// Package sweep makes many runs: it expands experiments, seeds and grids of hyper-parameters into a plan, has the
// plan's runs made by processes on this machine or by a cluster's batch system, and says how they stand. The records
// are the truth: what a run is and whether it is done is read from them, so engines may be killed, mixed and started
// again.
package sweep

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/internal/safefile"
)

// PlanFile is the name of a plan's file. The records of its runs lie under the same directory.
const PlanFile = "sweep.json"

const (
	planSchema   = 1
	maxPlanBytes = 256 << 20
)

// Plan is the runs of a sweep, each fully explicit, teachers before those who learn from them.
type Plan struct {
	Schema  int       `json:"schema"`
	Name    string    `json:"name"`
	Created time.Time `json:"created"`
	Digest  string    `json:"digest"` // SHA-256 of the runs
	Runs    []Run     `json:"runs"`
}

// Run is a run of a plan.
type Run struct {
	ID     string        `json:"id"`              // where its record is, "experiment/profile/name-seed1"
	After  string        `json:"after,omitempty"` // the ID of the run that trains its teacher
	Recipe record.Recipe `json:"recipe"`
}

// Dir is the run's directory under the sweep's.
func (r Run) Dir(dir string) string { return record.Dir(dir, r.Recipe) }

// ID is that of the run of a recipe.
func ID(r record.Recipe) string { return filepath.ToSlash(record.Dir("", r)) }

// Find returns the run with that ID, or nil.
func (p *Plan) Find(id string) *Run {
	for i := range p.Runs {
		if p.Runs[i].ID == id {
			return &p.Runs[i]
		}
	}
	return nil
}

// digest is what a plan's runs are known by.
func (p *Plan) digest() string {
	text, _ := json.Marshal(p.Runs)
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// Load reads and checks the plan of a sweep's directory.
func Load(dir string) (*Plan, error) {
	path := filepath.Join(dir, PlanFile)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s holds no sweep: plan one with dhkd sweep plan --out %s (%w)", dir, dir, err)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the plan: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxPlanBytes+1))
	if err != nil {
		return nil, fmt.Errorf("cannot read the plan: %w", err)
	}
	p, err := decode(data)
	if err != nil {
		return nil, fmt.Errorf("plan %s: %w; move it away and plan the sweep again: the records stay", path, err)
	}
	return p, nil
}

func decode(data []byte) (*Plan, error) {
	if len(data) > maxPlanBytes {
		return nil, fmt.Errorf("larger than %d MiB", maxPlanBytes>>20)
	}
	var version struct{ Schema int }
	if err := json.Unmarshal(data, &version); err != nil {
		return nil, fmt.Errorf("not valid JSON (%w)", err)
	}
	if version.Schema != planSchema {
		return nil, fmt.Errorf("has format %d, this program reads format %d", version.Schema, planSchema)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	var p Plan
	if err := decoder.Decode(&p); err != nil {
		return nil, err
	}
	if p.Digest != p.digest() {
		return nil, errors.New("its runs are not those that were planned, by the digest in it")
	}
	seen := map[string]bool{}
	for i, r := range p.Runs {
		if err := r.Recipe.Validate(); err != nil {
			return nil, fmt.Errorf("runs[%d].recipe.%w", i, err)
		}
		if r.ID != ID(r.Recipe) || seen[r.ID] {
			return nil, fmt.Errorf("runs[%d].id: %q is not that of its recipe, or is there twice", i, r.ID)
		}
		if r.After != "" && !seen[r.After] {
			return nil, fmt.Errorf("runs[%d].after: no run before it is %q", i, r.After)
		}
		seen[r.ID] = true
	}
	return &p, nil
}

// ErrOtherPlan is wrapped by the error of a directory that has another plan.
var ErrOtherPlan = errors.New("holds another sweep")

// Save writes the plan into a directory, which is made. A directory that has the same plan keeps it. One that has
// another is refused, unless extend is true and all of its runs are in the new plan as they are.
func (p *Plan) Save(dir string, extend bool) error {
	p.Schema, p.Digest = planSchema, p.digest()
	if p.Created.IsZero() {
		p.Created = time.Now().UTC().Truncate(time.Second)
	}
	write := func(w io.Writer) error {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", " ")
		encoder.SetEscapeHTML(false)
		return encoder.Encode(p)
	}
	path := filepath.Join(dir, PlanFile)
	err := safefile.Create(path, write)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	old, err := Load(dir)
	if err != nil {
		return err
	}
	if old.Digest == p.Digest {
		*p = *old
		return nil
	}
	difference := old.lost(p)
	if extend && difference == "" {
		return safefile.Write(path, write)
	}
	if difference == "" {
		return fmt.Errorf("%s %w, %s: it has the same runs, and fewer of them: --extend adds the new ones", dir,
			ErrOtherPlan, old.Name)
	}
	return fmt.Errorf("%s %w, %s (%s): choose another directory", dir, ErrOtherPlan, old.Name, difference)
}

// lost says which run of the plan is not in another, or not the same there; "" if none.
func (p *Plan) lost(other *Plan) string {
	runs := map[string]*Run{}
	for i := range other.Runs {
		runs[other.Runs[i].ID] = &other.Runs[i]
	}
	for _, old := range p.Runs {
		if runs[old.ID] == nil {
			return fmt.Sprintf("its run %s is not in this one", old.ID)
		}
		if field := experiment.Differs(old.Recipe, runs[old.ID].Recipe); field != "" {
			return fmt.Sprintf("its run %s has another %s", old.ID, field)
		}
	}
	return ""
}
