package train

import (
	"context"
	"errors"
	"io"
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/dhkd-lab/dhkd-go/dhkd/dataset"
)

// ofBatch is the number of a program's first inputs that are of a batch.
const ofBatch = 3

// split is a [dataset.Split] for programs. A program's first three inputs are a batch of it: of images in memory all pixels
// and all labels, which stay on the device, and the batch's indices; of files, and on several devices, the batch's own
// pixels, labels and indices. Files are decoded and uploaded while the step before runs.
type split struct {
	data    dataset.Split
	backend compute.Backend
	shape   [3]int // of an image
	n       int
	devices int
	pixels  *tensors.Tensor // nil unless whole
	shared  bool            // pixels are the data set's own memory, see [ShareImages]
	labels  *tensors.Tensor
	feed    *feed // of the epoch in progress, when streamed
}

func (t *Trainer) upload(s dataset.Split) (made split, err error) {
	made = split{data: s, backend: t.Backend, shape: t.imageShape(), n: s.Len(), devices: t.devices()}
	if !made.whole() {
		return made, nil
	}
	if made.pixels = made.sharedPixels(); made.pixels != nil {
		made.shared = true
	} else if made.pixels, err = made.onDevice(0, s.Pixels, s.Len()); err != nil {
		return made, err
	}
	made.labels = tensors.FromFlatDataAndDimensions(s.Labels, s.Len())
	return made, made.labels.ToDevice(t.Backend, 0)
}

func (s *split) streamed() bool { return s.data.Files != nil }

// whole says whether all images are on the device.
func (s *split) whole() bool { return !s.streamed() && s.devices == 1 }

// onDevice uploads n images straight: by way of a tensor on the host there would be one copy more.
func (s *split) onDevice(device compute.DeviceNum, pixels []uint8, n int) (*tensors.Tensor, error) {
	return tensors.FromRaw(s.backend, device, s.imagesShape(n), pixels)
}

func (s *split) imagesShape(n int) shapes.Shape {
	return shapeOf(dtypes.Uint8, n, s.shape[0], s.shape[1], s.shape[2])
}

// images are those of a batch, uint8 [N, H, W, C], and their labels and indices, [N], in the graph of a program.
func (s *split) images(inputs []*Node) (images, labels, indices *Node) {
	if !s.whole() {
		return inputs[0], inputs[1], inputs[2]
	}
	at := ExpandAxes(inputs[2], -1)
	return Gather(inputs[0], at), Gather(inputs[1], at), inputs[2]
}

// batch are a program's inputs for a batch of training images, by device, which free releases. Those of files are the next
// of what [split.follow] announced, or are read now.
func (s *split) batch(indices []int32, seed uint64, epoch int) (inputs [][]any, free func(), err error) {
	if s.whole() {
		at := tensors.FromFlatDataAndDimensions(indices, len(indices))
		return [][]any{{s.pixels, s.labels, at}}, func() {}, nil
	}
	if !s.streamed() {
		b := s.upload(s.taken(indices), nil)
		return b.inputs, b.free, b.err
	}
	f := s.feed
	if f == nil || f.seed != seed || f.epoch != epoch || !f.next(indices) {
		f = s.open(indices, len(indices), &dataset.Draw{Seed: seed, Epoch: epoch})
		defer f.close()
	}
	b := <-f.ready
	return b.inputs, b.free, b.err
}

// taken are images in memory as a batch of their own.
func (s *split) taken(indices []int32) (b dataset.Batch) {
	size := s.imagesShape(1).Size()
	b.Pixels, b.Labels, b.Indices = make([]uint8, len(indices)*size), make([]int32, len(indices)), indices
	for i, index := range indices {
		copy(b.Pixels[i*size:], s.data.Pixels[int(index)*size:][:size])
		b.Labels[i] = s.data.Labels[index]
	}
	return b
}

