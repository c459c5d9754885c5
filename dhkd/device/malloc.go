//go:build linux && cgo && !noxla

package device

/*
#include <malloc.h>

static void keep_memory(void) {
#ifdef __GLIBC__
	mallopt(M_ARENA_MAX, 1);
	mallopt(M_MMAP_MAX, 0);
	mallopt(M_TRIM_THRESHOLD, -1);
#endif
}
*/
import "C"

import "os"

// keepMemory makes the C library keep the memory that a program frees. XLA:CPU allocates its scratch memory anew for every
// call, and by default glibc fetches blocks of that size from the system, which clears them page by page, and gives them
// back: up to three quarters of a step's time. What the user says about malloc in the environment is left as it is.
func keepMemory() {
	for _, name := range []string{"MALLOC_ARENA_MAX", "MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES"} {
		if _, set := os.LookupEnv(name); set {
			return
		}
	}
	C.keep_memory()
}
