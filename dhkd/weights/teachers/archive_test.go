package teachers

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

type member struct {
	name, content string
	kind          byte // 0 = a regular file
}

func archive(t testing.TB, members ...member) string {
	t.Helper()
	var buffer bytes.Buffer
	w := tar.NewWriter(&buffer)
	for _, m := range members {
		h := &tar.Header{Name: m.name, Size: int64(len(m.content)), Mode: 0o644, Typeflag: tar.TypeReg}
		if m.kind != 0 {
			h.Typeflag, h.Size, h.Linkname = m.kind, 0, m.content
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := w.Write([]byte(m.content)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buffer.String()
}

func zipped(t testing.TB, content string) string {
	t.Helper()
	var buffer bytes.Buffer
	w := gzip.NewWriter(&buffer)
	if _, err := w.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buffer.String()
}

// Two teachers of one archive are one download.
func TestArchive(t *testing.T) {
	for name, content := range map[string]string{
		"plain": archive(t, member{name: "./d/", kind: tar.TypeDir}, member{name: "./d/a.pth", content: "a"},
			member{name: "d/b.pth", content: "b"}),
		"gzip": zipped(t, archive(t, member{name: "d/b.pth", content: "b"}, member{name: "../d/a.pth", content: "evil"},
			member{name: "d/a.pth", content: "a"})),
	} {
		s := serve(t, map[string]string{"/all.tar": content})
		urls := "urls: ['" + s.URL + "/all.tar'], member: d/"
		list(t, map[string]string{"a": urls + "a.pth, sha256: " + sum("a"), "b": urls + "b.pth", "c": urls + "c.pth",
			"wrong": urls + "b.pth, sha256: " + sum("a")})
		for _, want := range []string{"a", "b"} {
			r, err := Resolve(t.Context(), "mine:"+want, Options{})
			if err != nil || read(t, r.Path) != want {
				t.Fatal(name, r, err)
			}
		}
		if s.requests.Load() != 1 {
			t.Errorf("%s: %d requests", name, s.requests.Load())
		}
		refused(t, "mine:c", "it has no d/c.pth", "move the archive away", "(the archive) or ")
		refused(t, "mine:wrong", "has the wrong SHA-256 "+sum("b"))
	}
}

func TestHostileArchives(t *testing.T) {
	zeros := archive(t, member{name: "d/b.pth", content: strings.Repeat("\x00", 8<<20)})
	whole := archive(t, member{name: "d/a.pth", content: strings.Repeat("x", 5000)})
	for name, c := range map[string]struct{ content, want string }{
		"link":      {archive(t, member{"d/a.pth", "/etc/passwd", tar.TypeSymlink}), "is not a regular file"},
		"hard link": {archive(t, member{"d/a.pth", "d/b.pth", tar.TypeLink}), "is not a regular file"},
		"directory": {archive(t, member{"d/a.pth/", "", tar.TypeDir}), "is not a regular file"},
		"twice":     {archive(t, member{name: "d/a.pth", content: "1"}, member{name: "d/./a.pth", content: "2"}), "twice"},
		"traversal": {archive(t, member{name: "../d/a.pth", content: "1"}), `has no d/a.pth, but "../d/a.pth"`},
		"elsewhere": {archive(t, member{name: "e/a.pth", content: "1"}), `has no d/a.pth, but "e/a.pth"`},
		"cut":       {whole[:2000], "is damaged"},
		"none":      {"<html>" + strings.Repeat(" ", 2000), "no tar archive"},
		"empty":     {"", "has no d/a.pth"},
		"cut gzip":  {zipped(t, whole)[:40], "damaged"},
		"gzip bomb": {zipped(t, zeros), "far more than its size"},
		"no gzip":   {"\x1f\x8bxxxxxxxxxxxx", "gzip"},
		"PAX bomb":  {archive(t, member{name: strings.Repeat("d/", 100_000) + "a.pth", content: "1"}), "d/a.pth"},
	} {
		dir := t.TempDir()
		path, to := filepath.Join(dir, "x.tar"), filepath.Join(dir, "out", "a.pth")
		if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		err := extract(t.Context(), path, "d/a.pth", to)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
		if left, _ := os.ReadDir(filepath.Dir(to)); len(left) != 0 {
			t.Errorf("%s: left %v", name, left)
		}
	}
}

func FuzzExtract(f *testing.F) {
	f.Add([]byte(archive(f, member{name: "d/a.pth", content: "a"})))
	f.Add([]byte(zipped(f, archive(f, member{name: "d/a.pth", content: "a"}))))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, content []byte) {
		path := filepath.Join(dir, "x.tar")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(dir, "out", "a.pth")
		err := extract(t.Context(), path, "d/a.pth", to)
		if isFile(to) != (err == nil) {
			t.Error(err)
		}
		os.Remove(to)
	})
}
