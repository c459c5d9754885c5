//go:build ((linux && (amd64 || arm64)) || (darwin && arm64) || (windows && amd64)) && !noxla

package device

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
)

// checkLibrary refuses files that the dynamic loader would crash on or that are no plugin: loading half a file ends the
// process with SIGBUS. It reads the headers only. Where libraries are not ELF it checks that there is a file.
func checkLibrary(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("it is not a file")
	}
	if runtime.GOOS != "linux" {
		return nil
	}
	f, err := elf.Open(path)
	if err != nil {
		return fmt.Errorf("it is not a shared library, or is truncated: %w", err)
	}
	defer f.Close()
	machines := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}
	if f.Machine != machines[runtime.GOARCH] {
		return fmt.Errorf("it was built for %v, and this is %s", f.Machine, runtime.GOARCH)
	}
	for _, segment := range f.Progs {
		if end := segment.Off + segment.Filesz; end < segment.Off || end > uint64(info.Size()) {
			return fmt.Errorf("it is truncated: it has %d bytes, and a segment ends at %d", info.Size(), end)
		}
	}
	symbols, err := f.DynamicSymbols()
	if err != nil {
		return fmt.Errorf("its symbols cannot be read: %w", err)
	}
	if !slices.ContainsFunc(symbols, func(s elf.Symbol) bool { return s.Name == "GetPjrtApi" }) {
		return errors.New("it is not a PJRT plugin: it does not export GetPjrtApi")
	}
	return nil
}
