package dataset

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// idx is an idx file of unsigned bytes.
func idx(data []byte, dims ...uint32) []byte {
	file := binary.BigEndian.AppendUint32(nil, uint32(0x0800+len(dims)))
	for _, d := range dims {
		file = binary.BigEndian.AppendUint32(file, d)
	}
	return append(file, data...)
}

func gzipped(t testing.TB, data []byte) []byte {
	t.Helper()
	var buffer bytes.Buffer
	w := gzip.NewWriter(&buffer)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buffer.Bytes()
}

// fakeFashion makes a directory of the four files: train and test images whose bytes and labels follow from their
// number.
func fakeFashion(t *testing.T, train, test int) string {
	t.Helper()
	dir := t.TempDir()
	for prefix, n := range map[string]int{"train": train, "t10k": test} {
		pixels, labels := fakeImages(n)
		write(t, filepath.Join(dir, prefix+"-images-idx3-ubyte.gz"), gzipped(t, idx(pixels, uint32(n), 28, 28)))
		write(t, filepath.Join(dir, prefix+"-labels-idx1-ubyte.gz"), gzipped(t, idx(labels, uint32(n))))
	}
	return dir
}

func fakeImages(n int) (pixels, labels []byte) {
	for i := range n {
		labels = append(labels, byte(i*7%10))
		for p := range fashionSide * fashionSide {
			pixels = append(pixels, byte(i*31+p*p%251))
		}
	}
	return pixels, labels
}

func TestFashionMNIST(t *testing.T) {
	needFashion(t)
	set, err := Load(t.Context(), "fashion-mnist", Options{Train: 100})
	if err != nil {
		t.Fatal(err)
	}
	if set.Train.Len() != 100 || set.Test.Len() != 10_000 || len(set.Train.Pixels) != 100*784 || set.Channels != 1 ||
		set.Classes != 10 || len(set.ClassNames) != 10 {
		t.Errorf("%d, %d images", set.Train.Len(), set.Test.Len())
	}
	if got := set.ClassNames[set.Train.Labels[0]]; got != "Boot" {
		t.Errorf("the first image is a %s", got)
	}
	report, err := Verify(t.Context(), "fashion-mnist", Options{})
	if err != nil || len(report.Files) != 4 {
		t.Fatalf("%+v, %v", report, err)
	}
	for i, f := range report.Files {
		if f.SHA256 != f.Want || f.Want != fashionSources[i].content || f.Problem != "" {
			t.Errorf("%+v", f)
		}
	}
}

// TestOwnFashion reads a directory of the user's, compressed and not.
func TestOwnFashion(t *testing.T) {
	dir := fakeFashion(t, 9, 6)
	_, labels := fakeImages(6)
	os.Remove(filepath.Join(dir, "t10k-labels-idx1-ubyte.gz"))
	write(t, filepath.Join(dir, "t10k-labels-idx1-ubyte"), idx(labels, 6))
	set, err := Load(t.Context(), "fashion-mnist", Options{Dir: dir, Train: 8})
	if err != nil {
		t.Fatal(err)
	}
	if set.Train.Len() != 8 || set.Test.Len() != 6 || set.Test.Labels[5] != 5 || set.Train.Pixels[784] != 31 {
		t.Errorf("%d, %d images; %v", set.Train.Len(), set.Test.Len(), set.Test.Labels)
	}
	for _, o := range []Options{{Dir: dir, Train: 10}, {Dir: dir, Test: 7}, {Dir: dir, Train: -1}} {
		if _, err := Load(t.Context(), "fashion-mnist", o); err == nil {
			t.Errorf("%+v was loaded", o)
		}
	}
}

