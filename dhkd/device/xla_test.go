//go:build !noxla

package device

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/graph"
)

// pinned installs the pinned wheel, as users do, into this user's cache, and returns its plugin.
func pinned(t *testing.T) Plugin {
	t.Helper()
	m := thisMachine()
	if m.wheel == nil {
		skip(t, "no wheel is pinned for this system")
	}
	path, err := m.installWheel(t.Context(), t.Logf)
	if err != nil {
		skip(t, err)
	}
	return Plugin{Kind: "cpu", Path: path, Source: "dhkd's cache"}
}

// skip skips a test that cannot be run here; in CI it has failed.
func skip(t *testing.T, why any) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}

func TestWheelRuns(t *testing.T) {
	p := pinned(t)
	// go-xla would take the second for a CUDA plugin at a path that ends at the comma.
	misleading := filepath.Join(t.TempDir(), "cuda, nvidia", "pjrt_c_api_cpu_plugin.so")
	if err := os.MkdirAll(filepath.Dir(misleading), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(p.Path, misleading); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{p.Path, misleading, misleading} {
		d, attempt := thisMachine().try(Plugin{Kind: "cpu", Path: path, Source: "test"}, "")
		if d == nil {
			t.Fatal(attempt)
		}
		one := func(g *graph.Graph) *graph.Node {
			return graph.Add(graph.Const(g, float32(1)), graph.Const(g, float32(1)))
		}
		sum, err := graph.CallOnce(d.Backend, one)
		if err != nil {
			t.Fatal(err)
		}
		if got := sum.Value(); got != float32(2) {
			t.Errorf("1 + 1 = %v", got)
		}
		if d.Name != "xla:cpu" || d.Plugin != path || !d.Backend.HasSharedBuffers() {
			t.Errorf("%s %s, shared buffers %v", d.Name, d.Plugin, d.Backend.HasSharedBuffers())
		}
		if api, err := PluginVersion(path); err != nil || api != d.API || !strings.HasPrefix(api, "0.") {
			t.Errorf("API %s (%s), %v", api, d.API, err)
		}
		sum.MustFinalizeAll()
		d.Close()
	}
	if err := thisMachine().wheel.check(p.Path); err != nil {
		t.Error(err)
	}
}

func TestMisleadingPathOfOtherKindsIsRefused(t *testing.T) {
	for _, path := range []string{"/home/cpu/xla_cuda_plugin.so", "/home/a,b/xla_cuda_plugin.so"} {
		_, _, err := plainName(Plugin{Kind: "cuda", Path: path})
		if err == nil || !strings.Contains(err.Error(), "misread") {
			t.Errorf("%s: error %v", path, err)
		}
	}
}

func TestDamagedLibrariesAreRefused(t *testing.T) {
	p := pinned(t)
	head := make([]byte, 1<<20)
	f, err := os.Open(p.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Read(head); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	sparse := write("sparse.so", head) // of almost the right size, but hollow
	if err := os.Truncate(sparse, thisMachine().wheel.librarySize-1<<20); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		write("empty.so", nil):            "not a shared library",
		write("text.so", []byte("hello")): "not a shared library",
		write("half.so", head):            "truncated",
		sparse:                            "truncated",
		dir:                               "not a file",
		self:                              "not a PJRT plugin",
		filepath.Join(dir, "none.so"):     "no such file",
	} {
		_, _, err := thisMachine().load(Plugin{Kind: "cpu", Path: path}, "")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", path, err, want)
		} else {
			t.Log(filepath.Base(path)+":", err)
		}
	}
}
