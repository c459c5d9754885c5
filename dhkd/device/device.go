// Package device chooses where the networks run: it finds XLA's PJRT plugin (CUDA, CPU or TPU), installs the CPU one
// when there is none, and falls back to GoMLX's pure Go backend, which runs everywhere and is slow.
//
// [Open] tries, in this order:
//
//  1. the backend that GOMLX_BACKEND names, and nothing else when it is set;
//  2. an installed plugin, CUDA (when there is an NVIDIA card) before CPU, see [Plugins] for where it looks;
//  3. go-xla's installer (https://github.com/gomlx/pjrt-cpu-binaries);
//  4. a wheel of the Python package index, pinned by SHA-256 and installed by pip into [CacheDir];
//  5. the pure Go backend, with a warning.
//
// The build tag noxla leaves XLA out: no C compiler is needed then, and only the Go backend is there.
package device

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gomlx/compute"
	_ "github.com/gomlx/compute/gobackend" // registers "go"
)

// SetupCommand is the command that installs XLA, named in warnings and by doctor.
const SetupCommand = "dhkd setup --xla"

// Options says how a device is opened. The zero value is what most programs want.
type Options struct {
	// Offline forbids installing: only what is on the disk is used. GOMLX_NO_AUTO_INSTALL in the environment does the
	// same.
	Offline bool

	// TF32 lets an NVIDIA card round the factors of float32 products to 10 bits, as its matrix units are fastest with.
	// Unless set, and unless GOMLX_BACKEND or NVIDIA_TF32_OVERRIDE say otherwise, it computes in float32. It is for the
	// whole process.
	TF32 bool

	// Logf receives the warnings and the progress of an installation, a line a call. Nil writes them to os.Stderr.
	Logf func(format string, args ...any)
}

// Device is an open backend and how it was chosen.
type Device struct {
	Backend     compute.Backend
	Name        string    // "xla:cpu", "xla:cuda", "xla:tpu", "go", or the name in GOMLX_BACKEND
	Plugin      string    // path of the PJRT plugin; empty without XLA
	API         string    // version of the plugin's PJRT C API, such as "0.115"; empty without XLA
	Description string    // the backend's own description, one line, with the plugin's file name in place of its path
	TF32        bool      // products of float32 are rounded to TF32, on an NVIDIA card
	Tried       []Attempt // what was tried, in order; the last is what was chosen
}

// Attempt is one thing that was tried while choosing a backend.
type Attempt struct {
	What    string `json:"what"`              // such as "cpu plugin (go-xla's directory)"
	Path    string `json:"path,omitempty"`    // the plugin's file, if there is one
	Refused string `json:"refused,omitempty"` // why it could not be used; empty if it was chosen
}

// String gives the attempt on one line.
func (a Attempt) String() string {
	s := a.What
	if a.Path != "" {
		s += " " + a.Path
	}
	if a.Refused != "" {
		s += ": " + a.Refused
	}
	return s
}

// Open chooses and opens a backend as the package comment says. It fails only where GOMLX_BACKEND names a backend that
// cannot be used (the error names the variable and its value), or where ctx ends.
func Open(ctx context.Context, o Options) (*Device, error) { return thisMachine().open(ctx, o) }

// Close releases the backend and everything on it.
func (d *Device) Close() { d.Backend.Finalize() }

// Install makes sure that XLA can be used, whatever GOMLX_BACKEND says, and returns the plugin's path: one that is
// installed already or else a newly installed one. It has been opened once, so it works. The kind is "cpu", or "cuda",
// which downloads NVIDIA's libraries (gigabytes) with go-xla's installer, on linux/amd64 with an NVIDIA card. The error
// says what was tried.
func Install(ctx context.Context, kind string, o Options) (path string, err error) {
	return thisMachine().install(ctx, kind, o)
}

