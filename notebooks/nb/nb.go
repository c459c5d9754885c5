// Package nb is what the cells of the notebooks need besides the packages that they are about: it opens the device,
// says where a notebook runs, loads an experiment's records or trains its runs with a live curve, and shows figures and
// tables.
//
//	var book = nb.New("03-the-collapse")
//
//	%%
//	runs := book.Records(nb.Experiment{Offline: "collapse"})
//	book.Show("accuracy", nb.Must(plots.AccuracyBars(runs, nb.Screen)))
//
// A cell is a program. Where something fails there is nothing that it could do next, so the functions here have no
// error results: they say what went wrong and end the cell. Outside a notebook they print text in place of what they
// would show.
//
// One variable chooses the size of the runs: DHKD_PROFILE is smoke, offline or paper, see [Profile].
package nb

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/janpfeifer/gonb/gonbui"

	"github.com/dhkd-lab/dhkd-go/dhkd/device"
)

// Profiles: how large the runs of a notebook are.
const (
	Smoke   = "smoke"   // seconds: shows that the code works, and nothing about the methods
	Offline = "offline" // minutes to an hour on two cores, real images, no network needed
	Paper   = "paper"   // the paper's data and schedule: hours on a GPU
)

// Variables of the environment. Those of the second group are set by notebooks/run.py.
const (
	profileVariable = "DHKD_PROFILE"
	recordsVariable = "DHKD_RECORDS" // a directory of records to use before any other

	headlessVariable = "DHKD_HEADLESS"       // not empty: nobody watches, so nothing is live
	stampVariable    = "DHKD_STAMP"          // a file to which a JSON line is added for the stamp and for each set of records
	figuresVariable  = "DHKD_FIGURES"        // in place of the directory figures
	cacheVariable    = "DHKD_NOTEBOOK_CACHE" // "off": Cached computes anew
)

// Book is a notebook.
type Book struct{ name string }

// New is the notebook of this name, which is that of its files without the extension. It is meant for a global
// variable, which every cell after it has.
func New(name string) *Book {
	if !bookName.MatchString(name) {
		fail(fmt.Errorf("nb.New(%q): a notebook's name is two digits and words, as in 03-the-collapse", name))
	}
	return &Book{name}
}

var bookName = regexp.MustCompile(`^[0-9]{2}-[a-z0-9-]+$`)

// Profile is the size of run that is asked for: [Smoke], [Offline] or [Paper] as DHKD_PROFILE says. Where that is not
// set it is [Offline], but no cell starts training for long: without records it trains at smoke size, and says so.
func Profile() string {
	switch p := os.Getenv(profileVariable); p {
	case "":
		return Offline
	case Smoke, Offline, Paper:
		return p
	default:
		fail(fmt.Errorf("%s is %q: set it to %s, %s or %s", profileVariable, p, Smoke, Offline, Paper))
		return ""
	}
}

// Must is v, or the end of the cell where there is an error.
func Must[T any](v T, err error) T {
	Check(err)
	return v
}

// Check ends the cell where there is an error.
func Check(err error) {
	if err != nil {
		fail(err)
	}
}

// Open opens the device that networks run on: XLA where it is installed, else GoMLX's Go backend. The cell closes it.
func Open() *device.Device {
	return Must(device.Open(context.Background(), device.Options{}))
}

// stamp says where a notebook ran.
type stamp struct {
	Notebook string            `json:"notebook"`
	Profile  string            `json:"profile"`
	Backend  string            `json:"backend"`
	Device   string            `json:"device"`
	Cores    int               `json:"cores"`
	PJRT     string            `json:"pjrt_api,omitempty"`
	Go       string            `json:"go"`
	Modules  map[string]string `json:"modules"` // name -> version
	Commit   string            `json:"commit"`  // of the last change of the code, "-dirty" where it was changed since
	Seeds    []uint64          `json:"seeds,omitempty"`
}

// Stamp prints what the notebook's numbers depend on: profile, backend, device, versions, commit, and the seeds of what
// the cells draw themselves. (Those of runs are in their records.)
func (b *Book) Stamp(seeds ...uint64) {
	d := Open()
	defer d.Close()
	s := stamp{
		Notebook: b.name, Profile: Profile(), Backend: d.Name, Device: device.CPUModel(context.Background()),
		Cores: runtime.NumCPU(), PJRT: d.API, Go: runtime.Version(), Modules: map[string]string{}, Commit: commit(),
		Seeds: seeds,
	}
	info, _ := debug.ReadBuildInfo()
	for _, m := range info.Deps {
		switch m.Path {
		case "github.com/gomlx/gomlx", "github.com/gomlx/go-xla", "github.com/janpfeifer/gonb":
			s.Modules[path.Base(m.Path)] = m.Version
		}
	}
	Check(report(s))
	var text strings.Builder
	t := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "notebook\t%s, profile %s\n", s.Notebook, s.Profile)
	fmt.Fprintf(t, "device\t%s on %s with %d cores\n", s.Backend, s.Device, s.Cores)
	versions := []string{"Go " + strings.TrimPrefix(s.Go, "go")}
	if s.PJRT != "" {
		versions = append(versions, "PJRT API "+s.PJRT)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Modules)) {
		versions = append(versions, name+" "+s.Modules[name])
	}
	fmt.Fprintf(t, "versions\t%s\n", strings.Join(versions, ", "))
	fmt.Fprintf(t, "code\tcommit %s\n", s.Commit)
	if len(seeds) > 0 {
		fmt.Fprintf(t, "seed\t%s\n", strings.Trim(fmt.Sprint(seeds), "[]"))
	}
	t.Flush()
	fmt.Print(text.String())
}

// commit is the last commit that changed what cells import, with "-dirty" where that has been changed since.
func commit() string {
	git := func(args ...string) string {
		cmd := exec.Command("git", append(args, "--", ":/dhkd", ":/plots", ":/notebooks/nb", ":/go.mod")...)
		out, err := cmd.Output()
		if err != nil {
			return "unknown"
		}
		return strings.TrimSpace(string(out))
	}
	c := git("log", "-1", "--format=%h")
	if c != "unknown" && git("status", "--porcelain") != "" {
		c += "-dirty"
	}
	return c
}

// report adds a line to the stamp that run.py keeps in the notebook's metadata.
func report(v any) error {
	path := os.Getenv(stampVariable)
	if path == "" {
		return nil
	}
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("%s: %w", stampVariable, err)
	}
	if _, err := f.Write(append(line, '\n')); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// watched says whether somebody may be watching the cell.
func watched() bool { return gonbui.IsNotebook && os.Getenv(headlessVariable) == "" }

// exit ends the cell. Tests put their own in its place.
var exit = os.Exit

// fail ends the cell with an error.
func fail(err error) {
	settle()
	fmt.Fprintln(os.Stderr, "error:", err)
	exit(1)
}

// settle waits until what was printed and shown so far has arrived: the two go by different pipes.
func settle() {
	if gonbui.IsNotebook {
		time.Sleep(20 * time.Millisecond)
		gonbui.Sync()
	}
}
