package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
)

// Bench is what "make bench" leaves: the times of training steps of this project and of its peers, on one machine in
// turns.
type Bench struct {
	Machine BenchMachine `json:"machine"`
	Batch   int          `json:"batch"`
	Images  int          `json:"images"` // in the training set, at 32x32
	Cases   []BenchCase  `json:"cases"`
}

// BenchMachine is where the times were measured, and with what.
type BenchMachine struct {
	CPU      string            `json:"cpu"`
	Cores    int               `json:"cores"`
	OS       string            `json:"os"`
	Arch     string            `json:"arch"`
	Backend  string            `json:"backend"`
	Device   string            `json:"device"` // the backend's description
	XLAFlags string            `json:"xla_flags"`
	Versions map[string]string `json:"versions"` // of Go, PyTorch, JAX, Python
	Threads  int               `json:"threads"`  // PyTorch's
	GFLOPS   float64           `json:"gflops"`   // of the fastest float32 product of two matrices, whoever's it was
}

// BenchCase is a training step that was measured.
type BenchCase struct {
	Student string `json:"student"`
	Teacher string `json:"teacher"`
	Size    int    `json:"size"` // of an image, pixels a side
	// Method may end in "-aligned", which is align: true, and then in "-cached": this project gathers the teacher's logits,
	// see Teacher.Cache, while the peers run the teacher.
	Method string `json:"method"`
	// Given says that the teacher's outputs and the images were given, and that a step of cross-entropy alone was measured
	// beside each: what the method adds is the difference.
	Given bool        `json:"given"`
	GFLOP float64     `json:"gflop"` // of the networks' multiply-adds, two each
	Nodes int         `json:"nodes"` // in GoMLX's graph of the step
	Peers []BenchPeer `json:"peers"` // this project first
}

// BenchPeer is what was measured of one framework, in one way of running it.
type BenchPeer struct {
	Name           string      `json:"name"`                         // OurName, "PyTorch", "PyTorch compiled channels_last", "JAX"
	Missing        string      `json:"missing,omitempty"`            // why there are no times
	CompileSeconds []float64   `json:"compile_seconds"`              // a value for each process; a first step is part of it
	PeakRSS        []float64   `json:"peak_rss_mib"`                 // a value for each process, of its whole life; 0 = not known
	StepsRSS       []float64   `json:"steps_peak_rss_mib,omitempty"` // the same, from the first timed step on
	Turns          []BenchTurn `json:"turns"`
}

// BenchTurn is the steps that were timed in one go.
type BenchTurn struct {
	Process      int       `json:"process"` // from 0
	Round        int       `json:"round"`   // from 0, in that process
	Milliseconds []float64 `json:"ms"`
	Plain        []float64 `json:"plain_ms,omitempty"` // of cross-entropy alone, in a case with Given
	Share        float64   `json:"share"`              // of its threads' time on the cores, 0 to 1
}

// Names of peers: this project's, and what those of the others begin with.
const (
	OurName    = "dhkd"
	PyTorchAny = "PyTorch"
	JAXAny     = "JAX"
)

// Quartiles of a sample.
type Quartiles struct{ Low, Median, High float64 }

// QuartilesOf interpolates between the values next to a quartile; of no values they are NaN.
func QuartilesOf(values []float64) Quartiles {
	if len(values) == 0 {
		return Quartiles{math.NaN(), math.NaN(), math.NaN()}
	}
	x := slices.Sorted(slices.Values(values))
	at := func(p float64) float64 {
		place := p * float64(len(x)-1)
		i := int(place)
		return x[i] + (place-float64(i))*(x[min(i+1, len(x)-1)]-x[i])
	}
	return Quartiles{at(0.25), at(0.5), at(0.75)}
}

func (c BenchCase) String() string {
	name := fmt.Sprintf("%s of %s %dx%d %s", c.Student, c.Teacher, c.Size, c.Size, c.Method)
	if c.Given {
		name += " extra"
	}
	return name
}

// Peer is the peer of that name, or nil.
func (c BenchCase) Peer(name string) *BenchPeer {
	for i := range c.Peers {
		if c.Peers[i].Name == name {
			return &c.Peers[i]
		}
	}
	return nil
}

