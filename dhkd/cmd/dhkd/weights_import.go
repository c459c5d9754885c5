package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/dhkd-lab/dhkd-go/dhkd/train"
	"github.com/dhkd-lab/dhkd-go/dhkd/weights"
)

const extension = ".safetensors"

type weightsImportCmd struct {
	File  string `arg:"" help:"A PyTorch file (.pth, .pt, .tar) or a safetensors file."`
	Out   string `required:"" placeholder:"NET.safetensors" help:"The file to write."`
	Force bool   `help:"Replace a file that is there."`
	architecture
	provenance
	JSON bool `help:"Print a JSON object."`
}

// provenance are the flags for what the new file says beside the architecture.
type provenance struct {
	Dataset  string    `placeholder:"NAME" help:"The data that it was trained on: ${datasets}, or another name."`
	Mean     []float64 `placeholder:"M,..." help:"Of each channel: images are normalised with (x - mean) / std, x in [0, 1]."`
	Std      []float64 `placeholder:"S,..." help:"See --mean."`
	Accuracy *float64  `placeholder:"PERCENT" help:"Top-1 on the test images, as published."`
	Source   string    `placeholder:"URL" help:"Where it comes from; the file's name by default."`
	Licence  string    `placeholder:"SPDX" help:"Its licence."`
}

func (weightsImportCmd) Help() string {
	return `Examples:

  dhkd weights import resnet32x4_vanilla/ckpt_epoch_240.pth --out resnet32x4.safetensors \
      --dataset cifar-100 --accuracy 79.42 --source https://github.com/HobbitLong/RepDistiller
  dhkd weights import crd:resnet32x4 --out resnet32x4.safetensors
  dhkd weights import best.pth --out net.safetensors --model resnet18 --classes 100

Reads a file of weights without running anything in it, fits it to its network name by name, and writes the file that
dhkd evaluate and the other commands take. Names of known programs are translated; what does not fit exactly is refused
with the names that are missing, unexpected or of another shape.

` + sourceHelp + exits(exitOK, exitFailed, exitUsage, exitMissing, exitInterrupted)
}

// Run imports.
func (c *weightsImportCmd) Run(ctx context.Context, out output) error {
	if filepath.Ext(c.Out) != extension {
		return withCode(exitUsage, fmt.Errorf("--out %s: the name must end in %s", c.Out, extension))
	}
	return importWeights(ctx, out, c.File, c.Out, c.architecture, c.provenance, c.Force, c.JSON)
}

func importWeights(ctx context.Context, out output, file, target string, a architecture, p provenance,
	force, asJSON bool) error {
	if err := refuseExisting(target, force); err != nil {
		return withCode(exitUsage, err)
	}
	n, r, err := a.openReference(ctx, out, file)
	if err != nil {
		return err
	}
	n.Info.Source = cmp.Or(p.Source, n.Info.Source)
	if n.Info.Source == "" {
		n.Info.Source = filepath.Base(file)
		if r.Path != file { // a reference, which says more
			n.Info.Source = file
		}
	}
	if err := p.apply(n); err != nil {
		return withCode(exitUsage, err)
	}
	if err := n.save(target); err != nil {
		return err
	}
	next := "dhkd weights verify " + target
	if r.Teacher != nil && r.Teacher.Tolerance != 0 {
		next += fmt.Sprintf(" --tolerance %g", r.Teacher.Tolerance)
	}
	return n.report(out, target, "next", next, asJSON)
}

