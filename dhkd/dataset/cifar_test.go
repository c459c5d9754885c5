package dataset

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nlpodyssey/safetensors"
)

// TestReference compares reading, cropping, flipping and normalising with PyTorch's results on the same file.
func TestReference(t *testing.T) {
	buffer := testFile(t, "reference.safetensors")
	tensors, err := safetensors.Deserialize(buffer)
	if err != nil {
		t.Fatal(err)
	}
	tensor := func(name string) []byte {
		view, ok := tensors.Tensor(name)
		if !ok {
			t.Fatalf("no tensor %s", name)
		}
		return view.Data()
	}
	integer := func(name string, i int) int { return int(binary.LittleEndian.Uint64(tensor(name)[8*i:])) }
	images, coarse, err := ReadCIFAR100(bytes.NewReader(testFile(t, "mini.bin")), "mini.bin")
	if err != nil {
		t.Fatal(err)
	}
	if images.Len() != 20 || len(images.Pixels) != 20*cifarPixels {
		t.Fatalf("%d images, %d pixels", images.Len(), len(images.Pixels))
	}
	mean, std := []float32{0.5071, 0.4867, 0.4408}, []float32{0.2675, 0.2565, 0.2761}
	for i := range images.Len() {
		if int(coarse[i]) != integer("coarse", i) || int(images.Labels[i]) != integer("fine", i) {
			t.Errorf("record %d: labels %d, %d", i, coarse[i], images.Labels[i])
		}
		original := images.slice(i, i+1).Pixels
		augmented := Augment(original, 32, 32, 3, 4, integer("top", i), integer("left", i), integer("flip", i) == 1)
		worst := 0.0
		plain, cropped := Normalise(original, mean, std), Normalise(augmented, mean, std)
		for j := range cifarPixels {
			planar := i*cifarPixels + j%3*1024 + j/3
			if want := tensor("augmented_u8")[planar]; augmented[j] != want {
				t.Fatalf("record %d, byte %d: augmented %d, want %d", i, j, augmented[j], want)
			}
			if 4*planar < len(tensor("normalised_f32")) {
				worst = max(worst, difference(plain[j], tensor("normalised_f32")[4*planar:]),
					difference(cropped[j], tensor("augmented_f32")[4*planar:]))
			}
		}
		if !(worst <= 2e-6) {
			t.Errorf("record %d: normalised values differ by up to %g", i, worst)
		}
	}
}

func difference(got float32, want []byte) float64 {
	return math.Abs(float64(got) - float64(math.Float32frombits(binary.LittleEndian.Uint32(want))))
}

