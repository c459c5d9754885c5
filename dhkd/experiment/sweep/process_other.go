//go:build !linux

package sweep

import (
	"errors"
	"os/exec"
)

func allowed() []int { return someCores() }

// pin is not possible here.
func pin(cores []int) error {
	if len(cores) == 0 {
		return nil
	}
	return errors.New("this system cannot do it")
}

// detach leaves the process as it is: Ctrl-C reaches it as it reaches us.
func detach(*exec.Cmd) {}
