package weights

import (
	"strings"

	"github.com/gomlx/compute"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

// Detect returns the networks of the zoo that a checkpoint fits by names, shapes and types (but float64). Classes and
// heads are read from the heads' tensors. Networks without parameters of their own in the names (a stem's
// max-pool) cannot be told apart.
func Detect(backend compute.Backend, c *Checkpoint) (fitting []zoo.Config, err error) {
	config := zoo.Config{AuxHead: dhkd.NoAuxHead}
	config.Head, config.Classes = c.MainHead()
	if config.Classes < 2 || config.Classes > maxTensors {
		return nil, nil
	}
	for _, name := range c.Names {
		if ofAuxHead(name) {
			config.AuxHead = dhkd.LinearAuxHead
			if strings.Contains(name, ".net.") {
				config.AuxHead = dhkd.NonlinearAuxHead
				break
			}
		}
	}
	for _, config.Name = range zoo.Names() {
		m, err := zoo.New(config)
		if err != nil {
			return nil, err
		}
		want, err := m.Undrawn(backend, [3]int{m.Side, m.Side, 3})
		if err != nil {
			return nil, err
		}
		if f, err := c.arrange(want, FitOptions{}); err == nil && matchShapes(want, f.Tensors) == nil {
			fitting = append(fitting, config)
		}
		for _, w := range want {
			w.Value.FinalizeAll()
		}
	}
	return fitting, nil
}

// heads are the names that networks give to their main classifier.
var heads = []string{"fc", "linear", "classifier", "classifier.0"}

// lastBias is the name of the last bias in a head.
var lastBias = map[dhkd.Head]string{dhkd.LinearHead: ".bias", dhkd.NonlinearHead: ".net.4.bias"}

// MainHead tells by names of tensors which kind of main head the file has, and its classes: 0 if none is found.
func (c *Checkpoint) MainHead() (kind dhkd.Head, classes int) {
	kind = dhkd.LinearHead
	for _, name := range heads {
		for _, k := range dhkd.Heads {
			if bias := c.Tensors[name+lastBias[k]]; bias != nil && bias.Rank() == 1 {
				kind, classes = k, bias.Shape().Dimensions[0]
			}
		}
	}
	return kind, classes
}
