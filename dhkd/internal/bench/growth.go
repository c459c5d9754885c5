package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/plots"
)

// growthPlan is what -growth measures, with no peers: graphs and compilation of the step of DHKD with alignment by depth
// and of every pair, and times of steps by batch and of layers by width too. Times are from programs that the cache may
// hold, so a run that only compiles (-rounds 0) beforehand makes the timed one short.
type growthPlan struct {
	compiled []growthJob
	timed    []growthJob
}

// growthJob is what one process measures.
type growthJob struct {
	Student string `json:"student,omitempty"`
	Teacher string `json:"teacher,omitempty"` // empty: cross-entropy
	Layer   string `json:"layer,omitempty"`   // in place of a student: one of layers
	Width   int    `json:"width,omitempty"`   // channels of the layer
	Size    int    `json:"size"`
	Depth   int    `json:"depth,omitempty"`
	Batches []int  `json:"batches"`
	Rounds  int    `json:"rounds"` // turns of each batch, of which the first does not count; 0 = only compile
}

func (j growthJob) String() string {
	switch {
	case j.Layer != "":
		return fmt.Sprintf("%s of %d channels", j.Layer, j.Width)
	case j.Teacher != "":
		return fmt.Sprintf("%s of %s %dx%d", j.Student, j.Teacher, j.Size, j.Size)
	}
	return fmt.Sprintf("%s %dx%d", j.Student, j.Size, j.Size)
}

// grown is the answer of a process.
type grown struct {
	Compiled record.GrowthCompiled `json:"compiled"`
	Timed    []record.GrowthTimed  `json:"timed"`
	Error    string                `json:"error,omitempty"`
}

var (
	growthDepths  = []int{8, 14, 20, 32, 44, 56, 110}
	growthBatches = []int{16, 32, record.MiddleBatch, 128, 256}
	growthWidths  = []int{32, 64, 128, 256}
	growthNets    = []string{"resnet8", "resnet20", "resnet8x4", "wrn_16_2", "vgg8", "MobileNetV2", "ShuffleV1", "ShuffleV2"}
)

func newGrowthPlan(chosen *regexp.Regexp, rounds int) (p growthPlan) {
	wanted := func(j growthJob) bool { return chosen == nil || chosen.MatchString(j.String()) }
	compile := func(j growthJob) {
		j.Batches = []int{record.MiddleBatch}
		if j.Size > 32 {
			j.Batches = []int{16} // ImageNet's
		}
		if wanted(j) {
			p.compiled = append(p.compiled, j)
		}
	}
	for _, depth := range growthDepths {
		compile(growthJob{Student: fmt.Sprintf("resnet%d", depth), Teacher: "resnet20", Size: 32, Depth: depth})
	}
	for _, of := range pairs {
		compile(growthJob{Student: of.student, Teacher: of.teacher, Size: of.size})
	}
	for _, name := range growthNets {
		j := growthJob{Student: name, Size: 32, Batches: growthBatches, Rounds: rounds}
		if wanted(j) {
			p.timed = append(p.timed, j)
		}
	}
	for _, l := range layers {
		for _, width := range growthWidths {
			j := growthJob{Layer: l.name, Width: width, Size: 16, Batches: []int{record.MiddleBatch}, Rounds: rounds}
			if width == middleWidth {
				j.Batches = growthBatches
			}
			if wanted(j) {
				p.timed = append(p.timed, j)
			}
		}
	}
	return p
}

// without is what is left of the plan where a record has the rest.
func (p growthPlan) without(have *record.Growth) growthPlan {
	return growthPlan{
		compiled: slices.DeleteFunc(p.compiled, func(j growthJob) bool {
			return slices.ContainsFunc(have.Compiled, func(c record.GrowthCompiled) bool {
				return c.Student == j.Student && c.Teacher == j.Teacher && c.Size == j.Size
			})
		}),
		timed: slices.DeleteFunc(p.timed, func(j growthJob) bool {
			return slices.ContainsFunc(have.Timed, func(t record.GrowthTimed) bool {
				return t.Name == cmp.Or(j.Layer, j.Student) && t.Layer == (j.Layer != "") && t.Width == j.Width
			})
		}),
	}
}

// runGrowth measures what is left of a plan, or reads a record, and prints, keeps and draws it.
func runGrowth(ctx context.Context, o options) (err error) {
	g := &record.Growth{}
	if from := cmp.Or(o.from, o.add); from != "" {
		g, err = record.LoadGrowth(from)
		if o.from == "" && errors.Is(err, fs.ErrNotExist) { // it is to be begun
			g, err = &record.Growth{}, nil
		}
		if err != nil {
			return err
		}
	}
	if o.from == "" {
		plan := newGrowthPlan(o.chosen, o.rounds)
		if len(plan.compiled)+len(plan.timed) == 0 {
			return fmt.Errorf("nothing matches -run %q: see -growth -list", o.chosen)
		}
		plan = plan.without(g)
		if o.list {
			for _, j := range slices.Concat(plan.compiled, plan.timed) {
				fmt.Println(j)
			}
			return nil
		}
		if g.Machine, err = describe(ctx); err != nil {
			return err
		}
		g.Machine.Versions["Go"] = runtime.Version()
		if !strings.Contains(g.Note, o.note) {
			g.Note = strings.TrimPrefix(g.Note+"; "+o.note, "; ")
		}
		if err := plan.measure(ctx, g, o); err != nil {
			return err
		}
	}
	if len(g.Compiled)+len(g.Timed) == 0 {
		return nil // -rounds 0
	}
	fmt.Print(growthText(g))
	if err := saveGrowth(g, o.json); err != nil || o.figure == "" {
		return err
	}
	figure, err := plots.Growth(g, plots.Options{})
	if err != nil {
		return err
	}
	return figure.Save(o.figure)
}

