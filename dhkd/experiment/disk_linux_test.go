package experiment

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/train"
)

// Where a file cannot be written, what was saved before stays as it was, and the run can go on from there.
func TestDiskFull(t *testing.T) {
	r, recipe := newRunner(t), resolve(t, openTiny(t), "teacher")
	want := reference(t, r, recipe)
	dir := record.Dir(r.Dir, recipe)
	defer func(old time.Duration) { saveInterval = old }(saveInterval)
	saveInterval = 0

	for name, interrupted := range map[string]bool{"while it trains": false, "when it is interrupted": true} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var before map[string]string
			restore := func() {}
			newHooks(r).step = onStep(2, 2, func() {
				before, restore = snapshot(t, dir), limitFileSize(t, 100_000)
				if interrupted {
					cancel()
				}
			})
			_, err := r.Run(ctx, recipe)
			restore()
			wantError(t, err, "teacher seed 1", "cannot write", CheckpointFile, "nothing was changed", "file too large")
			if errors.Is(err, train.ErrInterrupted) {
				t.Errorf("says that everything is saved: %v", err)
			}
			for _, file := range []string{CheckpointFile, record.FileName} {
				if path := filepath.Join(dir, file); before[path] == "" || before[path] != string(read(t, path)) {
					t.Errorf("%s was changed", file)
				}
			}
		})
	}

	// The weights are the last file.
	check(t, os.MkdirAll(filepath.Join(dir, WeightsFile, "in the way"), 0o700))
	newHooks(r)
	_, err := r.Run(t.Context(), recipe)
	wantError(t, err, "cannot write", WeightsFile)
	if rec, err := record.Load(filepath.Join(dir, record.FileName)); err != nil || rec.Status == record.Completed {
		t.Errorf("a run without weights: %v %v", rec, err)
	}
	check(t, os.RemoveAll(filepath.Join(dir, WeightsFile)))
	_, err = r.Run(t.Context(), recipe)
	check(t, err)
	compare(t, want, r, recipe)
}

// limitFileSize makes writing beyond so many bytes of a file fail, until the function that it returns is called.
func limitFileSize(t *testing.T, bytes uint64) (restore func()) {
	t.Helper()
	var old syscall.Rlimit
	check(t, syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old))
	signal.Ignore(syscall.SIGXFSZ)
	check(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: bytes, Max: old.Max}))
	return func() { check(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old)) }
}

func TestReadOnly(t *testing.T) {
	r, recipe := newRunner(t), resolve(t, openTiny(t), "teacher")
	check(t, os.Chmod(r.Dir, 0o555))
	if os.Geteuid() == 0 { // whom nothing is forbidden
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		check(t, syscall.Setfsuid(65534))
		defer syscall.Setfsuid(0)
	}
	_, err := r.Run(t.Context(), recipe)
	wantError(t, err, r.Dir, "permission denied")
	if !errors.Is(err, os.ErrPermission) {
		t.Error(err)
	}
}
