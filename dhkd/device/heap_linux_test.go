//go:build !noxla

package device

import (
	"os"
	"syscall"
	"testing"
	"unsafe"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
)

// A program that takes and gives back 64 MiB a call must not fetch them from the system each time: 16,384 pages.
func TestMemoryIsKept(t *testing.T) {
	d := openKeeping(t)
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

// XLA's large blocks begin with a huge page, so that the ends that the C library cuts off are no crumbs, see heap_linux.c.
func TestLargeBlocksBeginHugePages(t *testing.T) {
	d := openKeeping(t)
	exec, err := graph.NewExec(d.Backend, func(x *graph.Node) *graph.Node { return graph.Neg(x) })
	if err != nil {
		t.Fatal(err)
	}
	defer exec.Finalize()
	const page = 2 << 20
	for _, size := range []int{page, page + 4, 5 * page} {
		y, err := exec.Call1(make([]float32, size/4))
		if err != nil {
			t.Fatal(err)
		}
		if err := tensors.ConstFlatData(y, func(flat []float32) {
			if at := uintptr(unsafe.Pointer(unsafe.SliceData(flat))); at%page != 0 {
				t.Errorf("a block of %d bytes is at %#x", size, at)
			}
		}); err != nil {
			t.Fatal(err)
		}
		y.MustFinalizeAll()
	}
}

// openKeeping opens XLA in a process that keeps its memory.
func openKeeping(t *testing.T) *Device {
	t.Helper()
	for _, name := range []string{"MALLOC_ARENA_MAX", "MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES"} {
		if os.Getenv(name) != "" {
			skip(t, name+" is set, and wins")
		}
	}
	d, attempt := thisMachine().try(pinned(t), "")
	if d == nil {
		t.Fatal(attempt)
	}
	t.Cleanup(d.Close)
	return d
}
