package main

import (
	"errors"
	"fmt"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/report"
)

type reportCmd struct {
	Dir    string `arg:"" default:"runs/quickstart" help:"A directory of records, of one experiment."`
	Out    string `placeholder:"DIR" help:"Where the report and the figures go (default: the same directory)."`
	Title  string `placeholder:"TEXT" help:"The page's title."`
	Format string `enum:"html,text,markdown,csv" default:"html" help:"html makes files; the others print to stdout."`
	JSON   bool   `help:"Print a JSON object: the verdict and the files."`
	Quiet  bool   `short:"q" help:"Print errors only."`
}

func (reportCmd) Help() string {
	return `Examples:

  dhkd report                                  runs/quickstart: report.html and figures/
  dhkd report runs/mine --format markdown
  dhkd report runs/mine --format csv > epochs.csv

The tables, the figures and the sentence on the result are made from records alone; nothing is trained.

` + exits(exitOK, exitFailed, exitUsage)
}

// Run makes the report.
func (c *reportCmd) Run(out output) error {
	records, problems := record.LoadDir(c.Dir)
	if len(problems) > 0 {
		return withCode(exitUsage, errors.Join(problems...))
	}
	if len(records) == 0 {
		return withCode(exitUsage,
			fmt.Errorf("%s holds no records: make some with dhkd demo, or name their directory", c.Dir))
	}
	switch c.Format {
	case "text":
		return withCode(exitUsage, report.Text(out.stdout, records))
	case "markdown":
		return withCode(exitUsage, report.Markdown(out.stdout, records))
	case "csv":
		return record.CSV(out.stdout, records)
	}
	if c.Out == "" {
		c.Out = c.Dir
	}
	files, err := report.Write(c.Out, records, report.Options{Title: c.Title})
	if err != nil {
		return withCode(exitUsage, err)
	}
	verdict, err := report.Verdict(records)
	if err != nil {
		return withCode(exitUsage, err)
	}
	if c.JSON {
		return out.json(map[string]any{"verdict": verdict, "files": files})
	}
	if !c.Quiet {
		fmt.Fprintf(out.stdout, "%s\n\n%s\n", verdict, files.Report)
	}
	return nil
}
