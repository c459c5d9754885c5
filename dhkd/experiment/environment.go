package experiment

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"

	"github.com/dhkd-lab/dhkd-go/dhkd/device"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// environment describes where a run is made.
func environment(ctx context.Context, d *device.Device) record.Environment {
	plugin := ""
	if d.Plugin != "" {
		plugin = filepath.Base(d.Plugin) // a record is shared, and a path says who made it
	}
	e := record.Environment{
		Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH, CPU: device.CPUModel(ctx), Cores: runtime.NumCPU(),
		Backend: d.Name, Device: d.Description, Plugin: plugin, API: d.API, XLAFlags: os.Getenv("XLA_FLAGS"),
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return e
	}
	for _, m := range info.Deps {
		switch m.Path {
		case "github.com/gomlx/gomlx":
			e.GoMLX = m.Version
		case "github.com/gomlx/go-xla":
			e.GoXLA = m.Version
		}
	}
	dirty := ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			e.Commit = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "-dirty"
		}
	}
	if e.Commit != "" {
		e.Commit += dirty
	}
	return e
}
