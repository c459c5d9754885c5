package device

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute"
)

// fake is a machine whose every directory is a temporary one. A plugin works there if its file says "works"; go-xla's
// installer fails until the test says otherwise. The lines that it logs are collected.
type fake struct {
	machine
	root string
	log  []string
}

func newFake(t *testing.T) *fake {
	t.Helper()
	root := t.TempDir()
	for _, name := range []string{"GOMLX_BACKEND", "GOMLX_NO_AUTO_INSTALL", "PJRT_PLUGIN_LIBRARY_PATH",
		"LD_LIBRARY_PATH", "VIRTUAL_ENV", "CONDA_PREFIX", "XLA_FLAGS"} {
		t.Setenv(name, "") // so that it is restored
		os.Unsetenv(name)
	}
	t.Setenv("HOME", filepath.Join(root, "home"))
	t.Setenv("DHKD_CACHE", filepath.Join(root, "cache"))
	t.Setenv("PATH", filepath.Join(root, "bin"))
	return &fake{root: root, machine: machine{
		goos:     "linux",
		prefixes: []string{filepath.Join(root, "usr")},
		hasGPU:   func() bool { return false },
		load: func(p Plugin, _ string) (compute.Backend, string, error) {
			content, err := os.ReadFile(p.Path)
			if err == nil && string(content) != "works" {
				err = errors.New(string(content))
			}
			if err != nil {
				return nil, "", err
			}
			backend, err := newBackend("go")
			return backend, "0.1", err
		},
		fetch: func(context.Context, string, func(string, ...any)) (string, error) {
			return "", errors.New("no such host")
		},
	}}
}

func (f *fake) options() Options {
	return Options{Logf: func(format string, args ...any) { f.log = append(f.log, fmt.Sprintf(format, args...)) }}
}

