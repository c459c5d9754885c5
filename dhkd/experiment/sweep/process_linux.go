package sweep

import (
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// allowed are the cores that this process may use.
func allowed() []int {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return someCores()
	}
	var cores []int
	for core := 0; len(cores) < set.Count(); core++ {
		if set.IsSet(core) {
			cores = append(cores, core)
		}
	}
	return cores
}

// pin makes this thread, and what it starts, use these cores alone, unless there are none.
func pin(cores []int) error {
	if len(cores) == 0 {
		return nil
	}
	var set unix.CPUSet
	for _, core := range cores {
		set.Set(core)
	}
	return unix.SchedSetaffinity(0, &set)
}

// detach keeps Ctrl-C from the process, which gets SIGTERM from us instead, once, or when the thread that starts it
// ends.
func detach(command *exec.Cmd) {
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
