package main

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"

	"github.com/gomlx/compute"

	"github.com/dhkd-lab/dhkd-go/dhkd/device"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/internal/golden"
)

type verifyCmd struct {
	Golden goldenCmd `cmd:"" help:"Run stored reference cases and compare the numbers."`
}

type goldenCmd struct {
	Dir   string         `arg:"" help:"A directory of cases, or one case: what holds case.json."`
	Match *regexp.Regexp `name:"run" placeholder:"REGEXP" help:"Only cases whose directory's name matches."`
	JSON  bool           `help:"Print a JSON object."`
	Quiet bool           `short:"q" help:"Print only cases that fail."`
}

func (goldenCmd) Help() string {
	return `Examples:

  dhkd verify golden dhkd/testdata/golden
  GOMLX_BACKEND=xla:cuda dhkd verify golden --run '^(losses_|train_resnet)' golden

Each case holds inputs and PyTorch's results. It is run on the backend of this machine ("dhkd doctor" says which);
printed are the largest absolute and relative deviation, and the check that uses most of its tolerance. A case of a kind
that is not supported yet counts as failed.

` + exits(exitOK, exitFailed, exitUsage, exitInterrupted)
}

// Run verifies the cases on this machine's backend.
func (c *goldenCmd) Run(ctx context.Context, out output) error {
	if _, err := os.ReadDir(c.Dir); err != nil { // before XLA is opened, or even installed
		return withCode(exitUsage, fmt.Errorf("cannot read the reference cases: %w", err))
	}
	d, err := device.Open(ctx, device.Options{Logf: out.logf(c.Quiet)})
	if err != nil {
		return withCode(exitMissing, err)
	}
	defer d.Close()
	shown := goldenReport{Backend: d.Name, Description: d.Description, Cases: []goldenCase{}}
	if !c.JSON && !c.Quiet {
		fmt.Fprintf(out.stdout, "backend: %s, %s\n", d.Name, d.Description)
	}
	err = verifyCases(ctx, d.Backend, c.Dir, c.Match, func(r golden.Result) {
		shown.add(r)
		if !c.JSON && (!c.Quiet || r.Failed()) {
			printCase(out.stdout, r)
		}
	})
	if err != nil {
		return withCode(exitUsage, err)
	}
	if c.JSON {
		if err := out.json(shown); err != nil {
			return err
		}
	} else if !c.Quiet {
		fmt.Fprintf(out.stdout, "%d ok, %d failed\n", shown.OK, shown.Failed)
	}
	if shown.Failed > 0 {
		return withCode(exitFailed,
			fmt.Errorf("%d of %d reference cases failed on %s", shown.Failed, len(shown.Cases), d.Name))
	}
	return nil
}

// verifyCases runs the cases of a directory whose names match, or all where match is nil.
func verifyCases(ctx context.Context, backend compute.Backend, dir string, match *regexp.Regexp,
	report func(golden.Result)) error {
	if match == nil {
		_, err := golden.Verify(ctx, backend, dir, report)
		return err
	}
	files, err := fs.Glob(os.DirFS(dir), "*/case.json") // not filepath.Glob: dir may hold a [
	if err != nil {
		return err
	}
	ran := false
	for _, file := range files {
		if name := path.Dir(file); match.MatchString(name) {
			ran = true
			if _, err := golden.Verify(ctx, backend, filepath.Join(dir, name), report); err != nil {
				return err
			}
		}
	}
	if !ran {
		return fmt.Errorf("none of the %d cases in %s matches --run %q", len(files), dir, match)
	}
	return nil
}

func printCase(w io.Writer, r golden.Result) {
	state := "ok"
	if r.Failed() {
		state = "FAIL"
	}
	if r.Err != nil {
		fmt.Fprintf(w, "%-4s  %-36s  %v\n", state, r.Case, r.Err)
		return
	}
	worst := r.Worst()
	fmt.Fprintf(w, "%-4s  %-36s  absolute %-8.2g relative %-8.2g worst %.2g of %.2g: %s\n",
		state, r.Case, r.Absolute, r.Relative, worst.Deviation, worst.Tolerance, worst.Name)
}

// goldenReport is what the JSON says.
type goldenReport struct {
	Backend     string       `json:"backend"`
	Description string       `json:"description"`
	OK          int          `json:"ok"`
	Failed      int          `json:"failed"`
	Cases       []goldenCase `json:"cases"`
}

type goldenCase struct {
	Case      string         `json:"case"`
	Group     string         `json:"group,omitempty"`
	What      string         `json:"what,omitempty"`
	OK        bool           `json:"ok"`
	Error     string         `json:"error,omitempty"`     // why it could not be run
	Deviation record.Metrics `json:"deviation,omitempty"` // "absolute" and "relative", the largest
	Worst     *goldenCheck   `json:"worst,omitempty"`     // what uses most of its tolerance
}

type goldenCheck struct {
	Name   string         `json:"name"`
	Values record.Metrics `json:"values"` // "deviation" and "tolerance"; an infinity is the string "inf"
}

func (g *goldenReport) add(r golden.Result) {
	c := goldenCase{Case: r.Case, Group: r.Group, What: r.What, OK: !r.Failed()}
	if r.Err != nil {
		c.Error = r.Err.Error()
	} else {
		worst := r.Worst()
		c.Deviation = record.Metrics{"absolute": r.Absolute, "relative": r.Relative}
		c.Worst = &goldenCheck{worst.Name, record.Metrics{"deviation": worst.Deviation, "tolerance": worst.Tolerance}}
	}
	if c.OK {
		g.OK++
	} else {
		g.Failed++
	}
	g.Cases = append(g.Cases, c)
}
