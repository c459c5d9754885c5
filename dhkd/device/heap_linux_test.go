//go:build cgo && !noxla

package device

import (
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/dhkd-lab/dhkd-go/dhkd/device/internal/cmemory"
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

// hold is a block that a test has, and the number that it wrote into each page of it.
type hold struct {
	block  unsafe.Pointer
	size   int
	number uint64
}

// places are where a block's number is: the first word of each 4 KiB, and the last.
func (h hold) places(visit func(*uint64)) {
	for at := 0; at+8 <= h.size; at += 4096 {
		visit((*uint64)(unsafe.Add(h.block, at)))
	}
	visit((*uint64)(unsafe.Add(h.block, (h.size-8)/8*8)))
}

func (h hold) write() { h.places(func(word *uint64) { *word = h.number }) }

// intact tells whether nobody else has written to the block.
func (h hold) intact() bool {
	intact := true
	h.places(func(word *uint64) { intact = intact && *word == h.number })
	return intact
}

// Threads at once take, move and free random blocks: each is aligned, large enough and its holder's alone, and in the
// end the heap is as it was before, its free blocks joined.
func TestHeapAtRandom(t *testing.T) {
	openKeeping(t)
	liveBefore, _, freeBefore := heapState()
	ways := slices.Sorted(maps.Keys(cmemory.Takes))
	var threads sync.WaitGroup
	for thread := range 4 {
		threads.Go(func() {
			rng := rand.New(rand.NewPCG(1, uint64(thread)))
			size := func() int { return 8 * int(math.Exp2(13+9*rng.Float64())) } // 64 KiB to 32 MiB
			var held []hold
			for i := range 1500 {
				number := uint64(thread)<<32 + uint64(i)
				var at int
				if len(held) > 0 {
					at = rng.IntN(len(held))
					if !held[at].intact() {
						t.Errorf("thread %d, step %d: %+v was written to", thread, i, held[at])
						return
					}
				}
				switch what := rng.IntN(3); {
				case len(held) == 0 || what == 0 && len(held) < 12:
					way, alignment, n := ways[rng.IntN(len(ways))], 8<<rng.IntN(19), size()
					h := hold{cmemory.Takes[way](alignment, n), n, number}
					if way == "malloc" {
						alignment = 16
					}
					if h.block == nil || uintptr(h.block)%uintptr(alignment) != 0 || cmemory.Usable(h.block) < n {
						t.Errorf("%s(%d, %d): %+v of %d bytes", way, alignment, n, h, cmemory.Usable(h.block))
						return
					}
					h.write()
					held = append(held, h)
				case what == 1:
					old, n := held[at], size()
					moved := hold{cmemory.Realloc(old.block, n), n, number}
					kept := hold{moved.block, min(n, old.size) / 4096 * 4096, old.number}
					kept.size -= 4088 // the last word that is surely kept is the last page's first
					if moved.block == nil || !kept.intact() {
						t.Errorf("thread %d, step %d: %+v moved to %+v lost what it had", thread, i, old, moved)
						return
					}
					moved.write()
					held[at] = moved
				default:
					cmemory.Free(held[at].block)
					held = slices.Delete(held, at, at+1)
				}
			}
			for _, h := range held {
				if !h.intact() {
					t.Errorf("thread %d: %+v was written to", thread, h)
				}
				cmemory.Free(h.block)
			}
		})
	}
	threads.Wait()
	if live, _, free := heapState(); live != liveBefore || free != freeBefore {
		t.Errorf("%d bytes in use and %d free blocks; before %d and %d", live, free, liveBefore, freeBefore)
	}
}

// Threads that do nothing but take and free small blocks are in the heap at the same time: without its lock two would
// soon have one block, or its bookkeeping would be wrong.
func TestHeapIsLocked(t *testing.T) {
	openKeeping(t)
	liveBefore, _, freeBefore := heapState()
	var threads sync.WaitGroup
	for thread := range uint64(4) {
		threads.Go(func() {
			for i := range uint64(20000) {
				h := hold{cmemory.Takes["aligned_alloc"](64, 32<<10), 32 << 10, thread<<32 + i}
				h.write()
				if !h.intact() {
					t.Errorf("thread %d, step %d: another thread has the block", thread, i)
					return
				}
				cmemory.Free(h.block)
			}
		})
	}
	threads.Wait()
	if live, _, free := heapState(); live != liveBefore || free != freeBefore {
		t.Errorf("%d bytes in use and %d free blocks; before %d and %d", live, free, liveBefore, freeBefore)
	}
}

// Where small blocks that stay keep a large one from its place, the place's memory is not kept as well.
func TestNoMoreIsKeptThanWasInUse(t *testing.T) {
	openKeeping(t)
	giveBackMemory()
	const large, small, rounds = 64 << 20, 8 << 20, 8
	_, start, _ := heapState() // pages with blocks of others, which may be a small part of each
	var stay []hold
	take := func(size int) hold {
		h := hold{cmemory.Takes["aligned_alloc"](64, size), size, uint64(size)}
		h.write()
		return h
	}
	before := residentBytes(t)
	most := 0
	for i := range rounds {
		scratch := take(large + i*small)
		live, _, _ := heapState()
		most = max(most, live)
		cmemory.Free(scratch.block)
		first := take(large / 2)
		stay = append(stay, take(small)) // in the middle of the scratch memory's place
		cmemory.Free(first.block)
	}
	_, resident, _ := heapState()
	if limit := most + most/8 + 2<<20; resident > limit || residentBytes(t)-before > limit-start+8<<20 {
		t.Errorf("%d MiB are kept, and %d of the process's; %d were in use at once", resident>>20,
			(residentBytes(t)-before)>>20, most>>20)
	}
	for _, h := range stay {
		if !h.intact() {
			t.Error("a block that stays was written to")
		}
		cmemory.Free(h.block)
	}
	giveBackMemory()
	if _, resident, _ = heapState(); resident > start+8<<20 {
		t.Errorf("%d MiB are resident after they were given back", resident>>20)
	}
}

// A large block that is taken a moment before another is freed takes that one's place.
func TestScratchMemoryWaitsForTheLast(t *testing.T) {
	openKeeping(t)
	const size = 64 << 20
	take := cmemory.Takes["posix_memalign"]
	for range 20 { // another program can keep the thread that frees from running
		giveBackMemory()
		first := take(64, size)
		at := uintptr(first)
		time.AfterFunc(2*time.Millisecond, func() { cmemory.Free(first) })
		second := take(64, size)
		again := uintptr(second) == at
		cmemory.Free(second)
		if again {
			return
		}
		time.Sleep(50 * time.Millisecond) // the first is freed
	}
	t.Error("it never did")
}

// residentBytes is the memory of this process.
func residentBytes(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

// A block that the heap has no place for is the C library's; one that nobody has a place for is none.
func TestFullHeap(t *testing.T) {
	openKeeping(t)
	defer giveBackMemory()
	const size = 1 << 30
	before, _, _ := heapState()
	for last, all := before, []unsafe.Pointer(nil); ; {
		block := cmemory.Takes["posix_memalign"](64, size)
		if block == nil {
			t.Fatal("no block")
		}
		all = append(all, block)
		live, _, _ := heapState()
		if live > last {
			last = live
			continue
		}
		h := hold{block, 1 << 20, 5}
		h.write()
		if block = cmemory.Realloc(block, 2*size); block == nil || !(hold{block, 1 << 20, 5}).intact() {
			t.Error("realloc of the C library's block")
		}
		all[len(all)-1] = block
		for _, block := range all {
			cmemory.Free(block)
		}
		break
	}
	if live, _, _ := heapState(); live != before {
		t.Errorf("%d bytes in use, before %d", live, before)
	}
	if cmemory.Takes["aligned_alloc"](64, math.MaxInt/64*64) != nil || cmemory.Takes["posix_memalign"](24, 1<<20) != nil {
		t.Error("got what cannot be had")
	}
}

// A forked child can use the heap, whatever the other threads were doing.
func TestHeapAfterFork(t *testing.T) {
	openKeeping(t)
	var busy sync.WaitGroup
	var end atomic.Bool
	busy.Go(func() {
		for !end.Load() {
			cmemory.Free(cmemory.Takes["aligned_alloc"](64, 1<<20))
		}
	})
	for range 20 {
		if !cmemory.Forked(1 << 20) {
			t.Error("a child failed")
			break
		}
	}
	end.Store(true)
	busy.Wait()
}

// What the user says about malloc wins.
func TestMallocIsTheUsers(t *testing.T) {
	const name = "MALLOC_TRIM_THRESHOLD_"
	if os.Getenv(name) == "" {
		openKeeping(t)
		child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
		child.Env = append(os.Environ(), name+"=1000000")
		if out, err := child.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	keepMemory()
	block := cmemory.Takes["malloc"](0, 1<<20)
	if live, resident, free := heapState(); live+resident+free != 0 {
		t.Errorf("there is a heap: %d bytes in use, %d resident, %d free blocks", live, resident, free)
	}
	cmemory.Free(block)
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