func TestBadCIFARFiles(t *testing.T) {
	for file, want := range map[string]string{
		"bad_truncated.bin": "bad_truncated.bin: record 3: truncated: 3069 of 3074 bytes",
		"bad_label.bin":     "bad_label.bin: record 2: the fine label is 137, want 0 to 99",
		"bad_empty.bin":     "bad_empty.bin is empty",
	} {
		_, err := Load(t.Context(), "cifar-100", Options{Dir: filepath.Join("testdata", file)})
		if err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: %v", file, err)
		}
		report, err := Verify(t.Context(), "cifar-100", Options{Dir: filepath.Join("testdata", file)})
		if err == nil || len(report.Files) != 1 || !strings.HasSuffix(report.Files[0].Problem, want) {
			t.Errorf("%s: report %+v, %v", file, report, err)
		}
	}
	coarse := testFile(t, "mini.bin")
	coarse[3074] = 20
	if _, _, err := ReadCIFAR100(bytes.NewReader(coarse), "f"); err == nil ||
		err.Error() != "f: record 2: the coarse label is 20, want 0 to 19" {
		t.Error(err)
	}
	endless := io.LimitReader(zeros{}, cifarRecord*(cifarMax+1))
	if _, _, err := readCIFAR(endless, "f", 1); err == nil || !strings.Contains(err.Error(), "more than 50000 records") {
		t.Error(err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestCIFARPlaces loads the same records from all places that they can be in.
func TestCIFARPlaces(t *testing.T) {
	mini := testFile(t, "mini.bin")
	five := mini[:5*cifarRecord]
	dir := t.TempDir()
	write(t, filepath.Join(dir, "bins", "train.bin"), mini)
	write(t, filepath.Join(dir, "bins", "test.bin"), five)
	write(t, filepath.Join(dir, "unpacked", cifarFolder, "train.bin"), mini)
	write(t, filepath.Join(dir, "unpacked", cifarFolder, "test.bin"), five)
	archive := tarball(t, "cifar-100-binary/fine_label_names.txt", "apple\n", "cifar-100-binary/test.bin", string(five),
		"cifar-100-binary/train.bin", string(mini))
	write(t, filepath.Join(dir, "archive", cifarArchive), archive)
	write(t, filepath.Join(dir, "mine.tgz"), archive)
	for _, place := range []string{"bins", "bins/train.bin", "bins/test.bin", "unpacked", "archive",
		"archive/" + cifarArchive, "mine.tgz"} {
		set, err := Load(t.Context(), "cifar-100", Options{Dir: filepath.Join(dir, place), Train: 7})
		if err != nil {
			t.Errorf("%s: %v", place, err)
			continue
		}
		if set.Train.Len() != 7 || set.Test.Len() != 5 || set.Train.Labels[0] != 33 || set.ClassNames[33] != "forest" ||
			len(set.Train.Pixels) != 7*cifarPixels || set.Channels != 3 || set.Height != 32 || set.Width != 32 {
			t.Errorf("%s: %d, %d images of class %v", place, set.Train.Len(), set.Test.Len(), set.Train.Labels)
		}
	}
	set, err := Load(t.Context(), "cifar-100", Options{Dir: "testdata/mini.bin"})
	if err != nil || set.Train.Len() != 20 || set.Test.Len() != 0 || len(set.SHA256["mini.bin"]) != 64 {
		t.Errorf("one file: %+v, %v", set, err)
	}
	for place, want := range map[string]string{
		".":       "has neither cifar-100-binary.tar.gz nor train.bin and test.bin",
		"nowhere": "no such file",
	} {
		if _, err := Load(t.Context(), "cifar-100", Options{Dir: filepath.Join(dir, place)}); err == nil ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", place, err)
		}
	}
	if _, err := Load(t.Context(), "cifar-100", Options{Dir: filepath.Join(dir, "bins"), Test: 6}); err == nil ||
		!strings.Contains(err.Error(), "test images: cannot take 6 images: there are 5") {
		t.Error(err)
	}
	os.Remove(filepath.Join(dir, "bins", "test.bin"))
	if _, err := Load(t.Context(), "cifar-100", Options{Dir: filepath.Join(dir, "bins")}); err == nil ||
		!strings.Contains(err.Error(), "test.bin") {
		t.Error(err)
	}
}

func TestHostileArchives(t *testing.T) {
	mini := string(testFile(t, "mini.bin"))
	good := tarball(t, "cifar-100-binary/train.bin", mini, "cifar-100-binary/test.bin", mini)
	damaged := bytes.Clone(good)
	damaged[len(damaged)-6] ^= 1 // gzip's checksum
	badLabel := tarball(t, "train.bin", mini, "test.bin", string(testFile(t, "bad_label.bin")))
	link := tarball(t, "->train.bin", "/etc/passwd", "test.bin", mini)
	for name, c := range map[string]struct {
		archive []byte
		want    string
	}{
		"parent":    {tarball(t, "../../train.bin", mini, "test.bin", mini), `a member outside of itself, "../../train.bin"`},
		"absolute":  {tarball(t, "/train.bin", mini, "test.bin", mini), `a member outside of itself, "/train.bin"`},
		"twice":     {tarball(t, "a/train.bin", mini, "b/train.bin", mini), "two files train.bin"},
		"missing":   {tarball(t, "train.bin", mini), "the archive has no test.bin"},
		"link":      {link, "the archive has no train.bin"},
		"label":     {badLabel, "test.bin: record 2: the fine"},
		"truncated": {good[:len(good)/2], "truncated"},
		"damaged":   {damaged, "gzip: invalid checksum"},
		"empty":     {nil, "has no train.bin"},
		"text":      {[]byte("<html>Not found</html>"), "truncated"},
		"bomb":      {bomb(t), "the archive holds more than 200000000 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), cifarArchive)
			write(t, path, c.archive)
			_, err := Load(context.Background(), "cifar-100", Options{Dir: path})
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("%v\nwant %s", err, c.want)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Error("more than one line")
			}
		})
	}
}

