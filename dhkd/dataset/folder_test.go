package dataset

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// drawn is a JPEG of a gradient that depends on n.
func drawn(n, width, height int) []byte {
	m := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			m.Set(x, y, color.RGBA{uint8(x * 255 / width), uint8(y * 255 / height), uint8(n * 37), 255})
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, nil); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// tree writes files, of which those that end in JPEG are drawn, and returns their directory.
func tree(t testing.TB, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i, f := range files {
		name, text, _ := strings.Cut(f, "=")
		at := filepath.Join(dir, filepath.FromSlash(name))
		check(t, os.MkdirAll(filepath.Dir(at), 0o755))
		if strings.HasSuffix(name, "/") {
			check(t, os.MkdirAll(at, 0o755))
			continue
		}
		data := []byte(text)
		if text == "" {
			data = drawn(i, 20+i%7, 20+i%5)
		}
		check(t, os.WriteFile(at, data, 0o644))
	}
	return dir
}

// archive is the directory's files as a tar, those of each class in one of their own if nested.
func archive(t testing.TB, dir, under string, nested bool) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	add := func(name string, data []byte) {
		check(t, w.WriteHeader(&tar.Header{Name: name, Size: int64(len(data)), Mode: 0o644}))
		_, err := w.Write(data)
		check(t, err)
	}
	if nested {
		entries, err := os.ReadDir(dir)
		check(t, err)
		for _, e := range entries {
			add(e.Name()+".tar", archive(t, filepath.Join(dir, e.Name()), "", false))
		}
	} else {
		check(t, filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			data, err := os.ReadFile(p)
			rel, _ := filepath.Rel(dir, p)
			add(under+filepath.ToSlash(rel), data)
			return err
		}))
	}
	check(t, w.Close())
	return b.Bytes()
}

var twoClasses = []string{"train/n02/a.JPEG", "train/n02/b.JPEG", "train/n01/c.jpg", "train/n01/d.JPEG", "train/n01/e.JPEG",
	"train/n01/notes.txt=x", "train/n02/._b.JPEG=x", "val/n01/v.JPEG", "val/n02/w.JPEG", "val/n02/u.JPEG"}

// TestLayouts reads the same images from every layout.
func TestLayouts(t *testing.T) {
	train := []string{"train/n02/a.JPEG", "train/n02/b.JPEG", "train/n01/c.jpg", "train/n01/d.JPEG", "train/n01/e.JPEG"}
	tiny := []string{"train/n02/images/a.JPEG", "train/n02/images/b.JPEG", "train/n01/images/c.jpg", "train/n01/images/d.JPEG",
		"train/n01/images/e.JPEG", "train/n01/n01_boxes.txt=x"}
	inTar := func(under string) string {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "all.tar"), archive(t, tree(t, twoClasses...), under, false))
		return filepath.Join(dir, "all.tar")
	}
	published := tree(t, "val_labels.txt=v n01\nw n02\nu n02\n")
	write(t, filepath.Join(published, "ILSVRC2012_img_train.tar"), archive(t, filepath.Join(tree(t, train...), "train"), "", true))
	flat := tree(t, "v.JPEG", "w.JPEG", "u.JPEG")
	write(t, filepath.Join(published, "ILSVRC2012_img_val.tar"), archive(t, flat, "", false))
	for name, dir := range map[string]string{
		"by class": tree(t, twoClasses...),
		"Tiny-ImageNet": tree(t, append(tiny, "val/images/v.JPEG", "val/images/w.JPEG", "val/images/u.JPEG", "wnids.txt=n01",
			"val/val_annotations.txt=v.JPEG\tn01\t0\t0\t9\t9\nw.JPEG\tn02\t0\t0\t9\t9\nu.JPEG\tn02\t0\t0\t9\t9\n", "test/images/x.JPEG")...),
		"Kaggle": tree(t, append(train, "val/v.JPEG", "val/w.JPEG", "val/u.JPEG",
			"LOC_val_solution.csv=ImageId,PredictionString\r\nv,n01 85 1 499 272\r\nw,n02 1 2 3 4 n02 5 6 7 8\r\nu,n02 1 1 1 1\r\n")...),
		"wrapped":         filepath.Dir(filepath.Dir(tree(t, prefixed("wrap/images/", twoClasses)...) + "/wrap/x")),
		"archive":         inTar(""),
		"wrapped archive": inTar("./images/all/"),
		"as published":    published,
	} {
		set, err := Load(t.Context(), "image-folder", Options{Dir: dir, View: View{Side: 8}})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		base := func(s Split) (names []string) {
			for i, m := range s.Files.members {
				file := m.name[strings.LastIndex(m.name, "/")+1:]
				names = append(names, fmt.Sprintf("%s:%d", file, s.Labels[i]))
			}
			return names
		}
		got := fmt.Sprint(set.ClassNames, base(set.Train), base(set.Test))
		if want := "[n01 n02] [c.jpg:0 a.JPEG:1 d.JPEG:0 b.JPEG:1 e.JPEG:0] [v.JPEG:0 u.JPEG:1 w.JPEG:1]"; got != want {
			t.Errorf("%s: got\n%s, want\n%s", name, got, want)
		}
		if all := streamed(t, set.Train, nil); len(all.Labels) != 5 {
			t.Errorf("%s: %v", name, all.Labels)
		}
	}
}

