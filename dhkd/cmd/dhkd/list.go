package main

import (
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

type listCmd struct {
	Models   listModelsCmd   `cmd:"" help:"List the networks with their numbers of parameters."`
	Methods  listMethodsCmd  `cmd:"" help:"List the distillation methods."`
	Datasets listDatasetsCmd `cmd:"" help:"List the data sets and where they are found."`
	Recipes  listRecipesCmd  `cmd:"" help:"List the experiments that are part of the program."`
}

type listModelsCmd struct {
	Classes int  `default:"100" help:"Classes to count parameters with."`
	JSON    bool `help:"Print a JSON array."`
}

func (listModelsCmd) Help() string {
	return `Example:

  dhkd list models --classes 10

Parameters are the trained ones: with one head, and with a linear or a nonlinear auxiliary head beside it. The width is
that of the feature that the heads read. All are counted on networks built for 32x32 images.

` + exits(exitOK, exitUsage)
}

// Run lists the models.
func (c *listModelsCmd) Run(out output) error {
	models, err := listModels(c.Classes)
	if err != nil {
		return withCode(exitUsage, err)
	}
	if c.JSON {
		return out.json(models)
	}
	return table(out.stdout, "model\twidth\tone head\tlinear\tnonlinear", func(w io.Writer) {
		for _, m := range models {
			fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\n", m.Name, m.Width, m.OneHead, m.Linear, m.Nonlinear)
		}
	})
}

type modelInfo struct {
	Name      string `json:"name"`
	Classes   int    `json:"classes"`
	Width     int    `json:"width"`     // of the pooled feature
	OneHead   int    `json:"one_head"`  // parameters
	Linear    int    `json:"linear"`    // parameters with a linear auxiliary head
	Nonlinear int    `json:"nonlinear"` // parameters with a nonlinear auxiliary head
}

func listModels(classes int) ([]modelInfo, error) {
	backend, err := gobackend.New("") // traces as well as XLA, without a plugin
	if err != nil {
		return nil, err
	}
	defer backend.Finalize()
	var models []modelInfo
	for _, name := range zoo.Names() {
		info := modelInfo{Name: name, Classes: classes}
		for head, count := range map[dhkd.AuxHead]*int{
			dhkd.NoAuxHead: &info.OneHead, dhkd.LinearAuxHead: &info.Linear, dhkd.NonlinearAuxHead: &info.Nonlinear,
		} {
			model, err := zoo.New(zoo.Config{Name: name, Classes: classes, AuxHead: head})
			if err != nil {
				return nil, err
			}
			weights, err := model.Initial(backend, [3]int{32, 32, 3}, 1)
			if err != nil {
				return nil, err
			}
			*count = zoo.Parameters(weights)
		}
		info.Width = (info.Linear-info.OneHead)/classes - 1 // a linear head has width*classes weights and classes biases
		models = append(models, info)
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
	type methodInfo struct {
		Name string `json:"name"`
		What string `json:"what"`
	}
	var methods []methodInfo
	for _, name := range distill.Names() {
		methods = append(methods, methodInfo{name, distill.Describe(name)})
	}
	if c.JSON {
		return out.json(methods)
	}
	return table(out.stdout, "method\twhat it learns from", func(w io.Writer) {
		for _, m := range methods {
			fmt.Fprintf(w, "%s\t%s\n", m.Name, m.What)
		}
	})
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
			fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%dx%dx%d\t%s\n", i.Name, i.Classes, i.Train, i.Test,
				i.Shape[0], i.Shape[1], i.Shape[2], foundOr(i))
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
