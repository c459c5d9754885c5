//go:build ((linux && (amd64 || arm64)) || (darwin && arm64) || (windows && amd64)) && !noxla

package device

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"github.com/gomlx/compute"
	"github.com/gomlx/go-xla/compute/xla"
	"github.com/gomlx/go-xla/installer"
	"github.com/gomlx/go-xla/pjrt"
)

func init() {
	// GoMLX's own way would download plugins in the middle of anything that opens a backend. We do it, or nobody.
	xla.EnableAutoInstall(false)
}

func thisMachine() machine {
	return machine{goos: runtime.GOOS, prefixes: []string{"/usr/local", "/usr"}, wheel: pinnedWheel(),
		hasGPU: installer.HasNvidiaGPU, load: load, fetch: fetch}
}

// PluginVersion loads the plugin at path and returns the version of its PJRT C API, such as "0.115".
func PluginVersion(path string) (api string, err error) {
	defer asError(&err)
	plugin, _, err := loadLibrary(Plugin{Kind: kindOf(path), Path: path})
	if err != nil {
		return "", err
	}
	return version(plugin), nil
}

func load(p Plugin, options string) (backend compute.Backend, api string, err error) {
	defer asError(&err)
	if p.Kind == "cpu" {
		keepMemory()
	}
	plugin, name, err := loadLibrary(p)
	if err != nil {
		return nil, "", err
	}
	if p.Kind == "cpu" {
		intercept(p)
	}
	backend, err = xla.New(name + "," + options)
	return backend, version(plugin), err
}

func version(plugin *pjrt.Plugin) string {
	major, minor := plugin.Version()
	return fmt.Sprintf("%d.%d", major, minor)
}

// loadLibrary loads the plugin and returns the name that go-xla knows it by from then on.
func loadLibrary(p Plugin) (*pjrt.Plugin, string, error) {
	if err := checkLibrary(p.Path); err != nil {
		return nil, "", err
	}
	loading.Lock()
	defer loading.Unlock()
	name, remove, err := plainName(p)
	if err != nil {
		return nil, "", err
	}
	defer remove()
	plugin, err := pjrt.GetPlugin(name)
	return plugin, name, err
}

var (
	// aliases are the names under which plugins of this process were loaded, by their path.
	aliases = map[string]string{}
	loading sync.Mutex // guards aliases
)

// plainName returns a name that go-xla does not misread. It takes a comma for the end of a path, and a plugin for
// CUDA's or the CPU's if the path says so anywhere, as /home/cuda/x.so does. A CPU plugin with such a path is loaded
// through a link in a temporary directory, which may be removed once it is loaded. Others find their libraries by their
// path, so they are refused.
func plainName(p Plugin) (name string, remove func(), err error) {
	remove = func() {}
	misread := func(path string) bool {
		upper := strings.ToUpper(path)
		return strings.Contains(path, ",") || (p.Kind == "cpu") != strings.Contains(upper, "CPU") ||
			(p.Kind == "cuda") != pjrt.IsCUDAName(path)
	}
	switch {
	case aliases[p.Path] != "":
		return aliases[p.Path], remove, nil
	case !misread(p.Path):
		return p.Path, remove, nil
	case p.Kind != "cpu":
		return "", remove, fmt.Errorf("go-xla would misread its path as that of another kind of plugin: move it to a " +
			"directory without \",\", \"cpu\", \"cuda\" and \"nvidia\" in its name")
	}
	dir, err := os.MkdirTemp("", "dhkd-")
	if err != nil {
		return "", remove, err
	}
	remove = func() { os.RemoveAll(dir) }
	name = filepath.Join(dir, "pjrt_c_api_cpu_plugin"+filepath.Ext(p.Path))
	if misread(name) {
		err = fmt.Errorf("go-xla would misread its path and that of the temporary directory: set TMPDIR to one " +
			"without \",\", \"cuda\" and \"nvidia\" in its name")
	} else if err = os.Symlink(p.Path, name); err == nil {
		aliases[p.Path] = name
	}
	return name, remove, err
}
