package main

import (
	"errors"
	"fmt"

	"github.com/alecthomas/kong"
)

// errHelp ends the parsing of a command line that asks for help.
var errHelp = errors.New("help was printed")

// printHelp prints a command's own text first, as it stands, since it opens with an example, then kong's usage.
func printHelp(options kong.HelpOptions, ctx *kong.Context) error {
	node := ctx.Model.Node
	if selected := ctx.Selected(); selected != nil {
		node = selected
	}
	if node.Detail != "" {
		fmt.Fprintln(ctx.Stdout, node.Detail)
		node.Detail = ""
	}
	if err := kong.DefaultHelpPrinter(options, ctx); err != nil {
		return err
	}
	return errHelp
}
