package dataset

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dhkd-lab/dhkd-go/dhkd/internal/fetch"
)

// published is a data set of two files on the given server.
func published(server string, contents ...string) *collection {
	c := &collection{Info: Info{Name: "published"}, install: "apt-get install it"}
	for i, content := range contents {
		sum := sha256.Sum256([]byte(content))
		name := fmt.Sprintf("file%d", i+1)
		c.sources = append(c.sources, source{name: name, size: int64(len(content)), sha256: hex.EncodeToString(sum[:]),
			urls: []string{server + "/" + name}})
	}
	return c
}

func serve(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

// cache is a fresh cache directory for data sets.
func cache(t *testing.T) string {
	t.Helper()
	t.Setenv("DHKD_CACHE", t.TempDir())
	dir, err := CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return strings.Join(list, " ")
}

func TestFetch(t *testing.T) {
	dir := cache(t)
	var requests atomic.Int32
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		fmt.Fprintf(w, "content of %s", r.URL.Path[1:])
	})
	c := published(url, "content of file1", "content of file2")
	c.sources[0].urls = append([]string{url + "/not-this-one"}, c.sources[0].urls...) // a mirror with another content
	write(t, filepath.Join(dir, ".file2.123.tmp"), []byte("left by a killed download"))
	var last string
	o := Options{Progress: func(file string, done, total int64) { last = fmt.Sprintf("%s %d/%d", file, done, total) }}
	at, err := c.fetch(t.Context(), o)
	if err != nil || at.path != dir || at.own {
		t.Fatalf("%+v, %v", at, err)
	}
	if got := names(t, dir); got != ".lock file1 file2" {
		t.Errorf("the cache has %s", got)
	}
	if last != "file2 16/16" {
		t.Errorf("last progress %q", last)
	}
	if data, err := os.ReadFile(filepath.Join(dir, "file2")); err != nil || string(data) != "content of file2" {
		t.Errorf("%s, %v", data, err)
	}
	if _, err := c.fetch(t.Context(), o); err != nil || requests.Load() != 3 {
		t.Errorf("%d requests, %v", requests.Load(), err)
	}
}

// TestConcurrentFetches: two at once download each file once.
func TestConcurrentFetches(t *testing.T) {
	cache(t)
	var requests atomic.Int32
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		time.Sleep(20 * time.Millisecond)
		io.WriteString(w, r.URL.Path)
	})
	c := published(url, "/file1", "/file2")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, err := c.fetch(context.Background(), Options{}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if requests.Load() != 2 {
		t.Errorf("%d requests for 2 files", requests.Load())
	}
}

func TestFailedDownloads(t *testing.T) {
	content := strings.Repeat("x", 100_000)
	closed := httptest.NewServer(nil)
	closed.Close()
	oldStall := fetch.Stall
	fetch.Stall = 300 * time.Millisecond
	defer func() { fetch.Stall = oldStall }()
	for name, c := range map[string]struct {
		handler http.HandlerFunc // nil: nobody listens
		want    []string
	}{
		"no network": {nil, []string{"connect"}},
		"404":        {http.NotFound, []string{"answers 404 Not Found"}},
		"wrong": {func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "<html>log in first</html>") },
			[]string{"wrong SHA-256", "of its 25 bytes", "nothing was kept"}},
		"too long": {func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, content+"y") },
			[]string{"more than the 100000 bytes"}},
		"cut": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100000")
			io.WriteString(w, content[:5000])
		}, []string{"after 5000 of 100000 bytes", "unexpected EOF"}},
		"stalled": {func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, content[:5000])
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, []string{"sent nothing for 300ms"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := cache(t)
			url := closed.URL
			if c.handler != nil {
				url = serve(t, c.handler)
			}
			set := published(url, content)
			_, err := set.fetch(t.Context(), Options{})
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range append(c.want, "cannot download file1", url, "apt-get install it", dir) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v\nwant %s", err, want)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Error("more than one line")
			}
			if name == "wrong" && (!errors.Is(err, ErrChecksum) || !strings.Contains(err.Error(), set.sources[0].sha256)) {
				t.Error(err)
			}
			if got := names(t, dir); got != ".lock" {
				t.Errorf("the cache has %s", got)
			}
		})
	}
}

func TestCancelledDownload(t *testing.T) {
	dir := cache(t)
	ctx, cancel := context.WithCancel(t.Context())
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "a beginning")
		w.(http.Flusher).Flush()
		cancel()
		<-r.Context().Done()
	})
	if _, err := published(url, strings.Repeat("x", 1000)).fetch(ctx, Options{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if got := names(t, dir); got != ".lock" {
		t.Errorf("the cache has %s", got)
	}
}

func TestUnwritableCache(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, nil)
	t.Setenv("DHKD_CACHE", file) // a directory cannot be made in a file, whoever one is
	_, err := published("http://127.0.0.1:0", "x").fetch(t.Context(), Options{})
	if err == nil || !strings.Contains(err.Error(), "set DHKD_CACHE to a directory that can be written") {
		t.Error(err)
	}
}

// TestReadOnlyCache: what is in the cache is used though nothing can be written there.
func TestReadOnlyCache(t *testing.T) {
	dir := cache(t)
	c := published("http://127.0.0.1:0", "x")
	write(t, filepath.Join(dir, "file1"), []byte("x"))
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(dir, 0o755)
	if at, err := c.find(Options{}); err != nil || at.path != dir {
		t.Errorf("%+v, %v", at, err)
	}
}

func TestNotFound(t *testing.T) {
	cache(t)
	_, err := Load(t.Context(), "cifar-100", Options{})
	if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "dhkd data fetch cifar-100") {
		t.Error(err)
	}
	for _, info := range List() {
		if info.Name == "cifar-100" && (info.Found != "" || info.Bytes != 168513733) {
			t.Errorf("%+v", info)
		}
	}
	if _, err := Load(t.Context(), "cifar-10", Options{}); err == nil ||
		err.Error() != `no data set is called "cifar-10"; there are fashion-mnist, fashion-pairs-100, cifar-100, imagenet, image-folder` {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Load(ctx, "cifar-100", Options{Dir: "testdata/mini.bin"}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
