package device

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// cpuFlags are the XLA_FLAGS that [Open] sets for the pinned wheel of linux/amd64 when XLA_FLAGS is unset. XLA ends the
// process at a flag that it does not know, so they belong to this one build of XLA and are set for no other. With these
// reductions and single matrix products go to the YNNPACK library. Its element-wise fusions (LIBRARY_FUSION_TYPE_ELTWISE)
// are left out: with them five training steps of a ShuffleNetV2 leave the reference by more than its tolerance.
const cpuFlags = "--xla_cpu_experimental_ynn_fusion_type=LIBRARY_FUSION_TYPE_REDUCE,LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"

// wheel is a Python wheel that holds a CPU plugin. It is installed without its dependencies; no Python runs with it.
type wheel struct {
	name, version string // on the Python package index
	sha256        string // of the wheel
	library       string // the plugin's path within it
	librarySize   int64  // bytes
	librarySHA256 string
	xlaFlags      string // flags measured with this build
}

// wheels are the pinned wheels by GOOS/GOARCH. They need glibc 2.27.
var wheels = map[string]*wheel{
	"linux/amd64": {
		name: "lammps-jax-pjrt-cpu", version: "0.11.2",
		sha256:        "1319390d948b39f69f7dade496b7c385149d9ca6097a6b62114da113216d9ad1",
		library:       "lammps_jax_pjrt_cpu/pjrt_c_api_cpu_plugin.so",
		librarySize:   201600336,
		librarySHA256: "ad1309ac822b1b24d51b7f9947c7c9fa9ef5d67f390584cbc3d1fa2428fed9c2",
		xlaFlags:      cpuFlags,
	},
	"linux/arm64": {
		name: "xla-cpu-pjrt", version: "0.0.1",
		sha256:        "8f613be6e891858f40d64f9799319502fff42689661944fc18a6ffd8210b30c9",
		library:       "xla_plugins/xla_cpu_pjrt/xla_cpu_pjrt.so",
		librarySize:   200328224,
		librarySHA256: "fcf411f3e8ff635c2b2cf87215aa7016f460e66d236c3db08309e7486583532d",
	},
}

func pinnedWheel() *wheel { return wheels[runtime.GOOS+"/"+runtime.GOARCH] }

func (w *wheel) requirement() string { return w.name + "==" + w.version }

// is tells whether the file is this wheel's library: it has its name and, to the byte, its size.
func (w *wheel) is(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Size() == w.librarySize &&
		filepath.Base(path) == filepath.Base(w.library)
}

// check reads the whole file and compares it with the pinned sum.
func (w *wheel) check(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != w.librarySHA256 {
		return fmt.Errorf("%s has SHA-256 %s, not %s as the library of %s has", path, got, w.librarySHA256,
			w.requirement())
	}
	return nil
}

// wheelLibrary is where the pinned wheel's library is, or would be, in the cache.
func (m machine) wheelLibrary() (string, error) {
	if m.wheel == nil {
		return "", errors.New("no wheel is pinned for this system")
	}
	cache, err := CacheDir()
	return filepath.Join(cache, "pjrt", m.wheel.name+"-"+m.wheel.version, filepath.FromSlash(m.wheel.library)), err
}

// setXLAFlags sets XLA_FLAGS for a plugin that flags are known for, unless the user has set it. It must come before the
// plugin is loaded. The returned function takes that back.
func (m machine) setXLAFlags(p Plugin) (undo func()) {
	_, set := os.LookupEnv("XLA_FLAGS")
	if set || m.wheel == nil || m.wheel.xlaFlags == "" || !m.wheel.is(p.Path) {
		return func() {}
	}
	os.Setenv("XLA_FLAGS", m.wheel.xlaFlags)
	return func() { os.Unsetenv("XLA_FLAGS") }
}