// apply adds what the flags say to what the file says.
func (p provenance) apply(n *loadedNetwork) error {
	i := &n.Info
	if p.Dataset != "" && i.Dataset != "" && p.Dataset != i.Dataset {
		return fmt.Errorf("--dataset %s: it was trained on %q, as the file or the list of teachers says", p.Dataset,
			i.Dataset)
	}
	i.Dataset, i.Licence = cmp.Or(p.Dataset, i.Dataset), cmp.Or(p.Licence, i.Licence)
	if len(p.Mean) > 0 || len(p.Std) > 0 {
		i.Mean, i.Std = p.Mean, p.Std
	}
	if len(i.Mean) != len(i.Std) || len(i.Mean) != 0 && len(i.Mean) != n.Channels {
		return fmt.Errorf("--mean and --std: %d and %d values, where the network reads images of %d channels", len(i.Mean),
			len(i.Std), n.Channels)
	}
	for c, std := range i.Std {
		if !(std > 0) || i.Mean[c]-i.Mean[c] != 0 || std-std != 0 {
			return fmt.Errorf("--mean %v --std %v: must be finite, and std positive", i.Mean[c], std)
		}
	}
	if p.Accuracy != nil {
		if i.TestTop1 = p.Accuracy; !(*i.TestTop1 >= 0 && *i.TestTop1 <= 100) {
			return fmt.Errorf("--accuracy %v: must be 0 to 100 per cent", *i.TestTop1)
		}
	}
	data, known := knownDataset(i.Dataset)
	switch {
	case known && data.Classes != n.Model.Classes:
		return fmt.Errorf("the network has %d classes, data set %s has %d", n.Model.Classes, data.Name, data.Classes)
	case known && data.Shape[0] != n.Channels:
		return fmt.Errorf("the network reads images of %d channels, those of data set %s have %d", n.Channels, data.Name,
			data.Shape[0])
	case i.Dataset == "":
		n.Notes = append(n.Notes, "no data set is noted: --dataset NAME lets dhkd evaluate and verify do without it")
	case !known:
		n.Notes = append(n.Notes, fmt.Sprintf("dhkd has no data set %q: it cannot evaluate on it", i.Dataset))
	}
	if i.TestTop1 == nil {
		for _, key := range []string{"accuracy", "best_acc", "best_value"} {
			if value := n.Beside[key]; value != "" {
				n.Notes = append(n.Notes, fmt.Sprintf("the file has %s = %s: if that is the accuracy of these weights "+
					"in per cent, note it with --accuracy", key, printable(value)))
			}
		}
	}
	return nil
}

// save writes the network as dhkd's own file.
func (n *loadedNetwork) save(path string) error {
	metadata := n.Info.Metadata()
	digest, err := weights.Digest(n.Weights)
	if err != nil {
		return err
	}
	metadata[weights.DigestKey] = digest
	return train.SaveNetwork(path, n.Network, metadata)
}

type weightsConvertCmd struct {
	In    string `arg:"" help:"A file of weights: PyTorch's or safetensors."`
	Out   string `arg:"" help:"The file to write: .safetensors (dhkd's own) or .onnx."`
	Force bool   `help:"Replace a file that is there."`
	architecture
	JSON bool `help:"Print a JSON object."`
}

func (weightsConvertCmd) Help() string {
	return `Examples:

  dhkd weights convert ckpt_epoch_240.pth teacher.safetensors
  dhkd weights convert ckpt_epoch_240.pth teacher.onnx

The same as dhkd weights import for an output of .safetensors, and as dhkd weights export for one of .onnx, with few of
their options.

` + sourceHelp + exits(exitOK, exitFailed, exitUsage, exitMissing, exitInterrupted)
}

// Run converts.
func (c *weightsConvertCmd) Run(ctx context.Context, out output) error {
	switch ext := strings.ToLower(filepath.Ext(c.Out)); ext {
	case extension:
		return importWeights(ctx, out, c.In, c.Out, c.architecture, provenance{}, c.Force, c.JSON)
	case ".onnx":
		e := weightsExportCmd{Net: c.In, Format: formatONNX, Out: c.Out, Force: c.Force, architecture: c.architecture,
			JSON: c.JSON}
		return e.Run(ctx, out)
	case ".pth", ".pt", ".tar":
		return withCode(exitUsage, errors.New("dhkd writes no pickles: use dhkd weights export --format state-dict, whose "+
			"file PyTorch loads as a state dict"))
	}
	return withCode(exitUsage, fmt.Errorf("%s: the name must end in .safetensors or .onnx, which says what to write",
		c.Out))
}
