package train

import (
	"math"
	"os"
	"slices"
	"testing"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"pgregory.net/rapid"

	"github.com/dhkd-lab/dhkd-go/dhkd/dataset"
	"github.com/dhkd-lab/dhkd-go/dhkd/device/devicetest"
	"github.com/dhkd-lab/dhkd-go/dhkd/internal/golden/fixture"
)

// onBackends runs a test on the pure Go backend and on the device that the tests share, XLA as a rule.
func onBackends(t *testing.T, test func(t *testing.T, backend compute.Backend)) {
	t.Run("go", func(t *testing.T) { test(t, devicetest.Go(t).Backend) })
	t.Run("xla", func(t *testing.T) { test(t, devicetest.Open(t).Backend) })
}

// augmentation is a compiled [CropFlip], and [Normalize] of it.
func augmentation(t *testing.T, backend compute.Backend, pad int, mean, std []float32) *Exec {
	t.Helper()
	exec, err := NewExec(backend, func(images, top, left, flip *Node) (*Node, *Node) {
		augmented := CropFlip(images, top, left, flip, pad)
		return augmented, Normalize(augmented, mean, std)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(exec.Finalize)
	return exec
}

// expectAugmented compares with the host's reference, pixel for pixel.
func expectAugmented(t rapid.TB, exec *Exec, images []uint8, shape [3]int, pad int, top, left, flip []int32, mean,
	std []float32) {
	n, height, width, channels := len(top), shape[0], shape[1], shape[2]
	outputs, err := exec.Call(tensors.FromFlatDataAndDimensions(images, n, height, width, channels), top, left, flip)
	if err != nil {
		t.Fatal(err)
	}
	size := height * width * channels
	var want []uint8
	for i := range n {
		want = append(want, dataset.Augment(images[i*size:][:size], height, width, channels, pad, int(top[i]), int(left[i]),
			flip[i] != 0)...)
	}
	if got := tensors.MustCopyFlatData[uint8](outputs[0]); !slices.Equal(got, want) {
		t.Fatalf("offsets %v %v, flips %v: %v, want %v", top, left, flip, got, want)
	}
	normalised := dataset.Normalise(want, mean, std)
	for i, got := range tensors.MustCopyFlatData[float32](outputs[1]) {
		if !(math.Abs(float64(got-normalised[i])) <= 2e-6) {
			t.Fatalf("normalised value %d is %g, want %g", i, got, normalised[i])
		}
	}
}

func TestCropFlip(t *testing.T) {
	const n, pad = 3, 2
	shape := [3]int{5, 4, 2}
	mean, std := []float32{0.5, 0.25}, []float32{0.2, 0.3}
	onBackends(t, func(t *testing.T, backend compute.Backend) {
		exec := augmentation(t, backend, pad, mean, std)
		rapid.Check(t, func(rt *rapid.T) {
			pixels := rapid.SliceOfN(rapid.Uint8(), n*5*4*2, n*5*4*2).Draw(rt, "pixels")
			offsets := rapid.SliceOfN(rapid.Int32Range(0, 2*pad), n, n)
			top, left := offsets.Draw(rt, "top"), offsets.Draw(rt, "left")
			flip := rapid.SliceOfN(rapid.Int32Range(0, 1), n, n).Draw(rt, "flip")
			expectAugmented(rt, exec, pixels, shape, pad, top, left, flip, mean, std)
		})
	})
}

// TestCropFlipReference takes the images and offsets of the reference case, whose results PyTorch made.
func TestCropFlipReference(t *testing.T) {
	const dir = "../internal/golden/testdata/data_mini"
	c, err := fixture.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(dir + "/mini.bin")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	images, _, err := dataset.ReadCIFAR100(f, "mini.bin")
	if err != nil {
		t.Fatal(err)
	}
	var mean, std []float32
	for name, into := range map[string]*[]float32{"mean": &mean, "std": &std} {
		if err := c.Field(name, into); err != nil {
			t.Fatal(err)
		}
	}
	offsets := map[string][]int32{}
	for _, name := range []string{"top", "left", "flip"} {
		values, err := c.Ints(name, images.Len())
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range values {
			offsets[name] = append(offsets[name], int32(v))
		}
	}
	onBackends(t, func(t *testing.T, backend compute.Backend) {
		const pad = 4
		exec := augmentation(t, backend, pad, mean, std)
		expectAugmented(t, exec, images.Pixels, [3]int{32, 32, 3}, pad, offsets["top"], offsets["left"], offsets["flip"],
			mean, std)
		outputs, err := exec.Call(tensors.FromFlatDataAndDimensions(images.Pixels, images.Len(), 32, 32, 3),
			offsets["top"], offsets["left"], offsets["flip"])
		if err != nil {
			t.Fatal(err)
		}
		for i, name := range []string{"augmented_u8", "augmented_f32"} {
			want, err := c.Floats(name, images.Len(), 3, 32, 32)
			if err != nil {
				t.Fatal(err)
			}
			at := 0
			for image := range images.Len() {
				for channel := range 3 {
					for pixel := range 32 * 32 {
						index := (image*32*32+pixel)*3 + channel
						got := 0.0
						if i == 0 {
							got = float64(tensors.MustCopyFlatData[uint8](outputs[0])[index])
						} else {
							got = float64(tensors.MustCopyFlatData[float32](outputs[1])[index])
						}
						if math.Abs(got-want[at]) > 2e-6 {
							t.Fatalf("%s: image %d, channel %d, pixel %d is %g, want %g", name, image, channel, pixel, got, want[at])
						}
						at++
					}
				}
			}
		}
	})
}

// TestDrawViews checks that every offset and both flips are drawn, evenly, and that the state of the generator
// decides.
func TestDrawViews(t *testing.T) {
	const n, pad = 2000, 1
	exec, err := NewExec(devicetest.Go(t).Backend, func(state, images *Node) (*Node, *Node) {
		newState, v := drawViews(state, n, pad)
		return newState, CropFlip(images, v.top, v.left, v.flip, pad)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer exec.Finalize()
	// The value of the centre pixel tells the offset and the flip: 3x3 images of 9 values, none of them symmetric.
	image := []uint8{1, 2, 3, 4, 5, 6, 7, 8, 9}
	images := tensors.FromFlatDataAndDimensions(slices.Repeat(image, n), n, 3, 3, 1)
	draw := func(seed uint64) ([]uint8, []uint64) {
		outputs, err := exec.Call([]uint64{seed, 2, 3}, images)
		if err != nil {
			t.Fatal(err)
		}
		return tensors.MustCopyFlatData[uint8](outputs[1]), tensors.MustCopyFlatData[uint64](outputs[0])
	}
	got, state := draw(1)
	counts := map[string]int{}
	for i := range n {
		counts[string(got[i*9:][:9])]++
	}
	expected, sigma := n/18.0, math.Sqrt(n/18.0*17/18)
	if len(counts) != 18 {
		t.Errorf("%d different images, want 9 offsets times 2 flips", len(counts))
	}
	for image, count := range counts {
		if math.Abs(float64(count)-expected) > 5*sigma {
			t.Errorf("%v comes %d times, want %.0f +- %.0f", []uint8(image), count, expected, sigma)
		}
	}
	again, _ := draw(1)
	other, _ := draw(state[0] + 1)
	if !slices.Equal(got, again) || slices.Equal(got, other) || slices.Equal(state, []uint64{1, 2, 3}) {
		t.Error("the state of the generator does not decide, or does not move on")
	}
}
