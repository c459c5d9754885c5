package dataset

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func digest(t *testing.T, s Split) string {
	t.Helper()
	h := sha256.New()
	h.Write(s.Pixels)
	if err := binary.Write(h, binary.LittleEndian, s.Labels); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// TestPairsNeverDrift pins the set that experiments are run on: records of one version compare with those of another.
// The digests were computed by an independent program in Python too, from the description at loadPairs.
func TestPairsNeverDrift(t *testing.T) {
	needFashion(t)
	for _, c := range []struct {
		seed        uint64
		train, test string
	}{
		{0, "785c12f58feabb2d13d408a8454b6ada149a5db16daee1ef3ee6e4fd5ee3b39f",
			"d57a376823c7cba34d6460bb86e9327d2ac3ebdc592c73bac027efd8cd6380fb"},
		{1, "5deb469b18bf6e5192cbab1661d6ecbe2490a138ad4d1a496deed995b53eb07f",
			"4c0e591f3cfbe874163916bb0643d1e74aecf2591af2cb58b08981ddaf4c7ea1"},
	} {
		set, err := Load(t.Context(), "fashion-pairs-100", Options{Train: 2000, Seed: c.seed})
		if err != nil {
			t.Fatal(err)
		}
		if train, test := digest(t, set.Train), digest(t, set.Test); train != c.train || test != c.test {
			t.Errorf("seed %d: digests %s, %s", c.seed, train, test)
		}
	}
}

// TestPairsOfFakes pins the same without the real images.
func TestPairsOfFakes(t *testing.T) {
	set, err := Load(t.Context(), "fashion-pairs-100", Options{Dir: fakeFashion(t, 41, 20), Seed: 5})
	if err != nil {
		t.Fatal(err)
	}
	if set.Train.Len() != 20 || set.Test.Len() != 20 || set.Classes != 100 || set.ClassNames[9] != "T-shirt + Boot" {
		t.Errorf("%d, %d pairs, %q", set.Train.Len(), set.Test.Len(), set.ClassNames)
	}
	if got := digest(t, set.Train); got != "139414f492c3ec9824266fc1015a6c983c301d19b44a891b6d35ae7e62c3a1c9" {
		t.Errorf("training pairs: %s", got)
	}
	if got := digest(t, set.Test); got != "5d2a5baeda08ec6b141f649aa21608aa46a8e663a59bb73ea41b5883e7bad7cd" {
		t.Errorf("test pairs: %s", got)
	}
	if _, err := Load(t.Context(), "fashion-pairs-100", Options{Dir: fakeFashion(t, 41, 20), Train: 21}); err == nil {
		t.Error("21 disjoint pairs of 41 images")
	}
}

// marked is n images, each of one grey level and a label, so that a pair says which images it is made of.
func marked(n int) Split {
	s := Split{Pixels: make([]uint8, 0, n*784), Labels: make([]int32, n)}
	for i := range n {
		s.Pixels = append(s.Pixels, bytes.Repeat([]byte{byte(i + 1)}, 784)...)
		s.Labels[i] = int32(i * 3 % 10)
	}
	return s
}

// members are the images of each pair of marked images.
func members(s Split) (images []int) {
	const size = pairSide * pairSide * 3
	for i := range s.Len() {
		middle := s.Pixels[i*size+(8*pairSide+8)*3:]
		images = append(images, int(middle[0])-1, int(middle[1])-1)
	}
	return images
}

func TestPairing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		count := rapid.IntRange(2, 200).Draw(t, "images")
		seed := rapid.Uint64().Draw(t, "seed")
		images := marked(count)
		all, err := pairs(images, 0, "pairs", seed, streamTrain)
		if err != nil {
			t.Fatal(err)
		}
		used := members(all)
		if all.Len() != count/2 {
			t.Fatalf("%d pairs of %d images", all.Len(), count)
		}
		for i, label := range all.Labels {
			if want := 10*images.Labels[used[2*i]] + images.Labels[used[2*i+1]]; label != want {
				t.Fatalf("pair %d has the label %d, want %d", i, label, want)
			}
		}
		if slices.Sort(used); len(slices.Compact(used)) != 2*all.Len() {
			t.Fatal("pairs share an image")
		}
		n := rapid.IntRange(1, count/2).Draw(t, "n")
		first, err := pairs(images, n, "pairs", seed, streamTrain)
		if err != nil || !bytes.Equal(first.Pixels, all.Pixels[:len(first.Pixels)]) || first.Len() != n {
			t.Fatalf("the first %d pairs are not the beginning of all: %v", n, err)
		}
		test, err := pairs(images, 0, "pairs", seed, streamTestA, streamTestB)
		if err != nil || test.Len() != count&^1 {
			t.Fatalf("%d test pairs of %d images: %v", test.Len(), count, err)
		}
		used = members(test)
		for _, half := range [][]int{used[:count&^1], used[count&^1:]} {
			slices.Sort(half)
			for i, image := range half {
				if i != image {
					t.Fatal("a permutation does not use each image once")
				}
			}
		}
	})
}

