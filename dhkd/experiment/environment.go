package experiment

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"

	"github.com/dhkd-lab/dhkd-go/dhkd/dataset"
	"github.com/dhkd-lab/dhkd-go/dhkd/device"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// environment describes where a run on a data set is made.
func environment(ctx context.Context, d *device.Device, set *dataset.Set) record.Environment {
	plugin := ""
	if d.Plugin != "" {
		plugin = filepath.Base(d.Plugin) // a record is shared, and a path says who made it
	}
	e := record.Environment{
		Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH, CPU: device.CPUModel(ctx), Cores: runtime.NumCPU(),
		Backend: d.Name, Device: d.Description, Plugin: plugin, API: d.API, XLAFlags: os.Getenv("XLA_FLAGS"), JPEG: jpegDecoder(set),
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

// jpegDecoder is that of the images that are files, if there are any.
func jpegDecoder(set *dataset.Set) []string {
	if set.Train.Files == nil {
		return nil
	}
	name, _ := dataset.JPEGDecoder()
	return []string{name}
}

// noteJPEG notes what decodes the image files of a run that is continued. It is true where that is not what decoded them last.
func noteJPEG(e *record.Environment, set *dataset.Set) bool {
	now := jpegDecoder(set)
	if now == nil {
		return false
	}
	if len(e.JPEG) == 0 { // written when there was no other
		e.JPEG = []string{dataset.GoJPEG}
	}
	other := e.JPEG[len(e.JPEG)-1] != now[0]
	if other {
		e.JPEG = append(e.JPEG, now...)
	}
	return other
}