func saveGrowth(g *record.Growth, path string) error {
	if path == "" || len(g.Compiled)+len(g.Timed) == 0 {
		return nil
	}
	data, err := json.MarshalIndent(g, "", " ")
	if err != nil {
		return err
	}
	return write(path, append(data, '\n'))
}

// measure does the jobs, of which a record is kept after each: steps are compiled in so many processes, without the cache.
func (p growthPlan) measure(ctx context.Context, g *record.Growth, o options) error {
	if o.part == "times" {
		p.compiled = nil
	}
	if o.part == "compilation" {
		p.timed = nil
	}
	for _, j := range p.compiled {
		var c record.GrowthCompiled
		for range o.processes {
			fmt.Fprintf(os.Stderr, "%s: compiling\n", j)
			answer, err := grow(ctx, j, "DHKD_COMPILE_CACHE=off")
			if err != nil {
				return err
			}
			answer.Compiled.Seconds = append(c.Seconds, answer.Compiled.Seconds...)
			answer.Compiled.CPU = append(c.CPU, answer.Compiled.CPU...)
			answer.Compiled.PeakRSS = append(c.PeakRSS, answer.Compiled.PeakRSS...)
			c = answer.Compiled
		}
		g.Compiled = append(g.Compiled, c)
		if err := saveGrowth(g, o.json); err != nil {
			return err
		}
	}
	for _, j := range p.timed {
		fmt.Fprintf(os.Stderr, "%s: batches %v\n", j, j.Batches)
		answer, err := grow(ctx, j)
		if err != nil {
			return err
		}
		g.Timed = append(g.Timed, answer.Timed...)
		if err := saveGrowth(g, o.json); err != nil {
			return err
		}
	}
	return nil
}

// grow runs a job in a process of its own.
func grow(ctx context.Context, j growthJob, environment ...string) (g grown, err error) {
	self, err := os.Executable()
	if err != nil {
		return g, err
	}
	definition, err := json.Marshal(j)
	if err != nil {
		return g, err
	}
	process := exec.CommandContext(ctx, self, "growth-worker", string(definition))
	process.Env = append(os.Environ(), environment...)
	process.Stderr = os.Stderr
	output, err := process.Output()
	if ctx.Err() != nil {
		return g, ctx.Err()
	}
	if decodeErr := json.Unmarshal(output, &g); decodeErr != nil {
		return g, fmt.Errorf("%s: the process ended before its time: %w", j, cmp.Or(err, decodeErr))
	}
	if g.Error != "" {
		return g, errors.New(j.String() + ": " + g.Error)
	}
	return g, nil
}

// growthText is the tables and exponents.
func growthText(g *record.Growth) string {
	var text strings.Builder
	m := g.Machine
	fmt.Fprintf(&text, "%s, %d cores, %s/%s; %s (%s); %s\n", m.CPU, m.Cores, m.OS, m.Arch, m.Backend, m.Device,
		m.Versions["Go"])
	if g.Note != "" {
		fmt.Fprintln(&text, g.Note)
	}
	if len(g.Compiled) > 0 {
		text.WriteString("\nSteps of DHKD with alignment, compiled without the cache.\n\n" +
			"| student | teacher | image | nodes | program, KiB | CPU s | s | peak, MiB |\n|---|---|--:|--:|--:|--:|--:|--:|\n")
	}
	for _, c := range g.Compiled {
		fmt.Fprintf(&text, "| %s | %s | %d | %d | %d | %.1f | %.1f | %.0f |\n", c.Student, c.Teacher, c.Size, c.Nodes,
			c.TextBytes>>10, c.Spent(), record.QuartilesOf(c.Seconds).Median, slices.Max(append(c.PeakRSS, 0)))
	}
	if len(g.Timed) > 0 {
		text.WriteString("\nSteps: the medians of the cores' ms and of those that passed. A network's is one of cross-entropy, a layer's is " +
			"it alone, forward and backward, on 16x16 maps. Work is multiply-adds or, of a layer without any, values read.\n\n" +
			"| | width | batch | Mwork | CPU ms | ms | CPU ns/work |\n|---|--:|--:|--:|--:|--:|--:|\n")
	}
	for _, t := range g.Timed {
		width := "–"
		if t.Layer {
			width = fmt.Sprint(t.Width)
		}
		fmt.Fprintf(&text, "| %s | %s | %d | %.3g | %.3g | %.3g | %.3g |\n", t.Name, width, t.Batch, t.Work/1e6, t.Spent(),
			t.Median(), 1e6*t.Spent()/t.Work)
	}
	text.WriteString("\nExponents: y grows as x to this power; in brackets between the last two points.\n\n")
	for _, f := range g.Fits() {
		last := ""
		if !math.IsNaN(f.Last) {
			last = fmt.Sprintf(" (%.2f)", f.Last)
		}
		fmt.Fprintf(&text, "- %s: %.2f%s, %d points\n", f.What, f.Exponent, last, f.Points)
	}
	return text.String()
}