// machine is what the choice depends on besides the environment and the disk. Tests put their own in place of
// thisMachine.
type machine struct {
	noXLA    error // why this program cannot use XLA at all; nil if it can
	goos     string
	prefixes []string // system directories such as /usr/local, below which lib/ may hold plugins
	wheel    *wheel   // nil where none is pinned
	hasGPU   func() bool
	// load opens the plugin with go-xla's options ("tf32=false,...") and returns the version of its API.
	load func(p Plugin, options string) (backend compute.Backend, api string, err error)
	// fetch runs go-xla's installer for a plugin of this kind and returns the plugin's path.
	fetch func(ctx context.Context, kind string, logf func(string, ...any)) (path string, err error)
}

func (m machine) open(ctx context.Context, o Options) (*Device, error) {
	if value := os.Getenv(compute.ConfigEnvVar); value != "" {
		d, err := m.openNamed(ctx, value, o)
		if err != nil {
			return nil, fmt.Errorf("%s=%s cannot be used: %w", compute.ConfigEnvVar, value, err)
		}
		return d, nil
	}
	d, tried, err := m.openXLA(ctx, "", "", o)
	if err != nil {
		return nil, err
	}
	if d != nil {
		return d, nil
	}
	if m.noXLA == nil {
		o.logf("warning: XLA is not available, so the pure Go backend is used, which is roughly 100 times slower for "+
			"these networks (seconds a training step, not hundredths); to get XLA: %s", SetupCommand)
	}
	backend, err := newBackend("go")
	if err != nil {
		return nil, fmt.Errorf("GoMLX's Go backend cannot be opened: %w", err)
	}
	return &Device{Backend: backend, Name: "go", Description: backend.Description(),
		Tried: append(tried, Attempt{What: "go"})}, nil
}

// openNamed opens the backend of a GOMLX_BACKEND value, such as "go", "xla", "xla:cuda,tf32=false" or
// "xla:/path/to.so".
func (m machine) openNamed(ctx context.Context, value string, o Options) (*Device, error) {
	name, config, _ := strings.Cut(value, ":")
	if !slices.Contains([]string{"xla", "stablehlo", "hlo", "shlo"}, name) {
		backend, err := newBackend(value)
		if err != nil {
			return nil, err
		}
		return &Device{Backend: backend, Name: name, Description: backend.Description(),
			Tried: []Attempt{{What: compute.ConfigEnvVar + "=" + value}}}, nil
	}
	plugin, options, _ := strings.Cut(config, ",")
	if !filepath.IsAbs(plugin) {
		d, tried, err := m.openXLA(ctx, plugin, options, o)
		if err == nil && d == nil {
			err = refusal(tried)
		}
		return d, err
	}
	d, attempt := m.try(Plugin{Kind: kindOf(plugin), Path: plugin, Source: compute.ConfigEnvVar},
		withTF32(kindOf(plugin), options, o.TF32))
	if d == nil {
		return nil, errors.New(attempt.Refused)
	}
	return d, nil
}

// openXLA opens an installed plugin, or installs the CPU plugin and opens that. The wanted kind is "" for CUDA or CPU,
// else a kind or a plugin's name. The device is nil if there is none; the error is only ctx's.
func (m machine) openXLA(ctx context.Context, want, options string, o Options) (*Device, []Attempt, error) {
	if m.noXLA != nil {
		return nil, []Attempt{{What: "XLA", Refused: m.noXLA.Error()}}, nil
	}
	var tried []Attempt
	use := func(p Plugin) *Device {
		d, attempt := m.try(p, withTF32(p.Kind, options, o.TF32))
		tried = append(tried, attempt)
		if d != nil {
			d.Tried = tried
		}
		return d
	}

	found := m.plugins()
	for _, kind := range m.kinds(want) {
		for _, p := range found {
			if p.Kind != kind && p.Name() != kind {
				continue
			}
			if d := use(p); d != nil {
				return d, tried, nil
			}
		}
		if kind == "cuda" && want == "" {
			o.logf("warning: there is an NVIDIA card but no CUDA plugin that works, so the CPU is used; "+
				"to get one: %s (dhkd doctor shows what was tried)", SetupCommand)
		}
	}

	if want != "" && want != "cpu" {
		if len(tried) == 0 {
			tried = append(tried, Attempt{What: want + " plugin", Refused: "none is installed"})
		}
		return nil, tried, nil
	}
	for _, step := range m.steps("cpu") {
		attempt := Attempt{What: step.what}
		switch _, noInstall := os.LookupEnv("GOMLX_NO_AUTO_INSTALL"); {
		case o.Offline:
			attempt.Refused = "not tried: nothing may be installed"
		case noInstall:
			attempt.Refused = "not tried: GOMLX_NO_AUTO_INSTALL is set"
		default:
			p, err := step.run(ctx, o.logf)
			if ctx.Err() != nil {
				return nil, tried, context.Cause(ctx)
			}
			if err == nil {
				if d := use(p); d != nil {
					return d, tried, nil
				}
				continue
			}
			attempt.Refused = err.Error()
		}
		tried = append(tried, attempt)
	}
	return nil, tried, nil
}

