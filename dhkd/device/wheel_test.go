package device

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const library = "works" // what the fake pip installs

// fakePython puts a python3 on PATH that notes its arguments in calls and then runs the shell code. There, install is a
// function that does pip's part.
func (f *fake) fakePython(t *testing.T, code string) (calls func() []string) {
	t.Helper()
	log := filepath.Join(f.root, "calls")
	f.put(t, "bin/python3", fmt.Sprintf(`#!/bin/sh
PATH=/usr/bin:/bin
echo "$@" >> %s
install() {
	while [ $# -gt 0 ]; do
		if [ "$1" = --target ]; then target=$2; fi
		shift
	done
	mkdir -p "$target/lib"
	printf %%s '%s' > "$target/lib/pjrt_c_api_cpu_plugin.so"
}
%s
`, log, library, code))
	sum := sha256.Sum256([]byte(library))
	f.wheel = &wheel{name: "fake-wheel", version: "1.0", sha256: strings.Repeat("0", 64),
		library: "lib/pjrt_c_api_cpu_plugin.so", librarySize: int64(len(library)),
		librarySHA256: hex.EncodeToString(sum[:])}
	return func() []string {
		content, _ := os.ReadFile(log)
		return strings.Split(strings.TrimSpace(string(content)), "\n")
	}
}

// leftovers are the entries of the plugin cache but for the lock.
func (f *fake) leftovers(t *testing.T) (names []string) {
	t.Helper()
	entries, _ := os.ReadDir(filepath.Join(f.root, "cache", "pjrt"))
	for _, entry := range entries {
		if entry.Name() != ".lock" {
			names = append(names, entry.Name())
		}
	}
	return names
}

func TestWheelIsInstalledOnce(t *testing.T) {
	f := newFake(t)
	calls := f.fakePython(t, `install "$@"`)
	for range 2 {
		d, err := f.open(t.Context(), f.options())
		if err != nil {
			t.Fatal(err)
		}
		d.Close()
		want := filepath.Join(f.root, "cache/pjrt/fake-wheel-1.0/lib/pjrt_c_api_cpu_plugin.so")
		if d.Plugin != want {
			t.Errorf("opened %q, want %q; tried %v", d.Plugin, want, d.Tried)
		}
	}
	got := calls()
	if len(got) != 1 {
		t.Fatalf("python3 was called %d times: %q", len(got), got)
	}
	for _, option := range []string{"--no-deps", "--require-hashes", "--only-binary=:all:", "--target"} {
		if !strings.Contains(got[0], option) {
			t.Errorf("pip was called without %s: %s", option, got[0])
		}
	}
	if got := f.leftovers(t); !slices.Equal(got, []string{"fake-wheel-1.0"}) {
		t.Errorf("the cache holds %q", got)
	}
}

func TestDamagedWheelIsReplaced(t *testing.T) {
	f := newFake(t)
	f.fakePython(t, `install "$@"`)
	f.put(t, "cache/pjrt/fake-wheel-1.0/lib/pjrt_c_api_cpu_plugin.so", "wor")
	d, err := f.open(t.Context(), f.options())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if d.Name != "xla:cpu" {
		t.Errorf("chose %s, tried %v", d.Name, d.Tried)
	}
}

func TestWheelFailures(t *testing.T) {
	for name, test := range map[string]struct{ code, want string }{
		"hash mismatch": {
			"echo 'ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.' >&2; exit 1",
			"pip was given another file than fake-wheel==1.0"},
		"changed library": {
			`install "$@"; echo x >> "$target/lib/pjrt_c_api_cpu_plugin.so"`, "has SHA-256"},
		"no library": {"exit 0", "pip reported success, but open"},
		"no network": {
			"echo 'ERROR: No matching distribution found for fake-wheel==1.0'; exit 1",
			"pip failed (is there a network?): ERROR: No matching distribution found"},
		"silent failure": {"exit 3", "exit status 3"},
		"no pip, no venv": {
			`echo "$0: No module named pip"; exit 1`, "has neither pip nor venv (sudo apt-get install python3-venv)"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.fakePython(t, test.code)
			d, err := f.open(t.Context(), f.options())
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			if d.Name != "go" {
				t.Errorf("chose %s", d.Name)
			}
			if refused := d.Tried[len(d.Tried)-2].Refused; !strings.Contains(refused, test.want) {
				t.Errorf("refused for %q, want %q", refused, test.want)
			}
			if got := f.leftovers(t); len(got) != 0 {
				t.Errorf("the cache holds %q", got)
			}
		})
	}
}

func TestVenvStandsInForPip(t *testing.T) {
	f := newFake(t)
	calls := f.fakePython(t, `case "$0 $*" in
		*venv/bin/python3*) install "$@" ;;
		*"-m venv"*) mkdir -p "$3/bin"; cp "$0" "$3/bin/python3" ;;
		*) echo "No module named pip"; exit 1 ;;
	esac`)
	path, err := f.installWheel(t.Context(), t.Logf)
	if err != nil || !f.wheel.is(path) {
		t.Errorf("installed %q, %v; calls %q", path, err, calls())
	}
	if got := f.leftovers(t); !slices.Equal(got, []string{"fake-wheel-1.0"}) {
		t.Errorf("the cache holds %q", got)
	}
}

