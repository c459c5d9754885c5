//go:build !noxla

package device

import (
	"os"
	"syscall"
	"testing"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
)

// A program that takes and gives back 64 MiB a call must not fetch them from the system each time: 16,384 pages.
func TestMemoryIsKept(t *testing.T) {
	for _, name := range []string{"MALLOC_ARENA_MAX", "MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES"} {
		if os.Getenv(name) != "" {
			skip(t, name+" is set, and wins")
		}
	}
	d, attempt := thisMachine().try(pinned(t), "")
	if d == nil {
		t.Fatal(attempt)
	}
	defer d.Close()
	exec, err := graph.NewExec(d.Backend, func(x *graph.Node) *graph.Node {
		return graph.AddScalar(graph.Iota(x.Graph(), x.Shape(), 0), 1)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer exec.Finalize()
	x := tensors.FromFlatDataAndDimensions(make([]float32, 16<<20), 16<<20)
	const warm, calls = 3, 10
	var before, after syscall.Rusage
	for i := range warm + calls {
		if i == warm {
			_ = syscall.Getrusage(syscall.RUSAGE_SELF, &before)
		}
		out, err := exec.Call1(x)
		if err != nil {
			t.Fatal(err)
		}
		out.MustFinalizeAll()
	}
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &after)
	if pages := (after.Minflt - before.Minflt) / calls; pages > 2000 {
		t.Errorf("%d pages were fetched a call", pages)
	}
}