func TestBadFashionFiles(t *testing.T) {
	const images, labels = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"
	pixels, few := fakeImages(4)
	good := gzipped(t, idx(pixels, 4, 28, 28))
	damaged := bytes.Clone(good)
	damaged[len(damaged)-6] ^= 1
	for name, c := range map[string]struct {
		file string
		data []byte
		want string
	}{
		"empty":        {images, nil, "truncated: the file ends in the idx header"},
		"short header": {images, []byte{0, 0, 8}, "truncated: the file ends in the idx header"},
		"magic":        {images, idx(pixels, 4, 784), "magic number 0x00000802, want 0x00000803"},
		"shape":        {images, idx(pixels, 4, 14, 56), "items of shape [14 56], want [28 28]"},
		"no items":     {images, idx(nil, 0, 28, 28), "0 items, want 1 to 60000"},
		"too many":     {images, idx(pixels, 4_000_000_000, 28, 28), "4000000000 items, want 1 to 60000"},
		"truncated":    {images, idx(pixels[:3000], 4, 28, 28), "after 3000 of the 3136 bytes"},
		"gz truncated": {images, good[:len(good)/2], "truncated"},
		"gz header":    {images, good[:5], "truncated: the file ends in the gzip header"},
		"gz tail":      {images, good[:len(good)-3], "truncated"},
		"gz damaged":   {images, damaged, "gzip: invalid checksum"},
		"trailing":     {images, idx(append(bytes.Clone(pixels), 0), 4, 28, 28), "bytes after the 4 items"},
		"label":        {labels, idx([]byte{1, 2, 10, 3}, 4), "label 3 of 4 is 10, want 0 to 9"},
		"count":        {labels, idx(few[:3], 3), "has 3 labels"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := fakeFashion(t, 4, 4)
			path := filepath.Join(dir, c.file)
			write(t, path, c.data)
			_, err := Load(t.Context(), "fashion-mnist", Options{Dir: dir})
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("%v\nwant %s", err, c.want)
			}
			report, err := Verify(t.Context(), "fashion-mnist", Options{Dir: dir})
			if err == nil || len(report.Files) != 4 {
				t.Fatalf("%+v, %v", report, err)
			}
			for _, f := range report.Files {
				if (f.Problem != "") != (f.Path == path) {
					t.Errorf("%s: problem %q", f.Name, f.Problem)
				}
			}
		})
	}
}

// TestPinnedFashion: in the cache only the published files will do, in a user's directory those of the published
// size.
func TestPinnedFashion(t *testing.T) {
	t.Setenv("DHKD_CACHE", t.TempDir())
	cache, err := CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(cache), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(fakeFashion(t, 4, 4), cache); err != nil {
		t.Fatal(err)
	}
	at := place{path: cache}
	if _, _, _, err := readFashion(t.Context(), at); !errors.Is(err, ErrChecksum) ||
		!strings.Contains(err.Error(), fashionSources[0].content) {
		t.Error(err)
	}
	dir := fakeFashion(t, 4, 4)
	write(t, filepath.Join(dir, "t10k-labels-idx1-ubyte.gz"), gzipped(t, idx(make([]byte, 10_000), 10_000)))
	if _, _, _, err := readFashion(t.Context(), place{path: dir, own: true}); !errors.Is(err, ErrChecksum) {
		t.Error(err)
	}
}

func FuzzIDX(f *testing.F) {
	f.Add(idx([]byte{1, 2, 3, 4, 5, 6, 7, 8}, 2, 2, 2))
	f.Add(idx([]byte{1, 2, 3}, 2, 2, 2))
	f.Add(gzipped(f, idx([]byte{1, 2, 3, 4}, 1, 2, 2)))
	f.Fuzz(func(t *testing.T, file []byte) {
		r, err := maybeGunzip(bytes.NewReader(file))
		if err != nil {
			return
		}
		data, err := readIDX(r, 1000, 2, 2)
		if err != nil {
			return
		}
		if len(data) == 0 || len(data)%4 != 0 || len(data) > 4000 {
			t.Fatalf("%d bytes of data", len(data))
		}
		if file[0] == 0 && !bytes.Equal(idx(data, uint32(len(data)/4), 2, 2), file) {
			t.Fatal("what was read is not what the file says")
		}
	})
}

// needFashion skips a test of the real images where they are not, but not in CI.
func needFashion(t testing.TB) {
	t.Helper()
	if _, err := collections[0].find(Options{}); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}
