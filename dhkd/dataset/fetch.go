package dataset

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/dhkd-lab/dhkd-go/dhkd/internal/fetch"
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

// fetch downloads the missing files to the cache, under a lock.
func (c *collection) fetch(ctx context.Context, o Options) (place, error) {
	if c.folder {
		return place{}, fmt.Errorf("%s is %w, and has no address to download it from: %s", c.Name, ErrNotFound, c.howToGet())
	}
	dir, err := CacheDir()
	if err != nil {
		return place{}, err
	}
	lock, err := fetch.Lock(ctx, dir)
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
		file := fetch.File{Name: s.name, Size: s.size, SHA256: s.sha256, URLs: s.urls, Progress: o.Progress}
		if err := file.To(ctx, path); err != nil {
			return place{}, fmt.Errorf("cannot download %s: %w; without it: %s", s.name, err,
				strings.Join(c.waysOffline(), ", or "))
		}
	}
	return place{path: dir}, nil
}