// TestPinnedArchive: in the cache only the published archive will do.
func TestPinnedArchive(t *testing.T) {
	t.Setenv("DHKD_CACHE", t.TempDir())
	cache, err := CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	mini := string(testFile(t, "mini.bin"))
	path := filepath.Join(cache, cifarArchive)
	write(t, path, tarball(t, "train.bin", mini, "test.bin", mini))
	_, err = Load(t.Context(), "cifar-100", Options{})
	if !errors.Is(err, ErrChecksum) || !strings.Contains(err.Error(), path) ||
		!strings.Contains(err.Error(), cifarSource.sha256) {
		t.Error(err)
	}
	if !isFile(path) {
		t.Error("the file was removed")
	}
}

func FuzzCIFAR(f *testing.F) {
	mini, err := os.ReadFile("testdata/mini.bin")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(mini[:2*cifarRecord])
	f.Add(mini[:cifarRecord+1])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		images, coarse, err := ReadCIFAR100(bytes.NewReader(data), "fuzz")
		if ok := len(data) > 0 && len(data)%cifarRecord == 0; err == nil && !ok {
			t.Fatalf("%d bytes were accepted", len(data))
		}
		if err != nil {
			return
		}
		n := len(data) / cifarRecord
		if images.Len() != n || len(coarse) != n || len(images.Pixels) != n*cifarPixels {
			t.Fatalf("%d images, %d coarse labels, %d pixels from %d records", images.Len(), len(coarse), len(images.Pixels), n)
		}
		for i := range n {
			if images.Labels[i] != int32(data[i*cifarRecord+1]) || images.Labels[i] > 99 || coarse[i] > 19 {
				t.Fatalf("record %d: labels %d, %d", i, coarse[i], images.Labels[i])
			}
		}
	})
}

// tarball is a .tar.gz of name and content in turns. A name that starts with "->" is a symbolic link to its content.
func tarball(t *testing.T, files ...string) []byte {
	t.Helper()
	var buffer bytes.Buffer
	compressed := gzip.NewWriter(&buffer)
	archive := tar.NewWriter(compressed)
	for i := 0; i < len(files); i += 2 {
		header := &tar.Header{Name: files[i], Mode: 0o644, Size: int64(len(files[i+1])), Typeflag: tar.TypeReg}
		content := files[i+1]
		if name, isLink := strings.CutPrefix(files[i], "->"); isLink {
			header = &tar.Header{Name: name, Linkname: files[i+1], Typeflag: tar.TypeSymlink}
			content = ""
		}
		if err := archive.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(archive, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(archive.Close(), compressed.Close()); err != nil {
		t.Fatal(err)
	}
	return buffer.Bytes()
}

// bomb is a small archive with one huge member.
func bomb(t *testing.T) []byte {
	t.Helper()
	var buffer bytes.Buffer
	compressed, _ := gzip.NewWriterLevel(&buffer, gzip.BestSpeed)
	archive := tar.NewWriter(compressed)
	size := int64(cifarTarMax) + 1
	if err := archive.WriteHeader(&tar.Header{Name: "zeros", Size: size, Typeflag: tar.TypeReg}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(archive, zeros{}, size); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(archive.Close(), compressed.Close()); err != nil {
		t.Fatal(err)
	}
	return buffer.Bytes()
}

func testFile(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}
