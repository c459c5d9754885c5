package dataset

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
)

// Image folders are read as torchvision's ImageFolder reads them: the sorted names of the classes' folders give the
// labels. ImageNet is one whose classes are known, so that a published teacher's outputs are theirs.
var (
	imageNetInfo = Info{
		Name: "imagenet", What: "photographs of 1000 kinds of things (ILSVRC 2012), colour, decoded as they are needed", Classes: 1000,
		Train: 1_281_167, Test: 50_000, Shape: [3]int{3, defaultSide, defaultSide}, Licence: "for research, see the home page",
		Home: "https://www.image-net.org",
	}
	folderInfo = Info{
		Name: "image-folder", What: "your own images in a folder for each class, or Tiny-ImageNet, decoded as they are needed",
		Shape: [3]int{3, defaultSide, defaultSide}, Licence: "your own",
	}
)

const (
	defaultSide = 224
	// imageNetClasses is the digest of the 1000 sorted WordNet identifiers, a line each.
	imageNetClasses = "70002b0ff5de60a3a17a82dbfcff291931f96225ddf941ad2e182fc39e183d15"
)

func folderCollection(info Info) *collection {
	return &collection{
		Info: info, folder: true,
		load:   func(ctx context.Context, at place, o Options) (*Set, error) { return loadFolder(info, at.path, o) },
		verify: func(ctx context.Context, at place) ([]File, error) { return verifyFolder(ctx, info, at.path) },
	}
}

// loadFolder reads the names of a folder's files; the images are read by [Split.Stream].
func loadFolder(info Info, path string, o Options) (*Set, error) {
	v, err := o.View.complete()
	if err != nil {
		return nil, err
	}
	found, err := openFolder(info, path)
	if err != nil {
		return nil, err
	}
	set := &Set{Name: info.Name, Classes: len(found.classes), ClassNames: found.classes, Channels: 3, Height: v.Side, Width: v.Side,
		Mean: []float32{0.485, 0.456, 0.406}, Std: []float32{0.229, 0.224, 0.225},
		SHA256: map[string]string{"train (names)": found.train.digest(), "val (names)": found.val.digest()}}
	var bad *badFiles
	if o.SkipBad {
		bad = &badFiles{}
	}
	split := func(m images) Split {
		return Split{Labels: m.labels, Files: &Files{found.root, m.members, v, bad, false}}
	}
	if set.Train, err = split(found.train).take(o.Train, "training images"); err != nil {
		return nil, err
	}
	set.Test, err = split(found.val).take(o.Test, "validation images")
	return set, err
}

// openFolder finds the images, and compares the classes with ImageNet's where it must be that.
func openFolder(info Info, path string) (layout, error) {
	l, err := list(path)
	if err != nil {
		return layout{}, err
	}
	found, err := arrange(l)
	if err != nil {
		return layout{}, err
	}
	if err := checkClasses(info, found.classes); err != nil {
		return layout{}, fmt.Errorf("%s has %w", path, err)
	}
	return found, nil
}

func checkClasses(info Info, classes []string) error {
	digest := sha256.Sum256([]byte(strings.Join(classes, "\n") + "\n"))
	switch n := len(classes); {
	case n < 2:
		return fmt.Errorf("one class, %s: two are needed", classes[0])
	case info.Classes == 0:
		return nil
	case n != info.Classes:
		return fmt.Errorf("%d classes, %s has %d: a data set of your own is called %s", n, info.Name, info.Classes,
			folderInfo.Name)
	case hex.EncodeToString(digest[:]) != imageNetClasses:
		return errors.New("other classes than ImageNet's 1000, whose folders are named n01440764 to n15075141: a published " +
			"network's outputs would be taken for others'")
	}
	return nil
}

// verifyFolder decodes every image. The error is that of the first bad one; each is reported.
func verifyFolder(ctx context.Context, info Info, path string) (files []File, failure error) {
	found, err := openFolder(info, path)
	if err != nil {
		return nil, err
	}
	v, _ := View{}.complete()
	for _, part := range []struct {
		name string
		images
	}{{"train", found.train}, {"val", found.val}} {
		files = append(files, File{Name: part.name, Path: filepath.Join(found.root, part.name), SHA256: part.digest(),
			Images: len(part.members), Classes: len(found.classes)})
		s := Split{Labels: part.labels, Files: &Files{found.root, part.members, v, &badFiles{}, true}}
		order := make([]int32, s.Len())
		for i := range order {
			order[i] = int32(i)
		}
		stream := s.Stream(ctx, order, 64, nil)
		for err = nil; err == nil; {
			_, err = stream.Next()
		}
		stream.Close()
		if err != io.EOF {
			return files, err
		}
		for _, name := range s.Files.Bad() {
			err := s.Files.bad.errs[name]
			files = append(files, File{Name: name, Path: filepath.Join(found.root, filepath.FromSlash(name)), Problem: err.Error()})
			if failure == nil {
				failure = err
			}
		}
	}
	return files, failure
}

// complete fills in the defaults.
func (v View) complete() (View, error) {
	if v.Side == 0 {
		v.Side = defaultSide
	}
	if v.Resize == 0 {
		v.Resize = v.Side * 8 / 7
	}
	switch {
	case v.Side < 1 || v.Side > 4096:
		return v, fmt.Errorf("side: must be 1 to 4096 pixels, is %d", v.Side)
	case v.Resize < v.Side || v.Resize > 8192:
		return v, fmt.Errorf("resize: must be %d (side) to 8192 pixels, is %d", v.Side, v.Resize)
	case v.MinArea < 0 || v.MinArea > 1 || v.MinArea > 0 && !(v.MinAspect > 0 && v.MinAspect <= 1):
		return v, fmt.Errorf("min_area and min_aspect: must be greater than 0 and at most 1, are %g and %g", v.MinArea, v.MinAspect)
	}
	return v, nil
}
