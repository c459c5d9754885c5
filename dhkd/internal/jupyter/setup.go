// Package jupyter sets up and runs the notebooks of a checkout: JupyterLab in a virtual environment in .venv, the GoNB
// kernel's programs in .bin, and nothing outside the checkout. The kernel itself is notebooks/kernel, which Jupyter
// finds through JUPYTER_PATH.
package jupyter

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// Options says how much [Setup] sets up.
type Options struct {
	// Lab adds JupyterLab. Without it there is what runs notebooks headless, in half the time and space.
	Lab bool
	// Gopls adds completion and documentation inside cells; it takes a minute to build.
	Gopls bool
	// Env holds variables that the kernel sets for its cells, such as GOMLX_BACKEND, unless the user has set them.
	Env map[string]string
	// Progress, if not nil, is called with one line before each step that takes time.
	Progress func(line string)
}

// Setup makes the checkout at root ready to run notebooks: Python packages in .venv (every version and hash pinned by
// notebooks/requirements*.txt), GoNB and goimports in .bin (pinned by notebooks/tools/go.mod), and .cache/kernel.env.
//
// What is already there and up to date is kept, so that a second call takes milliseconds; a larger set is kept when a
// smaller one is asked for. A set-up that was killed is begun anew, and two at once wait for each other. The programs'
// own output goes to .cache/jupyter-setup.log, which errors name.
func Setup(ctx context.Context, root string, options Options) error {
	root, err := filepath.Abs(root)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(root, "notebooks", "tools", "go.mod")); err != nil {
		return fmt.Errorf("%s is not a checkout of dhkd-go (it has no notebooks/tools/go.mod): run this in one", root)
	}
	s := &setup{root: root, Options: options}
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := s.python(ctx); err != nil {
		return err
	}
	if err := s.tools(ctx); err != nil {
		return err
	}
	if err := s.modules(ctx); err != nil {
		return err
	}
	return s.kernelEnv()
}

// setup is one call of [Setup].
type setup struct {
	root string // absolute
	Options
}

func (s *setup) path(parts ...string) string {
	return filepath.Join(append([]string{s.root}, parts...)...)
}

func (s *setup) progress(format string, args ...any) {
	if s.Progress != nil {
		s.Progress(fmt.Sprintf(format, args...))
	}
}

// lock keeps other set-ups of this checkout out until the function that it returns is called.
func (s *setup) lock(ctx context.Context) (unlock func(), err error) {
	if err := os.MkdirAll(s.path(".cache"), 0o755); err != nil {
		return nil, fmt.Errorf("cannot set up Jupyter: %w", err)
	}
	lock := flock.New(s.path(".cache", "jupyter-setup.lock"))
	locked, err := lock.TryLock()
	if err == nil && !locked {
		s.progress("Waiting for another set-up of %s", s.root)
		_, err = lock.TryLockContext(ctx, 200*time.Millisecond)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot lock %s: %w", lock.Path(), err)
	}
	return func() { _ = lock.Unlock() }, nil
}

// python makes .venv. Its stamp says what was installed, or that the work isn't done: an environment left in that state
// is made anew, so that no half-installed package survives.
func (s *setup) python(ctx context.Context) error {
	runKey, err := s.venvKey("requirements-run.txt")
	if err != nil {
		return err
	}
	labKey, err := s.venvKey("requirements.txt")
	if err != nil {
		return err
	}
	stamp := s.path(".venv", stampName)
	old := readStamp(stamp)
	if old == labKey || old == runKey && !s.Lab {
		return nil
	}
	if old == runKey {
		err = writeFile(stamp, unfinished) // only JupyterLab is to be added
	} else {
		err = s.newVenv(ctx)
	}
	if err != nil {
		return err
	}
	requirements := "requirements-run.txt"
	if s.Lab {
		requirements = "requirements.txt"
	}
	s.progress("Installing the Python packages of notebooks/%s", requirements)
	env := []string{"PIP_USER=", "PIP_TARGET=", "PIP_PREFIX="}
	err = s.run(ctx, env, s.venvPython(), "-m", "pip", "install", "--require-hashes", "--no-input",
		"--disable-pip-version-check", "--retries=2", "--requirement", s.path("notebooks", requirements))
	if err != nil {
		return fmt.Errorf("cannot install the Python packages (is there a network?): %w", err)
	}
	if s.Lab {
		if err := s.labSettings(); err != nil {
			return err
		}
	}
	key, err := s.venvKey(requirements) // anew, for the interpreter is known only now
	if err != nil {
		return err
	}
	return writeFile(stamp, key)
}

// newVenv makes an empty environment, with an unfinished stamp. One that isn't ours is left alone.
func (s *setup) newVenv(ctx context.Context) error {
	venv := s.path(".venv")
	python, err := findPython(ctx)
	if err != nil {
		return err
	}
	if entries, _ := os.ReadDir(venv); len(entries) > 0 && readStamp(filepath.Join(venv, stampName)) == "" {
		return fmt.Errorf("%s was not made by dhkd setup: move it away or remove it, and try again", venv)
	}
	s.progress("Making a Python environment in %s", venv)
	// Renamed first: a removal that is interrupted might take the stamp before the rest.
	rubbish := s.path(".cache", "old-venv")
	if err := os.RemoveAll(rubbish); err != nil {
		return err
	}
	if err := os.Rename(venv, rubbish); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.RemoveAll(rubbish); err != nil {
		return err
	}
	if err := writeFile(filepath.Join(venv, stampName), unfinished); err != nil {
		return err
	}
	err = s.run(ctx, nil, python, "-m", "venv", venv)
	var failure *failedCommand
	if errors.As(err, &failure) && strings.Contains(failure.output, "ensurepip") {
		return fmt.Errorf("%s lacks its venv module: install it (Debian, Ubuntu: sudo apt-get install python3-venv)", python)
	}
	return err
}

