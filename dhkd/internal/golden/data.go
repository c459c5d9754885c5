package golden

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"

	"github.com/gomlx/compute"

	"github.com/dhkd-lab/dhkd-go/dhkd/dataset"
	"github.com/dhkd-lab/dhkd-go/dhkd/internal/golden/fixture"
)

const maxImageFile = 1 << 30

// verifyData checks the reader of CIFAR-100's binary format, that it refuses the damaged files of the case, and the
// host's reference for normalisation, crop and flip.
func verifyData(_ context.Context, _ compute.Backend, c *fixture.Case, r *Result) error {
	var file string
	var mean, std []float32
	for name, into := range map[string]any{"file": &file, "mean": &mean, "std": &std} {
		if err := c.Field(name, into); err != nil {
			return err
		}
	}
	tolerance, err := c.Tolerance("value")
	if err != nil {
		return err
	}
	content, err := c.File(file, maxImageFile)
	if err != nil {
		return err
	}
	images, coarse, err := dataset.ReadCIFAR100(bytes.NewReader(content), file)
	if err != nil {
		return err
	}
	n := images.Len()
	if len(mean) != channels || len(std) != channels || n == 0 || len(images.Pixels) != n*imageSize {
		return fmt.Errorf("%s: %d images with %d pixels; %d means and %d standard deviations, want %d",
			file, n, len(images.Pixels), len(mean), len(std), channels)
	}
	for i, name := range []string{"coarse", "fine"} {
		got := [][]int32{coarse, images.Labels}[i]
		ref, err := c.Floats(name, n)
		if err != nil {
			return err
		}
		r.Require(name, slices.EqualFunc(got, ref, func(x int32, ref float64) bool { return float64(x) == ref }))
	}
	if err := verifyDamaged(c, r); err != nil {
		return err
	}
	augmented, err := augment(c, images)
	if err != nil {
		return err
	}
	for i, name := range []string{"normalised_f32", "augmented_f32"} {
		pixels := [][]uint8{images.Pixels, augmented}[i]
		ref, err := c.Floats(name, n, channels, side, side)
		if err != nil {
			return err
		}
		r.MaxAbsolute(name, planes(dataset.Normalise(pixels, mean, std)), ref, tolerance)
	}
	ref, err := c.Floats("augmented_u8", n, channels, side, side)
	if err != nil {
		return err
	}
	r.Require("augmented_u8", slices.Equal(planes(augmented), ref))
	return nil
}

// verifyDamaged reads the files that must be refused.
func verifyDamaged(c *fixture.Case, r *Result) error {
	var damaged map[string]string
	if !c.Has("bad_files") {
		return nil
	}
	if err := c.Field("bad_files", &damaged); err != nil {
		return err
	}
	for _, file := range slices.Sorted(maps.Keys(damaged)) {
		content, err := c.File(file, maxImageFile)
		if err != nil {
			return err
		}
		_, _, err = dataset.ReadCIFAR100(bytes.NewReader(content), file)
		r.Require(file+" is refused: "+damaged[file], err != nil)
	}
	return nil
}

// augment crops and flips each image with the offsets of the case. The width of the padding stands only in its prose.
func augment(c *fixture.Case, images dataset.Split) ([]uint8, error) {
	var prose string
	if err := c.Field("augment", &prose); err != nil {
		return nil, err
	}
	found := regexp.MustCompile(`with (\d+) zero pixels`).FindStringSubmatch(prose)
	if found == nil {
		return nil, fmt.Errorf("field augment: it does not say with how many zero pixels to pad: %q", prose)
	}
	pad, err := strconv.Atoi(found[1])
	if err != nil {
		return nil, err
	}
	offsets := map[string][]int64{"top": nil, "left": nil, "flip": nil}
	for name := range offsets {
		if offsets[name], err = c.Ints(name, images.Len()); err != nil {
			return nil, err
		}
	}
	var augmented []uint8
	for i := range images.Len() {
		top, left := int(offsets["top"][i]), int(offsets["left"][i])
		if min(top, left) < 0 || max(top, left) > 2*pad {
			return nil, fmt.Errorf("image %d: the offset (%d, %d) is outside 0 to %d", i, top, left, 2*pad)
		}
		augmented = append(augmented, dataset.Augment(images.Pixels[i*imageSize:][:imageSize], side, side, channels,
			pad, top, left, offsets["flip"][i] == 1)...)
	}
	return augmented, nil
}

// The images of CIFAR-100.
const (
	side      = 32
	channels  = 3
	imageSize = side * side * channels
)

// planes turns images with channels last into the reference's channels first.
func planes[N uint8 | float32](pixels []N) []float64 {
	ordered := make([]float64, 0, len(pixels))
	for start := 0; start < len(pixels); start += imageSize {
		for channel := range channels {
			for pixel := channel; pixel < imageSize; pixel += channels {
				ordered = append(ordered, float64(pixels[start+pixel]))
			}
		}
	}
	return ordered
}
