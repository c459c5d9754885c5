//go:build noxla || !((linux && (amd64 || arm64)) || (darwin && arm64) || (windows && amd64))

package device

import (
	"errors"
	"runtime"
)

var errNoXLA = errors.New("this program was built without XLA (with the build tag noxla, or for a system without XLA)")

func thisMachine() machine {
	return machine{noXLA: errNoXLA, goos: runtime.GOOS, hasGPU: func() bool { return false }}
}

// PluginVersion would return the version of a plugin's PJRT C API; without XLA it is an error.
func PluginVersion(path string) (api string, err error) { return "", errNoXLA }
