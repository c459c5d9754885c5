package teachers

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

const commit = "0123456789abcdef0123456789abcdef01234567"

// fakeHub answers as huggingface.co does, from another host for the files, and keeps the cache in an empty directory.
func fakeHub(t *testing.T, description string, files map[string]string) (cache string, requests *atomic.Int32) {
	t.Helper()
	requests = &atomic.Int32{}
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Error("the token was sent to another host")
		}
		content, ok := files[r.URL.Query().Get("file")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, content)
	}))
	t.Cleanup(elsewhere.Close)
	host := strings.Replace(elsewhere.URL, "127.0.0.1", "localhost", 1)
	hub := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		if r.Header.Get("Authorization") != "Bearer secret" {
			t.Errorf("authorization %q", r.Header.Get("Authorization"))
		}
		switch name, ok := strings.CutPrefix(r.URL.Path, "/org/repo/resolve/"+commit+"/"); {
		case ok:
			http.Redirect(w, r, host+"/cdn?file="+name, http.StatusFound)
		case strings.HasPrefix(r.URL.Path, "/api/models/org/repo/revision/"):
			fmt.Fprint(w, description)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(hub.Close)
	list(t, map[string]string{"hub": "urls: ['hf://org/repo/sub/t.pth']", "other": "note: x"})
	cache = t.TempDir()
	for name, value := range map[string]string{"HF_ENDPOINT": hub.URL + "/", "HF_HUB_CACHE": cache, "HF_TOKEN": "secret"} {
		t.Setenv(name, value)
	}
	return cache, requests
}

func describes(name, content string) string {
	return fmt.Sprintf(`{"sha": %q, "siblings": [{"rfilename": "README.md", "size": 3, "blobId": %q},
		{"rfilename": %q, "size": %d, "blobId": "a", "lfs": {"sha256": %q, "size": %d}}]}`,
		commit, commit, name, len(content), sum(content), len(content))
}

func TestHub(t *testing.T) {
	cache, requests := fakeHub(t, describes("sub/t.pth", "weights"), map[string]string{"sub/t.pth": "weights"})
	r, err := Resolve(t.Context(), "hf://org/repo/sub/t.pth", Options{})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "models--org--repo")
	if r.Path != filepath.Join(dir, "snapshots", commit, "sub", "t.pth") || read(t, r.Path) != "weights" ||
		read(t, filepath.Join(dir, "refs", "main")) != commit ||
		read(t, filepath.Join(dir, "blobs", sum("weights"))) != "weights" {
		t.Errorf("%+v", r)
	}
	if link, err := os.Readlink(r.Path); err != nil || link != filepath.Join("..", "..", "..", "blobs", sum("weights")) {
		t.Errorf("%s, %v", link, err)
	}
	if r.Teacher == nil || r.Teacher.Reference != "mine:hub" {
		t.Errorf("teacher %+v", r.Teacher)
	}
	// From now on no network is needed, whatever names the file.
	before := requests.Load()
	const ref = "hf://org/repo/sub/t.pth"
	for _, ref := range []string{ref, ref + "@" + commit, ref + "@main", "mine:hub"} {
		if again, err := Resolve(t.Context(), ref, Options{Offline: true}); err != nil || again.Path != r.Path {
			t.Error(ref, again, err)
		}
	}
	if requests.Load() != before {
		t.Error("the hub was asked")
	}
	refused(t, "hf://org/repo/other.pth", `org/repo at main has no file other.pth; it has "README.md", "sub/t.pth"`)
	refused(t, "hf://org/none/t.pth", "does not tell what org/none at main has", "404", "HF_TOKEN")
	refused(t, "hf://org/repo", "not of the form")
	refused(t, "hf://org/repo/../../x", "not of the form")
	refused(t, "hf://org/repo/x@../../main", "not of the form")
}

// A cache that Python filled is used as it is.
func TestPythonsCache(t *testing.T) {
	cache, requests := fakeHub(t, "", nil)
	dir := filepath.Join(cache, "models--org--repo")
	blob, link := filepath.Join(dir, "blobs", sum("weights")), filepath.Join(dir, "snapshots", commit, "t.pth")
	main := filepath.Join(dir, "refs", "main")
	for path, content := range map[string]string{blob: "weights", main: commit, link + "x": ""} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join("..", "..", "blobs", sum("weights")), link); err != nil {
		t.Fatal(err)
	}
	r, err := Resolve(t.Context(), "hf://org/repo/t.pth", Options{})
	if err != nil || r.Path != link || r.SHA256 != sum("weights") || requests.Load() != 0 {
		t.Error(r, err)
	}
}

func TestHostileHub(t *testing.T) {
	good := describes("t.pth", "weights")
	for name, c := range map[string]struct{ description, want string }{
		"other content": {describes("t.pth", "WEIGHTS"), "wrong SHA-256"},
		"too long":      {describes("t.pth", "w"), "more than the 1 bytes"},
		"commit":        {strings.Replace(good, commit, "../../../x", 1), "as the commit"},
		"digest":        {strings.Replace(good, sum("weights"), "../../../../x", 1), "as the digest"},
		"no digest":     {strings.Replace(good, sum("weights"), "", 1), "as the digest"},
		"size":          {strings.ReplaceAll(good, `"size": 7`, `"size": 99999999999`), "the limit is"},
		"no JSON":       {"<html>", "does not tell"},
		"null":          {`{"sha": "` + commit + `", "siblings": [null]}`, "has no file t.pth"},
	} {
		cache, _ := fakeHub(t, c.description, map[string]string{"t.pth": "weights"})
		refused(t, "hf://org/repo/t.pth", c.want)
		for _, made := range []string{"snapshots", "refs"} {
			if _, err := os.Stat(filepath.Join(cache, "models--org--repo", made)); err == nil {
				t.Errorf("%s: made %s", name, made)
			}
		}
	}
}
