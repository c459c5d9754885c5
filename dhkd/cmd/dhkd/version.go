package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"text/tabwriter"
)

type versionCmd struct {
	JSON bool `help:"Print a JSON object."`
}

func (versionCmd) Help() string {
	return `Example:

  dhkd version --json

` + exits(exitOK)
}

// Run prints the versions.
func (c *versionCmd) Run(out output) error {
	v := versions()
	if c.JSON {
		return out.json(v)
	}
	w := tabwriter.NewWriter(out.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "dhkd\t%s %s\n", v.DHKD, v.Commit)
	fmt.Fprintf(w, "go\t%s %s/%s\n", v.Go, runtime.GOOS, runtime.GOARCH)
	for _, m := range v.Modules {
		fmt.Fprintf(w, "%s\t%s\n", m.Path, m.Version)
	}
	return w.Flush()
}

type versionInfo struct {
	DHKD    string          `json:"dhkd"`             // "(devel)" outside a released module
	Commit  string          `json:"commit,omitempty"` // "-dirty" appended where files were changed; empty where unknown
	Go      string          `json:"go"`
	Modules []moduleVersion `json:"modules"` // what results depend on
}

type moduleVersion struct {
	Path    string `json:"path"`
	Version string `json:"version"`
}

// versions reads what the Go tools wrote into the program.
func versions() versionInfo {
	v := versionInfo{DHKD: "(unknown)", Go: runtime.Version()}
	build, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	v.DHKD = build.Main.Version
	for _, setting := range build.Settings {
		switch {
		case setting.Key == "vcs.revision":
			v.Commit = setting.Value
		case setting.Key == "vcs.modified" && setting.Value == "true":
			v.Commit += "-dirty"
		}
	}
	for _, dependency := range build.Deps {
		switch dependency.Path {
		case "github.com/gomlx/gomlx", "github.com/gomlx/compute", "github.com/gomlx/go-xla":
			v.Modules = append(v.Modules, moduleVersion{dependency.Path, dependency.Version})
		}
	}
	return v
}
