package main

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// markdown is the tables of the results: whole steps, what methods add, and memory and compilation.
func markdown(b record.Bench) string {
	m := b.Machine
	var text, whole, extra, cost, missing strings.Builder
	for _, c := range b.Cases {
		for _, p := range c.Peers {
			if p.Missing != "" {
				fmt.Fprintf(&missing, "- %s: %s cannot: %s\n", c, p.Name, p.Missing)
			}
		}
		us := c.Best(record.OurName)
		if us == nil {
			ours := c.Peer(record.OurName)
			fmt.Fprintf(&cost, "| %s | %d | %s | | %s | %s |\n", c, c.Nodes, first(ours.CompileSeconds), most(ours), peaks(c))
			continue
		}
		torch, jax := c.Best(record.PyTorchAny), c.Best(record.JAXAny)
		if c.Given {
			fmt.Fprintf(&extra, "| %s | %s | %s | **%s** | %s | %s | %s |\n", strings.TrimSuffix(c.String(), " extra"), added(us),
				added(torch), number(c.ExtraRatio(record.PyTorchAny)), how(torch), added(jax), number(c.ExtraRatio(record.JAXAny)))
			continue
		}
		rate := float64(b.Batch) / us.Times().Median * 1000
		share := 100 * c.GFLOP / (us.Times().Median / 1000) / m.GFLOPS
		fmt.Fprintf(&whole, "| %s | %s | %s | %s | **%s** | %s | %s | %.0f | %.0f %% |\n", c, spread(us), spread(torch), how(torch),
			quartiles(c.Ratio(record.PyTorchAny)), spread(jax), quartiles(c.Ratio(record.JAXAny)), rate, share)
		fmt.Fprintf(&cost, "| %s | %d | %s | %s | %s | %s |\n", c, c.Nodes, first(us.CompileSeconds), compiled(c),
			most(us), peaks(c))
	}
	fmt.Fprintf(&text, "%s, %d cores, %s/%s; %s (%s); %s; a product of matrices %.0f GFLOP/s; batch %d\n", m.CPU, m.Cores, m.OS,
		m.Arch, m.Backend, m.Device, versions(m), m.GFLOPS, b.Batch)
	if m.XLAFlags != "" {
		fmt.Fprintf(&text, "XLA_FLAGS=%s\n", m.XLAFlags)
	}
	table := func(title, head string, rows *strings.Builder) {
		if rows.Len() > 0 {
			columns := strings.Count(head, "|") - 1
			fmt.Fprintf(&text, "\n%s\n\n%s\n|---%s|\n%s", title, head, strings.Repeat("|--:", columns-1), rows)
		}
	}
	table("Whole steps, ms: median (least; median of each process where there are several). A ratio is of the medians of a "+
		"round, ours to the peer's: median over the rounds (quartiles).",
		"| | dhkd | PyTorch | run | ratio | JAX | ratio | images/s | of the peak |", &whole)
	table("What a method adds to a step of cross-entropy, the teacher's outputs given, ms: median over the rounds "+
		"(quartiles). PyTorch is the way of running whose step with the method was the fastest. There is a ratio where both "+
		"are clearly above noise: three rounds or more, of which three quarters say more than half the median.",
		"| | dhkd | PyTorch | ratio | run | JAX | ratio |", &extra)
	table("Compilation and memory. Where PyTorch is compiled, and in JAX, the seconds are of the first step. Peaks are of the "+
		"resident memory of the process, set-up and compilation included; in brackets, from the first timed step on.",
		"| | nodes | dhkd compiled in, s | peers, s | dhkd, peak MiB | peers, peak MiB |", &cost)
	if missing.Len() > 0 {
		fmt.Fprintf(&text, "\n%s", &missing)
	}
	return text.String()
}

func versions(m record.BenchMachine) string {
	var all []string
	for _, name := range []string{"Go", "PyTorch", "JAX", "Python"} {
		if v := m.Versions[name]; v != "" {
			all = append(all, strings.TrimSpace(strings.TrimPrefix(name+" "+v, "Go ")))
		}
	}
	return strings.Join(all, ", ")
}

