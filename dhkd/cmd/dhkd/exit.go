package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/dhkd-lab/dhkd-go/dhkd/dataset"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/sweep"
)

// The exit codes of all commands. Some are known to whatever starts the processes of a sweep.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = sweep.ExitUsage
	exitMissing     = sweep.ExitMissing
	exitBusy        = sweep.ExitBusy
	exitNotFinite   = sweep.ExitNotFinite
	exitInterrupted = sweep.ExitInterrupted
)

var exitMeanings = map[int]string{
	exitOK:          "all is well",
	exitFailed:      "a check, a verification or a run failed",
	exitUsage:       "wrong usage, or an input file that cannot be used",
	exitMissing:     "something needed is missing: data, a plugin, Python",
	exitBusy:        "another run holds the directory",
	exitNotFinite:   "the loss was not finite, which the record says",
	exitInterrupted: "interrupted; what was done is saved",
}

// exits is the part of a help text that lists exit codes.
func exits(codes ...int) string {
	var text strings.Builder
	text.WriteString("Exit codes:\n\n")
	for _, code := range codes {
		fmt.Fprintf(&text, "  %-3d  %s\n", code, exitMeanings[code])
	}
	return text.String()
}

// coded is an error that has an exit code of its own.
type coded struct {
	error
	code int
}

func (c coded) Unwrap() error { return c.error }

// withCode gives an error an exit code, unless it is nil.
func withCode(code int, err error) error {
	if err == nil {
		return nil
	}
	return coded{err, code}
}

// exitCode is the one place where errors become exit codes. An error that says nothing else is a failed run.
func exitCode(ctx context.Context, err error) int {
	var c coded
	switch {
	case err == nil:
		return exitOK
	case ctx.Err() != nil || errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.As(err, &c):
		return c.code
	case errors.Is(err, dataset.ErrNotFound):
		return exitMissing
	case errors.Is(err, experiment.ErrBusy):
		return exitBusy
	}
	return exitFailed
}

// printError prints an error as one line, or with its stack where verbose, and returns the exit code.
func printError(ctx context.Context, w io.Writer, err error, verbose bool) int {
	code := exitCode(ctx, err)
	if err == nil {
		return code
	}
	message := strings.TrimSpace(err.Error())
	if code == exitInterrupted && message == context.Canceled.Error() {
		message = "interrupted"
	}
	fmt.Fprintf(w, "dhkd: %s\n", message)
	var stack fmt.Formatter // as the errors of GoMLX have it; wrapping them hides it from %+v
	if verbose && errors.As(err, &stack) {
		fmt.Fprintf(w, "%+v\n", stack)
	}
	return code
}

// helpCommand is the command that explains what an error of usage is about.
func helpCommand(err error) string {
	var parse *kong.ParseError
	if errors.As(err, &parse) && parse.Context != nil {
		if node := parse.Context.Selected(); node != nil {
			return node.FullPath() + " --help"
		}
	}
	return "dhkd --help"
}
