package train

import (
	"unsafe"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/dhkd-lab/dhkd-go/dhkd/dataset"
)

// ShareImages returns the set with its images in memory that the host and the device have in common, where they have any:
// on a CPU. Trainers then take them from there, where else each makes a copy. The memory is freed with the last
// [dataset.Split] that has it; that of the given set's images can go once it is not used any more. Images of files, and
// those of a device with memory of its own, stay as they are.
func ShareImages(backend compute.Backend, data *dataset.Set) (*dataset.Set, error) {
	if !backend.HasSharedBuffers() {
		return data, nil
	}
	made := *data
	for _, s := range []*dataset.Split{&made.Train, &made.Test} {
		if s.Files != nil || s.Len() == 0 {
			continue
		}
		shape := shapeOf(dtypes.Uint8, s.Len(), data.Height, data.Width, data.Channels)
		memory, err := tensors.FromRaw(backend, 0, shape, s.Pixels)
		if err != nil {
			return nil, err
		}
		if s.Pixels, err = bytesOf(memory); err != nil {
			return nil, err
		}
		s.Memory = memory
	}
	return &made, nil
}

// sharedPixels are the split's images on the device if [ShareImages] put them there, else nil.
func (s *split) sharedPixels() *tensors.Tensor {
	memory, ok := s.data.Memory.(*tensors.Tensor)
	if !ok || memory.CheckValid() != nil || !memory.IsShared() || !memory.Shape().Equal(s.imagesShape(s.n)) {
		return nil // a part of the images, for one
	}
	if backend, err := memory.Backend(); err != nil || backend != s.backend {
		return nil
	}
	if held, err := bytesOf(memory); err != nil || unsafe.SliceData(held) != unsafe.SliceData(s.data.Pixels) {
		return nil
	}
	return memory
}

func bytesOf(x *tensors.Tensor) (bytes []uint8, err error) {
	err = tensors.ConstFlatData(x, func(flat []uint8) { bytes = flat })
	return bytes, err
}
