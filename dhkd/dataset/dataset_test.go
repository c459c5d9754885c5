package dataset

import (
	"image/color"
	"slices"
	"strings"
	"testing"
)

// counting is a set of n training images of two by two pixels and c channels whose bytes count up.
func counting(n, c int) *Set {
	s := &Set{Name: "counting", Channels: c, Height: 2, Width: 2}
	for i := range n {
		s.Train.Labels = append(s.Train.Labels, int32(i))
		for range 4 * c {
			s.Train.Pixels = append(s.Train.Pixels, uint8(len(s.Train.Pixels)))
		}
	}
	return s
}

func TestHoldout(t *testing.T) {
	s := counting(5, 1)
	held, err := s.Holdout(2)
	if err != nil {
		t.Fatal(err)
	}
	if held.Train.Len() != 3 || held.Test.Len() != 2 || held.Test.Labels[0] != 3 || held.Test.Pixels[0] != 12 {
		t.Errorf("train %v, test %v", held.Train, held.Test)
	}
	if s.Train.Len() != 5 || s.Test.Len() != 0 {
		t.Error("the set itself changed")
	}
	if same, err := s.Holdout(0); err != nil || same != s {
		t.Errorf("Holdout(0) = %v, %v", same, err)
	}
	for _, n := range []int{-1, 5, 6} {
		if _, err := s.Holdout(n); err == nil || !strings.Contains(err.Error(), "of the 5 training images of counting") {
			t.Errorf("Holdout(%d): %v", n, err)
		}
	}
}

func TestSubset(t *testing.T) {
	s := counting(5, 3).Train
	two, err := s.Subset(2)
	if err != nil || two.Len() != 2 || len(two.Pixels) != 24 {
		t.Errorf("%v, %v", two, err)
	}
	if none, err := s.Subset(0); err != nil || none.Len() != 0 || len(none.Pixels) != 0 {
		t.Errorf("%v, %v", none, err)
	}
	if _, err := s.Subset(6); err == nil {
		t.Error("six of five")
	}
	// Appending to a subset must not write into what follows it.
	_ = append(two.Pixels, 99)
	if s.Pixels[24] != 24 {
		t.Error("a subset's capacity reaches beyond it")
	}
}

func TestImage(t *testing.T) {
	grey := counting(3, 1)
	if got := grey.Image(grey.Train, 1).At(1, 1); got != (color.Gray{Y: 7}) {
		t.Errorf("grey pixel is %v", got)
	}
	colour := counting(3, 3)
	if got := colour.Image(colour.Train, 1).At(1, 0); got != (color.NRGBA{R: 15, G: 16, B: 17, A: 255}) {
		t.Errorf("colour pixel is %v", got)
	}
}

// Images at equal distances are as many of each class where the classes come one after the other.
func TestSpread(t *testing.T) {
	var s Split
	for i := range 40 {
		s.Labels = append(s.Labels, int32(i/10))
		s.Pixels = append(s.Pixels, uint8(i), uint8(i))
	}
	got, err := s.Spread(8)
	if err != nil {
		t.Fatal(err)
	}
	if want := []int32{0, 0, 1, 1, 2, 2, 3, 3}; !slices.Equal(got.Labels, want) {
		t.Errorf("labels %v, want %v", got.Labels, want)
	}
	if want := []uint8{0, 0, 5, 5, 10, 10}; !slices.Equal(got.Pixels[:6], want) || len(got.Pixels) != 16 {
		t.Errorf("pixels %v", got.Pixels)
	}
	if want := []int32{0, 1, 3}; !slices.Equal(Spread(5, 3), want) {
		t.Errorf("3 of 5: %v", Spread(5, 3))
	}
	if all, err := s.Spread(40); err != nil || &all.Pixels[0] != &s.Pixels[0] {
		t.Errorf("all: %v", err)
	}
	for _, k := range []int{0, 41} {
		if _, err := s.Spread(k); err == nil {
			t.Errorf("%d of 40", k)
		}
	}
}
