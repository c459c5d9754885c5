//go:build cgo && !noxla

package device

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/core/graph"
)

// Of a program that is kept, loaded, damaged and compiled anew.
func TestProgramsAreKept(t *testing.T) {
	path := pinned(t).Path
	d, attempt := thisMachine().try(Plugin{Kind: "cpu", Path: path, Source: "test"}, "")
	if d == nil {
		t.Fatal(attempt)
	}
	defer d.Close()
	before := keptPrograms.Load()
	if before == nil {
		skip(t, "another plugin was loaded first")
	}
	kept := &programs{dir: t.TempDir(), common: before.common}
	keptPrograms.Store(kept)
	defer keptPrograms.Store(before)

	files := func() []string {
		found, err := filepath.Glob(filepath.Join(kept.dir, "*"))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	run := func(what string, loaded int64) {
		t.Helper()
		was, wasLoaded := CountPrograms(), kept.loaded.Load()
		if got := sumOfSquares(t, d.Backend, 3, 4); got != 25 {
			t.Errorf("%s: 3² + 4² = %g", what, got)
		}
		if n := kept.loaded.Load(); n != loaded {
			t.Errorf("%s: %d programs were loaded, want %d", what, n, loaded)
		}
		is := CountPrograms()
		if is.Programs != was.Programs+1 || int64(is.Loaded-was.Loaded) != loaded-wasLoaded || is.Bytes < was.Bytes+100 {
			t.Errorf("%s: counted %+v, then %+v", what, was, is)
		}
		if all := files(); len(all) != 1 {
			t.Errorf("%s: kept %q", what, all)
		}
	}
	run("compiled", 0)
	run("loaded", 1)
	file := files()[0]
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string][]byte{"cut": whole[:len(whole)/2], "empty": {},
		"changed": append(append([]byte{}, whole[:len(whole)-1]...), whole[len(whole)-1]^1)} {
		if err := os.WriteFile(file, damage, 0o644); err != nil {
			t.Fatal(err)
		}
		run(name, kept.loaded.Load())
		run(name+", mended", kept.loaded.Load()+1)
	}
	if err := os.RemoveAll(kept.dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(kept.dir, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if got := sumOfSquares(t, d.Backend, 3, 4); got != 25 {
		t.Errorf("a directory that cannot be written: %g", got)
	}
}

func sumOfSquares(t *testing.T, backend compute.Backend, x ...float32) float32 {
	t.Helper()
	sum, err := graph.CallOnce(backend, func(x *graph.Node) *graph.Node { return graph.ReduceAllSum(graph.Mul(x, x)) }, x)
	if err != nil {
		t.Fatal(err)
	}
	defer sum.MustFinalizeAll()
	return sum.Value().(float32)
}

func TestProgramsDependOnAll(t *testing.T) {
	p, other := programs{common: "a"}, programs{common: "b"}
	seen := map[string]bool{}
	for _, path := range []string{p.path([]byte("x"), []byte("yz")), p.path([]byte("xy"), []byte("z")),
		p.path([]byte("x"), []byte("y")), other.path([]byte("x"), []byte("yz"))} {
		if seen[path] {
			t.Errorf("%s twice", path)
		}
		seen[path] = true
	}
}

func TestOldestProgramsGo(t *testing.T) {
	p := programs{dir: t.TempDir()}
	for i, name := range []string{"old", "middle", "new"} {
		path := filepath.Join(p.dir, name)
		if err := os.WriteFile(path, make([]byte, 10), 0o644); err != nil {
			t.Fatal(err)
		}
		at := time.Unix(int64(1000*i), 0)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	p.trim(20)
	if _, err := os.Stat(filepath.Join(p.dir, "old")); !os.IsNotExist(err) {
		t.Errorf("the oldest is there: %v", err)
	}
	for _, name := range []string{"middle", "new"} {
		if _, err := os.Stat(filepath.Join(p.dir, name)); err != nil {
			t.Error(err)
		}
	}
}
