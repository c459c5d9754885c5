package record

import (
	"errors"
	"fmt"
	"math"
)

// Growth is what "make bench BENCH=-growth" leaves: what a training step costs as networks grow deeper and wider and
// batches larger.
type Growth struct {
	Machine  BenchMachine     `json:"machine"`
	Note     string           `json:"note,omitempty"` // of whoever measured: what else the machine did
	Compiled []GrowthCompiled `json:"compiled"`
	Timed    []GrowthTimed    `json:"timed"`
}

// GrowthCompiled is a step of DHKD with gradient alignment and the teacher's forward pass that was compiled, not run, in
// a process of its own.
type GrowthCompiled struct {
	Student   string    `json:"student"`
	Teacher   string    `json:"teacher"`
	Size      int       `json:"size"`         // of an image, pixels a side
	Depth     int       `json:"depth"`        // of the student, where it is one of a series by depth; else 0
	Nodes     int       `json:"nodes"`        // in GoMLX's graph
	TextBytes int64     `json:"text_bytes"`   // of the program that XLA is given, StableHLO; 0 = not known
	Seconds   []float64 `json:"seconds"`      // to trace and compile it, a value for each process
	CPU       []float64 `json:"cpu_seconds"`  // that all cores spent on it, which other programs change less; 0 = not known
	PeakRSS   []float64 `json:"peak_rss_mib"` // a value for each process; 0 = not known
}

// GrowthTimed is steps that were run.
type GrowthTimed struct {
	Name  string `json:"name"`  // of a network, whose step is one of cross-entropy, or of a layer, forward and backward
	Layer bool   `json:"layer"` // alone
	Width int    `json:"width"` // channels of a layer; 0 for a network
	Batch int    `json:"batch"`
	// Work is the step's multiply-adds; of a layer that has none, the values that it reads.
	Work         float64   `json:"work"`
	Milliseconds []float64 `json:"ms"`
	CPU          []float64 `json:"cpu_ms"` // of all cores; 0 = not known
}

// GrowthFit is how one quantity grows with another: y is proportional to x to the power of the exponent.
type GrowthFit struct {
	What     string  // "resnet20: time by batch"
	Points   int     // that it was fitted to
	Exponent float64 // least squares of log y by log x
	// Last is the exponent between the last two points, where fixed costs weigh least; NaN between different things.
	Last float64
}

// Fits are the exponents of a record: of the series by depth, of compilation by nodes, and of times by batch and by work.
func (g *Growth) Fits() (fits []GrowthFit) {
	add := func(what string, x, y []float64, series bool) {
		n, last := len(x), math.NaN()
		if n < 2 {
			return
		}
		if series {
			last = Exponent(x[n-2:], y[n-2:])
		}
		fits = append(fits, GrowthFit{what, n, Exponent(x, y), last})
	}
	var depth, nodes, text, seconds, allNodes, allSeconds []float64
	for _, c := range g.Compiled {
		spent := c.Spent()
		allNodes, allSeconds = append(allNodes, float64(c.Nodes)), append(allSeconds, spent)
		if c.Depth > 0 {
			depth, nodes = append(depth, float64(c.Depth)), append(nodes, float64(c.Nodes))
			text, seconds = append(text, float64(c.TextBytes)), append(seconds, spent)
		}
	}
	add("by depth: nodes", depth, nodes, true)
	add("by depth: bytes of the program", depth, text, true)
	add("by depth: CPU seconds to compile", depth, seconds, true)
	add("by depth: CPU seconds to compile, by nodes", nodes, seconds, true)
	if len(allNodes) > len(nodes) {
		add("all steps: CPU seconds to compile, by nodes", allNodes, allSeconds, false)
	}
	for _, series := range g.Series() {
		var x, y []float64
		for _, t := range series.Points {
			x, y = append(x, series.X(t)), append(y, t.Spent())
		}
		add(series.Name+": CPU ms by "+series.By, x, y, series.Name != networks)
	}
	return fits
}

// GrowthSeries is the times of a network or a layer of which one quantity changes.
type GrowthSeries struct {
	Name, By string // By is "batch" or "work"
	Layer    bool
	Points   []GrowthTimed
}