// put writes a file below the fake root and returns its path.
func (f *fake) put(t *testing.T, path, content string) string {
	t.Helper()
	path = filepath.Join(f.root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

const (
	goxlaCPU   = "home/.local/lib/go-xla/pjrt_c_api_cpu_plugin.so"
	goxlaCUDA  = "home/.local/lib/go-xla/nvidia/pjrt_c_api_cuda_plugin.so"
	systemCPU  = "usr/lib/go-xla/pjrt_c_api_cpu_v0.98.0_plugin.so"
	venvCPU    = "venv/lib/python3.12/site-packages/lammps_jax_pjrt_cpu/pjrt_c_api_cpu_plugin.so"
	debianCPU  = "usr/lib/python3/dist-packages/xla_plugins/xla_cpu_pjrt/xla_cpu_pjrt.so"
	venvTPU    = "venv/lib/python3.12/site-packages/libtpu/libtpu.so"
	ownDirCPU  = "own/pjrt_c_api_cpu_plugin.so"
	ownDirRocm = "own/pjrt-plugin-rocm.so"
)

func TestOrderOfChoice(t *testing.T) {
	everything := map[string]string{goxlaCPU: "works", goxlaCUDA: "works", systemCPU: "works", venvCPU: "works",
		debianCPU: "works", venvTPU: "works", ownDirCPU: "works", ownDirRocm: "works"}
	without := func(names ...string) map[string]string {
		files := map[string]string{}
		for name, content := range everything {
			if !slices.Contains(names, name) {
				files[name] = content
			}
		}
		return files
	}
	for name, test := range map[string]struct {
		files   map[string]string
		env     map[string]string // "ROOT" in a value is the fake root
		gpu     bool
		want    string // plugin, or "go"
		device  string // its name
		refused []string
		warning string
	}{
		"nothing": {want: "go", device: "go", warning: "100 times slower", refused: []string{"no such host"}},
		"own directory first": {files: everything,
			env:  map[string]string{"PJRT_PLUGIN_LIBRARY_PATH": "ROOT/none:ROOT/own"},
			want: ownDirCPU, device: "xla:cpu"},
		"go-xla's directory": {files: everything, env: map[string]string{"VIRTUAL_ENV": "ROOT/venv"},
			want: goxlaCPU, device: "xla:cpu"},
		"GPU": {files: everything, gpu: true, want: goxlaCUDA, device: "xla:cuda"},
		"GPU without a CUDA plugin": {files: without(goxlaCUDA), gpu: true, want: goxlaCPU, device: "xla:cpu",
			warning: "no CUDA plugin that works"},
		"GPU with a broken CUDA plugin": {files: map[string]string{goxlaCPU: "works", goxlaCUDA: "no driver"},
			gpu:  true,
			want: goxlaCPU, device: "xla:cpu", refused: []string{"no driver"}, warning: "no CUDA plugin that works"},
		"CUDA plugin without a GPU": {files: map[string]string{goxlaCUDA: "works"}, want: "go", device: "go",
			warning: "100 times slower", refused: []string{"no such host"}},
		"versioned, of the system": {files: without(goxlaCPU), want: systemCPU, device: "xla:cpu"},
		"broken, then the next": {files: map[string]string{goxlaCPU: "truncated", systemCPU: "works"}, want: systemCPU,
			device: "xla:cpu", refused: []string{"truncated"}},
		"Python environment": {files: without(goxlaCPU, systemCPU), env: map[string]string{"VIRTUAL_ENV": "ROOT/venv"},
			want: venvCPU, device: "xla:cpu"},
		"Debian's Python": {files: without(goxlaCPU, systemCPU), want: debianCPU, device: "xla:cpu"},
		"named go":        {files: everything, env: map[string]string{"GOMLX_BACKEND": "go"}, want: "go", device: "go"},
		"named cpu": {files: everything, env: map[string]string{"GOMLX_BACKEND": "xla:cpu"},
			gpu: true, want: goxlaCPU, device: "xla:cpu"},
		"named cuda": {files: everything, env: map[string]string{"GOMLX_BACKEND": "xla:cuda,tf32=false"},
			want: goxlaCUDA, device: "xla:cuda"},
		"named xla": {files: everything, env: map[string]string{"GOMLX_BACKEND": "xla"},
			gpu: true, want: goxlaCUDA, device: "xla:cuda"},
		"named version": {files: everything, env: map[string]string{"GOMLX_BACKEND": "xla:cpu_v0.98.0"},
			want: systemCPU, device: "xla:cpu"},
		"named path": {files: everything, env: map[string]string{"GOMLX_BACKEND": "xla:ROOT/" + systemCPU},
			want: systemCPU, device: "xla:cpu"},
		"named tpu": {files: everything, env: map[string]string{"GOMLX_BACKEND": "xla:tpu", "VIRTUAL_ENV": "ROOT/venv"},
			want: venvTPU, device: "xla:tpu"},
		"named other": {files: everything,
			env:  map[string]string{"GOMLX_BACKEND": "xla:rocm", "PJRT_PLUGIN_LIBRARY_PATH": "ROOT/own"},
			want: ownDirRocm, device: "xla:rocm"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.hasGPU = func() bool { return test.gpu }
			for path, content := range test.files {
				f.put(t, path, content)
			}
			for key, value := range test.env {
				t.Setenv(key, strings.ReplaceAll(value, "ROOT", f.root))
			}
			d, err := f.open(t.Context(), f.options())
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			plugin := ""
			if test.want != "go" {
				plugin = filepath.Join(f.root, test.want)
			}
			if d.Plugin != plugin || d.Name != test.device {
				t.Errorf("chose %s %s, want %s %s", d.Name, d.Plugin, test.device, plugin)
			}
			var refused []string
			for _, attempt := range d.Tried {
				if attempt.Refused != "" {
					refused = append(refused, attempt.Refused)
				}
			}
			if !slices.Equal(refused, test.refused) {
				t.Errorf("refused for %q, want %q", refused, test.refused)
			}
			if last := d.Tried[len(d.Tried)-1]; last.Refused != "" {
				t.Errorf("the last attempt is not what was chosen: %v", last)
			}
			if log := strings.Join(f.log, "\n"); !strings.Contains(log, test.warning) ||
				(test.warning == "") != (log == "") {
				t.Errorf("logged %q, want %q", log, test.warning)
			}
		})
	}
}

func TestNamedBackendNeverBecomesAnother(t *testing.T) {
	for value, want := range map[string]string{
		"nonsense":                 "can't find backend",
		"xla:/no/such/plugin.so":   "no such file",
		"xla:cuda":                 "cuda plugin: none is installed",
		"xla:tpu":                  "tpu plugin: none is installed",
		"xla:cpu":                  "go-xla's installer: no such host",
		"xla":                      "go-xla's installer: no such host",
		"hlo:metal":                "metal plugin: none is installed",
		"go:parallelism=no number": "parallelism",
	} {
		t.Run(value, func(t *testing.T) {
			f := newFake(t)
			t.Setenv("GOMLX_BACKEND", value)
			d, err := f.open(t.Context(), f.options())
			if err == nil {
				t.Fatalf("opened %s", d.Name)
			}
			for _, part := range []string{"GOMLX_BACKEND=" + value + " cannot be used", want} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("the error does not say %q: %v", part, err)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("the error has several lines: %q", err)
			}
		})
	}
}

