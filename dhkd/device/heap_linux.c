//go:build cgo && !noxla

#define _GNU_SOURCE
#include "heap_linux.h"

#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#ifdef __GLIBC__

static const size_t huge = 2 << 20; // bytes of a huge page
static atomic_int keeping;

// ours says whether the user says nothing about malloc.
static int ours(void) {
	return !getenv("MALLOC_ARENA_MAX") && !getenv("MALLOC_MMAP_MAX_") && !getenv("MALLOC_TRIM_THRESHOLD_") &&
		!getenv("GLIBC_TUNABLES");
}

// One heap for all threads: glibc fixes their number when a second thread asks for memory, so this runs before main. A
// large block never fits another heap than the first; it would come from the system.
__attribute__((constructor)) static void one_heap(void) {
	if (ours()) mallopt(M_ARENA_MAX, 1);
}

void dhkd_keep_memory(void) {
	if (!ours()) return;
	mallopt(M_MMAP_MAX, 0);
	mallopt(M_TRIM_THRESHOLD, -1);
	// Address space alone: a page is there once it is written to. Freed, it is what later blocks are cut from.
	size_t size = (size_t)sysconf(_SC_PHYS_PAGES) / 2 * sysconf(_SC_PAGESIZE);
	void *all = malloc(size);
	if (all) {
		uintptr_t start = ((uintptr_t)all + huge - 1) / huge * huge;
		madvise((void *)start, ((uintptr_t)all + size - start) / huge * huge, MADV_HUGEPAGE);
		free(all);
	}
	atomic_store(&keeping, 1);
}

void dhkd_give_back_memory(void) {
	if (atomic_load(&keeping)) malloc_trim(0);
}

// widened is the alignment that a block gets. glibc cuts an aligned block out of a larger one and frees the ends. With a
// small alignment they are small, stay in the cache of a thread, and do not join the block when that is freed: the next
// of its size, with its ends, fits the gap no more and goes behind it, until all caches are full. Ends of up to a huge page
// are not cached.
static size_t widened(size_t alignment, size_t size) {
	return atomic_load(&keeping) && size >= huge && alignment < huge ? huge : alignment;
}

// These two stand in for the C library's in the whole process.

int posix_memalign(void **block, size_t alignment, size_t size) {
	static int (*libc)(void **, size_t, size_t);
	if (!libc) libc = (int (*)(void **, size_t, size_t))dlsym(RTLD_NEXT, "posix_memalign");
	return libc ? libc(block, widened(alignment, size), size) : ENOMEM;
}

void *aligned_alloc(size_t alignment, size_t size) {
	static void *(*libc)(size_t, size_t);
	if (!libc) libc = (void *(*)(size_t, size_t))dlsym(RTLD_NEXT, "aligned_alloc");
	return libc ? libc(widened(alignment, size), size) : 0;
}

#else

void dhkd_keep_memory(void) {}
void dhkd_give_back_memory(void) {}

#endif
