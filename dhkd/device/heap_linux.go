//go:build cgo && !noxla

package device

/*
#cgo LDFLAGS: -ldl
#include "heap_linux.h"
*/
import "C"

import "sync"

// keepMemory makes the C library keep the memory that a program frees, in huge pages. XLA:CPU allocates its scratch
// memory anew for every call, and by default glibc fetches blocks of that size from the system, which clears them page by
// page, and gives them back, which can take as long as the computation. What the user says about malloc in the
// environment is left as it is.
var keepMemory = sync.OnceFunc(func() { C.dhkd_keep_memory() })

// giveBackMemory gives what is free now back to the system, where memory is kept.
func giveBackMemory() { C.dhkd_give_back_memory() }