func TestPairsDependOnSeed(t *testing.T) {
	a, b := permutation(1000, 1, streamTrain), permutation(1000, 2, streamTrain)
	if slices.Equal(a, b) || slices.Equal(a, permutation(1000, 1, streamTestA)) {
		t.Error("seeds or streams give the same order")
	}
	if !slices.Equal(a, permutation(1000, 1, streamTrain)) {
		t.Error("one seed gives two orders")
	}
}

func TestShrink(t *testing.T) {
	image := make([]uint8, 784)
	// Sums of 1, 2, 255*4 and 6: averages 0.25, 0.5, 255 and 1.5, of which halves go up.
	image[0] = 1
	image[2], image[3] = 1, 1
	image[28+26], image[28+27], image[26], image[27] = 255, 255, 255, 255
	image[26*28], image[27*28+1] = 5, 1
	sample := make([]uint8, pairSide*pairSide*3)
	shrink(sample[1:], image)
	want := map[[2]int]uint8{{1, 2}: 1, {1, 14}: 255, {14, 1}: 2}
	for y := range pairSide {
		for x := range pairSide {
			pixel := sample[(y*pairSide+x)*3:][:3]
			if pixel[0] != 0 || pixel[1] != want[[2]int{y, x}] || pixel[2] != 0 {
				t.Errorf("pixel (%d, %d) is %v, want green %d", y, x, pixel, want[[2]int{y, x}])
			}
		}
	}
}

func BenchmarkQuickstartSet(b *testing.B) {
	needFashion(b)
	for b.Loop() {
		if _, err := Load(b.Context(), "fashion-pairs-100", Options{Train: 2000}); err != nil {
			b.Fatal(err)
		}
	}
}

// An article as a pair is in red and in green what it is in a pair, and has the label of the article.
func TestArticles(t *testing.T) {
	set := &Set{Name: "fashion-mnist", Classes: 10, Channels: 1, Height: 28, Width: 28}
	set.Train = Split{Labels: []int32{3, 7}, Pixels: make([]uint8, 2*28*28)}
	for i := range set.Train.Pixels {
		set.Train.Pixels[i] = uint8(i * 7)
	}
	set.Test = Split{Labels: []int32{1}, Pixels: make([]uint8, 28*28)}
	a, err := Articles(set)
	if err != nil {
		t.Fatal(err)
	}
	if a.Channels != 3 || a.Height != 16 || a.Width != 16 || a.Classes != 10 || a.Test.Len() != 1 || set.Height != 28 {
		t.Fatalf("%+v", a)
	}
	second := a.Train.slice(1, 2)
	want := make([]uint8, 16*16*3)
	shrink(want, set.Train.slice(1, 2).Pixels)
	for p := range 16 * 16 {
		r, g, b := second.Pixels[3*p], second.Pixels[3*p+1], second.Pixels[3*p+2]
		if r != want[3*p] || g != want[3*p] || b != 0 {
			t.Fatalf("pixel %d is %d, %d, %d; want %d, %d, 0", p, r, g, b, want[3*p], want[3*p])
		}
	}
	if a.Train.Labels[1] != 7 {
		t.Errorf("labels %v", a.Train.Labels)
	}
	if _, err := Articles(a); err == nil {
		t.Error("pairs are taken for articles")
	}
}