func TestOfflineInstallsNothing(t *testing.T) {
	for name, test := range map[string]struct {
		offline bool
		env     string
		want    string
	}{
		"option":   {offline: true, want: "nothing may be installed"},
		"variable": {env: "1", want: "GOMLX_NO_AUTO_INSTALL is set"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.fetch = func(context.Context, string, func(string, ...any)) (string, error) {
				t.Error("go-xla's installer was run")
				return "", errors.New("no")
			}
			if test.env != "" {
				t.Setenv("GOMLX_NO_AUTO_INSTALL", test.env)
			}
			o := f.options()
			o.Offline = test.offline
			d, err := f.open(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			if d.Name != "go" || !strings.Contains(d.Tried[0].Refused, test.want) {
				t.Errorf("%s, tried %v, want a refusal with %q", d.Name, d.Tried, test.want)
			}
		})
	}
}

func TestInstallReturnsWhatWorks(t *testing.T) {
	f := newFake(t)
	t.Setenv("GOMLX_BACKEND", "go") // must not matter
	_, err := f.install(t.Context(), "cpu", f.options())
	if err == nil || !strings.Contains(err.Error(), "no such host") {
		t.Errorf("error %v, want one with the installer's reason", err)
	}
	if _, err := f.install(t.Context(), "abacus", f.options()); err == nil {
		t.Error("installed an abacus")
	}
	f.put(t, goxlaCPU, "half a file")
	f.fetch = func(context.Context, string, func(string, ...any)) (string, error) {
		return f.put(t, "home/.local/lib/go-xla/pjrt_c_api_cpu_v1_plugin.so", "works"), nil
	}
	path, err := f.install(t.Context(), "cpu", f.options())
	if err != nil || filepath.Base(path) != "pjrt_c_api_cpu_v1_plugin.so" {
		t.Errorf("installed %s, %v", path, err)
	}
	f.fetch = nil // an installed plugin is enough
	if again, err := f.install(t.Context(), "cpu", f.options()); err != nil || again != path {
		t.Errorf("found %s, %v", again, err)
	}
}

func TestCancelledOpenIsAnError(t *testing.T) {
	f := newFake(t)
	ctx, cancel := context.WithCancel(t.Context())
	f.fetch = func(ctx context.Context, _ string, _ func(string, ...any)) (string, error) {
		cancel()
		return "", ctx.Err()
	}
	if _, err := f.open(ctx, f.options()); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
}

func TestXLAFlagsAreForTheWheelOnly(t *testing.T) {
	const content = "works"
	w := &wheel{library: "lib/pjrt_c_api_cpu_plugin.so", librarySize: int64(len(content)), xlaFlags: "--xla_fast"}
	for name, test := range map[string]struct{ content, env, want string }{
		"the wheel's plugin":  {content: content, want: "--xla_fast"},
		"another plugin":      {content: "works otherwise"},
		"the user's own":      {content: content, env: "--xla_mine", want: "--xla_mine"},
		"the user wants none": {content: content, env: " ", want: " "},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.wheel = w
			if test.env != "" {
				t.Setenv("XLA_FLAGS", test.env)
			}
			path := f.put(t, "site/pjrt_c_api_cpu_plugin.so", test.content)
			undo := f.setXLAFlags(Plugin{Kind: "cpu", Path: path})
			if got := os.Getenv("XLA_FLAGS"); got != test.want {
				t.Errorf("XLA_FLAGS is %q, want %q", got, test.want)
			}
			undo()
			if got := os.Getenv("XLA_FLAGS"); got != test.env {
				t.Errorf("XLA_FLAGS is %q after undo, want %q", got, test.env)
			}
		})
	}
}

func TestKindOf(t *testing.T) {
	for path, want := range map[string]string{
		"/home/cuda/nvidia/pjrt_c_api_cpu_plugin.so": "cpu",
		"/home/cpu/xla_cuda_plugin.so":               "cuda",
		"/opt/libtpu.so":                             "tpu",
		"/opt/cpu/pjrt_plugin_rocm.so":               "rocm",
		"/opt/cpu/plugin.so":                         "cpu",
		"/opt/x/plugin.so":                           "unnamed",
	} {
		if got := kindOf(path); got != want {
			t.Errorf("kindOf(%q) = %q, want %q", path, got, want)
		}
	}
}
