//go:build cgo && !noxla

package device

/*
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#ifdef __GLIBC__
// Whether the user says nothing about malloc.
static int ours(void) {
	return !getenv("MALLOC_ARENA_MAX") && !getenv("MALLOC_MMAP_MAX_") && !getenv("MALLOC_TRIM_THRESHOLD_") &&
		!getenv("GLIBC_TUNABLES");
}

// One heap for all threads: glibc fixes their number when a second thread asks for memory, so this runs before main. A
// large block never fits another heap than the first; it would come from the system.
__attribute__((constructor)) static void one_heap(void) {
	if (ours()) mallopt(M_ARENA_MAX, 1);
}
#endif

static void keep_memory(void) {
#ifdef __GLIBC__
	if (!ours()) return;
	mallopt(M_MMAP_MAX, 0);
	mallopt(M_TRIM_THRESHOLD, -1);
	// Address space alone: a page is there once it is written to. Freed, it is what later blocks are cut from.
	size_t huge = 2 << 20, size = (size_t)sysconf(_SC_PHYS_PAGES) / 2 * sysconf(_SC_PAGESIZE);
	void *all = malloc(size);
	if (all) {
		uintptr_t start = ((uintptr_t)all + huge - 1) / huge * huge;
		madvise((void *)start, ((uintptr_t)all + size - start) / huge * huge, MADV_HUGEPAGE);
		free(all);
	}
#endif
}
*/
import "C"

import "sync"

// keepMemory makes the C library keep the memory that a program frees, in huge pages. XLA:CPU allocates its scratch
// memory anew for every call, and by default glibc fetches blocks of that size from the system, which clears them page by
// page, and gives them back, which can take as long as the computation. What the user says about malloc in the
// environment is left as it is.
var keepMemory = sync.OnceFunc(func() { C.keep_memory() })
