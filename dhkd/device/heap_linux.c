//go:build cgo && !noxla

#define _GNU_SOURCE
#include "heap_linux.h"

#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#ifdef __GLIBC__

// The heap of large blocks: one range of addresses, cut into blocks that are taken or free, each of whole units. No two
// free blocks are neighbours. Its bookkeeping lies elsewhere, so what is free need not be in memory.
enum { unit = 4 << 10, huge = 2 << 20 };

// scratch is what the memory that a program needs while it runs has at least, where it matters.
enum { scratch = 16 << 20 };

static struct {
	pthread_mutex_t lock;
	char *start;
	_Atomic size_t size;          // bytes, whole huge pages; 0 until there is a heap
	uint32_t *tags;               // of a block's first unit and of its last: twice its units, and 1 if it is taken
	unsigned char *here;          // of each huge page, whether it may be in memory
	size_t resident, live, most;  // bytes in memory, taken, and the most that were taken since all was given back
} heap = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void lock(void) { pthread_mutex_lock(&heap.lock); }
static void unlock(void) { pthread_mutex_unlock(&heap.lock); }
static void mark(size_t at, size_t units, int taken) {
	if (units) heap.tags[at] = heap.tags[at + units - 1] = units * 2 + taken;
}

// reserve takes address space alone: a page is there once it is written to.
static void *reserve(size_t size) {
	void *all = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	return all == MAP_FAILED ? 0 : all;
}

int dhkd_heap_open(size_t size) {
	size = size / huge * huge;
	if (heap.size || !size || size > (size_t)unit << 30) return heap.size > 0; // a tag has 31 bits for the units
	char *all = reserve(size + huge);
	heap.tags = reserve(size / unit * sizeof *heap.tags);
	heap.here = reserve(size / huge);
	if (!all || !heap.tags || !heap.here || pthread_atfork(lock, unlock, unlock)) return 0;
	heap.start = (char *)(((uintptr_t)all + huge - 1) / huge * huge);
	madvise(heap.start, size, MADV_HUGEPAGE);
	mark(0, size / unit, 0);
	atomic_store(&heap.size, size);
	return 1;
}

// give_back takes free pages out of memory, the last first, until so many bytes are left.
static void give_back(size_t left) {
	for (size_t end = heap.size / unit, at; end > 0 && heap.resident > left; end = at) {
		at = end - heap.tags[end - 1] / 2;
		if (heap.tags[at] & 1) continue;
		size_t first = (at * unit + huge - 1) / huge;
		for (size_t page = end * unit / huge; page > first && heap.resident > left; page--) {
			if (!heap.here[page - 1] || madvise(heap.start + (page - 1) * huge, huge, MADV_DONTNEED)) continue;
			heap.here[page - 1] = 0;
			heap.resident -= huge;
		}
	}
}

// XLA frees a call's scratch memory a moment after its results are there, when the next call may want its own: with
// both, twice the memory would be in use. So before more is in use than ever, such a block waits a little for another
// to go. It is called, and returns, with the lock.
static void wait_for_another(size_t size) {
	for (int i = 0; i < 40 && size >= scratch && heap.live >= size && heap.live + size > heap.most; i++) {
		unlock();
		usleep(500);
		lock();
	}
}

// The first place that is large enough is taken: blocks stay close together, and a program's blocks come back to where
// they were. Where that needs new pages, others that are free go, so that no more is in memory than was in use at once,
// and an eighth.
void *dhkd_heap_take(size_t alignment, size_t size) {
	size_t all = heap.size / unit;
	if (!size || size > heap.size || alignment > huge || alignment & (alignment - 1)) return 0;
	size_t units = (size + unit - 1) / unit, step = alignment > unit ? alignment / unit : 1;
	char *block = 0;
	lock();
	wait_for_another(units * unit);
	for (size_t at = 0, n; at < all && !block; at += n) {
		n = heap.tags[at] / 2;
		size_t first = (at + step - 1) / step * step;
		if (heap.tags[at] & 1 || first + units > at + n) continue;
		mark(at, first - at, 0);
		mark(first, units, 1);
		mark(first + units, at + n - first - units, 0);
		block = heap.start + first * unit;
		heap.live += units * unit;
		if (heap.most < heap.live) heap.most = heap.live;
		for (size_t page = first * unit / huge; page * huge < (first + units) * unit; page++) {
			if (!heap.here[page]) heap.resident += huge;
			heap.here[page] = 1;
		}
		give_back(heap.most + heap.most / 8);
	}
	unlock();
	return block;
}

int dhkd_heap_has(const void *block) { return (uintptr_t)block - (uintptr_t)heap.start < heap.size; }

// taken is the first unit of a block that is taken.
static size_t taken(const void *block) {
	size_t offset = (const char *)block - heap.start;
	if (offset % unit == 0 && heap.tags[offset / unit] & 1) return offset / unit;
	fprintf(stderr, "free or realloc of %p, which is no block or was freed\n", block);
	abort();
}

size_t dhkd_heap_size(const void *block) { return (size_t)(heap.tags[taken(block)] / 2) * unit; }

void dhkd_heap_free(void *block) {
	lock();
	size_t at = taken(block), n = heap.tags[at] / 2;
	heap.live -= n * unit;
	if (at > 0 && !(heap.tags[at - 1] & 1)) {
		size_t before = heap.tags[at - 1] / 2;
		at -= before;
		n += before;
	}
	if (at + n < heap.size / unit && !(heap.tags[at + n] & 1)) n += heap.tags[at + n] / 2;
	mark(at, n, 0);
	unlock();
}

heap_state dhkd_heap_state(void) {
	lock();
	heap_state s = {heap.live, heap.resident};
	for (size_t at = 0; at < heap.size / unit; at += heap.tags[at] / 2) {
		if (!(heap.tags[at] & 1)) s.free_blocks++;
	}
	unlock();
	return s;
}

// ours says whether the user says nothing about malloc.
static int ours(void) {
	return !getenv("MALLOC_ARENA_MAX") && !getenv("MALLOC_MMAP_MAX_") && !getenv("MALLOC_TRIM_THRESHOLD_") &&
		!getenv("GLIBC_TUNABLES");
}

// Smaller blocks stay the C library's. Each of the threads that compile would leave a heap behind that is full of
// gaps, so all have one; glibc fixes the number when a second thread asks for memory, so this runs before main.
__attribute__((constructor)) static void one_heap(void) {
	if (ours()) mallopt(M_ARENA_MAX, 1);
}

void dhkd_keep_memory(void) {
	if (!ours() || !dhkd_heap_open((size_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE))) return;
	mallopt(M_TRIM_THRESHOLD, 32 << 20); // the C library would give back and fetch again 128 KiB
}

void dhkd_give_back_memory(void) {
	if (!heap.size) return;
	lock();
	give_back(0);
	heap.most = heap.live;
	unlock();
	malloc_trim(0);
}

#else

void dhkd_keep_memory(void) {}
void dhkd_give_back_memory(void) {}

#endif
