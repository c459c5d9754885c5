//go:build cgo

package dataset

/*
#cgo LDFLAGS: -ldl
#include "turbojpeg_linux.h"
*/
import "C"

import (
	"sync"
	"unsafe"
)

// turboJPEGFound says whether libjpeg-turbo is on this machine.
var turboJPEGFound = sync.OnceValue(func() bool { return C.dhkd_turbojpeg_load() != 0 })

// turboHandle is a decoder of libjpeg-turbo; nil until one is needed.
type turboHandle struct{ pointer unsafe.Pointer }

// decode writes the planes of the file, whose frame it is. It is false where there was anything to complain about.
func (h *turboHandle) decode(file []byte, f frame, y, cb, cr []uint8, yStride, cStride int) bool {
	if h.pointer == nil {
		if h.pointer = C.dhkd_turbojpeg_new(); h.pointer == nil {
			return false
		}
	}
	pointer := func(p []uint8) *C.uchar { return (*C.uchar)(unsafe.SliceData(p)) }
	ok := C.dhkd_turbojpeg_decode(h.pointer, pointer(file), C.ulong(len(file)), C.int(f.width), C.int(f.height),
		C.int(f.sampling.turbo), pointer(y), pointer(cb), pointer(cr), C.int(yStride), C.int(cStride)) != 0
	if !ok {
		h.free() // after an error it is not fit for more
	}
	return ok
}

func (h *turboHandle) free() {
	if h.pointer != nil {
		C.dhkd_turbojpeg_free(h.pointer)
		h.pointer = nil
	}
}
