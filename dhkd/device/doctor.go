package device

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/gomlx/compute"
)

// Doctor is what "dhkd doctor" says about the machine and the device.
type Doctor struct {
	Go       string `json:"go"` // version of the Go that built the program
	OS       string `json:"os"`
	Arch     string `json:"arch"`
	CPU      string `json:"cpu,omitempty"`      // model; empty if unknown
	Cores    int    `json:"cores"`              // that the program may use
	MemoryMB int64  `json:"memoryMB,omitempty"` // of the machine or of the container, whichever is less; 0 if unknown

	Backend     string            `json:"backend,omitempty"` // as Device.Name; empty if none could be opened
	Description string            `json:"description,omitempty"`
	Plugin      string            `json:"plugin,omitempty"`
	API         string            `json:"api,omitempty"`
	Kernels     string            `json:"kernels,omitempty"` // which operations of XLA:CPU are ours
	Devices     []string          `json:"devices,omitempty"` // one description each
	Tried       []Attempt         `json:"tried,omitempty"`
	Error       string            `json:"error,omitempty"`       // why no backend could be opened
	Environment map[string]string `json:"environment,omitempty"` // the variables that bear on the choice and are set
	Caches      []string          `json:"caches"`                // directories of dhkd and go-xla's installer
	Checks      []Check           `json:"checks"`
}

// Check is one thing that was looked at, and what to do about it.
type Check struct {
	Name   string `json:"name"`
	Status string `json:"status"` // [OK], [Missing] or [Warn]
	Detail string `json:"detail,omitempty"`
	Fix    string `json:"fix,omitempty"` // the command that mends it
}

// The states of a [Check].
const (
	OK      = "ok"
	Missing = "missing"
	Warn    = "warn" // it works, but not as well as it could
)

// Examine describes this machine and the backend that [Open] would choose, which it opens and closes; it installs
// nothing. The checks are those of the device and of [PythonChecks] for the checkout or working directory root.
func Examine(ctx context.Context, root string) Doctor {
	d := Doctor{Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH, CPU: cpuModel(ctx),
		Cores: runtime.GOMAXPROCS(0), MemoryMB: memory(ctx) >> 20, Environment: map[string]string{}, Caches: caches()}
	for _, name := range []string{compute.ConfigEnvVar, "GOMLX_NO_AUTO_INSTALL", "PJRT_PLUGIN_LIBRARY_PATH",
		"XLA_FLAGS", "DHKD_CACHE", "DHKD_COMPILE_CACHE", "DHKD_KERNELS", "DHKD_TURBOJPEG", "LD_LIBRARY_PATH", "VIRTUAL_ENV",
		"MALLOC_ARENA_MAX", "MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES"} {
		if value, set := os.LookupEnv(name); set {
			d.Environment[name] = value
		}
	}
	device, err := Open(ctx, Options{Offline: true, Logf: func(string, ...any) {}})
	if err != nil {
		d.Error = err.Error()
	} else {
		defer device.Close()
		d.Backend, d.Description, d.Tried = device.Name, device.Description, device.Tried
		d.Plugin, d.API = device.Plugin, device.API
		if d.Backend == "xla:cpu" {
			d.Kernels = kernels()
		}
		for i := range device.Backend.NumDevices() {
			d.Devices = append(d.Devices, strings.TrimSpace(device.Backend.DeviceDescription(compute.DeviceNum(i))))
		}
	}
	d.Checks = append(deviceChecks(d, pinnedWheel()), PythonChecks(ctx, root)...)
	return d
}

// deviceChecks judges the choice of a backend.
func deviceChecks(d Doctor, w *wheel) []Check {
	check := Check{Name: "XLA", Status: OK, Detail: d.Backend + " " + d.Plugin}
	switch {
	case d.Error != "":
		check = Check{Name: "XLA", Status: Missing, Detail: d.Error, Fix: "unset GOMLX_BACKEND; " + SetupCommand}
	case d.Plugin == "" && d.Environment[compute.ConfigEnvVar] != "":
		check = Check{Name: "XLA", Status: Warn, Fix: "unset GOMLX_BACKEND",
			Detail: "not used, since GOMLX_BACKEND=" + d.Environment[compute.ConfigEnvVar]}
	case d.Plugin == "":
		check = Check{Name: "XLA", Status: Missing, Detail: "the Go backend is used, roughly 100 times slower",
			Fix: SetupCommand}
	case d.Backend == "xla:cpu" && thisMachine().hasGPU():
		check.Status, check.Detail, check.Fix = Warn, "there is an NVIDIA card, but the CPU is used", SetupCommand
	}
	checks := []Check{check}
	if w != nil && w.is(d.Plugin) {
		file := Check{Name: "XLA plugin's SHA-256", Status: OK, Detail: "that of " + w.requirement()}
		if err := w.check(d.Plugin); err != nil {
			dir := strings.TrimSuffix(d.Plugin, string(filepath.Separator)+filepath.FromSlash(w.library))
			file.Status, file.Detail, file.Fix = Warn, err.Error(), "rm -r '"+dir+"' && "+SetupCommand
		}
		checks = append(checks, file)
	}
	return checks
}

func caches() (dirs []string) {
	if dir, err := CacheDir(); err == nil {
		dirs = append(dirs, dir)
	}
	if dir, err := os.UserCacheDir(); err == nil {
		dirs = append(dirs, filepath.Join(dir, "go-xla"))
	}
	return append(dirs, machine{goos: runtime.GOOS}.goxlaDirs()...)
}

// cpuModel is the processor's name, or "" if the system does not tell it.
func cpuModel(ctx context.Context) string {
	if runtime.GOOS == "darwin" {
		return output(ctx, "sysctl", "-n", "machdep.cpu.brand_string")
	}
	return procField("/proc/cpuinfo", "model name")
}

// memory is the number of bytes that the program may use, or 0 if the system does not tell it.
func memory(ctx context.Context) int64 {
	if runtime.GOOS == "darwin" {
		n, _ := strconv.ParseInt(output(ctx, "sysctl", "-n", "hw.memsize"), 10, 64)
		return n
	}
	kB, _ := strconv.ParseInt(strings.TrimSuffix(procField("/proc/meminfo", "MemTotal"), " kB"), 10, 64)
	n := kB << 10
	limit, _ := os.ReadFile("/sys/fs/cgroup/memory.max")
	if max, err := strconv.ParseInt(strings.TrimSpace(string(limit)), 10, 64); err == nil && (n == 0 || max < n) {
		n = max
	}
	return n
}

// FreeMemory is the number of bytes that the host can still give to the program, or 0 if the system does not tell it.
func FreeMemory() int64 {
	kB, _ := strconv.ParseInt(strings.TrimSuffix(procField("/proc/meminfo", "MemAvailable"), " kB"), 10, 64)
	return kB << 10
}

// procField is the value of the first "key : value" line with this key.
func procField(path, key string) string {
	content, _ := os.ReadFile(path)
	for line := range strings.Lines(string(content)) {
		if k, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// output is what a command prints on stdout, without the space around it, or "" if it fails.
func output(ctx context.Context, name string, args ...string) string {
	out, err := exec.CommandContext(ctx, name, args...).Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}
