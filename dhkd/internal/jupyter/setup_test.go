package jupyter

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakePython stands for python3 and for the interpreter in .venv. It notes its calls in $FAKE_LOG and fails as told.
const fakePython = `#!/bin/sh
case "$*" in
"-c "*) echo "${FAKE_VERSION:-3.11 True}"; exit ;;
esac
echo "python $1 $2 $3 $(basename "$8")" >>"$FAKE_LOG"
case "$2 $FAKE_FAIL" in
"venv novenv") echo "The virtual environment was not created because ensurepip is not available."; exit 1 ;;
"pip hash") echo "Collecting x"; echo "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES"; echo "bye"; exit 1 ;;
"pip slow") exec sleep 60 ;;
venv*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
esac
`

const fakeGo = `#!/bin/sh
shift 4 # -C DIR install -mod=readonly
echo "go $*" >>"$FAKE_LOG"
[ "$FAKE_FAIL" = go ] && { echo "go: module lookup failed"; exit 1; }
for package; do
	program=$GOBIN/$(basename "$package")
	echo built >"$program" && chmod +x "$program"
done
`

// fakeCheckout makes a checkout with what Setup reads, in a place with a space, and fake programs that are all of PATH.
// calls gives what these have been called for since it was last asked.
func fakeCheckout(t *testing.T) (root string, calls func() []string) {
	t.Helper()
	root = filepath.Join(t.TempDir(), "a checkout")
	bin := t.TempDir()
	for path, text := range map[string]string{
		filepath.Join(root, "notebooks", "requirements.txt"):     "nbclient==1\njupyterlab==1\n",
		filepath.Join(root, "notebooks", "requirements-run.txt"): "nbclient==1\n",
		filepath.Join(root, "notebooks", "overrides.json"):       "{}\n",
		filepath.Join(root, "notebooks", "tools", "go.mod"):      "module tools\n",
		filepath.Join(root, "notebooks", "tools", "go.sum"):      "",
		filepath.Join(bin, "python3"):                            fakePython,
		filepath.Join(bin, "go"):                                 fakeGo,
	} {
		write(t, path, text)
	}
	for _, name := range []string{"sh", "mkdir", "cp", "basename", "sleep", "chmod"} {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin)
	log := filepath.Join(t.TempDir(), "log")
	t.Setenv("FAKE_LOG", log)
	return root, func() []string {
		text, _ := os.ReadFile(log)
		_ = os.Remove(log)
		return strings.FieldsFunc(strings.ReplaceAll(string(text), root, "ROOT"), func(r rune) bool { return r == '\n' })
	}
}

