package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// report is what a run of this program leaves.
type report struct {
	Machine machine       `json:"machine"`
	Batch   int           `json:"batch"`
	Steps   int           `json:"steps"` // timed, of a turn
	Cases   []measurement `json:"cases"`
}

// machine is where the times were measured.
type machine struct {
	CPU          string `json:"cpu"`
	Cores        int    `json:"cores"`
	OS           string `json:"os"`
	Arch         string `json:"arch"`
	Go           string `json:"go"`
	Backend      string `json:"backend"`
	Device       string `json:"device"` // the backend's description
	XLAFlags     string `json:"xla_flags"`
	Torch        string `json:"torch"`
	Python       string `json:"python"`
	TorchThreads int    `json:"torch_threads"`
}

func (m machine) String() string {
	return fmt.Sprintf("%s, %d cores, %s/%s; %s, %s; PyTorch %s, %d threads",
		m.CPU, m.Cores, m.OS, m.Arch, m.Go, m.Backend, m.Torch, m.TorchThreads)
}

// measurement is all that was measured of a case.
type measurement struct {
	Case           benchCase `json:"case"`
	Nodes          int       `json:"nodes"` // in GoMLX's graph of the step
	CompileSeconds float64   `json:"compile_seconds"`
	Rounds         []round   `json:"rounds,omitempty"` // none for a pair, which is compiled only

	DHKD     summary `json:"dhkd,omitzero"`
	Torch    summary `json:"torch,omitzero"`
	Ratio    float64 `json:"ratio,omitzero"`     // median over the rounds of the ratio of the round's medians
	MinRatio float64 `json:"min_ratio,omitzero"` // of the least times
	// TorchShare is the median over the rounds.
	TorchShare float64 `json:"torch_share,omitzero"`
}

// round is the milliseconds of each side's steps.
type round struct {
	DHKD       []float64 `json:"dhkd_ms"`
	Torch      []float64 `json:"torch_ms"`
	TorchShare float64   `json:"torch_share"` // of its cores that PyTorch had, 0 to 1
}

// summary is of all steps of one side, in milliseconds.
type summary struct {
	Median float64 `json:"median_ms"`
	Min    float64 `json:"min_ms"`
}

// summarize computes the summaries from the rounds.
func (m *measurement) summarize() {
	var ours, torch, ratios, shares []float64
	for _, r := range m.Rounds {
		ours, torch = append(ours, r.DHKD...), append(torch, r.Torch...)
		ratios = append(ratios, median(r.DHKD)/median(r.Torch))
		shares = append(shares, r.TorchShare)
	}
	m.DHKD, m.Torch = summary{median(ours), slices.Min(ours)}, summary{median(torch), slices.Min(torch)}
	m.Ratio, m.MinRatio, m.TorchShare = median(ratios), m.DHKD.Min/m.Torch.Min, median(shares)
}

// markdown is the tables of the results.
func (r report) markdown() string {
	var steps, pairs strings.Builder
	for _, m := range r.Cases {
		if m.Case.Teacher != "" {
			fmt.Fprintf(&pairs, "| %s | %d | %.1f s |\n", m.Case, m.Nodes, m.CompileSeconds)
			continue
		}
		fmt.Fprintf(&steps, "| %s | %.1f | %.1f | %.1f | %.1f | **%.2f** | %.2f | %d | %.1f s |\n", m.Case, m.DHKD.Median,
			m.DHKD.Min, m.Torch.Median, m.Torch.Min, m.Ratio, m.MinRatio, m.Nodes, m.CompileSeconds)
	}
	var tables []string
	if steps.Len() > 0 {
		tables = append(tables, fmt.Sprintf("| step, batch %d | dhkd, ms | least | PyTorch, ms | least ", r.Batch)+
			"| ratio | of the least | nodes | compiled in |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|\n"+steps.String())
	}
	if pairs.Len() > 0 {
		tables = append(tables, "| whole step of a pair, with the teacher | nodes | compiled in |\n|---|--:|--:|\n"+pairs.String())
	}
	return strings.Join(tables, "\n")
}

// busy says that the ratios cannot be trusted, or is empty. Where other programs take turns with PyTorch's threads,
// these wait at every operation for one that does not run, which costs far more than it costs XLA.
func (r report) busy() string {
	const enough = 0.85
	least := 1.0
	for _, m := range r.Cases {
		if m.Rounds != nil {
			least = min(least, m.TorchShare)
		}
	}
	if least >= enough {
		return ""
	}
	return fmt.Sprintf("the machine was busy: PyTorch had only %.0f %% of its cores, which slows it more than it slows "+
		"XLA, so these ratios are too low", 100*least)
}

// save writes all numbers as JSON.
func (r report) save(path string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return write(path, append(data, '\n'))
}

// check is an error that names the cases whose ratio is above the limit; 0 is no limit.
func (r report) check(limit float64) error {
	var slow []string
	for _, m := range r.Cases {
		if limit > 0 && !(m.Ratio <= limit) {
			slow = append(slow, fmt.Sprintf("%s %.2f", m.Case, m.Ratio))
		}
	}
	if len(slow) > 0 {
		return fmt.Errorf("more than %g times PyTorch's time: %s", limit, strings.Join(slow, ", "))
	}
	return nil
}

// median is the middle value, or the mean of the two middle ones; there must be one.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
