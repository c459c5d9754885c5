package main

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"github.com/dhkd-lab/dhkd-go/dhkd/internal/safefile"
)

// pythonVariable names a Python with PyTorch and JAX, which is then used in place of an environment made for the purpose.
const pythonVariable = "DHKD_BENCH_PYTHON"

//go:embed requirements.txt
var requirements []byte

// findPython is the Python with the peers.
func findPython(ctx context.Context) (string, error) {
	if python := os.Getenv(pythonVariable); python != "" {
		return python, nil
	}
	python, err := environment(ctx, filepath.Join(".cache", "bench-venv"))
	if err != nil {
		return "", fmt.Errorf("%w (or set %s to a Python that has PyTorch and JAX)", err, pythonVariable)
	}
	return python, nil
}

// environment makes a virtual environment of Python with the pinned packages, unless it is there, and returns its
// Python. A stamp, written last, tells what it was made from.
func environment(ctx context.Context, dir string) (python string, err error) {
	python = filepath.Join(dir, "bin", "python")
	if runtime.GOOS == "windows" {
		python = filepath.Join(dir, "Scripts", "python.exe")
	}
	stamp, want := filepath.Join(dir, "dhkd.stamp"), fmt.Sprintf("%x\n", sha256.Sum256(requirements))
	if have, err := os.ReadFile(stamp); err == nil && string(have) == want && exec.Command(python, "-V").Run() == nil {
		return python, nil
	}
	base, err := exec.LookPath("python3")
	if err != nil {
		return "", errors.New("python3 is not installed (it must be 3.11 or later, with venv)")
	}
	fmt.Fprintf(os.Stderr, "installing PyTorch and JAX in %s, once; on Linux it brings CUDA's libraries, gigabytes\n", dir)
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", err
	}
	list := dir + ".requirements.txt"
	if err := write(list, requirements); err != nil {
		return "", err
	}
	defer os.Remove(list)
	for _, command := range [][]string{
		{base, "-m", "venv", "--clear", dir},
		{python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--require-hashes",
			"--only-binary=:all:", "-r", list},
	} {
		cmd := exec.CommandContext(ctx, command[0], command[1:]...)
		cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
		if err := cmd.Run(); err != nil {
			return "", fmt.Errorf("%s -m %s failed: see above: %w", command[0], command[2], err)
		}
	}
	return python, write(stamp, []byte(want))
}

func write(path string, content []byte) error {
	return safefile.Write(path, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
}