// X is what changes.
func (s GrowthSeries) X(t GrowthTimed) float64 {
	if s.By == "batch" {
		return float64(t.Batch)
	}
	return t.Work
}

// networks are different ones.
const networks = "networks"

// Series sorts the times: each network and layer by batch, each layer by work as its width grows, and the networks
// at their middle batch by work.
func (g *Growth) Series() (all []GrowthSeries) {
	var names []string
	byName := map[string][]GrowthTimed{}
	for _, t := range g.Timed {
		if len(byName[t.Name]) == 0 {
			names = append(names, t.Name)
		}
		byName[t.Name] = append(byName[t.Name], t)
	}
	between := GrowthSeries{Name: networks, By: "work"}
	for _, name := range names {
		times := byName[name]
		widths := map[int]int{}
		for _, t := range times {
			widths[t.Width]++
		}
		middle := times[0] // of the width that has most batches
		for _, t := range times {
			if widths[t.Width] > widths[middle.Width] || widths[t.Width] == widths[middle.Width] && t.Batch == MiddleBatch {
				middle = t
			}
		}
		batch := GrowthSeries{Name: name, By: "batch", Layer: middle.Layer}
		width := GrowthSeries{Name: name, By: "work", Layer: middle.Layer}
		for _, t := range times {
			if t.Width == middle.Width {
				batch.Points = append(batch.Points, t)
			}
			if t.Batch == middle.Batch {
				width.Points = append(width.Points, t)
			}
		}
		all = append(all, batch)
		if middle.Layer {
			all = append(all, width)
		} else {
			between.Points = append(between.Points, middle)
		}
	}
	if len(between.Points) > 1 {
		all = append(all, between)
	}
	return all
}

// MiddleBatch is the batch at which widths and networks are compared.
const MiddleBatch = 64

// Spent is the median of the cores' seconds, or where they are not known of the seconds that passed.
func (c GrowthCompiled) Spent() float64 {
	if cpu := QuartilesOf(c.CPU).Median; cpu > 0 {
		return cpu
	}
	return QuartilesOf(c.Seconds).Median
}

// Spent is the median of the cores' milliseconds, or where they are not known of those that passed. It is not the least:
// the system notes a thread's time late, so of a short step it can miss the most.
func (t GrowthTimed) Spent() float64 {
	if cpu := QuartilesOf(t.CPU).Median; cpu > 0 {
		return cpu
	}
	return t.Median()
}

// Median of the times, ms.
func (t GrowthTimed) Median() float64 { return QuartilesOf(t.Milliseconds).Median }

// Exponent is the slope of log y by log x, by least squares; NaN unless two x differ and all values are positive.
func Exponent(x, y []float64) float64 {
	var mx, my, xx, xy float64
	n := float64(len(x))
	for i := range x {
		mx, my = mx+math.Log(x[i])/n, my+math.Log(y[i])/n
	}
	for i := range x {
		d := math.Log(x[i]) - mx
		xx, xy = xx+d*d, xy+d*(math.Log(y[i])-my)
	}
	if xx == 0 || math.IsInf(xx, 0) || math.IsInf(xy, 0) {
		return math.NaN()
	}
	return xy / xx
}

// LoadGrowth reads a record; what is none, or has entries without a positive value, is refused.
func LoadGrowth(path string) (*Growth, error) {
	return loadBench(path, "make bench BENCH=-growth", (*Growth).check)
}

func (g *Growth) check() error {
	positive := func(values []float64) bool {
		for _, v := range values {
			if !(v > 0) {
				return false
			}
		}
		return len(values) > 0
	}
	if len(g.Compiled) == 0 && len(g.Timed) == 0 {
		return errors.New("it has nothing that was compiled or timed")
	}
	for _, c := range g.Compiled {
		if c.Nodes < 1 || !positive(c.Seconds) {
			return fmt.Errorf("%s of %s lacks nodes or seconds", c.Student, c.Teacher)
		}
	}
	for _, t := range g.Timed {
		if t.Batch < 1 || !(t.Work > 0) || !positive(t.Milliseconds) {
			return fmt.Errorf("%s at batch %d lacks work or times", t.Name, t.Batch)
		}
	}
	return nil
}
