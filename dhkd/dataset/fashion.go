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
	"sync"
)

const (
	fashionSide    = 28     // height and width
	fashionMax     = 60_000 // images in a file
	fashionClasses = 10
)

var fashionNames = []string{
	"T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Boot",
}

var fashionInfo = Info{
	Name: "fashion-mnist", What: "articles of clothing, grey 28x28", Classes: fashionClasses, Train: 60_000, Test: 10_000,
	Shape: [3]int{1, fashionSide, fashionSide}, Licence: "MIT", Home: "https://github.com/zalandoresearch/fashion-mnist",
}

// fashionCollection is a data set that is built from the four files of Fashion-MNIST.
func fashionCollection(info Info, load func(context.Context, place, Options) (*Set, error)) *collection {
	return &collection{
		Info:    info,
		sources: fashionSources,
		system:  "/usr/share/datasets/fashion-mnist",
		install: "apt-get install dataset-fashion-mnist",
		load:    load,
		verify:  verifyFashion,
	}
}

// Debian's package has the same content, but .gz files whose headers differ from the publisher's. So the digest of
// the content is what counts once a file is here.
var fashionSources = []source{
	fashionSource("train-images-idx3-ubyte.gz", 26421880, 60_000*fashionSide*fashionSide,
		"3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
		"c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"),
	fashionSource("train-labels-idx1-ubyte.gz", 29515, 60_000,
		"a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
		"bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
	fashionSource("t10k-images-idx3-ubyte.gz", 4422102, 10_000*fashionSide*fashionSide,
		"346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
		"5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
	fashionSource("t10k-labels-idx1-ubyte.gz", 5148, 10_000,
		"67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
		"0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
}

func fashionSource(name string, size int64, items int, digest, content string) source {
	return source{name: name, size: size, items: items, sha256: digest, content: content, urls: []string{
		"http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/" + name,
		"https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/" + name,
	}}
}

func loadFashion(ctx context.Context, at place, o Options) (*Set, error) {
	train, test, files, err := readFashion(ctx, at)
	if err != nil {
		return nil, err
	}
	if train, err = train.take(o.Train, "training images"); err != nil {
		return nil, err
	}
	if test, err = test.take(o.Test, "test images"); err != nil {
		return nil, err
	}
	set := newSet(fashionInfo, files)
	set.ClassNames, set.Train, set.Test = fashionNames, train, test
	set.Mean, set.Std = []float32{0.286}, []float32{0.353}
	return set, nil
}

func verifyFashion(ctx context.Context, at place) ([]File, error) {
	_, _, files, err := readFashion(ctx, at)
	return files, err
}

// readFashion reads the four idx files at once. The files are reported even when there is an error.
func readFashion(ctx context.Context, at place) (train, test Split, files []File, err error) {
	var data [4][]byte
	var errs [4]error
	files = make([]File, 4)
	var wg sync.WaitGroup
	for i, s := range fashionSources {
		wg.Go(func() {
			files[i], data[i], errs[i] = readFashionFile(ctx, at, s)
		})
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			files[i].Problem = err.Error()
		}
	}
	for _, err := range errs {
		if err != nil {
			return Split{}, Split{}, files, err
		}
	}
	if train, err = fashionSplit(data[0], data[1], files[0:2]); err != nil {
		return Split{}, Split{}, files, err
	}
	test, err = fashionSplit(data[2], data[3], files[2:4])
	return train, test, files, err
}

// fashionSplit joins the images with their labels.
func fashionSplit(images, labels []byte, files []File) (Split, error) {
	if n := len(images) / (fashionSide * fashionSide); n != len(labels) {
		files[1].Problem = fmt.Sprintf("%s has %d labels, %s has %d images", files[1].Path, len(labels), files[0].Path, n)
		return Split{}, errors.New(files[1].Problem)
	}
	s := Split{Pixels: images, Labels: make([]int32, len(labels))}
	for i, label := range labels {
		s.Labels[i] = int32(label)
	}
	return s, nil
}

// readFashionFile reads and checks one idx file of a directory, compressed or not.
func readFashionFile(ctx context.Context, at place, s source) (File, []byte, error) {
	file := File{Name: strings.TrimSuffix(s.name, ".gz"), Path: filepath.Join(at.path, s.name), Want: s.content}
	if plain := filepath.Join(at.path, file.Name); !isFile(file.Path) && isFile(plain) {
		file.Path = plain
	}
	f, _, err := openFile(file.Path)
	if err != nil {
		return file, nil, err
	}
	defer f.Close()
	content := sha256.New()
	data, err := readFashionIDX(contextReader{ctx, f}, content, s)
	if err != nil {
		if err = fmt.Errorf("%s: %w", file.Path, err); !at.own && ctx.Err() == nil {
			err = fmt.Errorf("%w; move it away and get it anew", err)
		}
		return file, nil, err
	}
	file.SHA256 = hex.EncodeToString(content.Sum(nil))
	if at.own && len(data) != s.items {
		file.Want = ""
		return file, data, nil
	}
	return file, data, checkDigest(file.Path, file.SHA256, s.content)
}

// readFashionIDX reads images or labels, and writes the uncompressed bytes to content.
func readFashionIDX(r io.Reader, content io.Writer, s source) ([]byte, error) {
	r, err := maybeGunzip(r)
	if err != nil {
		return nil, err
	}
	r = io.TeeReader(r, content)
	if strings.Contains(s.name, "images") {
		return readIDX(r, fashionMax, fashionSide, fashionSide)
	}
	labels, err := readIDX(r, fashionMax)
	for i, label := range labels {
		if label >= fashionClasses {
			return nil, fmt.Errorf("label %d of %d is %d, want 0 to %d", i+1, len(labels), label, fashionClasses-1)
		}
	}
	return labels, err
}
