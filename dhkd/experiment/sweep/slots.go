package sweep

import (
	"fmt"
	"runtime"
	"strings"
)

// Slot is where a process of a local sweep runs.
type Slot struct {
	Cores []int    // that it may use; all if empty
	Env   []string // what its environment has more
}

// Slots divides a machine among n processes: its cores, the number of processes permitting, into groups of neighbours,
// and devices in turn, named by the environment variable CUDA_VISIBLE_DEVICES. With cores false the processes share all
// cores.
func Slots(n int, devices []string, cores bool) []Slot {
	slots := make([]Slot, n)
	all := allowed()
	for i := range slots {
		if cores && n > 1 && len(all) >= n {
			slots[i].Cores = all[i*len(all)/n : (i+1)*len(all)/n]
		}
		if len(devices) > 0 {
			slots[i].Env = []string{"CUDA_VISIBLE_DEVICES=" + devices[i%len(devices)]}
		}
	}
	return slots
}

// String is "cores 0,1 CUDA_VISIBLE_DEVICES=0".
func (s Slot) String() string {
	var parts []string
	if len(s.Cores) > 0 {
		parts = append(parts, "cores "+strings.Trim(strings.ReplaceAll(fmt.Sprint(s.Cores), " ", ","), "[]"))
	}
	return strings.Join(append(parts, s.Env...), " ")
}

// someCores are all cores, where the system does not say which are allowed.
func someCores() []int {
	all := make([]int, runtime.NumCPU())
	for i := range all {
		all[i] = i
	}
	return all
}
