//go:build linux && (amd64 || arm64) && !noxla

package device

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gomlx/go-xla/pjrt"
)

// roundTripper answers requests in the place of the internet.
type roundTripper func(*http.Request) (status int, body []byte)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) {
	status, body := f(r)
	return &http.Response{StatusCode: status, Status: http.StatusText(status),
		Body:          io.NopCloser(bytes.NewReader(body)),
		ContentLength: int64(len(body)), Header: http.Header{}, Request: r}, nil
}

// TestFetch runs go-xla's own installer against a release page that has a small archive.
func TestFetch(t *testing.T) {
	version := pjrt.DefaultCPUVersion
	name := "pjrt_c_api_cpu_" + version + "_plugin.so"
	var archive bytes.Buffer
	zipped := gzip.NewWriter(&archive)
	files := tar.NewWriter(zipped)
	files.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: 5, Typeflag: tar.TypeReg})
	files.Write([]byte("works"))
	files.Close()
	zipped.Close()
	asset := fmt.Sprintf("https://github.com/gomlx/pjrt-cpu-binaries/releases/download/%s/pjrt_cpu_linux_%s.tar.gz",
		version, runtime.GOARCH)

	served := archive.Bytes()
	old := http.DefaultTransport
	defer func() { http.DefaultTransport = old }()
	http.DefaultTransport = roundTripper(func(r *http.Request) (int, []byte) {
		switch url := r.URL.String(); {
		case r.Method == http.MethodHead:
			return http.StatusOK, nil
		case url == asset:
			return http.StatusOK, served
		case strings.HasPrefix(url, "https://api.github.com/"):
			return http.StatusOK, fmt.Appendf(nil, `{"assets": [{"browser_download_url": %q}]}`, asset)
		}
		return http.StatusNotFound, nil
	})
	stdout := captureStdout(t)

	f := newFake(t)
	f.fetch = fetch
	t.Setenv("XDG_CACHE_HOME", filepath.Join(f.root, "xdg"))
	served = archive.Bytes()[:archive.Len()-9] // without the sum at its end
	if _, err := f.install(t.Context(), "cpu", f.options()); err == nil {
		t.Error("installed half an archive")
	}
	if found := f.plugins(); len(found) != 0 {
		t.Errorf("half an archive counts as %v", found)
	}
	served = archive.Bytes()
	path, err := f.install(t.Context(), "cpu", f.options())
	if want := filepath.Join(f.root, "home/.local/lib/go-xla", name); err != nil || path != want {
		t.Errorf("installed %q, %v, want %q", path, err, want)
	}
	if found := f.plugins(); len(found) != 1 || found[0].Kind != "cpu" {
		t.Errorf("found %v, want one plugin and not its link", found)
	}
	if got := stdout(); got != "" {
		t.Errorf("wrote %q to stdout", got)
	}
}

// captureStdout collects what is printed until the returned function is called.
func captureStdout(t *testing.T) (stop func() string) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "stdout"))
	if err != nil {
		t.Fatal(err)
	}
	old := os.Stdout
	os.Stdout = f
	restore := func() { os.Stdout = old }
	t.Cleanup(restore)
	return func() string {
		restore()
		f.Close()
		content, _ := os.ReadFile(f.Name())
		return string(content)
	}
}

func TestReachable(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/missing":
			http.NotFound(w, r)
		case "/silent":
			<-release
		case "/short":
			w.Header().Set("Content-Length", "10")
			w.Write([]byte("half"))
		default:
			w.Write([]byte("whole"))
		}
	}))
	defer server.Close()
	defer close(release)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	dead := "http://" + closed.Addr().String()

	const limit = 300 * time.Millisecond
	if err := reachable(t.Context(), limit, server.URL, server.URL+"/other"); err != nil {
		t.Error(err)
	}
	for url, want := range map[string]string{server.URL + "/missing": "404", server.URL + "/silent": "deadline",
		dead: "refused"} {
		start := time.Now()
		if err := reachable(t.Context(), limit, server.URL, url); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", url, err, want)
		}
		if d := time.Since(start); d > 10*limit {
			t.Errorf("%s took %v", url, d)
		}
	}

	var got strings.Builder
	if err := download(t.Context(), limit, server.URL, &got); err != nil || got.String() != "whole" {
		t.Errorf("downloaded %q, %v", got.String(), err)
	}
	for path, want := range map[string]string{"/short": "after 4 bytes", "/silent": "nothing came"} {
		err := download(t.Context(), limit, server.URL+path, &got)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", path, err, want)
		}
	}
}
