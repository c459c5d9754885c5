package main

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/gobackend"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/dataset"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/train"
	"github.com/dhkd-lab/dhkd-go/dhkd/weights"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

type weightsCmd struct {
	Inspect weightsInspectCmd `cmd:"" help:"Say what is in a file of weights, and which networks it fits."`
	Import  weightsImportCmd  `cmd:"" help:"Make a network's file of a PyTorch or safetensors file."`
	Export  weightsExportCmd  `cmd:"" help:"Write a network as ONNX or as a PyTorch state dict."`
	Convert weightsConvertCmd `cmd:"" help:"Import or export, as the extension of the output says."`
	Verify  weightsVerifyCmd  `cmd:"" help:"Check a network's file, and its accuracy where the data are at hand."`
}

// architecture are the flags that say which network a file holds.
type architecture struct {
	Model       string `placeholder:"NAME" help:"The network, of \"dhkd list models\"; found from the file by default."`
	Classes     int    `placeholder:"N" help:"Its classes; found from the file by default."`
	AuxHead     string `enum:",none,linear,nonlinear" default:"" placeholder:"KIND" help:"Its auxiliary head, none with --model."`
	DropAuxHead bool   `help:"Leave the auxiliary head out, if there is one."`
}

// loadedNetwork is a network with what its file said.
type loadedNetwork struct {
	*train.Network
	Info     weights.Info
	Channels int      // of the images
	How      string   // by which its architecture is known
	Notes    []string // what was left out or changed
	Beside   map[string]string
}

