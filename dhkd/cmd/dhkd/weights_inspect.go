package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/gomlx/compute/gobackend"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/weights"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

// Of a long list of tensors the text shows so many of its start and its end, of a metadatum so many bytes.
const (
	shownFirst    = 10
	shownLast     = 6
	shownMetadata = 120
)

type weightsInspectCmd struct {
	File string `arg:"" help:"A PyTorch file (.pth, .pt, .tar) or a safetensors file."`
	All  bool   `help:"Print all tensors, and metadata in full."`
	JSON bool   `help:"Print a JSON object."`
}

func (weightsInspectCmd) Help() string {
	return `Examples:

  dhkd weights inspect resnet32x4_vanilla/ckpt_epoch_240.pth
  dhkd weights inspect runs/quickstart/offline/dhkd-seed1/weights.safetensors --all

Reads a file of weights without running anything in it, and says what it holds: format and layout, metadata, tensors,
values that are NaN or infinite, and the networks of "dhkd list models" that it fits.

` + sourceHelp + exits(exitOK, exitFailed, exitUsage, exitMissing, exitInterrupted)
}

// inspection is what the JSON says.
type inspection struct {
	File     string            `json:"file"`
	Bytes    int64             `json:"bytes"`
	SHA256   string            `json:"sha256"`
	Teacher  string            `json:"teacher,omitempty"` // its name in the list of teachers
	Format   string            `json:"format"`
	Layout   string            `json:"layout"`
	Notes    []string          `json:"notes"`
	Metadata map[string]string `json:"metadata"`
	Values   int               `json:"values"`
	Parts    []networkPart     `json:"parts,omitempty"` // where the network is more than a model
	Fits     []fittingNetwork  `json:"fits"`
	Misfit   string            `json:"misfit,omitempty"` // why the network that the file names does not fit
	Tensors  []inspectedTensor `json:"tensors"`
}

type networkPart struct {
	Part    string `json:"part"`
	Tensors int    `json:"tensors"`
	Values  int    `json:"values"`
}

type fittingNetwork struct {
	Model   string `json:"model"`
	Classes int    `json:"classes"`
	Head    string `json:"head"` // the main one
	AuxHead string `json:"aux_head"`
}

type inspectedTensor struct {
	Name      string `json:"name"`
	Shape     []int  `json:"shape"`
	Type      string `json:"type"` // after widening, see the notes
	NonFinite int    `json:"non_finite"`
	size      int
}

// Run inspects.
func (c *weightsInspectCmd) Run(ctx context.Context, out output) error {
	r, err := resolveWeights(ctx, out, c.File)
	if err != nil {
		return err
	}
	i, err := inspect(r.Path)
	if err != nil {
		return withCode(exitUsage, err)
	}
	if r.Teacher != nil {
		i.Teacher = r.Teacher.Reference
	}
	if c.JSON {
		return out.json(i)
	}
	return i.write(out.stdout, c.All)
}

func inspect(path string) (*inspection, error) {
	c, err := weights.Load(path)
	if err != nil {
		return nil, err
	}
	i := &inspection{File: path, Format: c.Format, Layout: c.Layout, Notes: append([]string{}, c.Notes...),
		Metadata: c.Metadata, Fits: []fittingNetwork{}, Tensors: []inspectedTensor{}}
	if i.SHA256, i.Bytes, err = fileSHA256(path); err != nil {
		return nil, err
	}
	for _, name := range c.Names {
		t := c.Tensors[name]
		i.Values += t.Size()
		shape := append([]int{}, t.Shape().Dimensions...)
		i.Tensors = append(i.Tensors, inspectedTensor{Name: name, Shape: shape,
			Type: strings.ToLower(t.DType().String()), NonFinite: nonFinite(t), size: t.Size()})
	}
	i.count()
	return i, i.fit(c)
}

// count counts the parts of a network that predicts through modules of a method.
func (i *inspection) count() {
	method := i.Metadata[weights.PredictorKey]
	if method == "" {
		return
	}
	i.Parts = []networkPart{{Part: i.Metadata["architecture"]}, {Part: "modules of method " + method},
		{Part: "the teacher's classifier"}}
	for _, t := range i.Tensors {
		prefix, _, _ := strings.Cut(t.Name, ".")
		part := &i.Parts[max(0, slices.Index([]string{"", "method", "teacher"}, prefix))]
		part.Tensors++
		part.Values += t.size
	}
}