func prefixed(prefix string, names []string) (all []string) {
	for _, n := range names {
		all = append(all, prefix+n)
	}
	return all
}

// streamed is the whole split in batches of two.
func streamed(t testing.TB, s Split, draw *Draw) (all Batch) {
	t.Helper()
	order := make([]int32, s.Len())
	for i := range order {
		order[i] = int32(i)
	}
	stream := s.Stream(t.Context(), order, 2, draw)
	defer stream.Close()
	for {
		b, err := stream.Next()
		if err == io.EOF {
			return all
		}
		check(t, err)
		all.Pixels, all.Labels, all.Indices = append(all.Pixels, b.Pixels...), append(all.Labels, b.Labels...),
			append(all.Indices, b.Indices...)
	}
}

// TestFolderErrors: each says what is wrong, where, and what to do.
func TestFolderErrors(t *testing.T) {
	with := func(more ...string) string { return tree(t, append(more, twoClasses...)...) }
	flat := func(labels string) string {
		return tree(t, append(slices.Clone(twoClasses[:7]), "val/v.JPEG", "val/w.JPEG", "val_labels.txt="+labels)...)
	}
	compressed := filepath.Join(t.TempDir(), "x.tar.gz")
	write(t, compressed, gzipped(t, archive(t, with(), "", false)))
	cut := filepath.Join(t.TempDir(), "x.tar")
	write(t, cut, archive(t, with(), "", false)[:600])
	for want, dir := range map[string]string{
		"no such file":                        "/nowhere",
		"no training images are found; known": tree(t, "images/a.JPEG"),
		"no validation images":                tree(t, twoClasses[:6]...),
		"train/n03 has no images":             with("train/n03/"),
		"val lacks n03 and has none":          with("train/n03/x.JPEG"),
		"val lacks none and has n00":          with("val/n00/x.JPEG"),
		"in no class's folder":                with("train/x.JPEG"),
		"train/n01/more/x.JPEG is in no":      with("train/n01/more/x.JPEG"),
		"val/n01/images/a/x.JPEG is in no":    with("val/n01/images/a/x.JPEG"),
		"x.webp: images of this format":       with("train/n01/x.webp=x"),
		"some validation images are in":       with("val/x.JPEG"),
		"no file has their labels":            tree(t, append(slices.Clone(twoClasses[:7]), "val/v.JPEG")...),
		"no class for val/w.JPEG":             flat("v n01"),
		`line 2: train has no class "65"`:     flat("v n01\nw 65"),
		"line 2: want the name":               flat("v n01\nw"),
		"is a n02 and, on a line before":      flat("v n01\nw n02\nv n02"),
		"has one class, n01":                  tree(t, "train/n01/a.JPEG", "val/n01/a.JPEG"),
		"uncompressed first":                  compressed,
		"cannot be read as a tar archive":     cut,
		"has no printable name":               tree(t, "train/a\x1bb/x.JPEG", "train/c/x.JPEG", "val/a\x1bb/x.JPEG", "val/c/x.JPEG"),
	} {
		_, err := Load(t.Context(), "image-folder", Options{Dir: dir})
		if err == nil || !strings.Contains(err.Error(), want) || strings.ContainsRune(err.Error(), 0x1b) {
			t.Errorf("%s: %v", want, err)
		}
	}
	for want, o := range map[string]Options{
		"take 6 images: there are 5": {Train: 6},
		"side: must be 1 to 4096":    {View: View{Side: 5000}},
		"resize: must be 64":         {View: View{Side: 64, Resize: 63}},
		"min_area and min_aspect":    {View: View{MinArea: 0.5}},
	} {
		o.Dir = with()
		if _, err := Load(t.Context(), "image-folder", o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	if _, err := Load(t.Context(), "imagenet", Options{Dir: with()}); err == nil || !strings.Contains(err.Error(), "1000") {
		t.Error(err)
	}
	cache(t)
	_, err := Load(t.Context(), "imagenet", Options{Fetch: true})
	if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "--data PATH") {
		t.Error(err)
	}
}

// TestManyClasses: a thousand classes are ImageNet only with its names; the first images are of as many classes as can be.
func TestManyClasses(t *testing.T) {
	l := listing{root: "r"}
	for i := range 3000 {
		l.members = append(l.members, member{name: fmt.Sprintf("train/n%08d/%d.JPEG", i%1000, i)},
			member{name: fmt.Sprintf("val/n%08d/%d.JPEG", i%1000, i)})
	}
	found, err := arrange(l)
	check(t, err)
	if err := checkClasses(imageNetInfo, found.classes); err == nil || !strings.Contains(err.Error(), "other classes") {
		t.Error(err)
	}
	for i, label := range found.train.labels {
		if int(label) != i%1000 {
			t.Fatalf("image %d has label %d", i, label)
		}
	}
}

// TestStream: views depend on seed, epoch and image alone, whatever the cores and wherever it starts.
func TestStream(t *testing.T) {
	var files []string
	for i := range 30 {
		files = append(files, fmt.Sprintf("train/c%d/%d.JPEG", i%3, i))
	}
	dir := tree(t, append(files, "val/c0/a.JPEG", "val/c1/a.JPEG", "val/c2/a.JPEG")...)
	set, err := Load(t.Context(), "image-folder", Options{Dir: dir, View: View{Side: 8, Resize: 9, MinArea: 0.1, MinAspect: 0.8}})
	check(t, err)
	const size = 8 * 8 * 3
	one := streamed(t, set.Train, &Draw{Seed: 1, Epoch: 1})
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	if again := streamed(t, set.Train, &Draw{Seed: 1, Epoch: 1}); !bytes.Equal(one.Pixels, again.Pixels) {
		t.Error("other cores, other images")
	}
	runtime.GOMAXPROCS(3)
	order := []int32{29, 3, 17}
	stream := set.Train.Stream(t.Context(), order, 3, &Draw{Seed: 1, Epoch: 1})
	part, err := stream.Next()
	stream.Close()
	check(t, err)
	for i, index := range order {
		if !bytes.Equal(part.Pixels[i*size:(i+1)*size], one.Pixels[int(index)*size:][:size]) || part.Labels[i] != set.Train.Labels[index] {
			t.Errorf("image %d differs in another order", index)
		}
	}
	for _, d := range []*Draw{{Seed: 2, Epoch: 1}, {Seed: 1, Epoch: 2}, nil} {
		if bytes.Equal(one.Pixels, streamed(t, set.Train, d).Pixels) {
			t.Errorf("%+v: the same views", d)
		}
	}
	held, err := set.Holdout(6)
	check(t, err)
	if got := streamed(t, held.Test, nil); !bytes.Equal(got.Pixels, streamed(t, set.Train, nil).Pixels[24*size:]) {
		t.Error("held-out images are not the last ones")
	}
	if m := set.Image(set.Train, 5); m.Bounds().Dx() != 8 {
		t.Error(m.Bounds())
	}
	ctx, cancel := context.WithCancel(t.Context())
	stream = set.Train.Stream(ctx, order, 1, nil)
	cancel()
	if _, err := stream.Next(); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	stream.Close()
}

// TestStreamOfMemory: a split in memory is the same.
func TestStreamOfMemory(t *testing.T) {
	s := Split{Pixels: []byte("aabbccddee"), Labels: []int32{0, 1, 2, 3, 4}}
	if all := streamed(t, s, &Draw{}); string(all.Pixels) != "aabbccddee" || !slices.Equal(all.Labels, s.Labels) {
		t.Errorf("%s %v", all.Pixels, all.Labels)
	}
}

// TestBadImages: what cannot be decoded is an error that names it, or is skipped and named.
func TestBadImages(t *testing.T) {
	bad := map[string]string{
		"train/c0/empty.JPEG": "", "train/c0/text.JPEG": "what", "train/c1/cut.JPEG": string(drawn(1, 50, 50)[:700]),
		"train/c1/bomb.JPEG": hugePNG(60000, 60000),
		"train/c2/none.JPEG": hugePNG(0, 5),
	}
	dir := tree(t, "train/c0/a.JPEG", "train/c1/a.JPEG", "train/c2/a.JPEG", "val/c0/a.JPEG", "val/c1/a.JPEG", "val/c2/a.JPEG")
	for name, text := range bad {
		write(t, filepath.Join(dir, filepath.FromSlash(name)), []byte(text))
	}
	v := View{Side: 8, MinArea: 0.5, MinAspect: 0.8}
	set, err := Load(t.Context(), "image-folder", Options{Dir: dir, View: v})
	check(t, err)
	for i, m := range set.Train.Files.members {
		stream := set.Train.Stream(t.Context(), []int32{int32(i)}, 1, &Draw{})
		_, err := stream.Next()
		stream.Close()
		_, isBad := bad[m.name]
		if isBad && (err == nil || !strings.Contains(err.Error(), m.name) || !strings.Contains(err.Error(), "bad_images")) || !isBad && err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
	}
	set, err = Load(t.Context(), "image-folder", Options{Dir: dir, View: v, SkipBad: true})
	check(t, err)
	for _, draw := range []*Draw{nil, {Seed: 1}} {
		for i, label := range streamed(t, set.Train, draw).Labels {
			_, isBad := bad[set.Train.Files.members[i].name]
			if skipped := label < 0; skipped != (isBad && draw == nil) {
				t.Errorf("%v: %s has label %d", draw, set.Train.Files.members[i].name, label)
			}
		}
	}
	if got := set.Test.Files.Bad(); len(got) != len(bad) || got[0] != "train/c0/empty.JPEG" {
		t.Errorf("bad: %v", got)
	}
	report, err := Verify(t.Context(), "image-folder", Options{Dir: dir})
	if err == nil || len(report.Files) != 2+len(bad) || report.Files[0].Images != 8 || report.Files[0].Classes != 3 {
		t.Errorf("%v %+v", err, report)
	}
}

// hugePNG says that it is of that size, and has nothing.
func hugePNG(width, height uint32) string {
	head := append([]byte("IHDR"), 0, 0, 0, 0, 0, 0, 0, 0, 8, 2, 0, 0, 0)
	binary.BigEndian.PutUint32(head[4:], width)
	binary.BigEndian.PutUint32(head[8:], height)
	sum := binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(head))
	return "\x89PNG\r\n\x1a\n\x00\x00\x00\x0d" + string(head) + string(sum)
}

