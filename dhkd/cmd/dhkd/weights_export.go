package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/dhkd-lab/dhkd-go/dhkd/weights"
	"github.com/dhkd-lab/dhkd-go/dhkd/weights/onnx"
)

// What dhkd weights export writes.
const (
	formatONNX        = "onnx"
	formatStateDict   = "state-dict"
	formatSafetensors = "safetensors"
)

type weightsExportCmd struct {
	Net    string `arg:"" help:"A network's file: weights.safetensors of a run, or one that was imported."`
	Format string `required:"" enum:"onnx,state-dict,safetensors" placeholder:"KIND" help:"One of ${enum}."`
	Out    string `required:"" placeholder:"FILE" help:"The file to write, .onnx or .safetensors."`
	Force  bool   `help:"Replace a file that is there."`
	architecture
	FoldBatchNorm     bool `help:"ONNX: make each batch norm a part of the convolution before it."`
	ImageSize         int  `placeholder:"N" help:"ONNX: height and width of images; the data set's by default."`
	WithNormalisation bool `help:"ONNX: take pixels in [0, 1] and normalise them in the file."`
	JSON              bool `help:"Print a JSON object."`
}

func (weightsExportCmd) Help() string {
	return `Examples:

  dhkd weights export weights.safetensors --format onnx --out student.onnx --fold-batch-norm --with-normalisation
  dhkd weights export weights.safetensors --format state-dict --out student.state.safetensors

onnx is for deployment (opset 17): images [batch, channels, height, width] in, the main head's logits out, without the
auxiliary head. state-dict is for load_state_dict in the PyTorch networks that the names are from (CRD, mdistiller,
DHKD), auxiliary head included. safetensors is dhkd's own format. The last line printed says how to load the file.

` + sourceHelp + exits(exitOK, exitFailed, exitUsage, exitMissing, exitInterrupted)
}

// Run exports.
func (c *weightsExportCmd) Run(ctx context.Context, out output) error {
	if err := c.check(); err != nil {
		return withCode(exitUsage, err)
	}
	n, _, err := c.architecture.openReference(ctx, out, c.Net)
	if err != nil {
		return err
	}
	words, next := "in Python", ""
	switch c.Format {
	case formatONNX:
		next, err = c.exportONNX(n)
	case formatStateDict:
		next = fmt.Sprintf("network.load_state_dict(safetensors.torch.load_file(%q))", c.Out)
		err = weights.ExportStateDict(c.Out, n.Weights, n.Info.Metadata())
	case formatSafetensors:
		words, next, err = "next", "dhkd weights verify "+c.Out, n.save(c.Out)
	}
	if err != nil {
		return err
	}
	return n.report(out, c.Out, words, next, c.JSON)
}

func (c *weightsExportCmd) check() error {
	want := extension
	if c.Format == formatONNX {
		want = ".onnx"
	} else if c.FoldBatchNorm || c.ImageSize != 0 || c.WithNormalisation {
		return fmt.Errorf("--fold-batch-norm, --image-size and --with-normalisation are for --format onnx, not %s", c.Format)
	}
	if filepath.Ext(c.Out) != want {
		return fmt.Errorf("--out %s: with --format %s the name must end in %s", c.Out, c.Format, want)
	}
	const largest = 4096
	if c.ImageSize < 0 || c.ImageSize > largest {
		return fmt.Errorf("--image-size: must be 1 to %d pixels, is %d", largest, c.ImageSize)
	}
	return refuseExisting(c.Out, c.Force)
}

func (c *weightsExportCmd) exportONNX(n *loadedNetwork) (next string, err error) {
	if c.WithNormalisation && len(n.Info.Mean) == 0 {
		return "", withCode(exitUsage, errors.New("--with-normalisation: the file does not say what images are normalised "+
			"with: note it with dhkd weights import --mean --std"))
	}
	size := [2]int{c.ImageSize, c.ImageSize}
	if c.ImageSize == 0 {
		size = [2]int{n.Model.Side, n.Model.Side}
		if data, known := knownDataset(n.Info.Dataset); known {
			size = [2]int{data.Shape[1], data.Shape[2]}
		}
	}
	metadata := n.Info.Metadata()
	for _, key := range []string{"format", "version", "recipe", "aux_head"} { // not of this file, or too long
		delete(metadata, key)
	}
	if n.Model.AuxHead != "none" {
		n.Notes = append(n.Notes, "the auxiliary head is left out: it is for training")
	}
	pixels := "normalised"
	if c.WithNormalisation {
		pixels = "pixels in [0, 1]"
	}
	next = fmt.Sprintf(`onnxruntime.InferenceSession(%q).run(None, {"images": images})  # float32 [n, %d, %d, %d], %s`,
		c.Out, n.Channels, size[0], size[1], pixels)
	return next, onnx.Export(c.Out, n.Network, onnx.Options{
		Image: [3]int{size[0], size[1], n.Channels}, FoldBatchNorm: c.FoldBatchNorm, Normalize: c.WithNormalisation,
		Mean: float32s(n.Info.Mean), Std: float32s(n.Info.Std), Metadata: metadata,
	})
}

func float32s(values []float64) []float32 {
	narrow := make([]float32, 0, len(values))
	for _, v := range values {
		narrow = append(narrow, float32(v))
	}
	return slices.Clip(narrow)
}
