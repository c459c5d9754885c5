package fetch

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// What a killed download left is removed, whatever characters the names have, and nothing else is.
func TestLeftovers(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("whole")) }))
	defer server.Close()
	dir := filepath.Join(t.TempDir(), "cache [1] *")
	path := filepath.Join(dir, "file[a-b].bin")
	write := func(name string) {
		t.Helper()
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(".file[a-b].bin.123.tmp")
	write(".filea.bin.123.tmp")
	if err := (File{Name: "file", Limit: 100, URLs: []string{server.URL}}).To(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if want := []string{".filea.bin.123.tmp", "file[a-b].bin"}; !slices.Equal(names, want) {
		t.Errorf("%q, want %q", names, want)
	}
}