// Best is the peer with the least median step whose name begins so, or nil.
func (c BenchCase) Best(name string) *BenchPeer {
	var best *BenchPeer
	for i := range c.Peers {
		p := &c.Peers[i]
		if strings.HasPrefix(p.Name, name) && len(p.Turns) > 0 && (best == nil || p.Times().Median < best.Times().Median) {
			best = p
		}
	}
	return best
}

// Ratio is of our time to that of the best peer whose name begins so, each round's medians; NaN without such a peer.
func (c BenchCase) Ratio(name string) Quartiles {
	return QuartilesOf(c.perRound(name, func(ours, theirs BenchTurn) float64 {
		return median(ours.Milliseconds) / median(theirs.Milliseconds)
	}))
}

// ExtraRatio is of what the method adds to a step of ours to what it adds to one of the best peer whose name begins
// so, the medians over rounds; NaN where one of them is not clearly above the noise of the two times it is between.
func (c BenchCase) ExtraRatio(name string) float64 {
	ours, theirs := c.Best(OurName), c.Best(name)
	if ours == nil || theirs == nil || !ours.extraIsClear() || !theirs.extraIsClear() {
		return math.NaN()
	}
	return ours.Extra().Median / theirs.Extra().Median
}

// perRound computes something of the turns of a round, ours and the best peer's.
func (c BenchCase) perRound(name string, of func(ours, theirs BenchTurn) float64) (values []float64) {
	ours, theirs := c.Best(OurName), c.Best(name)
	if ours == nil || theirs == nil {
		return nil
	}
	for _, a := range ours.Turns {
		for _, b := range theirs.Turns {
			if a.Process == b.Process && a.Round == b.Round {
				values = append(values, of(a, b))
			}
		}
	}
	return values
}

// Times are the quartiles of the milliseconds of all steps.
func (p BenchPeer) Times() Quartiles { return QuartilesOf(p.all()) }

// Least is the time of the fastest step, in milliseconds.
func (p BenchPeer) Least() float64 { return slices.Min(p.all()) }

// Extra is what the method adds to a step of cross-entropy, in milliseconds: quartiles over the rounds of the
// difference of the round's medians.
func (p BenchPeer) Extra() Quartiles {
	var extra []float64
	for _, t := range p.Turns {
		if len(t.Plain) > 0 {
			extra = append(extra, median(t.Milliseconds)-median(t.Plain))
		}
	}
	return QuartilesOf(extra)
}

// extraIsClear asks that three quarters of the rounds, of which there are three at least, say more than half the median.
func (p BenchPeer) extraIsClear() bool {
	extra := p.Extra()
	return len(p.Turns) >= 3 && extra.Low > extra.Median/2
}

// OfProcesses are the medians of the steps of each process, in milliseconds.
func (p BenchPeer) OfProcesses() (medians []float64) {
	for process := 0; ; process++ {
		var all []float64
		for _, t := range p.Turns {
			if t.Process == process {
				all = append(all, t.Milliseconds...)
			}
		}
		if len(all) == 0 {
			return medians
		}
		medians = append(medians, median(all))
	}
}

func (p BenchPeer) all() (times []float64) {
	for _, t := range p.Turns {
		times = append(times, t.Milliseconds...)
	}
	return times
}

func median(values []float64) float64 { return QuartilesOf(values).Median }

// LoadBench reads a bench's record; what is no record, or has cases without this project's or empty turns, is refused.
func LoadBench(path string) (*Bench, error) {
	return loadBench(path, "make bench", (*Bench).check)
}

// loadBench reads a record of one of the bench's kinds.
func loadBench[R any](path, writer string, check func(*R) error) (*R, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := new(R)
	err = json.Unmarshal(data, r)
	if err == nil {
		err = check(r)
	}
	if err != nil {
		return nil, fmt.Errorf("%s is no record that %q wrote: %w", path, writer, err)
	}
	return r, nil
}

func (b *Bench) check() error {
	if len(b.Cases) == 0 {
		return errors.New("it has no cases")
	}
	for i, c := range b.Cases {
		if len(c.Peers) == 0 || c.Peers[0].Name != OurName {
			return fmt.Errorf("case %d: the first of its peers is not %s", i+1, OurName)
		}
		for _, p := range c.Peers {
			for _, t := range p.Turns {
				if len(t.Milliseconds) == 0 || c.Given && len(t.Plain) == 0 {
					return fmt.Errorf("case %d: %s has a turn without times", i+1, p.Name)
				}
			}
		}
	}
	return nil
}