// write makes an executable file.
func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestSetupDoesOnlyWhatIsMissing(t *testing.T) {
	root, calls := fakeCheckout(t)
	const (
		venv     = "python -m venv ROOT/.venv "
		packages = "python -m pip install "
		kernel   = "go github.com/janpfeifer/gonb golang.org/x/tools/cmd/goimports"
	)
	step := func(what string, options Options, want ...string) {
		t.Helper()
		if err := Setup(t.Context(), root, options); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		got := calls()
		for i, call := range got {
			if strings.HasPrefix(call, packages) {
				got[i] = packages
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: called\n%q, want\n%q", what, got, want)
		}
	}
	step("first", Options{}, venv, packages, kernel)
	step("again", Options{})
	step("JupyterLab is added to what is there", Options{Lab: true}, packages)
	step("the larger set is kept", Options{})
	step("gopls", Options{Gopls: true}, "go golang.org/x/tools/gopls")
	step("gopls is kept", Options{})
	write(t, filepath.Join(root, "notebooks", "requirements.txt"), "jupyterlab==2\n")
	step("other pins", Options{Lab: true}, venv, packages)
	write(t, filepath.Join(root, "notebooks", "tools", "go.mod"), "module tools // newer\n")
	step("other tools", Options{}, kernel)
	if isFile(filepath.Join(root, ".bin", "gopls")) {
		t.Error("a gopls of the older go.mod is still there")
	}
	if err := os.RemoveAll(filepath.Join(root, ".venv")); err != nil {
		t.Fatal(err)
	}
	step("removed", Options{}, venv, packages)
	moved := root + " moved"
	if err := os.Rename(root, moved); err != nil {
		t.Fatal(err)
	}
	root = moved
	if err := Setup(t.Context(), root, Options{}); err != nil || len(calls()) != 2 {
		t.Errorf("a moved checkout must get a new environment (scripts in it have absolute paths): %v", err)
	}
}

func TestSetupErrors(t *testing.T) {
	tests := []struct {
		name, fail, version, want string
		spoil                     func(t *testing.T, root string)
	}{
		{name: "no venv module", fail: "novenv", want: "sudo apt-get install python3-venv"},
		{name: "pip", fail: "hash", want: "exit status 1: ERROR: THESE PACKAGES DO NOT MATCH THE HASHES (more in "},
		{name: "go", fail: "go", want: "go: module lookup failed"},
		{name: "old Python", version: "3.9 False", want: "python3 is Python 3.9: install Python 3.10 or later"},
		{name: "no Python", want: "no python3 on PATH: install Python 3.10", spoil: func(t *testing.T, _ string) {
			remove(t, filepath.Join(os.Getenv("PATH"), "python3"))
		}},
		{name: "no Go", want: "no 'go' on PATH", spoil: func(t *testing.T, _ string) {
			remove(t, filepath.Join(os.Getenv("PATH"), "go"))
		}},
		{name: "no checkout", want: "is not a checkout of dhkd-go", spoil: func(t *testing.T, root string) {
			remove(t, filepath.Join(root, "notebooks", "tools", "go.mod"))
		}},
		{name: "a .venv of the user", want: "was not made by dhkd setup: move it away", spoil: func(t *testing.T, root string) {
			write(t, filepath.Join(root, ".venv", "bin", "python"), "mine")
		}},
		{name: ".cache cannot be written", want: "cannot set up Jupyter: mkdir", spoil: func(t *testing.T, root string) {
			write(t, filepath.Join(root, ".cache"), "a file")
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root, _ := fakeCheckout(t)
			if test.spoil != nil {
				test.spoil(t, root)
			}
			t.Setenv("FAKE_FAIL", test.fail)
			t.Setenv("FAKE_VERSION", test.version)
			err := Setup(t.Context(), root, Options{})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("error %v, want one with %q", err, test.want)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("the error is more than a line: %v", err)
			}
			if test.spoil != nil {
				return
			}
			t.Setenv("FAKE_FAIL", "")
			t.Setenv("FAKE_VERSION", "")
			if err := Setup(t.Context(), root, Options{}); err != nil {
				t.Errorf("with the cause gone it still fails: %v", err)
			}
		})
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func TestSetupInterrupted(t *testing.T) {
	root, calls := fakeCheckout(t)
	t.Setenv("FAKE_FAIL", "slow")
	ctx, cancel := context.WithCancel(t.Context())
	progress := func(line string) {
		if strings.HasPrefix(line, "Installing") {
			time.AfterFunc(100*time.Millisecond, cancel)
		}
	}
	if err := Setup(ctx, root, Options{Progress: progress}); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want %v", err, context.Canceled)
	}
	calls()
	t.Setenv("FAKE_FAIL", "")
	write(t, filepath.Join(root, ".venv", "half a package"), "")
	if err := Setup(t.Context(), root, Options{}); err != nil {
		t.Fatal(err)
	}
	if len(calls()) != 3 || isFile(filepath.Join(root, ".venv", "half a package")) {
		t.Error("the interrupted environment was not made anew")
	}
}

func TestSetupTwiceAtOnce(t *testing.T) {
	root, calls := fakeCheckout(t)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			if err := Setup(t.Context(), root, Options{}); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if got := calls(); len(got) != 3 {
		t.Errorf("the work was done more than once: %q", got)
	}
}

// The kernel's launcher must find the checkout, from any folder, and set what setup wrote unless the user did.
func TestKernelLauncher(t *testing.T) {
	root, _ := fakeCheckout(t)
	spec := filepath.Join(root, "notebooks", "kernel", "kernels", "gonb")
	if err := os.CopyFS(spec, os.DirFS("../../../notebooks/kernel/kernels/gonb")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", os.Getenv("PATH")+":/usr/bin:/bin")
	t.Setenv("GOMLX_BACKEND", "") // to be put back after the test
	launch := func(env ...string) (string, error) {
		cmd := exec.Command("/bin/sh", filepath.Join(spec, "launch.sh"), "/a b/connection.json")
		cmd.Dir = t.TempDir()
		cmd.Env = append(os.Environ(), env...)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := launch(); err == nil || !strings.Contains(out, "make lab") {
		t.Errorf("without GoNB it says %q (%v)", out, err)
	}

	const value = "xla:/it's \"here\"/$HOME/p.so"
	if err := Setup(t.Context(), root, Options{Env: map[string]string{"GOMLX_BACKEND": value}}); err != nil {
		t.Fatal(err)
	}
	const gonb = `#!/bin/sh
printf '%s\n' "$GOMLX_BACKEND" "$@"
go get && echo "shim ok"
go -C x install -mod=readonly real/package && cat "$GOBIN/package"
`
	write(t, filepath.Join(root, ".bin", "gonb"), gonb)
	write(t, filepath.Join(root, ".bin", "goimports"), "")
	out, err := launch("GOMLX_BACKEND=go", "GOBIN="+t.TempDir())
	if err != nil || !strings.HasPrefix(out, "go\n--kernel\n/a b/connection.json\n--raw_error\n--go_work="+root+"\n") {
		t.Errorf("the launcher called GoNB with %q (%v)", out, err)
	}
	if !strings.HasSuffix(out, "shim ok\nbuilt\n") {
		t.Errorf("'go get' must do nothing, and the rest reach the real go: %q", out)
	}
	write(t, filepath.Join(root, ".bin", "gonb"), "#!/bin/sh\nprintf '%s' \"$GOMLX_BACKEND\"\n")
	if out, err := launch("GOMLX_BACKEND=unset by the next"); err != nil || out != "unset by the next" {
		t.Errorf("the user's GOMLX_BACKEND gave way: %q (%v)", out, err)
	}
	if err := os.Unsetenv("GOMLX_BACKEND"); err != nil {
		t.Fatal(err)
	}
	if out, err := launch(); err != nil || out != value {
		t.Errorf("GOMLX_BACKEND is %q (%v), want %q", out, err, value)
	}
}

func TestSetupRefusesBadNames(t *testing.T) {
	root, _ := fakeCheckout(t)
	if err := Setup(t.Context(), root, Options{Env: map[string]string{"A; rm -rf": "x"}}); err == nil {
		t.Error("a variable's name went into a shell script unchecked")
	}
}
