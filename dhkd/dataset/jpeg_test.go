package dataset

import (
	"bytes"
	"image"
	"image/jpeg"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// needTurboJPEG skips a test where there is no libjpeg-turbo.
func needTurboJPEG(t testing.TB) {
	t.Helper()
	switch name, why := JPEGDecoder(); {
	case name == TurboJPEG:
	case os.Getenv("CI") != "" && runtime.GOOS == "linux":
		t.Fatalf("JPEG files are decoded by %s: %s", name, why)
	default:
		t.Skipf("JPEG files are decoded by %s: %s", name, why)
	}
}

// planesOf are the values of an image that its size covers, plane by plane.
func planesOf(t rapid.TB, m image.Image) (all [][]uint8) {
	add := func(pixels []uint8, stride, width, height int) {
		var p []uint8
		for y := range height {
			p = append(p, pixels[y*stride:][:width]...)
		}
		all = append(all, p)
	}
	width, height := m.Bounds().Dx(), m.Bounds().Dy()
	switch m := m.(type) {
	case *image.Gray:
		add(m.Pix, m.Stride, width, height)
	case *image.YCbCr:
		x, y := chroma(m.SubsampleRatio)
		add(m.Y, m.YStride, width, height)
		add(m.Cb, m.CStride, ceilDiv(width, x), ceilDiv(height, y))
		add(m.Cr, m.CStride, ceilDiv(width, x), ceilDiv(height, y))
	default:
		t.Fatalf("%T", m)
	}
	return all
}

// differs returns the largest difference of the two decoders' values.
func differs(t rapid.TB, d *turboDecoder, file []byte) (most int) {
	m := d.decode(file)
	if m == nil {
		t.Fatal("libjpeg-turbo does not decode it")
	}
	want, err := jpeg.Decode(bytes.NewReader(file))
	if err != nil || want.Bounds() != m.Bounds() {
		t.Fatalf("Go: %v, %v, libjpeg-turbo: %v", err, want, m.Bounds())
	}
	got := planesOf(t, m)
	for i, p := range planesOf(t, want) {
		if len(p) != len(got[i]) {
			t.Fatalf("plane %d has %d values, want %d", i, len(got[i]), len(p))
		}
		for k, v := range p {
			most = max(most, int(v)-int(got[i][k]), int(got[i][k])-int(v))
		}
	}
	return most
}

// TestTurboJPEG: both decoders give the same, but for rounding: each value is the inverse cosine transform's, rounded once by
// either, after steps in fixed-point numbers that add less than another half.
func TestTurboJPEG(t *testing.T) {
	needTurboJPEG(t)
	var d turboDecoder
	defer d.handle.free()
	for _, name := range []string{"grey.jpg", "rgb444.jpg", "progressive.jpg", "rgb422.jpg", "rgb420.jpg"} {
		if most := differs(t, &d, testBytes(t, name)); most > 1 {
			t.Errorf("%s: largest difference %d", name, most)
		}
	}
	if m := d.decode(testBytes(t, "cmyk.jpg")); m != nil {
		t.Errorf("%T of inks", m)
	}
	rapid.Check(t, func(t *rapid.T) {
		s := scans{
			width: rapid.IntRange(1, 70).Draw(t, "width"), height: rapid.IntRange(1, 70).Draw(t, "height"),
			factors:     rapid.SampledFrom(samplings).Draw(t, "sampling").factors,
			progressive: rapid.Bool().Draw(t, "progressive"),
			r:           rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0)),
		}
		if !s.progressive {
			s.restart = rapid.IntRange(0, 3).Draw(t, "restart")
		}
		if most := differs(t, &d, s.file()); most > 1 {
			t.Fatalf("largest difference %d", most)
		}
	})
}

