// Command dhkd is the toolkit's command line: one file per command, none with logic of its own. "dhkd --help" lists the
// commands and the exit codes.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/dhkd-lab/dhkd-go/dhkd/dataset"
)

// cli is the command line's grammar. The type of each command is in the file of its name.
type cli struct {
	Demo     demoCmd     `cmd:"" help:"Train a teacher and a student six ways on real images, and show the comparison."`
	Train    trainCmd    `cmd:"" help:"Train a teacher, or a student without one."`
	Distill  distillCmd  `cmd:"" help:"Train a student with a teacher."`
	Tune     tuneCmd     `cmd:"" help:"Find learning rates on held-out training images."`
	Sweep    sweepCmd    `cmd:"" help:"Make many runs: grids of recipes, seeds and values, on one machine or a cluster."`
	Evaluate evaluateCmd `cmd:"" help:"Evaluate a trained network."`
	Analyse  analyseCmd  `cmd:"" help:"Look into trained networks: collapse, logits, features."`
	Report   reportCmd   `cmd:"" help:"Make the report and the figures of a directory of records."`
	Plot     plotCmd     `cmd:"" help:"Draw a figure of records, analyses or an evaluation."`
	Doctor   doctorCmd   `cmd:"" help:"Say what dhkd finds on this machine, what is missing, and how to mend it."`
	Setup    setupCmd    `cmd:"" help:"Install XLA, and Jupyter with its Go kernel."`
	Data     dataCmd     `cmd:"" help:"Download, check and list data sets."`
	List     listCmd     `cmd:"" help:"List models, methods, data sets, recipes and teachers."`
	Weights  weightsCmd  `cmd:"" help:"Import, export, inspect and verify files of weights."`
	Verify   verifyCmd   `cmd:"" help:"Check this machine's numbers against reference numbers."`
	Lab      labCmd      `cmd:"" help:"Open the notebooks in JupyterLab."`
	Version  versionCmd  `cmd:"" help:"Print the versions of dhkd and of what it is built on."`

	Verbose bool `short:"v" help:"Print the stack with an error."`
}

func (cli) Help() string {
	return `Examples:

  dhkd demo                          the main job in minutes
  dhkd distill quickstart --run dhkd
  dhkd doctor                        what is here, what is missing
  dhkd setup                         install XLA and Jupyter
  dhkd verify golden --run losses_ DIR

` + exits(exitOK, exitFailed, exitUsage, exitMissing, exitBusy, exitInterrupted)
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	os.Exit(run(ctx, os.Args[1:], output{os.Stdout, os.Stderr}))
}

// run is the whole program and returns its exit code.
func run(ctx context.Context, args []string, out output) int {
	var c cli
	parser := kong.Must(&c, kong.Name("dhkd"), kong.Writers(out.stdout, out.stderr), kong.Help(printHelp),
		kong.Description("Dual-Head Knowledge Distillation: distil a small network from a large one."),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true}),
		kong.Vars{"datasets": strings.Join(datasets(), ",")},
		kong.Bind(out), kong.BindTo(ctx, (*context.Context)(nil)))
	command, err := parser.Parse(args)
	if errors.Is(err, errHelp) {
		return exitOK
	}
	if err != nil {
		err = withCode(exitUsage, fmt.Errorf("%w (see %q)", err, helpCommand(err)))
	} else {
		err = command.Run()
	}
	return printError(ctx, out.stderr, err, c.Verbose)
}

// output is where a command writes: results to stdout, progress and warnings to stderr.
type output struct{ stdout, stderr io.Writer }

func (o output) json(v any) error {
	encoder := json.NewEncoder(o.stdout)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

// jsonLine prints JSON on one line.
func (o output) jsonLine(v any) error {
	encoder := json.NewEncoder(o.stdout)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(v)
}

// logf returns a function that writes lines to stderr, or nowhere.
func (o output) logf(quiet bool) func(format string, args ...any) {
	return func(format string, args ...any) {
		if !quiet {
			fmt.Fprintf(o.stderr, strings.TrimSuffix(format, "\n")+"\n", args...)
		}
	}
}

func datasets() (names []string) {
	for _, info := range dataset.List() {
		names = append(names, info.Name)
	}
	return names
}
