// Package fetch downloads published files into dhkd's cache: whole, checked, one process at a time.
package fetch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"github.com/dhkd-lab/dhkd-go/dhkd/internal/safefile"
)

// ErrNotFound is wrapped by errors that say that something is not on this machine, and could not be fetched.
var ErrNotFound = errors.New("not on this machine")

// ErrChecksum is wrapped by errors that say that a file is not the published one.
var ErrChecksum = errors.New("wrong SHA-256")

// Stall is how long a server may send nothing.
var Stall = 60 * time.Second

// File is a published file.
type File struct {
	Name   string   // for progress
	Size   int64    // bytes; 0 where it is not known
	Limit  int64    // bytes that are read at most where the size is not known
	SHA256 string   // in hexadecimal, all of it or its beginning; empty where it is not known
	URLs   []string // where it is, best first
	Token  string   // sent to these addresses as the bearer's, unless empty
	// Progress, unless nil, is called with the bytes done and their total, 0 where that is not known.
	Progress func(name string, done, total int64)
}

// To downloads the file to path, from the first address that has it. The error has what went wrong with each. The caller
// holds the lock of the directory.
func (f File) To(ctx context.Context, path string) error {
	removeLeftovers(path)
	var problems error
	for _, url := range f.URLs {
		err := f.get(ctx, url, path)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if problems == nil {
			problems = err
		} else {
			problems = fmt.Errorf("%w; %w", problems, err)
		}
	}
	return problems
}

// Lock makes the directory and waits until this process alone may write in it.
func Lock(ctx context.Context, dir string) (*flock.Flock, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	lock := flock.New(filepath.Join(dir, ".lock"))
	if _, err := lock.TryLockContext(ctx, 100*time.Millisecond); err != nil {
		return nil, err
	}
	return lock, nil
}

// CacheDir is the directory for what is downloaded of that kind: $DHKD_CACHE/kind where the variable is set, else
// dhkd/kind in the user's cache directory. It need not exist.
func CacheDir(kind string) (string, error) {
	if dir := os.Getenv("DHKD_CACHE"); dir != "" {
		return filepath.Join(dir, kind), nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no cache directory: set DHKD_CACHE to one (%w)", err)
	}
	return filepath.Join(dir, "dhkd", kind), nil
}

// removeLeftovers removes the partial files of downloads that were killed. The lock is held, so none is in use.
func removeLeftovers(path string) {
	dir, prefix := filepath.Dir(path), "."+filepath.Base(path)+"."
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) && strings.HasSuffix(e.Name(), ".tmp") {
			os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

// get downloads one address to path. The file appears only when all of it is there and its digest is right.
func (f File) get(ctx context.Context, url, path string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(Stall, func() { cancel(fmt.Errorf("%s sent nothing for %v", url, Stall)) })
	defer watch.Stop()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	if f.Token != "" { // which the client keeps to itself where it is sent on to another host
		request.Header.Set("Authorization", "Bearer "+f.Token)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, response.Status)
	}
	body := &download{File: f, body: response.Body, digest: sha256.New(), total: f.Size,
		heard: func() { watch.Reset(Stall) }}
	if body.total == 0 {
		body.total = max(0, response.ContentLength)
	}
	err = safefile.Write(path, func(w io.Writer) error {
		if _, err := io.Copy(w, body); err != nil {
			return err
		}
		return body.check()
	})
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if body.err != nil { // the server's fault, not the file's
		return fmt.Errorf("%s: %w", url, body.err)
	}
	return err
}

// download is the body of an answer as it comes in.
type download struct {
	File
	body   io.Reader
	digest hash.Hash
	done   int64
	total  int64
	heard  func()
	err    error // what was wrong with the body
}

func (d *download) Read(p []byte) (int, error) {
	n, err := d.body.Read(p)
	d.heard()
	d.digest.Write(p[:n])
	d.done += int64(n)
	if d.Progress != nil && n > 0 {
		d.Progress(d.Name, d.done, d.total)
	}
	switch {
	case d.Size > 0 && d.done > d.Size:
		err = fmt.Errorf("it sends more than the %d bytes of the published file", d.Size)
	case d.Size == 0 && d.done > d.Limit:
		err = fmt.Errorf("it sends more than the limit of %d bytes", d.Limit)
	}
	if err != nil && err != io.EOF {
		d.err = fmt.Errorf("after %d of %d bytes: %w", d.done, d.total, err)
		return n, d.err
	}
	return n, err
}

// check compares the finished body with the published file.
func (d *download) check() error {
	got := hex.EncodeToString(d.digest.Sum(nil))
	switch {
	case !strings.HasPrefix(got, d.SHA256) && d.Size > 0:
		d.err = fmt.Errorf("%w %s of its %d bytes, the published file has %s and %d bytes; nothing was kept",
			ErrChecksum, got, d.done, d.SHA256, d.Size)
	case !strings.HasPrefix(got, d.SHA256):
		d.err = fmt.Errorf("%w %s of its %d bytes, that of the published file is or begins with %s; nothing was kept",
			ErrChecksum, got, d.done, d.SHA256)
	case d.Size > 0 && d.done != d.Size:
		d.err = fmt.Errorf("it has %d bytes, the published file has %d; nothing was kept", d.done, d.Size)
	}
	return d.err
}
