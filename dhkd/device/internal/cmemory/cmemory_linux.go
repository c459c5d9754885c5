//go:build cgo

// Package cmemory gives tests C's functions of memory, as all libraries of the process see them. Test files cannot
// call C.
package cmemory

/*
#include <malloc.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

// forked is a child's exit status, or -1: the child takes a block, writes to it, and frees it.
static int forked(size_t size) {
	pid_t child = fork();
	if (child == 0) {
		alarm(10);
		char *block = malloc(size);
		if (!block) _exit(1);
		for (size_t i = 0; i < size; i += 4096) ((volatile char *)block)[i] = 1;
		free(block);
		_exit(0);
	}
	int status;
	return child > 0 && waitpid(child, &status, 0) == child ? status : -1;
}
*/
import "C"

import "unsafe"

// A Take takes a block, which is nil if there is none. The alignment is a power of two, 8 at least; Malloc ignores it.
type Take func(alignment, size int) unsafe.Pointer

// Takes are malloc, posix_memalign and aligned_alloc.
var Takes = map[string]Take{
	"malloc": func(_, size int) unsafe.Pointer { return C.malloc(C.size_t(size)) },
	"posix_memalign": func(alignment, size int) unsafe.Pointer {
		var block unsafe.Pointer
		if C.posix_memalign(&block, C.size_t(alignment), C.size_t(size)) != 0 {
			return nil
		}
		return block
	},
	"aligned_alloc": func(alignment, size int) unsafe.Pointer {
		return C.aligned_alloc(C.size_t(alignment), C.size_t(size))
	},
}

// Realloc is realloc.
func Realloc(block unsafe.Pointer, size int) unsafe.Pointer { return C.realloc(block, C.size_t(size)) }

// Free is free.
func Free(block unsafe.Pointer) { C.free(block) }

// Usable is malloc_usable_size.
func Usable(block unsafe.Pointer) int { return int(C.malloc_usable_size(block)) }

// Forked tells whether a forked child can take, use and free a block.
func Forked(size int) bool { return C.forked(C.size_t(size)) == 0 }
