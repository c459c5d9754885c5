package main

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/report"
)

type reportCmd struct {
	Dir    string `arg:"" optional:"" help:"A directory of records, of one experiment (default: runs/quickstart), or of several with --claims (default: notebooks/records)."`
	Claims bool   `help:"Test the paper's claims on the records, in place of reporting on one experiment."`
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
  dhkd report --claims notebooks/records --out docs       reproduction.md and reproduction.html
  dhkd report --claims runs --format text

The tables, the figures and the sentence on the result are made from records alone; nothing is trained.

With --claims the report is on the claims of the paper: its words, our test of them, the differences with their 95 %
intervals over seeds, the verdict, the records, and what would decide those that are open. A claim without records says so.
Records of different profiles are never compared.

` + exits(exitOK, exitFailed, exitUsage)
}

// Run makes the report.
func (c *reportCmd) Run(out output) error {
	if c.Claims {
		return c.claims(out)
	}
	c.Dir = cmp.Or(c.Dir, "runs/quickstart")
	records, problems := record.LoadDir(c.Dir)
	if err := c.usable(len(records), problems); err != nil {
		return err
	}
	switch c.Format {
	case "text":
		return withCode(exitUsage, report.Text(out.stdout, records))
	case "markdown":
		return withCode(exitUsage, report.Markdown(out.stdout, records))
	case "csv":
		return record.CSV(out.stdout, records)
	}
	c.Out = cmp.Or(c.Out, c.Dir)
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

func (c *reportCmd) usable(records int, problems []error) error {
	if len(problems) > 0 {
		return withCode(exitUsage, errors.Join(problems...))
	}
	if records == 0 {
		return withCode(exitUsage,
			fmt.Errorf("%s holds no records: make some with dhkd demo, or name their directory", c.Dir))
	}
	return nil
}

// claims makes the report on the paper's claims.
func (c *reportCmd) claims(out output) error {
	if c.Title != "" || c.Format == "csv" {
		return withCode(exitUsage, errors.New("--title and --format csv are not for --claims"))
	}
	c.Dir = cmp.Or(c.Dir, "notebooks/records")
	files, problems := record.LoadFiles(c.Dir)
	if err := c.usable(len(files), problems); err != nil {
		return err
	}
	dir := cmp.Or(c.Out, c.Dir)
	if c.Format != "html" {
		dir = cmp.Or(c.Out, ".") // links are read from where the text will be
	}
	reproduction, err := report.Reproduce(files, dir)
	if err != nil {
		return withCode(exitUsage, err)
	}
	switch c.Format {
	case "text":
		return reproduction.Text(out.stdout)
	case "markdown":
		return reproduction.Markdown(out.stdout)
	}
	written, err := reproduction.Save(dir)
	if err != nil {
		return err
	}
	if c.JSON {
		return out.json(map[string]any{"reproduction": reproduction, "files": written})
	}
	if c.Quiet {
		return nil
	}
	for _, path := range written {
		fmt.Fprintln(out.stdout, path)
	}
	return nil
}
