package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/gomlx/compute"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/dhkd-lab/dhkd-go/dhkd/dataset"
	"github.com/dhkd-lab/dhkd-go/dhkd/device"
)

// TestMain lets scripts run this test's own program as dhkd.
func TestMain(m *testing.M) { testscript.Main(m, map[string]func(){"dhkd": main}) }

// TestScripts runs testdata/script/*.txtar. The scripts have, besides what testscript has:
//
//   - exits CODE COMMAND ARGS...: runs a command that must end with this exit code;
//   - $GOMLX_BACKEND is "go", so that no plugin is needed, nothing is installed, and there is no network to reach;
//   - $XLA is the backend for "env GOMLX_BACKEND=$XLA", and the condition [xla] says whether there is one. Where the
//     environment variable CI is not empty it always holds, so that a missing plugin fails the script;
//   - $DATA is where Fashion-MNIST is found, and [data] says whether it is, as [xla] does;
//   - $DHKD_CACHE is an empty directory, $GOLDEN the project's reference cases, $RECORDS the quick start's records.
func TestScripts(t *testing.T) {
	golden, err := filepath.Abs("../../testdata/golden")
	if err != nil {
		t.Fatal(err)
	}
	records, err := filepath.Abs("../../../notebooks/records/quickstart")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{"xla": xlaBackend(), "data": fashionMNIST()}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			for name, value := range map[string]string{
				compute.ConfigEnvVar: "go", "GOMLX_NO_AUTO_INSTALL": "1", "XLA": found["xla"], "DATA": found["data"],
				"DHKD_CACHE": filepath.Join(e.WorkDir, ".cache"), "GOLDEN": golden, "RECORDS": records,
				"HTTP_PROXY": "http://127.0.0.1:1", "HTTPS_PROXY": "http://127.0.0.1:1", // nothing listens there
			} {
				e.Setenv(name, value)
			}
			return nil
		},
		Condition: func(name string) (bool, error) {
			what, known := found[name]
			if !known {
				return false, fmt.Errorf("no condition is called %q", name)
			}
			return what != "" || os.Getenv("CI") != "", nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exitsWith},
	})
}

// exitsWith is the command "exits" of the scripts.
func exitsWith(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND ARGS...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := err.(*exec.ExitError)
		if !ok {
			ts.Fatalf("cannot run %s: %v", args[1], err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("%s ends with exit code %d, not %d\n%s", strings.Join(args[1:], " "), got, want, ts.ReadFile("stderr"))
	}
}

// xlaBackend is the XLA backend that GOMLX_BACKEND names, else that of the installed CPU plugin; empty if none is.
func xlaBackend() string {
	if backend := os.Getenv(compute.ConfigEnvVar); strings.HasPrefix(backend, "xla") {
		return backend
	}
	for _, plugin := range device.Plugins() {
		if plugin.Kind == "cpu" {
			return "xla:" + plugin.Path
		}
	}
	return ""
}

func fashionMNIST() string {
	for _, info := range dataset.List() {
		if info.Name == "fashion-mnist" {
			return info.Found
		}
	}
	return ""
}
