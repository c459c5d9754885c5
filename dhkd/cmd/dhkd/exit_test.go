package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/dhkd-lab/dhkd-go/dhkd/dataset"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment"
)

// stacked prints a stack with %+v, as the errors of GoMLX do.
type stacked struct{}

func (stacked) Error() string { return "inner" }

func (stacked) Format(f fmt.State, verb rune) {
	fmt.Fprint(f, "inner")
	if f.Flag('+') {
		fmt.Fprint(f, "\nmain.go:1")
	}
}

func TestReport(t *testing.T) {
	alive := context.Background()
	interrupted, cancel := context.WithCancel(alive)
	cancel()
	for _, test := range []struct {
		name    string
		ctx     context.Context
		err     error
		verbose bool
		code    int
		text    string
	}{
		{"no error", alive, nil, false, exitOK, ""},
		{"no error, interrupted", interrupted, nil, false, exitOK, ""},
		{"failed run", alive, errors.New("it broke\n"), false, exitFailed, "dhkd: it broke\n"},
		{"wrapped code", alive, fmt.Errorf("a: %w", withCode(exitBusy, errors.New("b"))), false, exitBusy, "dhkd: a: b\n"},
		{"missing data", alive, fmt.Errorf("x is %w", dataset.ErrNotFound), false, exitMissing,
			"dhkd: x is not on this machine\n"},
		{"busy", alive, fmt.Errorf("x: %w", experiment.ErrBusy), false, exitBusy,
			"dhkd: x: another process is working on this run\n"},
		{"interrupted", interrupted, interrupted.Err(), false, exitInterrupted, "dhkd: interrupted\n"},
		{"interrupted, with what to do", interrupted, withCode(exitFailed, errors.New("saved; continue with x")), false,
			exitInterrupted, "dhkd: saved; continue with x\n"},
		{"stack hidden", alive, fmt.Errorf("outer: %w", stacked{}), false, exitFailed, "dhkd: outer: inner\n"},
		{"stack shown", alive, fmt.Errorf("outer: %w", stacked{}), true, exitFailed,
			"dhkd: outer: inner\ninner\nmain.go:1\n"},
	} {
		var text bytes.Buffer
		code := printError(test.ctx, &text, test.err, test.verbose)
		if code != test.code || text.String() != test.text {
			t.Errorf("%s: exit code %d and %q, want %d and %q", test.name, code, text.String(), test.code, test.text)
		}
	}
	if withCode(exitFailed, nil) != nil {
		t.Error("no error became one")
	}
}
