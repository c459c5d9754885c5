package train

import (
	"fmt"
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/distributed"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"
)

// program is one of a trainer's programs: on one device, and, where the trainer has several, for batches that are divided
// among them.
//
// Both have the same graph, of the whole batch. Of the divided one XLA's partitioner gives each device the part that
// follows from its images, and adds up over the devices what is a sum over the batch: losses, the statistics of batch norm,
// gradients. So all of these are the whole batch's, and the random numbers are those of one device. Variables are on every
// device, with the same values.
type program struct{ one, divided *model.Exec } // divided is nil on one device

// newProgram makes a program whose first inputs are of the batch, a row an image; the others are the same on all devices, as
// are its results.
func newProgram[F model.ExecGraphFn](t *Trainer, build F, ofBatch int) (p program, err error) {
	if p.one, err = model.NewExec(t.Backend, t.store, build); err != nil || t.devices() == 1 {
		return p, err
	}
	if p.divided, err = model.NewExec(t.Backend, t.store, build); err != nil {
		return p, err
	}
	const axis = "batch"
	if t.mesh == nil { // one for all programs, since they share the variables
		if t.mesh, err = distributed.NewDeviceMesh([]int{t.devices()}, []string{axis}); err != nil {
			return p, err
		}
	}
	rows, err := distributed.BuildSpec(t.mesh).S(axis).Done()
	if err != nil {
		return p, err
	}
	same := distributed.NewReplicatedShardingSpec(t.mesh)
	inputs := append(slices.Repeat([]*distributed.ShardingSpec{rows}, ofBatch), same) // the last is for all that follow
	p.divided.AutoSharding(t.mesh).WithInputShardingSpecs(inputs...).WithOutputShardingSpecs(same)
	return p, nil
}

// of is the form for inputs that are divided among so many devices.
func (p program) of(devices int) *model.Exec {
	if devices == 1 {
		return p.one
	}
	return p.divided
}

func (p program) close() {
	for _, exec := range []*model.Exec{p.one, p.divided} {
		if exec != nil {
			exec.Finalize()
		}
	}
}

// call runs a program on its inputs, a list for each device. The results are the first device's, which the others have too.
func (t *Trainer) call(p program, inputs [][]any) ([]*tensors.Tensor, error) {
	if err := t.compile(p, inputs); err != nil {
		return nil, err
	}
	results, err := p.of(len(inputs)).Call(slices.Concat(inputs...)...)
	if err != nil {
		return nil, err
	}
	first := len(results) / len(inputs)
	for _, x := range results[first:] {
		_ = x.FinalizeAll() // nothing can be done about it
	}
	return results[:first], nil
}

// call1 is call of a program with one result.
func (t *Trainer) call1(p program, inputs [][]any) (*tensors.Tensor, error) {
	results, err := t.call(p, inputs)
	if err != nil {
		return nil, err
	}
	return results[0], nil
}

// devices is the number of devices that batches are divided among.
func (c Config) devices() int { return max(1, c.Devices) }

// checkDevices says why batches cannot be divided among so many devices, or nil.
func (c Config) checkDevices() error {
	switch there := c.Backend.NumDevices(); {
	case c.Devices < 0:
		return fmt.Errorf("%d devices: must be at least 1, or 0, which is 1", c.Devices)
	case c.Devices > there:
		return fmt.Errorf("%d devices: the backend (%s) has %d, which \"dhkd doctor\" lists", c.Devices, c.Backend.Name(), there)
	}
	return nil
}

// onEach returns x on every device. The first, which is x itself, stays the caller's.
func (t *Trainer) onEach(x *tensors.Tensor) (all []*tensors.Tensor, err error) {
	all = []*tensors.Tensor{x}
	if t.devices() == 1 {
		return all, nil
	}
	buffer, err := x.Buffer(t.Backend, 0)
	for d := 1; d < t.devices() && err == nil; d++ {
		var copied compute.Buffer
		var made *tensors.Tensor
		if copied, err = buffer.CopyToDevice(compute.DeviceNum(d)); err == nil {
			made, err = tensors.FromBuffer(copied)
			all = append(all, made)
		}
	}
	return all, err
}
