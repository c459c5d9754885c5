package device

import (
	"os"
	"testing"

	"github.com/gomlx/compute"
)

// Products are float32 on a card unless the program, the user or NVIDIA's variable says otherwise; each of the two
// places that must know is told, before the plugin is loaded.
func TestTF32(t *testing.T) {
	for name, test := range map[string]struct {
		backend, variable, kind string // "" is not set, "" is cuda
		asked                   bool
		options, override       string // what go-xla and NVIDIA's libraries are told
		want                    bool
	}{
		"by default":            {options: "tf32=false", override: "0"},
		"asked for":             {asked: true, options: "tf32=true", want: true},
		"the user wants it":     {backend: "xla:cuda,tf32", options: "tf32", want: true},
		"the user does not":     {backend: "xla:cuda,notf32,preallocate=false", asked: true, options: "notf32,preallocate=false", override: "0"},
		"other options":         {backend: "xla:cuda,preallocate=false", options: "preallocate=false,tf32=false", override: "0"},
		"NVIDIA's variable":     {variable: "0", asked: true, options: "tf32=true", override: "0", want: true},
		"NVIDIA's variable, on": {variable: "1", options: "tf32=false", override: "1", want: true},
		"a CPU":                 {kind: "cpu", asked: true},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.hasGPU = func() bool { return true }
			os.Unsetenv(tf32Variable)
			if test.variable != "" {
				t.Setenv(tf32Variable, test.variable)
			} else {
				t.Cleanup(func() { os.Unsetenv(tf32Variable) })
			}
			if test.backend != "" {
				t.Setenv(compute.ConfigEnvVar, test.backend)
			}
			if test.kind == "cpu" {
				t.Setenv(compute.ConfigEnvVar, "xla:cpu")
			}
			f.put(t, goxlaCPU, "works")
			f.put(t, goxlaCUDA, "works")
			load := f.load
			f.load = func(p Plugin, options string) (compute.Backend, string, error) {
				if got := os.Getenv(tf32Variable); options != test.options || got != test.override {
					t.Errorf("loaded with %q and %s=%s, want %q and %s", options, tf32Variable, got, test.options, test.override)
				}
				return load(p, options)
			}
			o := f.options()
			o.TF32 = test.asked
			d, err := f.open(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			if d.TF32 != test.want {
				t.Errorf("the device says %t", d.TF32)
			}
		})
	}
}
