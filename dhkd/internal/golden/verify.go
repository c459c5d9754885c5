// Package golden checks this project against stored reference cases: it runs each case on a backend and says how far
// the results are from the reference. What to run, and with which numbers, is read from the case alone, never from its
// name.
package golden

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"

	"github.com/gomlx/compute"

	"github.com/dhkd-lab/dhkd-go/dhkd/internal/golden/fixture"
)

// Group runs one case of a group and reports its comparisons. An error means that the case could not be run.
type Group func(ctx context.Context, backend compute.Backend, c *fixture.Case, r *Result) error

// groups holds how each group of cases is run. A group that is not here is not supported yet and counts as failed.
var groups = map[string]Group{
	"baselines":   verifyBaselines,
	"checkpoints": verifyCheckpoints,
	"data":        verifyData,
	"hostile":     verifyHostile,
	"losses":      verifyLosses,
	"models":      verifyModels,
	"schedule":    verifySchedule,
	"training":    verifyTraining,
}

// Result is the outcome of one case.
type Result struct {
	Case, Group, What string
	Checks            []Check
	Absolute          float64 // the largest |x - ref| of all comparisons of values
	Relative          float64 // the largest max|x - ref| / max|ref|
	Err               error   // why the case could not be run, else nil
}

// Check is one comparison, in the metric that the case asks for.
type Check struct {
	Name                 string
	Deviation, Tolerance float64
}

// Failed tells whether the deviation is over the tolerance.
func (c Check) Failed() bool { return !(c.Deviation <= c.Tolerance) }

// Failed tells whether the case could not be run, compared nothing, or is over a tolerance.
func (r *Result) Failed() bool {
	return r.Err != nil || len(r.Checks) == 0 || r.Worst().Failed()
}

// Worst is the check that uses most of its tolerance.
func (r *Result) Worst() Check {
	var worst Check
	for i, check := range r.Checks {
		if i == 0 || check.Failed() && !worst.Failed() ||
			check.Deviation/check.Tolerance > worst.Deviation/worst.Tolerance {
			worst = check
		}
	}
	return worst
}

// Verify runs every case below directory dir, or the one that dir itself is, in alphabetical order, and hands each
// result to report. It returns how many failed; the error says that there was nothing to run or that ctx ended.
func Verify(ctx context.Context, backend compute.Backend, dir string, report func(Result)) (failed int, err error) {
	dirs := []string{dir}
	if _, err := os.Stat(filepath.Join(dir, "case.json")); err != nil {
		if dirs, err = caseDirs(dir); err != nil {
			return 0, err
		}
	}
	for _, caseDir := range dirs {
		if err := ctx.Err(); err != nil {
			return failed, err
		}
		result := verifyCase(ctx, backend, caseDir)
		if result.Failed() {
			failed++
		}
		report(result)
	}
	return failed, nil
}

func caseDirs(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot read the reference cases: %w", err)
	}
	var dirs []string
	for _, entry := range entries {
		if _, err := os.Stat(filepath.Join(dir, entry.Name(), "case.json")); err == nil {
			dirs = append(dirs, filepath.Join(dir, entry.Name()))
		}
	}
	if len(dirs) == 0 {
		return nil, fmt.Errorf("%s: no reference cases here: neither it nor a directory in it holds a case.json", dir)
	}
	return dirs, nil
}

func verifyCase(ctx context.Context, backend compute.Backend, dir string) (r Result) {
	r.Case = filepath.Base(dir)
	// A graph builder reports impossible input, such as logits of the wrong rank, by a panic.
	defer func() {
		if caught := recover(); caught != nil {
			r.Err = fmt.Errorf("%s: %v", dir, caught)
		}
	}()
	c, err := fixture.Load(dir)
	if err != nil {
		r.Err = err
		return r
	}
	r.Case, r.Group, r.What = c.Name, c.Group, c.What
	run, ok := groups[c.Group]
	if !ok {
		r.Err = fmt.Errorf("%s: cases of group %q are not supported yet", dir, c.Group)
		return r
	}
	if r.Err = verifyRecipe(c, &r); r.Err != nil {
		return r
	}
	if r.Err = run(ctx, backend, c, &r); r.Err == nil && len(r.Checks) == 0 {
		r.Err = errors.New("the case holds nothing that could be compared")
	}
	return r
}

// MaxRelative compares by max|x - ref| / max|ref|.
func (r *Result) MaxRelative(name string, got, ref []float64, tolerance float64) {
	_, relative := r.measure(got, ref)
	r.add(name, relative, tolerance)
}

// MaxScaled compares by max|x - ref| / max(max|ref|, least).
func (r *Result) MaxScaled(name string, got, ref []float64, least, tolerance float64) {
	absolute, _ := r.measure(got, ref)
	scale := least
	for _, v := range ref {
		scale = max(scale, math.Abs(v))
	}
	deviation := absolute / scale
	if absolute == 0 {
		deviation = 0
	}
	r.add(name, deviation, tolerance)
}

// MaxAbsolute compares by max|x - ref|.
func (r *Result) MaxAbsolute(name string, got, ref []float64, tolerance float64) {
	absolute, _ := r.measure(got, ref)
	r.add(name, absolute, tolerance)
}

// PerEntry compares by |x - ref| / (rel |ref| + abs) of each entry, which may be at most 1.
func (r *Result) PerEntry(name string, got, ref []float64, rel, abs float64) {
	r.measure(got, ref)
	var worst float64
	if len(got) != len(ref) {
		worst = math.Inf(1)
	}
	for i := 0; i < min(len(got), len(ref)); i++ {
		if d := difference(got[i], ref[i]); d != 0 {
			worst = max(worst, d/(rel*math.Abs(ref[i])+abs))
		}
	}
	r.add(name, worst, 1)
}

// Require enters a comparison that is right or wrong.
func (r *Result) Require(name string, ok bool) {
	deviation := 0.0
	if !ok {
		deviation = math.Inf(1)
	}
	r.add(name, deviation, 1)
}

// Summary compares rows as [fixture.Summary.Deviation] does. names are the rows' names, globalL2 sets the floor.
func (r *Result) Summary(name string, got, ref *fixture.Summary, names []string, sizes []int,
	globalL2, tolerance float64) {
	deviation, row := got.Deviation(ref, sizes, globalL2)
	if row < len(names) {
		name += " " + names[row]
	}
	r.add(name, deviation, tolerance)
}

func (r *Result) add(name string, deviation, tolerance float64) {
	r.Checks = append(r.Checks, Check{name, deviation, tolerance})
}

// measure is the largest deviation between two arrays, absolute and relative to the largest reference, which it also
// enters into the case's totals.
func (r *Result) measure(got, ref []float64) (absolute, relative float64) {
	if len(got) != len(ref) {
		absolute = math.Inf(1)
	}
	var scale float64
	for i := 0; i < min(len(got), len(ref)); i++ {
		absolute = max(absolute, difference(got[i], ref[i]))
		if finite := math.Abs(ref[i]); finite <= math.MaxFloat64 {
			scale = max(scale, finite)
		}
	}
	if relative = absolute / scale; absolute == 0 {
		relative = 0
	}
	r.Absolute, r.Relative = max(r.Absolute, absolute), max(r.Relative, relative)
	return absolute, relative
}

// difference is |x - ref|; equal infinities and two NaN do not differ, any other pair with one of them differs
// infinitely.
func difference(x, ref float64) float64 {
	if x == ref || math.IsNaN(x) && math.IsNaN(ref) {
		return 0
	}
	if d := math.Abs(x - ref); !math.IsNaN(d) {
		return d
	}
	return math.Inf(1)
}
