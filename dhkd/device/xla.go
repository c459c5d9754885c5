//go:build ((linux && (amd64 || arm64)) || (darwin && arm64) || (windows && amd64)) && !noxla

package device

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"github.com/gomlx/compute"
	"github.com/gomlx/go-xla/compute/xla"
	"github.com/gomlx/go-xla/installer"
	"github.com/gomlx/go-xla/pjrt"

	"github.com/dhkd-lab/dhkd-go/dhkd/internal/safefile"
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
	plugin, name, err := loadLibrary(p)
	if err != nil {
		return nil, "", err
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

// plainName returns a name that go-xla does not misread. It takes a comma for the end of a path, and a plugin for CUDA's or the
// CPU's if the path says so anywhere, as /home/cuda/x.so does. A CPU plugin with such a path is loaded through a link in a
// temporary directory, which may be removed once it is loaded. Others find their libraries by their path, so they are refused.
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
		return "", remove, fmt.Errorf("go-xla would misread its path as that of another kind of plugin: move it to a directory " +
			"without \",\", \"cpu\", \"cuda\" and \"nvidia\" in its name")
	}
	dir, err := os.MkdirTemp("", "dhkd-")
	if err != nil {
		return "", remove, err
	}
	remove = func() { os.RemoveAll(dir) }
	name = filepath.Join(dir, "pjrt_c_api_cpu_plugin"+filepath.Ext(p.Path))
	if misread(name) {
		err = fmt.Errorf("go-xla would misread its path and that of the temporary directory: set TMPDIR to one without " +
			"\",\", \"cuda\" and \"nvidia\" in its name")
	} else if err = os.Symlink(p.Path, name); err == nil {
		aliases[p.Path] = name
	}
	return name, remove, err
}

// fetch runs go-xla's installer. That one can neither be stopped nor kept from drawing on stdout while it downloads, so the CPU
// plugin's archive is downloaded here, to where the installer then finds it.
func fetch(ctx context.Context, kind string, logf func(string, ...any)) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, installTimeout)
	defer cancel()
	lib, err := installer.DefaultHomeLibPath()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(lib, "go-xla")
	if kind == "cuda" {
		if !installer.HasNvidiaGPU() {
			return "", errors.New("no NVIDIA card was found")
		}
		if err := reachable(ctx, reachTimeout, "https://pypi.org/simple/jax-cuda13-pjrt/"); err != nil {
			return "", err
		}
		logf("installing XLA for CUDA with go-xla's installer into %s", dir)
		path := filepath.Join(dir, "nvidia", "pjrt_c_api_cuda_plugin.so")
		return path, inBackground(ctx, func() error { return installer.AutoInstall(lib, true, installer.Normal) })
	}

	platform, extension, library := runtime.GOOS+"_"+runtime.GOARCH, ".tar.gz", ".so"
	if runtime.GOOS == "windows" {
		extension, library = ".zip", ".dll"
	}
	repository, asset := installer.BinaryCPUReleasesRepo, "pjrt_cpu_"+platform+extension
	url := "https://github.com/" + repository + "/releases/download/" + pjrt.DefaultCPUVersion + "/" + asset
	if err := reachable(ctx, reachTimeout, url, "https://api.github.com/repos/"+repository); err != nil {
		return "", err
	}
	logf("installing XLA for the CPU with go-xla's installer: %s %s into %s", asset, pjrt.DefaultCPUVersion, dir)
	archive, cached, err := installer.GetCachePath(pjrt.DefaultCPUVersion + "_" + asset)
	if err == nil && !cached {
		err = safefile.Write(archive, func(w io.Writer) error { return download(ctx, stallTimeout, url, w) })
	}
	if err != nil {
		return "", err
	}
	if err := inBackground(ctx, func() error { return installer.CPUAutoInstall(dir, true, installer.Quiet) }); err != nil {
		os.Remove(archive) // perhaps it is damaged: the next try gets a new one
		return "", err
	}
	return filepath.Join(dir, "pjrt_c_api_cpu_"+pjrt.DefaultCPUVersion+"_plugin"+library), nil
}

// inBackground runs work, which knows no context, and stops waiting for it when ctx ends. A panic is an error.
func inBackground(ctx context.Context, work func() error) error {
	done := make(chan error, 1)
	go func() {
		var err error
		defer func() { done <- err }()
		defer asError(&err)
		err = work()
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
