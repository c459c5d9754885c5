package golden

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"

	"github.com/gomlx/compute"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/internal/golden/fixture"
	"github.com/dhkd-lab/dhkd-go/dhkd/weights"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

// What refusing a hostile file may cost.
const (
	hostileTime  = 5 * time.Second
	hostileBytes = 32 << 20
)

// hostileWords are what a message must say if the case expects more than that the file is refused.
var hostileWords = map[string]string{
	"shape error": "shape", "missing-key": "missing", "unexpected-key": "unexpected", "dtype error": "type",
}

// tensorName is a dotted name in the description of a file.
var tensorName = regexp.MustCompile(`\b(fc|conv\d|bn\d|layer\d)(\.\w+)+\b`)

// verifyHostile loads each file into the case's network. Each must be refused, at little cost, with a message of one
// line that names the file and, where the case says so, the tensor and what is wrong with it.
func verifyHostile(ctx context.Context, backend compute.Backend, c *fixture.Case, r *Result) error {
	var target struct {
		Model   string `json:"model"`
		AuxHead string `json:"aux_head"`
		Classes int    `json:"num_classes"`
	}
	var marker string
	var files []struct{ File, What, Expect string }
	for field, into := range map[string]any{"target_model": &target, "marker": &marker, "files": &files} {
		if err := c.Field(field, into); err != nil {
			return err
		}
	}
	m, err := zoo.New(zoo.Config{Name: target.Model, Classes: target.Classes, AuxHead: dhkd.AuxHead(target.AuxHead)})
	if err != nil {
		return err
	}
	want, err := m.Undrawn(backend, [3]int{m.Side, m.Side, 3})
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := ctx.Err(); err != nil {
			return err
		}
		path := filepath.Join(c.Dir, f.File)
		if _, err := os.Stat(path); err != nil || !filepath.IsLocal(f.File) {
			return fmt.Errorf("%s: cannot read %q (%v)", c.Dir, f.File, err)
		}
		start, before := time.Now(), allocated()
		checkpoint, err := weights.Load(path)
		if err == nil {
			if _, err = checkpoint.Fit(want, weights.FitOptions{}); err != nil {
				err = fmt.Errorf("%s: %w", path, err)
			}
		}
		r.Require(f.File+" is refused", err != nil)
		r.Require(f.File+" costs little", time.Since(start) < hostileTime && allocated()-before < hostileBytes)
		if err == nil {
			continue
		}
		text := err.Error()
		r.Require(f.File+" is named, on one line", strings.Contains(text, path) && !strings.Contains(text, "\n"))
		if f.Expect == "refuse" {
			continue
		}
		for expected, word := range hostileWords {
			r.Require(f.File+" message", !strings.Contains(f.Expect, expected) || strings.Contains(text, word))
		}
		for _, name := range tensorName.FindAllString(f.What, -1) {
			r.Require(f.File+" names "+name, strings.Contains(text, name))
		}
	}
	markerPath, _, _ := strings.Cut(marker, " ")
	_, err = os.Lstat(markerPath)
	r.Require("nothing was run: "+marker, os.IsNotExist(err))
	return nil
}

// allocated is the number of bytes that the program has allocated so far.
func allocated() uint64 {
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.TotalAlloc
}