// installWheel puts the pinned wheel into the cache, unless it is there, and returns the path of its library. The files
// appear there all at once, by a rename, after their sums were compared. One process installs at a time; the others
// wait for it.
func (m machine) installWheel(ctx context.Context, logf func(string, ...any)) (path string, err error) {
	ctx, cancel := context.WithTimeout(ctx, installTimeout)
	defer cancel()
	path, err = m.wheelLibrary()
	if err != nil || m.wheel.is(path) {
		return path, err
	}
	cache, _ := CacheDir()
	root := filepath.Join(cache, "pjrt")
	if err := os.MkdirAll(root, 0o755); err != nil {
		return "", cacheError(cache, err)
	}
	unlock, err := lockDir(ctx, root, logf)
	if err != nil {
		return "", cacheError(cache, err)
	}
	defer unlock()
	if m.wheel.is(path) { // another process was quicker
		return path, nil
	}

	// Whoever holds the lock is alone: other temporary directories are those of processes that were killed.
	stale, _ := filepath.Glob(filepath.Join(escapeGlob(root), ".install-*"))
	for _, dir := range stale {
		os.RemoveAll(dir)
	}
	tmp, err := os.MkdirTemp(root, ".install-")
	if err != nil {
		return "", cacheError(cache, err)
	}
	defer os.RemoveAll(tmp)

	logf("installing XLA for the CPU: %s by pip, 65 MB, once, into %s", m.wheel.requirement(), root)
	site := filepath.Join(tmp, "site")
	if err := m.wheel.pip(ctx, tmp, site); err != nil {
		return "", err
	}
	library := filepath.Join(site, filepath.FromSlash(m.wheel.library))
	if err := m.wheel.check(library); err != nil {
		return "", fmt.Errorf("pip reported success, but %w", err)
	}
	if err := syncPath(library); err != nil {
		return "", cacheError(cache, err)
	}
	final := filepath.Join(root, m.wheel.name+"-"+m.wheel.version)
	if err := os.RemoveAll(final); err != nil { // a damaged one
		return "", cacheError(cache, err)
	}
	if err := os.Rename(site, final); err != nil {
		return "", cacheError(cache, err)
	}
	return path, syncPath(root)
}

// lockDir waits until this process alone may install into dir.
func lockDir(ctx context.Context, dir string, logf func(string, ...any)) (unlock func() error, err error) {
	lock := flock.New(filepath.Join(dir, ".lock"))
	locked, err := lock.TryLock()
	if err == nil && !locked {
		logf("waiting for another process that is installing XLA (it holds %s)", lock.Path())
		_, err = lock.TryLockContext(ctx, 200*time.Millisecond)
	}
	return lock.Unlock, err
}

// syncPath makes a file or a directory durable.
func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// pip installs the wheel into the directory site, with the pip of python3 or, where that has none (Debian), with that
// of a virtual environment in tmp.
func (w *wheel) pip(ctx context.Context, tmp, site string) error {
	python, err := exec.LookPath("python3")
	if err != nil {
		return errors.New("python3 is not installed (sudo apt-get install python3 python3-venv)")
	}
	requirements := filepath.Join(tmp, "requirements.txt")
	line := fmt.Sprintf("%s --hash=sha256:%s\n", w.requirement(), w.sha256)
	if err := os.WriteFile(requirements, []byte(line), 0o644); err != nil {
		return cacheError(tmp, err)
	}
	install := func(python string) (string, error) {
		return run(ctx, tmp, python, "-m", "pip", "install", "--quiet", "--progress-bar=off", "--retries=1",
			"--timeout=10", "--no-deps", "--require-hashes", "--only-binary=:all:", "--no-compile",
			"--target", site, "-r", requirements)
	}
	output, err := install(python)
	if err != nil && strings.Contains(output, "No module named pip") {
		venv := filepath.Join(tmp, "venv")
		if output, err = run(ctx, tmp, python, "-m", "venv", venv); err != nil {
			return fmt.Errorf("%s has neither pip nor venv (sudo apt-get install python3-venv): %s", python,
				lastLine(output, err))
		}
		output, err = install(filepath.Join(venv, "bin", "python3"))
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("pip was stopped: %w", context.Cause(ctx))
	case strings.Contains(output, "DO NOT MATCH THE HASHES"):
		return fmt.Errorf("pip was given another file than %s with SHA-256 %s: the package index or something on the "+
			"way changed it, and nothing was installed", w.requirement(), w.sha256)
	}
	return fmt.Errorf("pip failed (is there a network?): %s", lastLine(output, err))
}

// run runs a Python command and returns all that it printed. Its temporary files go to tmp.
func run(ctx context.Context, tmp, name string, args ...string) (output string, err error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp, "PIP_USER=0", "PIP_REQUIRE_VIRTUALENV=0", "PIP_NO_INPUT=1",
		"PIP_DISABLE_PIP_VERSION_CHECK=1")
	cmd.WaitDelay = 2 * time.Second
	all, err := cmd.CombinedOutput()
	return string(bytes.ToValidUTF8(all, []byte("?"))), err
}

// lastLine is the last line that a failed command printed, or how it ended if it printed none.
func lastLine(output string, err error) string {
	lines := strings.Split(strings.TrimSpace(output), "\n")
	if last := strings.TrimSpace(lines[len(lines)-1]); last != "" {
		return last
	}
	return err.Error()
}
