package main

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"strings"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment"
	"github.com/dhkd-lab/dhkd-go/dhkd/weights"
)

type weightsVerifyCmd struct {
	Net       string  `arg:"" help:"A network's file: weights.safetensors of a run, or one that was imported."`
	SHA256    string  `name:"sha256" placeholder:"HEX" help:"The file's published SHA-256."`
	Dataset   string  `placeholder:"NAME" help:"Evaluate on this data set (${datasets}), and download it if need be."`
	Data      string  `placeholder:"PATH" help:"Your own copy of the data: a directory or file."`
	Tolerance float64 `default:"0.1" placeholder:"POINTS" help:"Points that the accuracy may differ by (${default})."`
	NoData    bool    `help:"Do not evaluate."`
	JSON      bool    `help:"Print a JSON object."`
	Quiet     bool    `short:"q" help:"Print no progress."`
}

func (weightsVerifyCmd) Help() string {
	return `Examples:

  dhkd weights verify runs/quickstart/offline/dhkd-seed1/weights.safetensors
  dhkd weights verify resnet32x4.safetensors --dataset cifar-100 --tolerance 0.05

Checks that the file is whole: that it has exactly the tensors of its network, finite, and the checksums that are known:
--sha256, and that of the tensors which dhkd weights import notes. Where the data that it was trained on are on this
machine, it is evaluated, and the accuracy compared with the one in the file. Another backend or machine rounds
otherwise, so that a few images in 10,000 may change sides: hence the tolerance.

` + sourceHelp + exits(exitOK, exitFailed, exitUsage, exitMissing, exitInterrupted)
}

// States of a check.
const (
	checkOK     = "ok"
	checkFailed = "FAIL"
	checkNone   = "none" // there is nothing to compare with
)

// verification is what the JSON says.
type verification struct {
	File   string         `json:"file"`
	SHA256 string         `json:"sha256"`
	OK     bool           `json:"ok"`
	Checks []weightsCheck `json:"checks"`
}

type weightsCheck struct {
	Check string `json:"check"`
	State string `json:"state"`
	What  string `json:"what"`
}

// Run verifies.
func (c *weightsVerifyCmd) Run(ctx context.Context, out output) error {
	if !(c.Tolerance >= 0 && c.Tolerance <= 100) {
		return withCode(exitUsage, fmt.Errorf("--tolerance: must be 0 to 100 points, is %v", c.Tolerance))
	}
	r, err := resolveWeights(ctx, out, c.Net)
	if err != nil {
		return err
	}
	path := r.Path
	v := &verification{File: path}
	if v.SHA256, _, err = fileSHA256(path); err != nil {
		return withCode(exitUsage, err)
	}
	if err := c.verify(ctx, out, v); err != nil {
		return err
	}
	var failed []string
	for _, check := range v.Checks {
		if check.State == checkFailed {
			failed = append(failed, check.Check)
		}
	}
	v.OK = failed == nil
	if c.JSON {
		if err := out.json(v); err != nil {
			return err
		}
	} else {
		for _, check := range v.Checks {
			fmt.Fprintf(out.stdout, "%-4s  %-8s  %s\n", check.State, check.Check, check.What)
		}
	}
	if !v.OK {
		return fmt.Errorf("%s is not as it should be: %s", path, strings.Join(failed, ", "))
	}
	return nil
}

// verify does the checks, the cheap ones first. An error means that one could not be done.
func (c *weightsVerifyCmd) verify(ctx context.Context, out output, v *verification) error {
	add := func(check, state, format string, args ...any) {
		v.Checks = append(v.Checks, weightsCheck{check, state, fmt.Sprintf(format, args...)})
	}
	switch {
	case c.SHA256 == "":
		add("file", checkNone, "SHA-256 %s; --sha256 compares it", v.SHA256)
	case strings.EqualFold(c.SHA256, v.SHA256):
		add("file", checkOK, "SHA-256 %s", v.SHA256)
	default:
		add("file", checkFailed, "its SHA-256 is %s: it is another file, or damaged", v.SHA256)
	}
	checkpoint, err := weights.Load(v.File)
	if err != nil {
		return err
	}
	if checkpoint.Metadata["format"] != weights.InfoFormat {
		return withCode(exitUsage, fmt.Errorf("%s is not a network's file of dhkd: make one with dhkd weights import",
			v.File))
	}
	n, err := architecture{}.fit(checkpoint)
	if err != nil {
		add("network", checkFailed, "%v", err)
		return nil
	}
	add("network", checkOK, "%s: %d tensors, all there, all finite", about(n.Model.Config), len(n.Weights))
	digest, err := weights.Digest(n.Weights)
	if err != nil {
		return err
	}
	switch noted := checkpoint.Metadata[weights.DigestKey]; noted {
	case "":
		add("tensors", checkNone, "the file notes no checksum of its tensors")
	case digest:
		add("tensors", checkOK, "SHA-256 %s, as the file notes", digest)
	default:
		add("tensors", checkFailed, "SHA-256 %s, but the file notes %.64s: they were changed", digest, printable(noted))
		return nil
	}
	return c.evaluate(ctx, out, n, v.File, add)
}

// evaluate compares the accuracy, where the data are at hand.
func (c *weightsVerifyCmd) evaluate(ctx context.Context, out output, n *loadedNetwork, path string,
	add func(check, state, format string, args ...any)) error {
	const check = "accuracy"
	name := cmp.Or(c.Dataset, n.Info.Dataset)
	data, known := knownDataset(name)
	switch {
	case c.NoData:
		add(check, checkNone, "not evaluated, as --no-data says")
		return nil
	case name == "":
		add(check, checkNone, "not evaluated: the file does not say on what data; give --dataset NAME")
		return nil
	case !known && c.Dataset == "":
		add(check, checkNone, "not evaluated: dhkd has no data set %q", name)
		return nil
	case known && data.Found == "" && c.Dataset == "" && c.Data == "":
		add(check, checkNone, "not evaluated: %s is not on this machine; %s", name, data.Get)
		return nil
	}
	candidate, err := experiment.OpenCandidate(path, experiment.EvaluateOptions{Dataset: c.Dataset})
	if err != nil {
		return withCode(exitUsage, err)
	}
	r, close, err := runFlags{Data: c.Data, JSON: c.JSON, Quiet: c.Quiet}.open(ctx, out)
	if err != nil {
		return err
	}
	defer close()
	e, err := r.Evaluate(ctx, candidate)
	if err != nil {
		return err
	}
	measured := fmt.Sprintf("%.2f %% on %d %s images of %s", e.Top1, e.Images, e.Data.Evaluation, e.Data.Name)
	switch {
	case e.NonFinite > 0:
		add(check, checkFailed, "%s; the logits of %d images are NaN or infinite", measured, e.NonFinite)
	case e.Difference == nil:
		add(check, checkNone, "%s; the file has none of these images to compare it with", measured)
	case math.Abs(*e.Difference) > c.Tolerance:
		add(check, checkFailed, "%s, the file says %.2f %%: more than %g points apart", measured, *n.Info.TestTop1,
			c.Tolerance)
	default:
		add(check, checkOK, "%s, the file says %.2f %% (tolerance %g points)", measured, *n.Info.TestTop1, c.Tolerance)
	}
	return nil
}