// kinds are the kinds of plugin to try, in order.
func (m machine) kinds(want string) []string {
	switch {
	case want != "":
		return []string{want}
	case m.hasGPU():
		return []string{"cuda", "cpu"}
	}
	return []string{"cpu"}
}

// try opens one plugin. The device is nil if that failed, and the attempt says why.
func (m machine) try(p Plugin, options string) (*Device, Attempt) {
	attempt := Attempt{What: fmt.Sprintf("%s plugin (%s)", p.Kind, p.Source), Path: p.Path}
	unset := m.setXLAFlags(p)
	tf32, unsetTF32 := setTF32(p.Kind, options)
	backend, api, err := m.load(p, options)
	if err != nil {
		unset()
		unsetTF32()
		attempt.Refused = oneLine(err)
		return nil, attempt
	}
	return &Device{Backend: backend, Name: "xla:" + p.Kind, Plugin: p.Path, API: api, TF32: tf32,
		Description: strings.ReplaceAll(backend.Description(), p.Path, filepath.Base(p.Path)),
		Tried:       []Attempt{attempt}}, attempt
}

func (m machine) install(ctx context.Context, kind string, o Options) (string, error) {
	if kind != "cpu" && kind != "cuda" {
		return "", fmt.Errorf("cannot install a %q plugin: the kinds are cpu and cuda", kind)
	}
	if m.noXLA != nil {
		return "", m.noXLA
	}
	var tried []Attempt
	use := func(p Plugin) bool {
		d, attempt := m.try(p, withTF32(p.Kind, "", o.TF32))
		tried = append(tried, attempt)
		if d != nil {
			d.Close()
		}
		return d != nil
	}
	for _, p := range m.plugins() {
		if p.Kind == kind && use(p) {
			return p.Path, nil
		}
	}
	for _, step := range m.steps(kind) {
		p, err := step.run(ctx, o.logf)
		switch {
		case ctx.Err() != nil:
			return "", context.Cause(ctx)
		case err != nil:
			tried = append(tried, Attempt{What: step.what, Refused: err.Error()})
		case use(p):
			return p.Path, nil
		}
	}
	return "", fmt.Errorf("XLA's %s plugin could not be installed: %w", kind, refusal(tried))
}

// refusal is the error of a search that found nothing.
func refusal(tried []Attempt) error {
	lines := make([]string, len(tried))
	for i, a := range tried {
		lines[i] = a.String()
	}
	return errors.New(strings.Join(lines, "; "))
}

func (o Options) logf(format string, args ...any) {
	if o.Logf == nil {
		fmt.Fprintf(os.Stderr, format+"\n", args...)
		return
	}
	o.Logf(format, args...)
}

// newBackend is compute.NewWithConfig, which panics on a name that is not registered, as an error. The Go backend runs
// operations one after the other, each on all cores: run side by side, as is its default, convolutions that each hold a
// worker and wait for another hang for ever (compute v0.1.4).
func newBackend(config string) (backend compute.Backend, err error) {
	defer asError(&err)
	if config == "go" {
		config = "go:ops_sequential"
	}
	return compute.NewWithConfig(config)
}

// asError turns a panic of a deferring function into its error.
func asError(err *error) {
	switch r := recover().(type) {
	case nil:
	case error:
		*err = r
	default:
		*err = fmt.Errorf("%v", r)
	}
}

// oneLine is the message of an error of go-xla, which may have several lines.
func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
