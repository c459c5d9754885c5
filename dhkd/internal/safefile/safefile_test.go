package safefile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// Of any number of processes that create a file, one does, and what is there is whole.
func TestCreate(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "below", "file")
	errs := make([]error, 8)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() {
			errs[i] = Create(path, func(w io.Writer) error { _, err := fmt.Fprintf(w, "written by %d", i); return err })
		})
	}
	all.Wait()
	winner := -1
	for i, err := range errs {
		switch {
		case err == nil && winner >= 0:
			t.Errorf("%d and %d made the file", winner, i)
		case err == nil:
			winner = i
		case !errors.Is(err, fs.ErrExist):
			t.Error(err)
		}
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != fmt.Sprintf("written by %d", winner) {
		t.Errorf("%s %v, want %d's", text, err, winner)
	}
	broken := errors.New("broken")
	other := filepath.Join(dir, "below", "other")
	if err := Create(other, func(io.Writer) error { return broken }); !errors.Is(err, broken) {
		t.Error(err)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("left over: %v %v", entries, err)
	}
}