func spread(p *record.BenchPeer) string {
	if p == nil {
		return "–"
	}
	text := fmt.Sprintf("%.1f (%.1f", p.Times().Median, p.Least())
	if all := p.OfProcesses(); len(all) > 1 {
		for i, ms := range all {
			text += fmt.Sprintf("%s%.1f", map[bool]string{true: "; ", false: ", "}[i == 0], ms)
		}
	}
	return text + ")"
}

func quartiles(q record.Quartiles) string {
	if math.IsNaN(q.Median) {
		return "–"
	}
	return fmt.Sprintf("%.2f (%.2f–%.2f)", q.Median, q.Low, q.High)
}

func added(p *record.BenchPeer) string {
	if p == nil {
		return "–"
	}
	return quartiles(p.Extra())
}

func number(x float64) string {
	if math.IsNaN(x) {
		return "–"
	}
	return fmt.Sprintf("%.2f", x)
}

// how is how PyTorch was run, or JAX's name.
func how(p *record.BenchPeer) string {
	if p == nil {
		return "–"
	}
	if p.Name == record.PyTorchAny {
		return "eager"
	}
	return strings.TrimPrefix(p.Name, record.PyTorchAny+" ")
}

func first(seconds []float64) string {
	if len(seconds) == 0 {
		return "–"
	}
	return fmt.Sprintf("%.1f", seconds[0])
}

// compiled is what the others needed to compile, in the first process.
func compiled(c record.BenchCase) string {
	var all []string
	for _, p := range c.Peers {
		if len(p.Turns) > 0 && (strings.Contains(p.Name, "compiled") || p.Name == record.JAXAny) {
			all = append(all, how(&p)+" "+first(p.CompileSeconds))
		}
	}
	return strings.Join(all, ", ")
}

// most is the largest of the peaks of memory of its processes, and in brackets that in steps.
func most(p *record.BenchPeer) string {
	if len(p.PeakRSS) == 0 || slices.Max(p.PeakRSS) == 0 {
		return "–"
	}
	text := fmt.Sprintf("%.0f", slices.Max(p.PeakRSS))
	if len(p.StepsRSS) > 0 {
		text += fmt.Sprintf(" (%.0f)", slices.Max(p.StepsRSS))
	}
	return text
}

func peaks(c record.BenchCase) string {
	var all []string
	for _, p := range c.Peers[1:] {
		if len(p.PeakRSS) > 0 {
			all = append(all, how(&p)+" "+most(&p))
		}
	}
	return strings.Join(all, ", ")
}

// busy says that the ratios cannot be trusted, or is empty. Where other programs take turns with PyTorch's threads,
// these wait at every operation for one that does not run, which costs far more than it costs XLA.
// On a card they wait for that.
func busy(b record.Bench) string {
	if b.Machine.Backend == cuda {
		return ""
	}
	const enough = 0.85
	least := 1.0
	for _, c := range b.Cases {
		if p := c.Best(record.PyTorchAny); p != nil {
			var shares []float64
			for _, t := range p.Turns {
				shares = append(shares, t.Share)
			}
			least = min(least, record.QuartilesOf(shares).Median)
		}
	}
	if least >= enough {
		return ""
	}
	return fmt.Sprintf("the machine was busy: PyTorch had only %.0f %% of its cores in one of the cases, which slows it far "+
		"more than it slows XLA; do not trust these ratios", 100*least)
}

// save writes all numbers as JSON.
func save(b record.Bench, path string) error {
	data, err := json.MarshalIndent(b, "", " ")
	if err != nil {
		return err
	}
	return write(path, append(data, '\n'))
}

// check is an error that names the cases whose ratio to PyTorch's time is above the limit, or that have none; 0 is no
// limit. What a method adds may have none.
func check(b record.Bench, limit float64) error {
	if limit == 0 {
		return nil
	}
	var slow []string
	for _, c := range b.Cases {
		ratio := c.Ratio(record.PyTorchAny).Median
		if c.Given {
			ratio = c.ExtraRatio(record.PyTorchAny)
		}
		if math.IsNaN(ratio) && !c.Given {
			return fmt.Errorf("%s: there is no ratio to PyTorch's time, so no limit of it", c)
		}
		if ratio > limit {
			slow = append(slow, fmt.Sprintf("%s %.2f", c, ratio))
		}
	}
	if len(slow) > 0 {
		return fmt.Errorf("more than %g times PyTorch's time: %s", limit, strings.Join(slow, ", "))
	}
	return nil
}
