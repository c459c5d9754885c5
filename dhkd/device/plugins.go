package device

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Plugin is a file that is, by its name and place, a PJRT plugin. Whether it works shows when it is opened.
type Plugin struct {
	Kind   string `json:"kind"` // "cpu", "cuda", "tpu", else the plugin's name
	Path   string `json:"path"`
	Source string `json:"source"` // where it was found, such as "go-xla's directory"
}

// Name is the plugin's name in its file name: "cpu_v0.114.0" of pjrt_c_api_cpu_v0.114.0_plugin.so. Else it is its kind.
func (p Plugin) Name() string {
	if name := pluginName(p.Path); name != "" {
		return name
	}
	return p.Kind
}

// Plugins lists the plugins on this machine in the order in which [Open] would try those of one kind: those in the
// directories of PJRT_PLUGIN_LIBRARY_PATH, in our cache (see [CacheDir]), in go-xla's directories (~/.local/lib/go-xla,
// /usr/local/lib/go-xla, their older names, and LD_LIBRARY_PATH), and in Python's site-packages.
func Plugins() []Plugin { return thisMachine().plugins() }

// CacheDir is where dhkd keeps what it downloads: DHKD_CACHE, else dhkd in the user's cache directory (~/.cache on
// Linux). Nothing is created.
func CacheDir() (string, error) {
	if dir := os.Getenv("DHKD_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	return filepath.Join(dir, "dhkd"), err
}

func (m machine) plugins() []Plugin {
	var found []Plugin
	seen := map[string]bool{}
	add := func(source, kind, pattern string) {
		paths, _ := filepath.Glob(pattern)
		for _, path := range paths {
			k := kind
			if k == "" {
				k = kindOf(path)
			}
			// Installers leave a link without a version beside the file: one of the two is enough.
			if file, err := filepath.EvalSymlinks(path); err != nil || seen[file] {
				continue
			} else {
				seen[file] = true
			}
			found = append(found, Plugin{Kind: k, Path: path, Source: source})
		}
	}
	addDir := func(source, dir string) {
		if !filepath.IsAbs(dir) {
			return
		}
		for _, base := range []string{"pjrt_c_api_*_plugin", "pjrt?plugin?*"} {
			for _, extension := range []string{".so", ".dylib", ".dll"} { // go-xla's is .so on macOS too
				add(source, "", filepath.Join(escapeGlob(dir), base+extension))
			}
		}
	}

	for _, dir := range filepath.SplitList(os.Getenv("PJRT_PLUGIN_LIBRARY_PATH")) {
		if abs, err := filepath.Abs(dir); err == nil && dir != "" {
			addDir("PJRT_PLUGIN_LIBRARY_PATH", abs)
		}
	}
	if path, err := m.wheelLibrary(); err == nil {
		add("dhkd's cache", "cpu", escapeGlob(path))
	}
	for _, dir := range m.goxlaDirs() {
		addDir("go-xla's directory", dir)
	}
	for _, dir := range filepath.SplitList(os.Getenv("LD_LIBRARY_PATH")) {
		addDir("LD_LIBRARY_PATH", dir)
	}
	for _, prefix := range m.pythonPrefixes() {
		packages := filepath.Join(escapeGlob(prefix), "lib", "python3*", "*-packages")
		add("Python package", "cuda", filepath.Join(packages, "jax_plugins", "xla_cuda1[23]", "xla_cuda_plugin.so"))
		add("Python package", "cpu", filepath.Join(packages, "lammps_jax_pjrt_cpu", "pjrt_c_api_cpu_plugin.so"))
		add("Python package", "cpu", filepath.Join(packages, "xla_plugins", "xla_cpu_pjrt", "xla_cpu_pjrt.so"))
		add("Python package", "tpu", filepath.Join(packages, "libtpu", "libtpu.so"))
	}
	return found
}

// goxlaDirs are the directories where go-xla's installer puts plugins, and its predecessor's.
func (m machine) goxlaDirs() (dirs []string) {
	add := func(lib string) {
		goxla := filepath.Join(lib, "go-xla")
		dirs = append(dirs, goxla, filepath.Join(goxla, "nvidia"), filepath.Join(lib, "gomlx", "pjrt"))
	}
	if home, err := os.UserHomeDir(); err == nil {
		switch m.goos {
		case "darwin":
			add(filepath.Join(home, "Library", "Application Support"))
		case "windows":
			add(filepath.Join(home, "AppData", "Local"))
		default:
			add(filepath.Join(home, ".local", "lib"))
		}
	}
	for _, prefix := range m.prefixes {
		add(filepath.Join(prefix, "lib"))
	}
	return dirs
}

// pythonPrefixes are the directories whose lib/python3*/site-packages may hold plugins: of the active environment, of
// the user, of the python3 on PATH and of the system.
func (m machine) pythonPrefixes() (prefixes []string) {
	add := func(dir string) {
		if filepath.IsAbs(dir) && !slices.Contains(prefixes, dir) {
			prefixes = append(prefixes, dir)
		}
	}
	add(os.Getenv("VIRTUAL_ENV"))
	add(os.Getenv("CONDA_PREFIX"))
	if home, err := os.UserHomeDir(); err == nil {
		add(filepath.Join(home, ".local"))
	}
	if python, err := exec.LookPath("python3"); err == nil {
		add(filepath.Dir(filepath.Dir(python)))
		if python, err = filepath.EvalSymlinks(python); err == nil {
			add(filepath.Dir(filepath.Dir(python)))
		}
	}
	for _, prefix := range m.prefixes {
		add(prefix)
	}
	return prefixes
}

var pluginNames = regexp.MustCompile(`^pjrt(?:_c_api_(.+)_plugin|[-_]plugin[-_](.+))\.(?:so|dylib|dll)$`)

// pluginName is the name that go-xla gives to the plugin at path, or "" if the file is not named as one.
func pluginName(path string) string {
	match := pluginNames.FindStringSubmatch(filepath.Base(path))
	if match == nil {
		return ""
	}
	return match[1] + match[2]
}

// kindOf guesses the kind of a plugin from its file name, and only where that says nothing from its directories.
func kindOf(path string) string {
	kinds := []string{"cuda", "tpu", "cpu"}
	for _, kind := range kinds {
		if strings.Contains(strings.ToLower(filepath.Base(path)), kind) {
			return kind
		}
	}
	if name := pluginName(path); name != "" {
		return name
	}
	for _, kind := range kinds {
		if strings.Contains(strings.ToLower(path), kind) {
			return kind
		}
	}
	return "unnamed"
}

// escapeGlob makes a pattern that matches the path itself. (Windows has no escapes: such directories are not searched.)
func escapeGlob(path string) string {
	if filepath.Separator == '\\' {
		return path
	}
	return regexp.MustCompile(`[*?\[\\]`).ReplaceAllString(path, `\$0`)
}