// labSettings gives JupyterLab the defaults of notebooks/overrides.json: it then asks for no news.
func (s *setup) labSettings() error {
	overrides, err := os.ReadFile(s.path("notebooks", "overrides.json"))
	if err != nil {
		return err
	}
	return writeFile(s.path(".venv", "share", "jupyter", "lab", "settings", "overrides.json"), string(overrides))
}

// venvKey changes with the requirements, with the place (scripts in .venv have absolute paths) and with the interpreter
// that .venv links to (an upgraded system may have put another there, or none).
func (s *setup) venvKey(requirements string) (string, error) {
	pins, err := os.ReadFile(s.path("notebooks", requirements))
	if err != nil {
		return "", fmt.Errorf("cannot set up Jupyter: %w", err)
	}
	interpreter, _ := filepath.EvalSymlinks(s.venvPython())
	return digest(requirements, string(pins), s.root, interpreter), nil
}

func (s *setup) venvPython() string { return s.path(".venv", "bin", "python") }

// The kernel's programs. GoNB calls goimports for every cell, and gopls where it is there.
const (
	gonbPackage      = "github.com/janpfeifer/gonb"
	goimportsPackage = "golang.org/x/tools/cmd/goimports"
	goplsPackage     = "golang.org/x/tools/gopls"
)

// tools builds the kernel's programs into .bin.
func (s *setup) tools(ctx context.Context) error {
	mod, err := os.ReadFile(s.path("notebooks", "tools", "go.mod"))
	if err != nil {
		return err
	}
	sum, err := os.ReadFile(s.path("notebooks", "tools", "go.sum"))
	if err != nil {
		return err
	}
	key := digest(string(mod), string(sum), runtime.Version())
	stamp := s.path(".bin", stampName)
	packages := []string{gonbPackage, goimportsPackage}
	if s.Gopls {
		packages = append(packages, goplsPackage)
	}
	if readStamp(stamp) == key {
		packages = slices.DeleteFunc(packages, func(p string) bool { return isFile(s.path(".bin", filepath.Base(p))) })
	} else if err := os.RemoveAll(s.path(".bin", "gopls")); err != nil { // an older one must not pass for the pinned one
		return err
	}
	if len(packages) == 0 {
		return nil
	}
	if _, err := exec.LookPath("go"); err != nil {
		return errors.New("no 'go' on PATH: install Go from https://go.dev/dl")
	}
	if err := writeFile(stamp, unfinished); err != nil {
		return err
	}
	s.progress("Building the Go kernel's programs in %s", s.path(".bin"))
	args := append([]string{"-C", s.path("notebooks", "tools"), "install", "-mod=readonly"}, packages...)
	env := []string{"GOBIN=" + s.path(".bin"), "GOWORK=off", "GOOS=", "GOARCH="}
	if err := s.run(ctx, env, "go", args...); err != nil {
		return fmt.Errorf("cannot build the Go kernel: %w", err)
	}
	return writeFile(stamp, key)
}

// modules downloads all of the module graph: a cell's own module sees more of it than the program does, and cells may run
// without a network.
func (s *setup) modules(ctx context.Context) error {
	mod, err := os.ReadFile(s.path("go.mod"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	stamp := s.path(".cache", "modules.stamp")
	key := digest(string(mod), runtime.Version())
	if readStamp(stamp) == key {
		return nil
	}
	s.progress("Downloading the modules that cells may import")
	if err := s.run(ctx, []string{"GOWORK=off"}, "go", "-C", s.root, "mod", "download"); err != nil {
		return fmt.Errorf("cannot download the Go modules (is there a network?): %w", err)
	}
	return writeFile(stamp, key)
}

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// kernelEnv writes what notebooks/kernel's launch.sh reads: shell commands that set each variable unless it is set.
func (s *setup) kernelEnv() error {
	if s.Env == nil {
		return nil
	}
	var text strings.Builder
	text.WriteString("# Written by dhkd setup --jupyter. The user's own environment wins.\n")
	names := make([]string, 0, len(s.Env))
	for name := range s.Env {
		if !variableName.MatchString(name) {
			return fmt.Errorf("%q cannot be the name of an environment variable", name)
		}
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		quoted := "'" + strings.ReplaceAll(s.Env[name], "'", `'\''`) + "'"
		fmt.Fprintf(&text, "[ \"${%s+set}\" ] || export %s=%s\n", name, name, quoted)
	}
	path := s.path(".cache", "kernel.env")
	if old, err := os.ReadFile(path); err == nil && string(old) == text.String() {
		return nil
	}
	return writeFile(path, text.String())
}
