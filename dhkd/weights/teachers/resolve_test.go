package teachers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/dhkd-lab/dhkd-go/dhkd/internal/fetch"
)

// site serves files by path and counts requests.
type site struct {
	*httptest.Server
	requests atomic.Int32
}

func serve(t *testing.T, files map[string]string) *site {
	t.Helper()
	s := &site{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		content, ok := files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, content)
	}))
	t.Cleanup(s.Close)
	return s
}

// list makes a list of one's own, of entries "mine:NAME" with the keys given, and an empty cache.
func list(t *testing.T, entries map[string]string) {
	t.Helper()
	dir := t.TempDir()
	text := "teachers:\n"
	for name, keys := range entries {
		text += "  - {reference: 'mine:" + name + "', model: resnet8, classes: 10, dataset: mine, page: 'https://page', " +
			keys + "}\n"
	}
	path := filepath.Join(dir, "list.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DHKD_TEACHERS", path)
	t.Setenv("DHKD_CACHE", filepath.Join(dir, "cache"))
	t.Setenv("DHKD_MIRROR", "")
}

func sum(content string) string {
	digest := sha256.Sum256([]byte(content))
	return hex.EncodeToString(digest[:])
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func refused(t *testing.T, ref string, wants ...string) error {
	t.Helper()
	r, err := Resolve(t.Context(), ref, Options{})
	if err == nil {
		t.Fatalf("%s: got %+v", ref, r)
	}
	for _, want := range wants {
		if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v\nwant %s", ref, err, want)
		}
	}
	return err
}

// A file is downloaded once, by one process, and found again without a network.
func TestDownload(t *testing.T) {
	s := serve(t, map[string]string{"/t.pth": "weights"})
	list(t, map[string]string{"a": "urls: ['" + s.URL + "/gone.pth', '" + s.URL + "/t.pth'], sha256: " + sum("weights")})
	if e := entry(t, "mine:a"); e.Cached() != "" {
		t.Error("it is there before it was fetched")
	}
	if _, err := Resolve(t.Context(), "mine:a", Options{Offline: true}); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	var wait sync.WaitGroup
	var progress atomic.Int64
	for range 4 {
		wait.Go(func() {
			r, err := Resolve(context.Background(), "mine:a", Options{Progress: func(_ string, done, total int64) {
				progress.Store(1000*done + total)
			}})
			if err != nil || r.SHA256 != sum("weights") || r.Teacher.Reference != "mine:a" {
				t.Error(r, err)
			}
		})
	}
	wait.Wait()
	if s.requests.Load() != 2 || progress.Load() != 7007 {
		t.Errorf("%d requests, progress %d", s.requests.Load(), progress.Load())
	}
	s.Close()
	r, err := Resolve(t.Context(), "mine:a", Options{Offline: true})
	if err != nil || read(t, r.Path) != "weights" || entry(t, "mine:a").Cached() != r.Path {
		t.Error(r, err)
	}
	// A file that was changed is not used.
	if err := os.WriteFile(r.Path, []byte("others"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := refused(t, "mine:a", r.Path, "move it away"); !errors.Is(err, fetch.ErrChecksum) {
		t.Error(err)
	}
}

func entry(t *testing.T, ref string) *Teacher {
	t.Helper()
	all, err := List()
	if err != nil {
		t.Fatal(err)
	}
	return find(all, ref)
}

func TestDeadAndWrongLinks(t *testing.T) {
	s := serve(t, map[string]string{"/wrong.pth": "<html>log in</html>"})
	list(t, map[string]string{
		"dead":    "urls: ['" + s.URL + "/gone.pth']",
		"wrong":   "urls: ['" + s.URL + "/wrong.pth'], sha256_prefix: '" + sum("weights")[:8] + "'",
		"by-hand": "note: x",
	})
	err := refused(t, "mine:dead", "teacher mine:dead: not on this machine, and it cannot be fetched: ",
		s.URL+"/gone.pth answers 404 Not Found", "by hand from https://page and put it at ", "or give the path of a file, or train a resnet8: dhkd train")
	// What the message says works.
	_, rest, _ := strings.Cut(err.Error(), "put it at ")
	path, _, _ := strings.Cut(rest, ",")
	if err := os.WriteFile(path, []byte("weights"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err := Resolve(t.Context(), "mine:dead", Options{}); err != nil || r.SHA256 != sum("weights") {
		t.Error(r, err)
	}
	refused(t, "mine:wrong", "wrong SHA-256 "+sum("<html>log in</html>"), "begins with "+sum("weights")[:8],
		"nothing was kept")
	refused(t, "mine:by-hand", "its address is not known: download it from https://page")
	refused(t, "crd:resnet32X4", "did you mean crd:resnet32x4?")
	refused(t, "crd:resnet8", "no teacher is called", "crd:resnet56", "mine:by-hand")
	refused(t, "https://example.org/t.pth", "download it, and give the path")
	refused(t, "no/such.pth", "no such file")
	refused(t, t.TempDir(), "is not a regular file")
}

func TestMirror(t *testing.T) {
	mirror := serve(t, map[string]string{"/copies/no.such.host.invalid/a/t.pth": "weights"})
	list(t, map[string]string{"a": "urls: ['https://no.such.host.invalid/a/t.pth'], sha256: " + sum("weights")})
	t.Setenv("DHKD_MIRROR", mirror.URL+"/copies/")
	if r, err := Resolve(t.Context(), "mine:a", Options{}); err != nil || read(t, r.Path) != "weights" {
		t.Error(r, err)
	}
}

// A path is taken as it is; the list knows a file by its SHA-256.
func TestPath(t *testing.T) {
	list(t, map[string]string{"a": "sha256: " + sum("weights")})
	for content, known := range map[string]bool{"weights": true, "others": false} {
		path := filepath.Join(t.TempDir(), "t.pth")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := Resolve(t.Context(), path, Options{})
		if err != nil || r.Path != path || (r.Teacher != nil) != known {
			t.Errorf("%s: %+v, %v", content, r, err)
		}
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	}))
	defer s.Close()
	list(t, map[string]string{"a": "urls: ['" + s.URL + "/t.pth']"})
	if _, err := Resolve(ctx, "mine:a", Options{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