// parts is the number of devices that a batch of n images is divided among.
func (s *split) parts(n int) int {
	if n%s.devices != 0 {
		return 1
	}
	return s.devices
}

// shaped are inputs of a batch's shapes, to compile for.
func (s *split) shaped(n int) (inputs [][]any) {
	if s.whole() {
		return [][]any{{s.pixels, s.labels, tensors.FromShape(shapeOf(dtypes.Int32, n))}}
	}
	parts := s.parts(n)
	for range parts {
		part := n / parts
		inputs = append(inputs, []any{tensors.FromShape(s.imagesShape(part)), tensors.FromShape(shapeOf(dtypes.Int32, part)),
			tensors.FromShape(shapeOf(dtypes.Int32, part))})
	}
	return inputs
}

// follow announces the batches that an epoch will ask for. The caller ends it with unfollow.
func (s *split) follow(order []int32, size int, seed uint64, epoch int) {
	if s.streamed() {
		s.feed = s.open(order, size, &dataset.Draw{Seed: seed, Epoch: epoch})
	}
}

func (s *split) unfollow() {
	if s.feed != nil {
		s.feed.close()
		s.feed = nil
	}
}

func (s *split) close() {
	s.unfollow()
	if s.pixels != nil && !s.shared {
		_ = s.pixels.FinalizeAll() // nothing can be done about it
	}
	if s.labels != nil {
		_ = s.labels.FinalizeAll()
	}
}

// feed uploads the batches of a stream, one ahead of its use.
type feed struct {
	stream *dataset.Stream
	ready  chan fed
	rest   []int32 // indices to come
	seed   uint64
	epoch  int
}

// fed is a batch on its devices, or why there is none.
type fed struct {
	labels []int32 // on the host
	inputs [][]any // by device: pixels, labels, indices
	err    error
}

func (b fed) free() {
	for _, x := range slices.Concat(b.inputs...) {
		_ = x.(*tensors.Tensor).FinalizeAll() // nothing can be done about it
	}
}

func (s *split) open(order []int32, size int, draw *dataset.Draw) *feed {
	f := &feed{stream: s.data.Stream(context.Background(), order, size, draw), ready: make(chan fed), rest: order}
	if draw != nil {
		f.seed, f.epoch = draw.Seed, draw.Epoch
	}
	go func() {
		defer close(f.ready)
		for {
			b, err := f.stream.Next()
			if err == io.EOF || errors.Is(err, context.Canceled) {
				return
			}
			f.ready <- s.upload(b, err)
		}
	}()
	return f
}

func (s *split) upload(b dataset.Batch, err error) fed {
	if err != nil {
		return fed{err: err}
	}
	up := fed{labels: b.Labels}
	parts := s.parts(len(b.Labels))
	n, size := len(b.Labels)/parts, len(b.Pixels)/parts
	for d := range parts {
		device, from, to := compute.DeviceNum(d), d*n, (d+1)*n
		pixels, err := s.onDevice(device, b.Pixels[d*size:(d+1)*size], n)
		if err != nil {
			up.free()
			return fed{err: err}
		}
		labels := tensors.FromFlatDataAndDimensions(b.Labels[from:to], n)
		indices := tensors.FromFlatDataAndDimensions(b.Indices[from:to], n)
		up.inputs = append(up.inputs, []any{pixels, labels, indices})
		if err := errors.Join(labels.ToDevice(s.backend, device), indices.ToDevice(s.backend, device)); err != nil {
			up.free()
			return fed{err: err}
		}
	}
	return up
}

// next says whether these images come next, and takes them off the list.
func (f *feed) next(indices []int32) bool {
	if len(f.rest) < len(indices) || !slices.Equal(f.rest[:len(indices)], indices) {
		return false
	}
	f.rest = f.rest[len(indices):]
	return true
}

func (f *feed) close() {
	f.stream.Close()
	for b := range f.ready {
		b.free()
	}
}
