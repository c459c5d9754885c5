package jupyter

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/dhkd-lab/dhkd-go/dhkd/internal/safefile"
)

// failedCommand is a program that ended badly. Its message is one line: the last thing that the program said.
type failedCommand struct {
	command, output, log string
	err                  error
}

func (f *failedCommand) Error() string {
	said := "no output"
	for line := range strings.Lines(f.output) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "ERROR:") || !strings.HasPrefix(said, "ERROR:") && line != "" {
			said = line
		}
	}
	return fmt.Sprintf("%s: %v: %s (more in %s)", f.command, f.err, said, f.log)
}

func (f *failedCommand) Unwrap() error { return f.err }

// run runs a program to its end, with its output in the log.
func (s *setup) run(ctx context.Context, env []string, name string, args ...string) error {
	logPath := s.path(".cache", "jupyter-setup.log")
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	fmt.Fprintf(log, "\n%s: %s %s\n", time.Now().Format(time.RFC3339), name, strings.Join(args, " "))
	var output bytes.Buffer
	cmd := command(ctx, name, args...)
	cmd.Env = append(append(os.Environ(), "PYTHONHOME=", "PYTHONPATH="), env...)
	cmd.Stdout = io.MultiWriter(&output, log)
	cmd.Stderr = cmd.Stdout
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		shown := append([]string{filepath.Base(name)}, args[:min(3, len(args))]...)
		return &failedCommand{strings.Join(shown, " "), output.String(), logPath, err}
	}
	return nil
}

// command is exec.CommandContext for programs that should tidy up: they are interrupted, and killed ten seconds later.
func command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// findPython gives the first Python of version 3.10 or later on PATH. (macOS may have an older one as python3.)
func findPython(ctx context.Context) (string, error) {
	const install = "install Python 3.10 or later " +
		"(Debian, Ubuntu: sudo apt-get install python3 python3-venv; macOS: brew install python)"
	const ask = "import sys; print('%d.%d' % sys.version_info[:2], sys.version_info >= (3, 10))"
	old := ""
	for _, name := range []string{"python3", "python3.14", "python3.13", "python3.12", "python3.11", "python3.10"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		version, err := command(ctx, path, "-c", ask).Output()
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		number, recent, _ := strings.Cut(strings.TrimSpace(string(version)), " ")
		if err == nil && recent == "True" {
			return path, nil
		}
		if old == "" {
			old = fmt.Sprintf("%s is Python %s", path, number)
			if err != nil {
				old = fmt.Sprintf("%s does not run (%v)", path, err)
			}
		}
	}
	if old != "" {
		return "", fmt.Errorf("%s: %s", old, install)
	}
	return "", errors.New("no python3 on PATH: " + install)
}

func digest(parts ...string) string {
	h := sha256.New()
	for _, part := range parts {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

// A stamp lies in the directory that it is about and holds the digest of what that was made from, or unfinished.
const (
	stampName  = "dhkd.stamp"
	unfinished = "unfinished"
)

// readStamp gives what the stamp holds, or "" where there is none.
func readStamp(path string) string {
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer file.Close()
	text, _ := io.ReadAll(io.LimitReader(file, 200))
	return strings.TrimSpace(string(text))
}

func writeFile(path, text string) error {
	return safefile.Write(path, func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	})
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
