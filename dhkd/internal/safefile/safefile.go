// Package safefile writes files that are either whole or not there.
package safefile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// Write makes or replaces the file at path with what write produces, creating its directory when missing. The content goes
// to a temporary file beside it, is synced, and then renamed: a crash, a full disk or an error of write leaves the old file
// as it was. The error names the file.
func Write(path string, write func(io.Writer) error) error {
	return put(path, write, os.Rename)
}

// Create is [Write] for a file that must not be there yet: the error is fs.ErrExist if it is, also where another process has
// just made it. A file system without hard links leaves a moment in which two processes may both succeed.
func Create(path string, write func(io.Writer) error) error {
	return put(path, write, func(temporary, path string) error {
		err := os.Link(temporary, path)
		if err == nil {
			os.Remove(temporary) // a second name that stays does no harm, and the file is there
			return nil
		}
		if _, statErr := os.Lstat(path); errors.Is(err, fs.ErrExist) || statErr == nil {
			return fs.ErrExist
		}
		return os.Rename(temporary, path)
	})
}

// put writes a temporary file and gives it its name by place.
func put(path string, write func(io.Writer) error, place func(temporary, path string) error) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("cannot write %s (nothing was changed): %w", path, err)
		}
	}()
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*.tmp")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	buffered := bufio.NewWriterSize(f, 1<<20)
	if err := write(buffered); err != nil {
		return err
	}
	if err := buffered.Flush(); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := place(f.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes the rename itself durable. Windows has no such call.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