// FuzzLayout: names and label files give a layout or an error.
func FuzzLayout(f *testing.F) {
	f.Add("train/a/x.png\ntrain/b/x.png\nval/x.png", "x a")
	f.Add("train/a/images/x.png\nval/images/x.png\nval/a/y.png", "ImageId,PredictionString\nx,a 1 2")
	f.Fuzz(func(t *testing.T, names, labels string) {
		l := listing{root: "r"}
		for _, n := range strings.Split(names, "\n") {
			l.members = append(l.members, member{name: n, archive: "x"})
		}
		l.unwrap()
		if a, err := arrange(l); err == nil && (len(a.train.members) == 0 || len(a.val.members) == 0) {
			t.Error("empty")
		}
		if all, err := label(l.members, strings.NewReader(labels), []string{"a", "b"}); err == nil && len(all) != len(l.members) {
			t.Error("not all have a class")
		}
	})
}

// FuzzView: a file gives a view or an error.
func FuzzView(f *testing.F) {
	f.Add(drawn(1, 9, 7))
	f.Add([]byte(hugePNG(70000, 70000)))
	for _, name := range []string{"palette.png", "rgba.png", "cmyk.jpg", "progressive.jpg", "rgb422.jpg"} {
		f.Add(testBytes(f, name))
	}
	var d decoder
	out := make([]uint8, 8*8*3)
	f.Fuzz(func(t *testing.T, file []byte) {
		_ = d.view(out, file, View{Side: 8, Resize: 9}, nil)
	})
}

func testBytes(t testing.TB, name string) []byte {
	data, err := os.ReadFile(filepath.Join("testdata/pillow", name))
	check(t, err)
	return data
}
