package sweep

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/dhkd-lab/dhkd-go/dhkd/internal/safefile"
)

// What the batch systems have in common.

// Exit codes of a process that makes a run, of which engines know what they mean.
const (
	ExitUsage       = 2   // the plan cannot be used, or has no such run
	ExitMissing     = 3   // something needed is missing: data, a plugin
	ExitBusy        = 4   // another process has the run
	ExitNotFinite   = 5   // the loss was not finite: the run has failed, and its record says so
	ExitInterrupted = 130 // it was told to end, and has saved
)

// levels are the IDs of the runs that are not done: those that wait for no other, those that wait for the former, and so
// on. Runs that another process works on, and those that learn from them, are left out.
func levels(all []Status) (levels [][]string) {
	level := map[string]int{} // of those that are not done, from 1
	out := map[string]bool{}
	for _, status := range all {
		run := status.Run
		if status.State == Running || out[run.After] {
			out[run.ID] = true
		}
		if status.State.final() || out[run.ID] {
			continue
		}
		n := level[run.After] + 1
		level[run.ID] = n
		if n > len(levels) {
			levels = append(levels, nil)
		}
		levels[n-1] = append(levels[n-1], run.ID)
	}
	return levels
}

// submission makes the directory of a new submission to an engine, N of dir/engine/N, and returns its full path.
func submission(dir, engine string) (path string, number int, err error) {
	for i := nextSubmission(dir, engine); ; i++ {
		path := filepath.Join(dir, engine, strconv.Itoa(i))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return "", 0, err
		}
		if err := os.Mkdir(path, 0o755); err == nil {
			path, err = filepath.Abs(path)
			return path, i, err
		} else if !errors.Is(err, fs.ErrExist) {
			return "", 0, err
		}
	}
}

// nextSubmission is the number that the next submission has, unless another comes first.
func nextSubmission(dir, engine string) int {
	for i := 1; ; i++ {
		if _, err := os.Lstat(filepath.Join(dir, engine, strconv.Itoa(i))); err != nil {
			return i
		}
	}
}

// writeTasks writes a file with the ID of a run in each line.
func writeTasks(path string, runs []string) error { return write(path, strings.Join(runs, "\n")+"\n") }

// Task is the ID of the run in a line, counted from 0, of the file of a batch job's runs.
func Task(path string, index int) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("cannot read which run to make: %w", err)
	}
	runs := strings.Fields(string(text))
	if index < 0 || index >= len(runs) {
		return "", fmt.Errorf("%s: there is no run %d, there are 0 to %d", path, index, len(runs)-1)
	}
	return runs[index], nil
}

func write(path, text string) error {
	return safefile.Write(path, func(w io.Writer) error { _, err := io.WriteString(w, text); return err })
}

// command runs a program of a batch system and returns what it prints.
func command(ctx context.Context, name string, args ...string) (string, error) {
	var stderr bytes.Buffer
	c := exec.CommandContext(ctx, name, args...)
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", name, err, strings.Join(strings.Fields(stderr.String()), " "))
	}
	return strings.TrimSpace(string(out)), nil
}