func TestNoPython(t *testing.T) {
	f := newFake(t)
	f.fakePython(t, "")
	os.Remove(filepath.Join(f.root, "bin", "python3"))
	_, err := f.installWheel(t.Context(), t.Logf)
	if err == nil || !strings.Contains(err.Error(), "python3 is not installed (sudo apt-get install") {
		t.Errorf("error %v", err)
	}
}

func TestReadOnlyCache(t *testing.T) {
	f := newFake(t)
	f.fakePython(t, `install "$@"`)
	dir := filepath.Join(f.root, "read-only")
	if err := os.Mkdir(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 { // root may write anywhere, but not below a file
		dir = f.put(t, "file", "")
	}
	t.Setenv("DHKD_CACHE", filepath.Join(dir, "cache"))
	d, err := f.open(t.Context(), f.options())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for _, want := range []string{dir, "cannot be written", "DHKD_CACHE"} {
		if refused := d.Tried[len(d.Tried)-2].Refused; d.Name != "go" || !strings.Contains(refused, want) {
			t.Errorf("%s, refused for %q, want %q", d.Name, refused, want)
		}
	}
}

func TestCancelledInstallLeavesNothing(t *testing.T) {
	f := newFake(t)
	f.fakePython(t, `install "$@"; exec sleep 60`)
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	start := time.Now()
	if _, err := f.installWheel(ctx, t.Logf); err == nil || !strings.Contains(err.Error(), "stopped") {
		t.Errorf("error %v", err)
	}
	if d := time.Since(start); d > 20*time.Second {
		t.Errorf("took %v", d)
	}
	if got := f.leftovers(t); len(got) != 0 {
		t.Errorf("the cache holds %q", got)
	}
}

// installer starts another process that installs the wheel as f would; see TestMain.
func (f *fake) installer(t *testing.T) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "DHKD_TEST_INSTALL="+f.wheel.librarySHA256)
	return cmd
}

// TestMain lets the test binary act as the other process of the tests below.
func TestMain(m *testing.M) {
	sum := os.Getenv("DHKD_TEST_INSTALL")
	if sum == "" {
		os.Exit(m.Run())
	}
	w := &wheel{name: "fake-wheel", version: "1.0", sha256: strings.Repeat("0", 64),
		library: "lib/pjrt_c_api_cpu_plugin.so", librarySize: int64(len(library)), librarySHA256: sum}
	path, err := machine{wheel: w}.installWheel(context.Background(), func(string, ...any) {})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Print(path)
	os.Exit(0)
}

func TestConcurrentInstalls(t *testing.T) {
	f := newFake(t)
	calls := f.fakePython(t, `sleep 0.5; install "$@"`)
	var wait sync.WaitGroup
	for range 3 {
		cmd := f.installer(t)
		wait.Go(func() {
			out, err := cmd.CombinedOutput()
			if err != nil || !f.wheel.is(string(out)) {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	wait.Wait()
	if got := calls(); len(got) != 1 {
		t.Errorf("python3 was called %d times: %q", len(got), got)
	}
}

func TestKilledInstallDoesNotCount(t *testing.T) {
	f := newFake(t)
	calls := f.fakePython(t, `install "$@"; [ -e `+f.root+`/again ] || exec sleep 5`)
	cmd := f.installer(t)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	half := filepath.Join(f.root, "cache", "pjrt", ".install-*", "site", "lib", "*.so")
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if found, _ := filepath.Glob(half); len(found) > 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the installation did not start")
		}
	}
	cmd.Process.Kill()
	cmd.Wait()
	if found := f.plugins(); len(found) != 0 {
		t.Errorf("half an installation counts as %v", found)
	}
	f.put(t, "again", "")
	path, err := f.installWheel(t.Context(), t.Logf)
	if err != nil || !f.wheel.is(path) || len(calls()) != 2 {
		t.Errorf("installed %q, %v, in %d calls", path, err, len(calls()))
	}
	if got := f.leftovers(t); !slices.Equal(got, []string{"fake-wheel-1.0"}) {
		t.Errorf("the cache holds %q", got)
	}
}

// The images have the same wheels: docker/plugins/cpu.txt.
func TestWheelsOfTheImages(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "..", "docker", "plugins", "cpu.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for system, machine := range map[string]string{"linux/amd64": "x86_64", "linux/arm64": "aarch64"} {
		w := wheels[system]
		want := fmt.Sprintf("%s ; platform_machine == %q \\\n    --hash=sha256:%s\n", w.requirement(), machine, w.sha256)
		if !strings.Contains(string(data), want) {
			t.Errorf("docker/plugins/cpu.txt has another wheel for %s than wheel.go: want\n%s", system, want)
		}
	}
}
