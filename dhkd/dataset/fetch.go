package dataset

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
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

// source is a published file.
type source struct {
	name    string
	size    int64  // bytes
	sha256  string // of the file as downloaded
	content string // SHA-256 of the uncompressed content, for idx files
	items   int    // bytes of data, for idx files
	urls    []string
}

// stall is how long a server may send nothing.
var stall = 60 * time.Second

// fetch downloads the missing files to the cache, under a lock.
func (c *collection) fetch(ctx context.Context, o Options) (place, error) {
	dir, err := CacheDir()
	if err != nil {
		return place{}, err
	}
	lock, err := lockDir(ctx, dir)
	if err != nil {
		return place{}, fmt.Errorf("cannot keep %s in %s: %w; set DHKD_CACHE to a directory that can be written",
			c.Name, dir, err)
	}
	defer lock.Close()
	for _, s := range c.sources {
		path := filepath.Join(dir, s.name)
		if isFile(path) { // from before, or from the process that held the lock
			continue
		}
		removeLeftovers(path)
		if err := s.download(ctx, path, o.Progress); err != nil {
			return place{}, fmt.Errorf("cannot download %s: %w; without it: %s", s.name, err,
				strings.Join(c.waysOffline(), ", or "))
		}
	}
	return place{path: dir}, nil
}

// lockDir makes the directory and waits for its lock.
func lockDir(ctx context.Context, dir string) (*flock.Flock, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	lock := flock.New(filepath.Join(dir, ".lock"))
	if _, err := lock.TryLockContext(ctx, 100*time.Millisecond); err != nil {
		return nil, err
	}
	return lock, nil
}

// removeLeftovers removes the partial files of downloads that were killed. The lock is held, so none is in use.
func removeLeftovers(path string) {
	partial, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".*.tmp"))
	for _, p := range partial {
		os.Remove(p)
	}
}

// download tries the addresses in turn. The error has what went wrong with each.
func (s source) download(ctx context.Context, path string, progress func(string, int64, int64)) error {
	var problems error
	for _, url := range s.urls {
		err := s.get(ctx, url, path, progress)
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

// get downloads one address to path. The file appears only when all of it is there and its digest is right.
func (s source) get(ctx context.Context, url, path string, progress func(string, int64, int64)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(stall, func() { cancel(fmt.Errorf("%s sent nothing for %v", url, stall)) })
	defer watch.Stop()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
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
	body := &download{source: s, body: response.Body, digest: sha256.New(), progress: progress,
		heard: func() { watch.Reset(stall) }}
	err = safefile.Write(path, func(w io.Writer) error {
		if _, err := io.Copy(w, body); err != nil {
			return err
		}
		return body.check(url)
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
	source
	body     io.Reader
	digest   hash.Hash
	done     int64
	progress func(string, int64, int64)
	heard    func()
	err      error // what was wrong with the body
}

func (d *download) Read(p []byte) (int, error) {
	n, err := d.body.Read(p)
	d.heard()
	d.digest.Write(p[:n])
	d.done += int64(n)
	if d.progress != nil && n > 0 {
		d.progress(d.name, d.done, d.size)
	}
	if d.done > d.size {
		err = fmt.Errorf("it sends more than the %d bytes of the published file", d.size)
	}
	if err != nil && err != io.EOF {
		d.err = fmt.Errorf("after %d of %d bytes: %w", d.done, d.size, err)
		return n, d.err
	}
	return n, err
}

// check compares the finished body with the published file.
func (d *download) check(url string) error {
	if got := hex.EncodeToString(d.digest.Sum(nil)); got != d.sha256 {
		d.err = fmt.Errorf("%w %s of its %d bytes, the published file has %s and %d bytes; nothing was kept",
			ErrChecksum, got, d.done, d.sha256, d.size)
		return d.err
	}
	return nil
}