// fit says which networks the file fits: the one that it names, else all that are found.
func (i *inspection) fit(c *weights.Checkpoint) error {
	info, err := infoOf(c)
	if err != nil {
		i.Misfit = err.Error()
		return nil
	}
	if info.Architecture != "" {
		n, err := architecture{}.fit(c)
		if err != nil {
			i.Misfit = err.Error()
			return nil
		}
		i.addFit(n.Model.Config)
		return nil
	}
	backend, err := gobackend.New("")
	if err != nil {
		return err
	}
	defer backend.Finalize()
	fitting, err := weights.Detect(backend, c)
	for _, config := range fitting {
		i.addFit(config)
	}
	return err
}

func (i *inspection) addFit(c zoo.Config) {
	i.Fits = append(i.Fits, fittingNetwork{c.Name, c.Classes, string(c.Head), string(c.AuxHead)})
}

func (i *inspection) write(w io.Writer, all bool) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "file\t%s, %d bytes\n\tSHA-256 %s\n", i.File, i.Bytes, i.SHA256)
	if i.Teacher != "" {
		fmt.Fprintf(t, "teacher\t%s\n", i.Teacher)
	}
	fmt.Fprintf(t, "format\t%s%s\n", i.Format, layoutText(i.Format, i.Layout))
	for n, key := range slices.Sorted(maps.Keys(i.Metadata)) {
		value := printable(i.Metadata[key])
		if len(value) > shownMetadata && !all {
			value = fmt.Sprintf("%.*s... (--all)", shownMetadata, value)
		}
		fmt.Fprintf(t, "%s\t%s = %s\n", first(n, "metadata"), printable(key), value)
	}
	for n, note := range i.Notes {
		fmt.Fprintf(t, "%s\t%s\n", first(n, "notes"), note)
	}
	for n, f := range i.Fits {
		config := zoo.Config{Name: f.Model, Classes: f.Classes, Head: dhkd.Head(f.Head),
			AuxHead: dhkd.AuxHead(f.AuxHead)}
		fmt.Fprintf(t, "%s\t%s\n", first(n, "fits"), about(config))
	}
	switch {
	case i.Misfit != "":
		fmt.Fprintf(t, "fits\tNO: %s\n", i.Misfit)
	case len(i.Fits) == 0:
		fmt.Fprint(t, "fits\tno network of \"dhkd list models\"\n")
	}
	fmt.Fprintf(t, "tensors\t%d with %d values\n", len(i.Tensors), i.Values)
	for _, p := range i.Parts {
		fmt.Fprintf(t, "\t%s: %d with %d values\n", printable(p.Part), p.Tensors, p.Values)
	}
	i.writeBroken(t, all)
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	return i.writeTensors(w, all)
}

// writeBroken names the tensors with values that are NaN or infinite.
func (i *inspection) writeBroken(w io.Writer, all bool) {
	n := 0
	for _, t := range i.Tensors {
		if t.NonFinite == 0 {
			continue
		}
		if n == shownFirst && !all {
			fmt.Fprint(w, "\t... (--all)\n")
			return
		}
		fmt.Fprintf(w, "%s\t%d of %d values of %s are NaN or infinite\n", first(n, "BROKEN"), t.NonFinite, t.size,
			printable(t.Name))
		n++
	}
}

func (i *inspection) writeTensors(w io.Writer, all bool) error {
	return table(w, "tensor\tshape\ttype", func(w io.Writer) {
		for n, t := range i.Tensors {
			hidden := len(i.Tensors) - shownFirst - shownLast
			if n >= shownFirst && n < shownFirst+hidden && hidden > 1 && !all {
				if n == shownFirst {
					fmt.Fprintf(w, "... %d more (--all)\t\t\n", hidden)
				}
				continue
			}
			fmt.Fprintf(w, "%s\t%s\t%s\n", printable(t.Name), shapeText(t.Shape), t.Type)
		}
	})
}

// first is the heading of a list beside its first line alone.
func first(n int, heading string) string {
	if n > 0 {
		return ""
	}
	return heading
}

// layoutText names the layout and the programs that write it.
func layoutText(format, layout string) string {
	if format == weights.FormatSafetensors {
		return ""
	}
	var from []string
	for _, l := range weights.Layouts {
		if l.Name == layout {
			from = append(from, l.From)
		}
	}
	return fmt.Sprintf(", layout %s (%s)", layout, strings.Join(from, "; "))
}

func shapeText(shape []int) string {
	if len(shape) == 0 {
		return "scalar"
	}
	return strings.Trim(strings.ReplaceAll(fmt.Sprint(shape), " ", "x"), "[]")
}

// nonFinite counts the values that are NaN or infinite.
func nonFinite(t *tensors.Tensor) (n int) {
	count := func(v float64) {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			n++
		}
	}
	t.MustConstFlatData(func(flat any) {
		switch flat := flat.(type) {
		case []float32:
			for _, v := range flat {
				count(float64(v))
			}
		case []float64:
			for _, v := range flat {
				count(v)
			}
		}
	})
	return n
}
