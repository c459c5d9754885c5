package main

import (
	"fmt"
	"io"

	"github.com/dhkd-lab/dhkd-go/plots"
)

type plotCmd struct {
	Figure   string   `arg:"" optional:"" help:"One of \"dhkd plot --list\"."`
	Runs     []string `arg:"" optional:"" help:"Directories of runs, or files: records, analyses, an evaluation, a bench."`
	Out      string   `short:"o" default:"figure.png" placeholder:"FILE" help:"Where it goes: .svg or .png (${default})."`
	List     bool     `help:"List the figures."`
	Baseline string   `placeholder:"RUN" help:"Of paired-differences: the run to compare with."`
	X        string   `default:"optimizer.learning_rate" placeholder:"KEY" help:"Of accuracy-map: a key (${default})."`
	Y        string   `default:"method.alpha" placeholder:"KEY" help:"Of accuracy-map: another (${default})."`
	Head     string   `enum:"main,aux" default:"main" help:"Of logit-differences: main or aux."`
	Classes  []int    `placeholder:"N" help:"Of t-sne and pca: the classes to colour, at most ten."`
	Title    string   `placeholder:"TEXT" help:"In place of the figure's own title."`
	Width    float64  `placeholder:"INCHES" help:"3 to 20."`
	DPI      int      `name:"dpi" placeholder:"N" help:"Dots per inch of a PNG, 30 to 600 (default: 200)."`
	JSON     bool     `help:"Print JSON: the list, or the file with the figure in words."`
	Quiet    bool     `short:"q" help:"Print errors only."`
}

func (plotCmd) Help() string {
	return `Examples:

  dhkd plot training-curves runs/quickstart -o curves.svg
  dhkd plot paired-differences runs/quickstart --baseline ce
  dhkd plot accuracy-map runs/sweep --x method.temperature --y method.alpha -o map.png
  dhkd plot --list

Figures are drawn from what runs left, and from nothing else.

` + exits(exitOK, exitFailed, exitUsage)
}

// Run draws a figure, or lists them.
func (c *plotCmd) Run(out output) error {
	if c.List {
		return c.list(out)
	}
	if c.Figure == "" {
		return withCode(exitUsage, fmt.Errorf("name a figure: \"dhkd plot --list\" lists them"))
	}
	source, err := plots.Load(c.Runs...)
	if err != nil {
		return withCode(exitUsage, err)
	}
	choices := plots.Choices{Baseline: c.Baseline, X: c.X, Y: c.Y, Head: c.Head, Classes: c.Classes}
	figure, err := plots.Draw(c.Figure, source, choices, plots.Options{Title: c.Title, Width: c.Width, DPI: c.DPI})
	if err != nil {
		return withCode(exitUsage, err)
	}
	if err := figure.Save(c.Out); err != nil {
		return err
	}
	switch {
	case c.JSON:
		return out.json(map[string]string{"file": c.Out, "alt": figure.Alt})
	case !c.Quiet:
		fmt.Fprintln(out.stdout, c.Out)
	}
	return nil
}

func (c *plotCmd) list(out output) error {
	kinds := plots.Kinds()
	if c.JSON {
		return out.json(kinds)
	}
	return table(out.stdout, "figure\tdrawn from\twhat it shows", func(w io.Writer) {
		for _, kind := range kinds {
			fmt.Fprintf(w, "%s\t%s\t%s\n", kind.Name, kind.From, kind.What)
		}
	})
}
