//go:build cgo && !noxla

package device

/*
#cgo LDFLAGS: -ldl
#include <stdlib.h>
#include "programs_linux.h"
*/
import "C"

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/dhkd-lab/dhkd-go/dhkd/internal/safefile"
)

// programs is a directory of compiled programs, which XLA loads much faster than it compiles them; "" keeps none.
// go-xla does not offer PJRT's serialisation, so the plugin's compiler is intercepted in its table of functions.
//
// A program's file is named by the hash of all that it depends on, and begins with the hash of its content.
type programs struct {
	dir    string
	common string        // that all programs depend on: the plugin, its flags, the processor
	least  time.Duration // what compiles faster is not kept
	loaded atomic.Int64  // programs that were not compiled
}

// maxProgramBytes is what a directory may hold; those used longest ago go first.
const maxProgramBytes = 1 << 30

// longCompilation is one whose program is kept, and after which memory is given back.
const longCompilation = time.Second / 2

// longProgram is the bytes of one that takes long to compile.
const longProgram = 256 << 10

// keptPrograms is that of the plugin that was intercepted, or nil.
var keptPrograms atomic.Pointer[programs]

// intercept makes the loaded CPU plugin compile by dhkdCompile.
func intercept(p Plugin) {
	path := C.CString(p.Path)
	defer C.free(unsafe.Pointer(path))
	if api := C.dhkd_intercept(path); api != nil {
		addKernels(api, os.Getenv("DHKD_KERNELS"))
		keepPrograms(p)
	}
}

// keepPrograms keeps what the CPU plugin compiles in dhkd's cache directory, unless DHKD_COMPILE_CACHE is "off".
func keepPrograms(p Plugin) {
	kept := &programs{}
	dir, err := CacheDir()
	info, statErr := os.Stat(p.Path)
	if os.Getenv("DHKD_COMPILE_CACHE") != "off" && err == nil && statErr == nil {
		kept.dir, kept.least = filepath.Join(dir, "programs"), longCompilation
		kept.common = fmt.Sprintf("1 %s %d %d %q %d %s", p.Path, info.Size(), info.ModTime().UnixNano(),
			os.Getenv("XLA_FLAGS"), runtime.NumCPU(), processor())
	}
	keptPrograms.Store(kept)
}

// processor is what Linux says of the first core: programs are compiled for its instructions.
func processor() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	var lines []string
	for line := range strings.Lines(string(text)) {
		if strings.TrimSpace(line) == "" {
			break
		}
		name, _, _ := strings.Cut(line, "\t")
		if slices.Contains([]string{"vendor_id", "model name", "flags", "Features", "CPU part"}, strings.TrimSpace(name)) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

//export dhkdCompile
func dhkdCompile(args *C.compile_args) *C.PJRT_Error {
	code := view(args.program.code, args.program.code_size)
	if marked := markDonors(code); marked != nil {
		code = marked
	}
	counted.programs.Add(1)
	counted.bytes.Add(int64(len(code)))
	if replaced := withKernels(code); replaced != nil {
		err := compile(args, replaced)
		if err == nil {
			return nil
		}
		C.dhkd_forget(err) // this plugin does not take our kernels after all
	}
	return compile(args, code)
}

// compile loads or compiles code in place of the program's.
func compile(args *C.compile_args, code []byte) *C.PJRT_Error {
	p, program := keptPrograms.Load(), args.program
	if p == nil || p.dir == "" {
		err, _ := compileAnew(args, code)
		return err
	}
	path := p.path(code, view(program.format, program.format_size), view(args.options, args.options_size))
	if code := readProgram(path); len(code) > 0 && C.dhkd_load(args, unsafe.Pointer(&code[0]), C.size_t(len(code))) != 0 {
		p.loaded.Add(1)
		counted.loaded.Add(1)
		now := time.Now()
		_ = os.Chtimes(path, now, now)
		return nil
	}
	err, took := compileAnew(args, code)
	if err != nil || took < p.least {
		return err
	}
	s := C.dhkd_serialize(args)
	defer C.dhkd_release(s)
	if s.bytes != nil && writeProgram(path, view(s.bytes, s.size)) == nil { // a cache that cannot be written is none
		p.trim(maxProgramBytes)
	}
	return nil
}

// compileAnew compiles code and says how long it took. A long compilation needs more memory than anything else: before it
// the garbage of Go goes, which tracing a large graph leaves, and after it what it needed itself, since a program's scratch
// memory, one block, does not fit between what stays of it.
func compileAnew(args *C.compile_args, code []byte) (*C.PJRT_Error, time.Duration) {
	if len(code) >= longProgram {
		debug.FreeOSMemory()
	}
	start := time.Now()
	err := C.dhkd_compile(args, unsafe.Pointer(unsafe.SliceData(code)), C.size_t(len(code)))
	took := time.Since(start)
	if took >= longCompilation {
		giveBackMemory()
	}
	return err, took
}

// view is C's memory as bytes.
func view(at *C.char, n C.size_t) []byte { return unsafe.Slice((*byte)(unsafe.Pointer(at)), int(n)) }

func (p *programs) path(parts ...[]byte) string {
	h := sha256.New()
	for _, part := range append(parts, []byte(p.common)) {
		fmt.Fprintf(h, "%d\n", len(part))
		h.Write(part)
	}
	return filepath.Join(p.dir, hex.EncodeToString(h.Sum(nil)))
}

// readProgram returns nil where there is no whole program.
func readProgram(path string) []byte {
	content, err := os.ReadFile(path)
	if err != nil || len(content) < sha256.Size {
		return nil
	}
	sum, code := content[:sha256.Size], content[sha256.Size:]
	if want := sha256.Sum256(code); !bytes.Equal(sum, want[:]) {
		return nil
	}
	return code
}

func writeProgram(path string, code []byte) error {
	return safefile.Write(path, func(w io.Writer) error {
		sum := sha256.Sum256(code)
		_, err := w.Write(slices.Concat(sum[:], code))
		return err
	})
}

// trim removes the programs that were used longest ago until the rest has at most that many bytes.
func (p *programs) trim(most int64) {
	entries, _ := os.ReadDir(p.dir)
	var files []fs.FileInfo
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			files = append(files, info)
		}
	}
	slices.SortFunc(files, func(a, b fs.FileInfo) int { return b.ModTime().Compare(a.ModTime()) })
	for _, f := range files {
		if most -= f.Size(); most < 0 {
			_ = os.Remove(filepath.Join(p.dir, f.Name()))
		}
	}
}