// open reads a file of weights of any format and fits it to its network. The error names the file.
func (a architecture) open(path string) (*loadedNetwork, error) {
	if a.DropAuxHead && a.AuxHead != "" {
		return nil, errors.New("--aux-head says what is kept, --drop-aux-head that nothing is: give one of them")
	}
	c, err := weights.Load(path)
	if err != nil {
		return nil, err
	}
	n, err := a.fit(c)
	if err == nil {
		err = n.Info.Alone()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return n, nil
}

// fit makes a network of a file, with a method's modules where it has them.
func (a architecture) fit(c *weights.Checkpoint) (*loadedNetwork, error) {
	backend, err := gobackend.New("") // traces as well as XLA, without a plugin
	if err != nil {
		return nil, err
	}
	defer backend.Finalize()
	n := &loadedNetwork{}
	if n.Info, err = infoOf(c); err != nil {
		return nil, err
	}
	if c.Format != weights.FormatSafetensors {
		n.Beside = c.Metadata
	}
	config, err := a.choose(backend, c, n)
	if err != nil {
		return nil, err
	}
	if a.DropAuxHead {
		config.AuxHead = dhkd.NoAuxHead
	}
	m, err := zoo.New(config)
	if err != nil {
		return nil, err
	}
	n.Network = &train.Network{Model: m}
	if n.Info.Predictor != "" {
		if n.Predictor, err = experiment.Predictor(n.Info.Recipe, m.Classes); err != nil {
			return nil, err
		}
	}
	want, channels, err := initial(backend, n.Network, c)
	if err != nil {
		return nil, err
	}
	fitted, err := c.Fit(want, weights.FitOptions{DropAuxHead: a.DropAuxHead})
	if err != nil {
		if a.Model != "" && a.AuxHead == "" && !a.DropAuxHead {
			err = fmt.Errorf("%w (--aux-head and --drop-aux-head are about that head)", err)
		}
		return nil, fmt.Errorf("it cannot be used as %s: %w", about(config), err)
	}
	n.Weights, n.Channels = fitted.Tensors, channels
	n.Notes = slices.Concat(c.Notes, fitted.Notes)
	n.Info.Architecture, n.Info.Classes = config.Name, config.Classes
	n.Info.Head, n.Info.AuxHead = string(m.Head), string(m.AuxHead)
	return n, nil
}

// infoOf reads what the metadata say. PyTorch's files have none: what is beside their weights is not meant for dhkd.
func infoOf(c *weights.Checkpoint) (weights.Info, error) {
	if c.Format != weights.FormatSafetensors {
		return weights.Info{}, nil
	}
	return weights.ReadInfo(c.Metadata)
}

// choose finds out which network to build: the flags', else the file's own word, else the only one that fits.
func (a architecture) choose(backend compute.Backend, c *weights.Checkpoint, n *loadedNetwork) (zoo.Config, error) {
	name, classes := cmp.Or(a.Model, n.Info.Architecture), cmp.Or(a.Classes, n.Info.Classes)
	aux := cmp.Or(a.AuxHead, n.Info.AuxHead, string(dhkd.NoAuxHead))
	if name != "" {
		n.How = "as the file says"
		if a.Model != "" {
			n.How = "as --model says"
		}
		if classes == 0 {
			return zoo.Config{}, fmt.Errorf("how many classes does its %s have? give --classes N", name)
		}
		head := dhkd.Head(n.Info.Head)
		if n.Info.Architecture == "" { // nor does it say which head
			head, _ = c.MainHead()
		}
		return zoo.Config{Name: name, Classes: classes, Head: head, AuxHead: dhkd.AuxHead(aux)}, nil
	}
	n.How = "found from its tensors"
	fitting, err := weights.Detect(backend, c)
	if err != nil {
		return zoo.Config{}, err
	}
	return a.only(fitting)
}

// only returns the one network that agrees with the flags.
func (a architecture) only(fitting []zoo.Config) (zoo.Config, error) {
	left := slices.DeleteFunc(slices.Clone(fitting), func(f zoo.Config) bool {
		return a.Classes != 0 && f.Classes != a.Classes || a.AuxHead != "" && string(f.AuxHead) != a.AuxHead
	})
	switch {
	case len(fitting) == 0:
		return zoo.Config{}, errors.New("it fits no network of \"dhkd list models\"; with --model NAME --classes N the " +
			"error says where it differs from that one")
	case len(left) == 0:
		return zoo.Config{}, fmt.Errorf("it is not as --classes and --aux-head say: it fits %s", describeAll(fitting))
	case len(left) == 1:
		return left[0], nil
	}
	return zoo.Config{}, fmt.Errorf("its tensors fit several networks: %s; choose by --model NAME --classes %d "+
		"--aux-head %s", describeAll(left), left[0].Classes, left[0].AuxHead)
}

// initial returns the weights that the network needs for images with the channels that the file's first convolution
// reads.
func initial(backend compute.Backend, n *train.Network, c *weights.Checkpoint) (w []zoo.Weight, channels int, err error) {
	const usual, most = 3, 16
	side := n.Model.Side
	if w, err = n.Undrawn(backend, [3]int{side, side, usual}); err != nil {
		return nil, 0, err
	}
	if first := c.Tensors[w[0].Name]; first != nil && first.Rank() == 4 {
		if has := first.Shape().Dimensions[1]; has != usual && has >= 1 && has <= most {
			w, err = n.Undrawn(backend, [3]int{side, side, has})
			return w, has, err
		}
	}
	return w, usual, nil
}

func about(c zoo.Config) string {
	heads := record.Model{Head: string(c.Head), AuxHead: string(c.AuxHead)}.Heads()
	return fmt.Sprintf("%s, %d classes, %s", c.Name, c.Classes, heads)
}

func describeAll(configs []zoo.Config) string {
	texts := make([]string, len(configs))
	for i, c := range configs {
		texts[i] = about(c)
	}
	return strings.Join(texts, "; ")
}

// weightsFile is a file that was written, as the JSON has it.
type weightsFile struct {
	File         string   `json:"file"`
	Bytes        int64    `json:"bytes"`
	SHA256       string   `json:"sha256"`
	Architecture string   `json:"architecture"`
	Classes      int      `json:"classes"`
	Head         string   `json:"head"` // the main one
	AuxHead      string   `json:"aux_head"`
	How          string   `json:"architecture_known"`
	Notes        []string `json:"notes"`
	Next         string   `json:"next"` // a command, or a line of Python that loads the file
}

// report says what was written, and what can be done next, in words, with it.
func (n *loadedNetwork) report(out output, path, words, next string, asJSON bool) error {
	sum, size, err := fileSHA256(path)
	if err != nil {
		return err
	}
	c := n.Model.Config
	if asJSON {
		return out.json(weightsFile{File: path, Bytes: size, SHA256: sum, Architecture: c.Name, Classes: c.Classes,
			Head: string(c.Head), AuxHead: string(c.AuxHead), How: n.How, Notes: append([]string{}, n.Notes...), Next: next})
	}
	fmt.Fprintf(out.stdout, "%s: %s\n", about(c), n.How)
	for _, note := range n.Notes {
		fmt.Fprintf(out.stdout, "  %s\n", note)
	}
	fmt.Fprintf(out.stdout, "wrote %s (%d bytes, SHA-256 %s)\n%s: %s\n", path, size, sum, words, next)
	return nil
}

// refuseExisting protects a file unless force is given.
func refuseExisting(path string, force bool) error {
	if _, err := os.Lstat(path); err == nil && !force {
		return fmt.Errorf("%s is there already: give another name, or --force to replace it", path)
	}
	return nil
}

func fileSHA256(path string) (sum string, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	h := sha256.New()
	if size, err = io.Copy(h, f); err != nil {
		return "", 0, err
	}
	return hex.EncodeToString(h.Sum(nil)), size, nil
}

// knownDataset describes a data set of this program.
func knownDataset(name string) (info dataset.Info, known bool) {
	all := dataset.List()
	i := slices.IndexFunc(all, func(d dataset.Info) bool { return d.Name == name })
	if i < 0 {
		return info, false
	}
	return all[i], true
}

// printable is text of a file as a terminal can have it.
func printable(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}
