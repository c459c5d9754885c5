package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"github.com/dhkd-lab/dhkd-go/dhkd/internal/safefile"
)

// pythonVariable names a Python with PyTorch, which is then used in place of an environment made for the purpose.
const pythonVariable = "DHKD_BENCH_PYTHON"

var (
	//go:embed pytorch.py networks.py
	programs embed.FS
	//go:embed requirements.txt
	requirements []byte
)

// pyTorch is a running pytorch.py.
type pyTorch struct {
	Version string `json:"torch"`
	Python  string `json:"python"`
	Threads int    `json:"threads"`

	process *exec.Cmd
	input   io.WriteCloser
	output  *json.Decoder
}

func startPyTorch(ctx context.Context) (*pyTorch, error) {
	python := os.Getenv(pythonVariable)
	if python == "" {
		var err error
		if python, err = environment(ctx, filepath.Join(".cache", "bench-venv")); err != nil {
			return nil, fmt.Errorf("%w (or set %s to a Python that has PyTorch)", err, pythonVariable)
		}
	}
	dir, err := os.MkdirTemp("", "dhkd-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) // Python has read all when it says hello
	if err := os.CopyFS(dir, programs); err != nil {
		return nil, err
	}
	t := &pyTorch{process: exec.CommandContext(ctx, python, "-W", "ignore", filepath.Join(dir, "pytorch.py"))}
	t.process.Stderr = os.Stderr
	t.process.WaitDelay = 2 * time.Second
	if t.input, err = t.process.StdinPipe(); err != nil {
		return nil, err
	}
	output, err := t.process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	t.output = json.NewDecoder(bufio.NewReader(output))
	if err := t.process.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", python, err)
	}
	if err := t.output.Decode(t); err != nil {
		t.Close()
		return nil, fmt.Errorf("%s has no PyTorch that works: see above", python)
	}
	return t, nil
}

// time runs steps and returns the milliseconds that each took, after one that is not timed, and the share of its cores
// that PyTorch had. Its threads wait busily, so that is near 1 unless other programs run.
func (t *pyTorch) time(ctx context.Context, c benchCase, steps int) (milliseconds []float64, share float64, err error) {
	var answer struct {
		Milliseconds []float64 `json:"ms"`
		CPU          float64   `json:"cpu_ms"`
		Error        string    `json:"error"`
	}
	_, err = fmt.Fprintln(t.input, "run", c.Network, c.Size, batchSize, c.Method, steps)
	if err == nil {
		err = t.output.Decode(&answer)
	}
	switch {
	case ctx.Err() != nil:
		return nil, 0, ctx.Err()
	case err != nil:
		return nil, 0, fmt.Errorf("PyTorch ended before its time: %w", err)
	case answer.Error != "":
		return nil, 0, fmt.Errorf("PyTorch: %s", answer.Error)
	case len(answer.Milliseconds) != steps:
		return nil, 0, fmt.Errorf("PyTorch timed %d steps, not %d", len(answer.Milliseconds), steps)
	}
	for _, ms := range answer.Milliseconds {
		share += ms * float64(t.Threads)
	}
	return answer.Milliseconds, answer.CPU / share, nil
}

// Close ends the process.
func (t *pyTorch) Close() {
	t.input.Close()
	_ = t.process.Wait() // it was asked to go, or has said why it failed
}

// environment makes a virtual environment of Python with the pinned PyTorch, unless it is there, and returns its
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
	fmt.Fprintf(os.Stderr, "installing PyTorch in %s, once; on Linux it brings CUDA's libraries, gigabytes\n", dir)
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