// TestPlainJPEG: what is not complete, or would be read in two ways, is for Go's decoder.
func TestPlainJPEG(t *testing.T) {
	file := func(progressive bool, restart int) []byte {
		s := scans{width: 20, height: 9, factors: samplings[2].factors, progressive: progressive, restart: restart,
			r: rand.New(rand.NewPCG(1, 2))}
		return s.file()
	}
	marker := func(file []byte, n int, m byte) int { // where the nth one is
		at := 0
		for range n {
			at += bytes.Index(file[at:], []byte{0xff, m}) + 2
		}
		return at - 2
	}
	insert := func(file []byte, at int, data ...byte) []byte { return slices.Insert(slices.Clone(file), at, data...) }
	baseline, progressive := file(false, 0), file(true, 0)
	table := baseline[marker(baseline, 1, 0xdb):][:69]
	for name, f := range map[string][]byte{
		"cut":                       baseline[:len(baseline)-1],
		"cut in its data":           baseline[:len(baseline)-30],
		"without its last scan":     append(progressive[:marker(progressive, 8, 0xda):marker(progressive, 8, 0xda)], 0xff, 0xd9),
		"restarting, progressive":   file(true, 2),
		"tables after the scan":     insert(baseline, len(baseline)-2, table...),
		"a name after the frame":    insert(baseline, marker(baseline, 1, 0xc4), 0xff, 0xe0, 0, 7, 'J', 'F', 'I', 'F', 0),
		"another frame":             insert(baseline, marker(baseline, 1, 0xc4), baseline[marker(baseline, 1, 0xc0):][:19]...),
		"twelve bits":               bytes.Replace(baseline, []byte{0xff, 0xc0, 0, 17, 8}, []byte{0xff, 0xc0, 0, 17, 12}, 1),
		"arithmetic":                bytes.Replace(baseline, []byte{0xff, 0xc0}, []byte{0xff, 0xc9}, 1),
		"a height given afterwards": insert(baseline, len(baseline)-2, 0xff, 0xdc, 0, 4, 0, 9),
		"no scan":                   insert(baseline[:marker(baseline, 1, 0xda)], marker(baseline, 1, 0xda), 0xff, 0xd9),
		"4:1:1":                     bytes.Replace(baseline, []byte{1, 0x22, 0}, []byte{1, 0x41, 0}, 1),
	} {
		if got, ok := plainJPEG(f); ok {
			t.Errorf("%s: %+v", name, got)
		}
	}
	for name, f := range map[string][]byte{"baseline": baseline, "progressive": progressive, "restarting": file(false, 2),
		"filled": insert(baseline, marker(baseline, 1, 0xc4), 0xff, 0xff), "with more after it": append(slices.Clone(baseline), 1)} {
		if got, ok := plainJPEG(f); !ok || got.width != 20 || got.height != 9 || got.sampling.turbo != 2 {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestDamagedJPEG: libjpeg-turbo takes few files that Go's decoder finds bad, and none that is cut.
func TestDamagedJPEG(t *testing.T) {
	needTurboJPEG(t)
	var d turboDecoder
	defer d.handle.free()
	r := rand.New(rand.NewPCG(1, 2))
	var taken []byte // by libjpeg-turbo alone
	for _, test := range []struct {
		file  []byte
		share float64 // of the damaged files that libjpeg-turbo decodes
	}{
		{drawn(1, 90, 70), 0.01}, {testBytes(t, "grey.jpg"), 0.01}, {testBytes(t, "rgb422.jpg"), 0.01},
		{testBytes(t, "progressive.jpg"), 0.1},
	} {
		decoded, bad := 0, 0
		for i := range 4000 {
			file, at := slices.Clone(test.file), r.IntN(len(test.file))
			switch i % 4 {
			case 0:
				file = file[:at]
			case 1:
				file[at] ^= 1 << r.IntN(8)
			case 2:
				file = slices.Delete(file, at, min(len(file), at+1+r.IntN(3)))
			case 3:
				file = slices.Insert(file, at, byte(r.Uint32()))
			}
			if m, err := both(t, &d, file); m != nil {
				if decoded++; err != nil {
					bad++
					taken = file
				}
				if i%4 == 0 {
					t.Fatalf("decoded though cut: %x", file)
				}
			}
		}
		if decoded < 500 || float64(bad) > test.share*float64(decoded) {
			t.Errorf("of %d damaged files that libjpeg-turbo decodes, Go's decoder says of %d that they are bad", decoded, bad)
		}
	}
	dir := tree(t, "train/a/0.JPEG", "train/b/0.JPEG", "val/a/0.JPEG", "val/b/0.JPEG")
	write(t, filepath.Join(dir, "train/b/taken.JPEG"), taken)
	if _, err := Verify(t.Context(), "image-folder", Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "taken.JPEG") {
		t.Errorf("verified: %v", err)
	}
}

// FuzzJPEG: any file is an image of Go's size and kind, or for Go's decoder.
func FuzzJPEG(f *testing.F) {
	needTurboJPEG(f)
	for _, name := range []string{"grey.jpg", "cmyk.jpg", "progressive.jpg", "rgb422.jpg"} {
		f.Add(testBytes(f, name))
	}
	for i, s := range samplings {
		f.Add((&scans{width: 20, height: 9, factors: s.factors, progressive: i%2 == 0, r: rand.New(rand.NewPCG(1, 2))}).file())
	}
	var d turboDecoder
	f.Fuzz(func(t *testing.T, file []byte) { both(t, &d, file) })
}

// both decodes a file with libjpeg-turbo, and with Go's decoder where the first does not give nil. The images must be of
// one size and kind.
func both(t *testing.T, d *turboDecoder, file []byte) (image.Image, error) {
	t.Helper()
	if config, err := jpeg.DecodeConfig(bytes.NewReader(file)); err != nil || config.Width*config.Height > 1<<20 {
		return nil, err
	}
	m := d.decode(file)
	if m == nil {
		return nil, nil
	}
	want, err := jpeg.Decode(bytes.NewReader(file))
	if err == nil && (want.Bounds() != m.Bounds() || len(planesOf(t, want)) != len(planesOf(t, m))) {
		t.Errorf("%T of %v, want %T of %v: %x", m, m.Bounds(), want, want.Bounds(), file)
	}
	return m, err
}
