package dataset

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
)

// Files are the images of a split that are decoded when they are needed: JPEG and PNG files in folders, or in a tar
// archive. Their order is in rounds, one of each class, so that the first n are balanced.
type Files struct {
	root    string // the directory of the files, or of the archive that has them
	members []member
	view    View
	bad     *badFiles // nil: a bad file is an error
	strict  bool      // JPEG files are for the decoder that finds more damage, Go's
}

// Bad names the files so far that could not be read and were skipped, in order. The splits of a set share the list.
func (f *Files) Bad() []string {
	if f == nil || f.bad == nil {
		return nil
	}
	f.bad.Lock()
	defer f.bad.Unlock()
	return slices.Sorted(maps.Keys(f.bad.errs))
}

// badFiles are the errors of files, by name.
type badFiles struct {
	sync.Mutex
	errs map[string]error
}

func (b *badFiles) add(name string, err error) {
	b.Lock()
	defer b.Unlock()
	if b.errs == nil {
		b.errs = map[string]error{}
	}
	b.errs[name] = err
}

// Draw seeds the random views of an epoch: an image's view depends on seed, epoch and its index alone.
type Draw struct {
	Seed  uint64
	Epoch int
}

// Batch is some images of a split.
type Batch struct {
	Pixels  []uint8 // [N, Height, Width, Channels]
	Labels  []int32 // [N]; -1 for a file that was skipped, whose pixels are black
	Indices []int32 // [N], in the split
}

// Stream is the images of a split, batch by batch.
type Stream struct {
	ctx     context.Context
	batches chan *pending
	stop    context.CancelFunc
	running sync.WaitGroup
}

// pending is a batch in the making.
type pending struct {
	Batch
	left sync.WaitGroup
	mu   sync.Mutex
	bad  int // the first image that is an error
	err  error
}

// Stream gives the images with the indices in order, size at a time. Those of files are decoded on all cores, and two
// batches ahead of [Stream.Next] at most, so that memory is bounded whatever the number of images. With a draw, training
// sees random views, if the set has them, and in the place of a file that is skipped the next good one; without, each
// image's centre is shown, and a skipped file has the label -1. Close ends it.
func (s Split) Stream(ctx context.Context, order []int32, size int, draw *Draw) *Stream {
	ctx, stop := context.WithCancel(ctx)
	st := &Stream{ctx: ctx, batches: make(chan *pending, 1), stop: stop}
	type task struct {
		*pending
		slot int
	}
	tasks := make(chan task)
	pixels := s.pixelsPerImage()
	for range runtime.GOMAXPROCS(0) {
		st.running.Go(func() {
			var d decoder
			defer d.close()
			d.turbo.off = s.Files != nil && s.Files.strict
			var file []uint8
			for t := range tasks {
				out := t.Pixels[t.slot*pixels : (t.slot+1)*pixels]
				if ctx.Err() == nil {
					if err := s.read(&d, &file, t.pending, t.slot, out, draw); err != nil {
						t.fail(t.slot, err)
					}
				}
				t.left.Done()
			}
		})
	}
	st.running.Go(func() {
		defer close(st.batches)
		defer close(tasks)
		for chunk := range slices.Chunk(order, size) {
			p := &pending{Batch: Batch{Pixels: make([]uint8, len(chunk)*pixels), Labels: make([]int32, len(chunk)),
				Indices: slices.Clone(chunk)}}
			p.left.Add(len(chunk))
			select {
			case st.batches <- p:
			case <-ctx.Done():
				return
			}
			for i := range chunk {
				tasks <- task{p, i} // a worker takes it, or drops it when the context has ended
			}
		}
	})
	return st
}

// Next is the next batch, which stays valid after later calls. The error is that of the first bad file in it, that of the
// context, or [io.EOF] after the last batch.
func (s *Stream) Next() (Batch, error) {
	p, ok := <-s.batches
	if ok {
		p.left.Wait()
	}
	switch {
	case s.ctx.Err() != nil:
		return Batch{}, context.Cause(s.ctx)
	case !ok:
		return Batch{}, io.EOF
	}
	return p.Batch, p.err
}

// Close ends the decoding and waits for it.
func (s *Stream) Close() {
	s.stop()
	s.running.Wait()
}

func (p *pending) fail(slot int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil || slot < p.bad {
		p.bad, p.err = slot, err
	}
}

// read puts one image in its place in the batch.
func (s Split) read(d *decoder, file *[]uint8, p *pending, slot int, out []uint8, draw *Draw) error {
	const tries = 100
	index := int(p.Indices[slot])
	if s.Files == nil {
		p.Labels[slot] = s.Labels[index]
		copy(out, s.Pixels[index*len(out):])
		return nil
	}
	for try := 0; ; try++ {
		err := s.Files.read(d, file, index, out, draw)
		switch {
		case err == nil:
			p.Labels[slot], p.Indices[slot] = s.Labels[index], int32(index)
			return nil
		case s.Files.bad == nil:
			return fmt.Errorf("%w; repair or remove it, or set dataset.bad_images: skip", err)
		}
		s.Files.bad.add(s.Files.members[index].name, err)
		if draw == nil {
			p.Labels[slot] = -1
			clear(out)
			return nil
		}
		if try == min(tries, s.Len())-1 {
			return fmt.Errorf("%w; and so it is with the %d files before it", err, try)
		}
		index = (index + 1) % s.Len()
	}
}

func (f *Files) read(d *decoder, file *[]uint8, index int, out []uint8, draw *Draw) error {
	m := f.members[index]
	data, err := m.read(f.root, *file)
	if err == nil {
		*file = data
		var r *rand.Rand
		if draw != nil && f.view.MinArea > 0 {
			r = rand.New(rand.NewPCG(^draw.Seed, uint64(draw.Epoch)<<32|uint64(index)))
		}
		err = d.view(out, data, f.view, r)
	}
	if err != nil {
		return fmt.Errorf("cannot read the image %s of %s: %w", m.name, f.root, err)
	}
	return nil
}

func (s Split) pixelsPerImage() int {
	if s.Files != nil {
		return s.Files.view.Side * s.Files.view.Side * 3
	}
	return len(s.Pixels) / max(1, s.Len())
}
