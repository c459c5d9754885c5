package dataset

import (
	"bytes"
	"image"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestPillow compares with what Pillow makes of the same files (testdata/pillow/make.py): exactly where there is no chrominance
// to be resized and no lossy code to be read.
func TestPillow(t *testing.T) {
	files := map[string]float64{ // mean difference allowed, of 255
		"rgb.png": 0, "tall.png": 0, "rgba.png": 0, "palette.png": 0,
		"grey.jpg": 0.6, "rgb444.jpg": 0.8, "progressive.jpg": 1.2, "rgb422.jpg": 1.2, "rgb420.jpg": 1.2, "cmyk.jpg": 0.8,
	}
	for name, allowed := range files {
		file, err := os.ReadFile(filepath.Join("testdata/pillow", name))
		check(t, err)
		v := View{Side: 16, Resize: 20}
		var d decoder
		compare := func(what string, got []uint8) {
			t.Helper()
			want := readPNG(t, filepath.Join("testdata/pillow", what+"-"+name+".png"))
			sum, most := 0, 0
			for i := range want {
				diff := max(int(want[i])-int(got[i]), int(got[i])-int(want[i]))
				sum, most = sum+diff, max(most, diff)
			}
			if mean := float64(sum) / float64(len(want)); mean > allowed || allowed > 0 && most > 10 {
				t.Errorf("%s of %s: mean difference to Pillow %.2f, largest %d", what, name, mean, most)
			}
		}
		got := make([]uint8, 16*16*3)
		check(t, d.view(got, file, v, nil))
		compare("center", got)
		m, _, err := image.Decode(bytes.NewReader(file))
		check(t, err)
		for i, w := range []window{{x: 3, y: 5, width: 40, height: 33}, {x: 7, y: 2, width: 11, height: 13}} {
			w.toWidth, w.toHeight, w.clipped = 16, 16, true
			d.render(got, m, w, 16)
			compare([]string{"crop0", "crop1"}[i], got)
		}
	}
}

func readPNG(t *testing.T, path string) (pixels []uint8) {
	t.Helper()
	f, err := os.Open(path)
	check(t, err)
	defer f.Close()
	m, err := png.Decode(f)
	check(t, err)
	flat, stride, step := interleaved(m)
	for y := range m.Bounds().Dy() {
		for x := range m.Bounds().Dx() {
			pixels = append(pixels, flat[y*stride+x*step:][:3]...)
		}
	}
	return pixels
}

// TestViewsOfAnySize: whatever an image's size, a view of one colour is that colour, and a random crop lies in the image and has an
// area and a shape that were asked for where one fits.
func TestViewsOfAnySize(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(1, 90)
		width, height := size.Draw(t, "width"), size.Draw(t, "height")
		side := rapid.IntRange(1, 40).Draw(t, "side")
		v := View{Side: side, Resize: side + rapid.IntRange(0, 20).Draw(t, "more"), MinArea: 0.1, MinAspect: 0.8}
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		m := image.NewYCbCr(image.Rect(0, 0, width, height),
			image.YCbCrSubsampleRatio(rapid.IntRange(0, 5).Draw(t, "ratio")))
		for _, p := range [][]uint8{m.Y, m.Cb, m.Cr} {
			for i := range p {
				p[i] = 128
			}
		}
		var d decoder
		out := make([]uint8, side*side*3)
		w := v.random(width, height, r)
		if w.x < 0 || w.y < 0 || w.width < 1 || w.height < 1 || w.x+w.width > width || w.y+w.height > height {
			t.Fatalf("%+v of %dx%d", w, width, height)
		}
		for _, w := range []window{w, v.center(width, height)} {
			clear(out)
			d.render(out, m, w, side)
			for i, p := range out {
				if p != 128 {
					t.Fatalf("%+v of %dx%d: value %d is %d", w, width, height, i, p)
				}
			}
		}
	})
}

// TestRandomCrops compares the distribution of areas and shapes with what was asked for.
func TestRandomCrops(t *testing.T) {
	v := View{Side: 8, MinArea: 0.25, MinAspect: 0.5}
	const n = 4000
	var area, mirrored float64
	wide := 0
	r := rand.New(rand.NewPCG(1, 2))
	for range n {
		w := v.random(1000, 1000, r)
		share := float64(w.width*w.height) / 1e6
		aspect := float64(w.width) / float64(w.height)
		if share < 0.249 || share > 1.001 || aspect < 0.495 || aspect > 2.02 {
			t.Fatalf("%+v: area %g, aspect %g", w, share, aspect)
		}
		area += share
		if aspect > 1 {
			wide++
		}
		if w.mirrored {
			mirrored++
		}
	}
	// large areas fit with fewer shapes, so that the mean is below the middle, 0.625
	if mean := area / n; mean < 0.5 || mean > 0.625 {
		t.Errorf("mean area %g", mean)
	}
	for what, share := range map[string]float64{"wide": float64(wide) / n, "mirrored": mirrored / n} {
		if share < 0.46 || share > 0.54 {
			t.Errorf("%s: %g", what, share)
		}
	}
}

func TestMirror(t *testing.T) {
	pixels := []byte(strings.ToLower("ABCDEFGHIabcdefghi123456789"))
	mirror(pixels, 3)
	if string(pixels) != "ghidefabcghidefabc789456123" {
		t.Errorf("%s", pixels)
	}
}
