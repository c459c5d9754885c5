//go:build cgo && !noxla

#define _GNU_SOURCE
#include "heap_linux.h"

#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef __GLIBC__

// These functions stand in for the C library's in the whole process: large blocks come from the heap of heap_linux.c if
// there is one and it has a place, all others from the C library, or from what a user has preloaded.

// large is what the C library is slow with, when it has one heap for all threads: XLA's products take and free blocks of
// 64 KiB and more a thousand times in a step.
enum { large = 32 << 10 };

static struct {
	void *(*malloc)(size_t);
	void *(*realloc)(void *, size_t);
	int (*posix_memalign)(void **, size_t, size_t);
	void *(*aligned_alloc)(size_t, size_t);
	size_t (*malloc_usable_size)(void *);
	void (*free)(void *);
} libc;

// find finds the C library's functions, at the first call, which is before main: it is 0 while it does.
static int find(void) {
	static int finding;
	if (libc.free) return 1;
	if (finding) return 0;
	finding = 1;
	*(void **)&libc.malloc = dlsym(RTLD_NEXT, "malloc");
	*(void **)&libc.realloc = dlsym(RTLD_NEXT, "realloc");
	*(void **)&libc.posix_memalign = dlsym(RTLD_NEXT, "posix_memalign");
	*(void **)&libc.aligned_alloc = dlsym(RTLD_NEXT, "aligned_alloc");
	*(void **)&libc.malloc_usable_size = dlsym(RTLD_NEXT, "malloc_usable_size");
	*(void **)&libc.free = dlsym(RTLD_NEXT, "free");
	return libc.free != 0;
}

void *malloc(size_t size) {
	void *block = size >= large ? dhkd_heap_take(1, size) : 0;
	return block ? block : find() ? libc.malloc(size) : 0;
}

int posix_memalign(void **block, size_t alignment, size_t size) {
	void *taken = size >= large && alignment >= sizeof(void *) ? dhkd_heap_take(alignment, size) : 0;
	if (!taken) return find() ? libc.posix_memalign(block, alignment, size) : ENOMEM;
	*block = taken;
	return 0;
}

void *aligned_alloc(size_t alignment, size_t size) {
	void *block = size >= large && alignment ? dhkd_heap_take(alignment, size) : 0;
	return block ? block : find() ? libc.aligned_alloc(alignment, size) : 0;
}

void free(void *block) {
	if (dhkd_heap_has(block)) dhkd_heap_free(block);
	else if (find()) libc.free(block);
}

size_t malloc_usable_size(void *block) {
	return dhkd_heap_has(block) ? dhkd_heap_size(block) : find() ? libc.malloc_usable_size(block) : 0;
}

void *realloc(void *block, size_t size) {
	if (!dhkd_heap_has(block)) return find() ? libc.realloc(block, size) : 0;
	size_t before = dhkd_heap_size(block);
	if (size <= before && size > before / 2) return block;
	void *moved = size ? malloc(size) : 0;
	if (moved) memcpy(moved, block, size < before ? size : before);
	if (moved || !size) free(block);
	return moved;
}

#endif
