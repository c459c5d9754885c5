package train

import (
	"os"
	"runtime/debug"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/dataset"
	"github.com/dhkd-lab/dhkd-go/dhkd/device/devicetest"
)

// Of shared images trainers make the same network as of copies; of a part of them too, which they copy.
func TestSharedImages(t *testing.T) {
	for _, of := range []struct {
		backend compute.Backend
		holdout int
	}{{devicetest.Open(t).Backend, 0}, {devicetest.Go(t).Backend, 0}, {devicetest.Go(t).Backend, 4}} {
		c := newConfig(t, of.backend, plain, dhkd.NoAuxHead, 0)
		original := c.Data
		shared, err := ShareImages(of.backend, original)
		if err != nil {
			t.Fatal(err)
		}
		var made []map[string]*tensors.Tensor
		for _, whole := range []*dataset.Set{original, shared} {
			if c.Data, err = whole.Holdout(of.holdout); err != nil {
				t.Fatal(err)
			}
			trainer := newTrainer(t, c)
			if want := whole == shared && of.holdout == 0; trainer.train.shared != want {
				t.Errorf("%s, holdout %d: shared %t, want %t", of.backend.Name(), of.holdout, trainer.train.shared, want)
			}
			for step := range 2 {
				if _, err := trainer.RunStep([]int32{1, 12, 5, 9}, 0.05, 0, 1, step); err != nil {
					t.Fatal(err)
				}
			}
			made = append(made, weightsOf(t, trainer))
		}
		if !same(t, made[0], made[1]) {
			t.Errorf("%s, holdout %d: other weights", of.backend.Name(), of.holdout)
		}
	}
}

// However many trainers use them, and after one was closed, shared images are in the process's memory once.
func TestImagesAreInMemoryOnce(t *testing.T) {
	backend := devicetest.Open(t).Backend
	if residentBytes() == 0 || !backend.HasSharedBuffers() {
		const why = "the system does not tell of memory, or the device has its own"
		if os.Getenv("CI") != "" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	const side, images = 32, 32 << 10
	const size = images * side * side * 3 // 96 MiB
	c := newConfig(t, backend, plain, dhkd.NoAuxHead, 0)
	debug.FreeOSMemory()
	before := residentBytes()
	set := *c.Data
	set.Channels, set.Height, set.Width = 3, side, side
	set.Mean, set.Std = []float32{0.5, 0.5, 0.5}, []float32{0.3, 0.3, 0.3}
	set.Train = dataset.Split{Pixels: make([]uint8, size), Labels: make([]int32, images)}
	set.Test = dataset.Split{Pixels: make([]uint8, side*side*3), Labels: make([]int32, 1)}
	for i := range set.Train.Pixels {
		set.Train.Pixels[i] = uint8(i * i >> 8)
	}
	data, err := ShareImages(backend, &set)
	if err != nil {
		t.Fatal(err)
	}
	last := set.Train.Pixels[size-1]
	set.Train.Pixels = nil
	c.Data = data
	another, one := newTrainer(t, c), newTrainer(t, c)
	one.train.close()
	if err := another.Reset(1); err != nil {
		t.Fatal(err)
	}
	debug.FreeOSMemory()
	grown := float64(residentBytes()-before) / size
	if grown > 1.25 {
		t.Errorf("images of %d MiB: the process grew by %.2f of that", size>>20, grown)
	}
	if data.Train.Pixels[size-1] != last {
		t.Error("the images are gone with a trainer")
	}
}
