//go:build cgo && !noxla

package device

/*
#cgo LDFLAGS: -ldl
#include "heap_linux.h"
*/
import "C"

import "sync"

// keepMemory makes the process keep the memory of large blocks that it frees, in huge pages, but no more of it than
// was in use at once, and an eighth. XLA:CPU allocates its scratch memory anew for every call, and by default glibc
// fetches blocks of that size from the system, which clears them page by page, and gives them back, which can take as
// long as the computation. Kept by glibc, a program's scratch memory, one block, often finds no place where it was
// before, between small blocks that stay, and more and more memory is resident. What the user says about malloc in the
// environment is left as it is.
var keepMemory = sync.OnceFunc(func() { C.dhkd_keep_memory() })

// giveBackMemory gives what is free now back to the system, where memory is kept.
func giveBackMemory() { C.dhkd_give_back_memory() }

// heapState is what the heap of large blocks has: bytes taken, bytes that may be in memory, and free blocks.
func heapState() (live, resident, freeBlocks int) {
	s := C.dhkd_heap_state()
	return int(s.live), int(s.resident), int(s.free_blocks)
}
