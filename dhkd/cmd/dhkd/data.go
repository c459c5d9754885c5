package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/dhkd-lab/dhkd-go/dhkd/dataset"
)

type dataCmd struct {
	Fetch  dataFetchCmd    `cmd:"" help:"Download data sets and check them."`
	Verify dataVerifyCmd   `cmd:"" help:"Check data sets against the published digests."`
	List   listDatasetsCmd `cmd:"" help:"List the data sets and where they are found."`
}

type dataFetchCmd struct {
	Names []string `arg:"" name:"name" enum:"${datasets}" help:"Data sets: ${enum}."`
	JSON  bool     `help:"Print a JSON array of reports."`
	Quiet bool     `short:"q" help:"Print errors only."`
}

func (dataFetchCmd) Help() string {
	return `Example:

  dhkd data fetch fashion-mnist cifar-100

What is on this machine is checked and left as it is; the rest goes to the cache ($DHKD_CACHE/data, else dhkd/data in
the user's cache directory). A download is kept only when its SHA-256 is the published one.

` + exits(exitOK, exitFailed, exitUsage, exitMissing, exitInterrupted)
}

// Run fetches the data sets.
func (c *dataFetchCmd) Run(ctx context.Context, out output) error {
	o := dataset.Options{}
	if !c.Quiet {
		o.Progress = downloadProgress(out.stderr)
	}
	return runData(out, c.Names, c.JSON, c.Quiet, func(name string) (dataset.Report, error) {
		report, err := dataset.Fetch(ctx, name, o)
		if len(report.Files) == 0 { // it could not be had
			err = withCode(exitMissing, err)
		}
		return report, err
	})
}

type dataVerifyCmd struct {
	Names []string `arg:"" optional:"" name:"name" enum:"${datasets}" help:"Data sets: ${enum}; by default all found."`
	Dir   string   `placeholder:"PATH" help:"Your own copy: a directory or file to read in place of the known places."`
	JSON  bool     `help:"Print a JSON array of reports."`
	Quiet bool     `short:"q" help:"Print errors only."`
}

func (dataVerifyCmd) Help() string {
	return `Examples:

  dhkd data verify
  dhkd data verify cifar-100 --dir ~/Downloads/cifar-100-binary.tar.gz
  dhkd data verify imagenet --dir /data/ILSVRC2012    # decodes every image and names the bad ones

` + exits(exitOK, exitFailed, exitUsage, exitMissing, exitInterrupted)
}

// Run verifies the data sets.
func (c *dataVerifyCmd) Run(ctx context.Context, out output) error {
	if c.Dir != "" && len(c.Names) != 1 {
		return withCode(exitUsage,
			errors.New("--dir holds one data set: name it, as in dhkd data verify cifar-100 --dir "+c.Dir))
	}
	names := c.Names
	if len(names) == 0 {
		for _, info := range dataset.List() {
			if info.Found != "" {
				names = append(names, info.Name)
			}
		}
		if len(names) == 0 {
			return withCode(exitMissing, errors.New("no data set is on this machine: see dhkd data list"))
		}
	}
	return runData(out, names, c.JSON, c.Quiet, func(name string) (dataset.Report, error) {
		report, err := dataset.Verify(ctx, name, dataset.Options{Dir: c.Dir})
		if c.Dir != "" && errors.Is(err, os.ErrNotExist) {
			err = withCode(exitUsage, err)
		}
		return report, err
	})
}

// runData does the same with each data set and shows the reports. The error is the first one; it names its data set.
func runData(out output, names []string, asJSON, quiet bool, do func(name string) (dataset.Report, error)) error {
	reports := []dataset.Report{}
	var failure error
	for _, name := range names {
		report, err := do(name)
		if failure == nil {
			failure = err
		}
		reports = append(reports, report)
		if !asJSON && !quiet {
			printFiles(out.stdout, report)
		}
	}
	if asJSON {
		return errors.Join(out.json(reports), failure)
	}
	return failure
}

func printFiles(w io.Writer, report dataset.Report) {
	columns := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range report.Files {
		state, about := "ok", "SHA-256 "+f.SHA256
		switch {
		case f.Problem != "":
			state, about = "FAIL", f.Problem
		case f.Images > 0:
			state, about = "own", fmt.Sprintf("%d images of %d classes, SHA-256 of their names %s", f.Images, f.Classes, f.SHA256)
		case f.Want == "":
			state = "own" // nothing published to compare it with
		}
		fmt.Fprintf(columns, "%s\t%s\t%s\t%s\n", state, report.Name, f.Path, about)
	}
	columns.Flush()
}

// downloadProgress draws a bar on a terminal, and writes a line for each file elsewhere.
func downloadProgress(w io.Writer) func(file string, done, total int64) {
	f, ok := w.(*os.File)
	terminal := ok && term.IsTerminal(int(f.Fd()))
	current := ""
	var bar *progressbar.ProgressBar
	return func(file string, done, total int64) {
		switch {
		case !terminal && file != current:
			fmt.Fprintf(w, "downloading %s (%.1f MB)\n", file, float64(total)/1e6)
		case terminal && file != current:
			bar = progressbar.NewOptions64(total, progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(file),
				progressbar.OptionShowBytes(true), progressbar.OptionThrottle(100*time.Millisecond),
				progressbar.OptionOnCompletion(func() { fmt.Fprintln(w) }))
		}
		current = file
		if bar != nil {
			_ = bar.Set64(min(done, total))
		}
	}
}
