package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/gomlx/compute/gobackend"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/dataset"
	"github.com/dhkd-lab/dhkd-go/dhkd/distill"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

const maxListSize = 4096 // pixels

type listCmd struct {
	Models   listModelsCmd   `cmd:"" help:"List the networks with their parameters and work."`
	Methods  listMethodsCmd  `cmd:"" help:"List the distillation methods."`
	Datasets listDatasetsCmd `cmd:"" help:"List the data sets and where they are found."`
	Recipes  listRecipesCmd  `cmd:"" help:"List the experiments that are part of the program."`
	Teachers listTeachersCmd `cmd:"" help:"List published networks to distil from."`
}

type listModelsCmd struct {
	Names    []string `arg:"" optional:"" name:"model" help:"Only these, listed or of another depth or width."`
	Classes  int      `default:"100" help:"Classes to count with."`
	Size     int      `help:"Pixels of height and width of the images. Default: 32, or 224 for networks made for it."`
	MainHead string   `enum:"linear,nonlinear" default:"linear" help:"Kind of the main head: ${enum}."`
	JSON     bool     `help:"Print a JSON array."`
}

func (listModelsCmd) Help() string {
	return `Examples:

  dhkd list models --classes 10
  dhkd list models wrn_28_4 resnet26 --size 64

Parameters are the trained ones: with the main head alone, and with a linear or a nonlinear auxiliary head beside it. Multiply-adds
are millions for one image, of convolutions and linear layers, without an auxiliary head. The width is that of the
feature that the heads read; the maps are those that distillation methods ask for, height x width x channels. All are
counted on the networks as they are built, for images of three channels.

` + exits(exitOK, exitUsage)
}

// Run lists the models.
func (c *listModelsCmd) Run(out output) error {
	models, err := listModels(c.Names, c.Classes, c.Size, dhkd.Head(c.MainHead))
	if err != nil {
		return withCode(exitUsage, err)
	}
	if c.JSON {
		return out.json(models)
	}
	const head = "model\tone head\tlinear\tnonlinear\tM multiply-adds\tpixels\twidth\tmaps"
	return table(out.stdout, head, func(w io.Writer) {
		for _, m := range models {
			maps := make([]string, len(m.Maps))
			for i, size := range m.Maps {
				maps[i] = fmt.Sprintf("%dx%dx%d", size[0], size[1], size[2])
			}
			fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%.1f\t%d\t%d\t%s\n", m.Name, m.OneHead, m.Linear, m.Nonlinear,
				float64(m.MultiplyAdds)/1e6, m.Size, m.Width, strings.Join(maps, " "))
		}
	})
}

type modelInfo struct {
	Name         string   `json:"name"`
	Classes      int      `json:"classes"`
	Head         string   `json:"head"`          // the main one
	Size         int      `json:"size"`          // height and width of the images
	OneHead      int      `json:"one_head"`      // parameters
	Linear       int      `json:"linear"`        // parameters with a linear auxiliary head
	Nonlinear    int      `json:"nonlinear"`     // parameters with a nonlinear auxiliary head
	MultiplyAdds int      `json:"multiply_adds"` // for one image, with one head
	Width        int      `json:"width"`         // of the pooled feature
	Maps         [][3]int `json:"maps"`          // height, width, channels
}

// listModels describes the models, all of the zoo if none are named, on images of their own size where size is 0.
func listModels(names []string, classes, size int, head dhkd.Head) ([]modelInfo, error) {
	if size < 0 || size > maxListSize {
		return nil, fmt.Errorf("--size: must be 1 to %d pixels, is %d", maxListSize, size)
	}
	if len(names) == 0 {
		names = zoo.Names()
	}
	backend, err := gobackend.New("") // traces as well as XLA, without a plugin
	if err != nil {
		return nil, err
	}
	defer backend.Finalize()
	var models []modelInfo
	for _, name := range names {
		m, err := zoo.New(zoo.Config{Name: name, Classes: classes, Head: head})
		if err != nil {
			return nil, err
		}
		side := cmp.Or(size, m.Side)
		d, err := m.Describe(backend, [3]int{side, side, 3})
		if err != nil {
			return nil, err
		}
		models = append(models, modelInfo{
			Name: name, Classes: classes, Head: string(head), Size: side, OneHead: d.Parameters[dhkd.NoAuxHead],
			Linear: d.Parameters[dhkd.LinearAuxHead], Nonlinear: d.Parameters[dhkd.NonlinearAuxHead],
			MultiplyAdds: d.MultiplyAdds, Width: d.Width, Maps: d.Features,
		})
	}
	return models, nil
}

type listMethodsCmd struct {
	JSON bool `help:"Print a JSON array."`
}

func (listMethodsCmd) Help() string {
	return `Example:

  dhkd list methods

` + exits(exitOK)
}

// Run lists the methods.
func (c *listMethodsCmd) Run(out output) error {
	var methods []methodInfo
	for _, name := range distill.Names() {
		methods = append(methods, describeMethod(name))
	}
	if c.JSON {
		return out.json(methods)
	}
	return table(out.stdout, "method\twhat it learns from\tsource\thyper-parameters as published", func(w io.Writer) {
		for _, m := range methods {
			var parameters []string
			for _, p := range m.Parameters {
				if p.Default != false && p.Default != "" && p.Default != 0 {
					parameters = append(parameters, fmt.Sprintf("%s=%v", p.Name, p.Default))
				}
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", m.Name, m.What, m.Source, strings.Join(parameters, " "))
		}
	})
}

type methodInfo struct {
	Name       string                   `json:"name"`
	What       string                   `json:"what"`
	Source     string                   `json:"source,omitempty"`
	Parameters []distill.HyperParameter `json:"parameters,omitempty"`
}

func describeMethod(name string) methodInfo {
	what, source := distill.Describe(name)
	return methodInfo{name, what, source, distill.HyperParameters(name)}
}

type listRecipesCmd struct {
	JSON bool `help:"Print a JSON array."`
}

func (listRecipesCmd) Help() string {
	return `Example:

  dhkd list recipes

A run of an experiment is done once for each of its seeds.

` + exits(exitOK, exitFailed)
}

// Run lists the embedded experiments.
func (c *listRecipesCmd) Run(out output) error {
	type recipeInfo struct {
		Name    string   `json:"name"`
		Title   string   `json:"title"`
		Profile string   `json:"profile"`
		Runs    []string `json:"runs"`
	}
	var recipes []recipeInfo
	for _, name := range experiment.Recipes() {
		e, err := experiment.Open(name)
		if err != nil {
			return err
		}
		info := recipeInfo{Name: name, Title: e.Title, Profile: e.Runs[0].Recipe.Profile}
		for _, run := range e.Runs {
			info.Runs = append(info.Runs, run.Recipe.Name)
		}
		recipes = append(recipes, info)
	}
	if c.JSON {
		return out.json(recipes)
	}
	return table(out.stdout, "recipe\tprofile\ttitle\truns", func(w io.Writer) {
		for _, r := range recipes {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.Name, r.Profile, r.Title, strings.Join(r.Runs, ", "))
		}
	})
}

// listDatasetsCmd is "list datasets" and "data list".
type listDatasetsCmd struct {
	JSON bool `help:"Print a JSON array."`
}

func (listDatasetsCmd) Help() string {
	return `Example:

  dhkd data list

` + exits(exitOK)
}

// Run lists the data sets.
func (c *listDatasetsCmd) Run(out output) error {
	infos := dataset.List()
	if c.JSON {
		return out.json(infos)
	}
	return table(out.stdout, "data set\tclasses\ttrain\ttest\tshape\tfound", func(w io.Writer) {
		for _, i := range infos {
			counts := fmt.Sprintf("%d\t%d\t%d", i.Classes, i.Train, i.Test)
			if i.Classes == 0 {
				counts = "yours\tyours\tyours"
			}
			fmt.Fprintf(w, "%s\t%s\t%dx%dx%d\t%s\n", i.Name, counts, i.Shape[0], i.Shape[1], i.Shape[2], foundOr(i))
		}
	})
}

func foundOr(i dataset.Info) string {
	if i.Found != "" {
		return i.Found
	}
	return "no; " + i.Get
}

// table prints rows of cells that end in tabs, in columns.
func table(w io.Writer, head string, rows func(w io.Writer)) error {
	columns := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(columns, head)
	rows(columns)
	return columns.Flush()
}
