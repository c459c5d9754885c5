package dataset

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
)

const (
	cifarSide    = 32
	cifarPixels  = 3 * cifarSide * cifarSide
	cifarRecord  = 2 + cifarPixels // coarse label, fine label, the red, green and blue planes
	cifarMax     = 50_000          // records in a file
	cifarArchive = "cifar-100-binary.tar.gz"
	cifarFolder  = "cifar-100-binary"
	cifarTarMax  = 200_000_000 // bytes of the archive, uncompressed; the published one has 185 million
)

var cifarInfo = Info{
	Name: "cifar-100", What: "photographs of 100 kinds of things, colour 32x32", Classes: 100, Train: 50_000, Test: 10_000,
	Shape: [3]int{3, cifarSide, cifarSide}, Licence: "none stated", Home: "https://www.cs.toronto.edu/~kriz/cifar.html",
}

var cifarSource = source{
	name: cifarArchive, size: 168513733, sha256: "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
	urls: []string{"https://www.cs.toronto.edu/~kriz/" + cifarArchive},
}

// ReadCIFAR100 reads records of CIFAR-100's binary format to the end of r: the images with their fine labels, and the
// coarse labels. Errors name the file, which is only a name, and the record; at most 50,000 records are read.
func ReadCIFAR100(r io.Reader, file string) (images Split, coarse []int32, err error) {
	return readCIFAR(r, file, cifarMax)
}

func loadCIFAR(ctx context.Context, at place, o Options) (*Set, error) {
	data, err := readCIFARFiles(ctx, at, limit(o.Train), limit(o.Test))
	if err != nil {
		return nil, err
	}
	set := newSet(cifarInfo, data.files)
	set.ClassNames = cifarNames
	set.Mean, set.Std = []float32{0.5071, 0.4867, 0.4408}, []float32{0.2675, 0.2565, 0.2761}
	if set.Train, err = data.train.take(o.Train, "training images"); err != nil {
		return nil, err
	}
	set.Test, err = data.test.take(o.Test, "test images")
	return set, err
}

func verifyCIFAR(ctx context.Context, at place) ([]File, error) {
	data, err := readCIFARFiles(ctx, at, 0, 0)
	return data.files, err
}

func limit(n int) int {
	if n == 0 {
		return cifarMax
	}
	return n
}

// cifarData is what the files hold, and which they are.
type cifarData struct {
	train, test Split
	files       []File
}

// readCIFARFiles reads the first so many images from the archive, from a directory that has it or has train.bin and
// test.bin, or from one .bin file of another name, whose images are for training.
func readCIFARFiles(ctx context.Context, at place, train, test int) (data cifarData, err error) {
	info, err := os.Stat(at.path)
	if err != nil {
		return data, err
	}
	if !info.IsDir() {
		switch base := filepath.Base(at.path); {
		case base == "train.bin" || base == "test.bin":
			return readCIFARBins(ctx, filepath.Dir(at.path), train, test)
		case strings.HasSuffix(base, ".bin"):
			data.train, err = data.readBin(ctx, at.path, train)
			return data, err
		}
		return readCIFARArchive(ctx, at, train, test)
	}
	if archive := filepath.Join(at.path, cifarArchive); isFile(archive) {
		return readCIFARArchive(ctx, place{path: archive, own: at.own}, train, test)
	}
	for _, dir := range []string{at.path, filepath.Join(at.path, cifarFolder)} {
		if isFile(filepath.Join(dir, "train.bin")) {
			return readCIFARBins(ctx, dir, train, test)
		}
	}
	return data, fmt.Errorf("%s has neither %s nor train.bin and test.bin", at.path, cifarArchive)
}

func readCIFARBins(ctx context.Context, dir string, train, test int) (data cifarData, err error) {
	var testErr error
	data.train, err = data.readBin(ctx, filepath.Join(dir, "train.bin"), train)
	data.test, testErr = data.readBin(ctx, filepath.Join(dir, "test.bin"), test)
	if err == nil {
		err = testErr
	}
	return data, err
}

// readBin reads one file of records and adds it to the files.
func (d *cifarData) readBin(ctx context.Context, path string, limit int) (images Split, err error) {
	file := File{Name: filepath.Base(path), Path: path}
	defer func() {
		if err != nil {
			file.Problem = err.Error()
		}
		d.files = append(d.files, file)
	}()
	f, _, err := openFile(path)
	if err != nil {
		return Split{}, err
	}
	defer f.Close()
	content := sha256.New()
	images, _, err = readCIFAR(io.TeeReader(contextReader{ctx, f}, content), path, limit)
	if err == nil {
		file.SHA256 = hex.EncodeToString(content.Sum(nil))
	}
	return images, err
}

// readCIFARArchive reads the two members that matter as they pass; nothing is unpacked to the disk.
func readCIFARArchive(ctx context.Context, at place, train, test int) (data cifarData, err error) {
	file := File{Name: filepath.Base(at.path), Path: at.path, Want: cifarSource.sha256}
	defer func() {
		if err != nil {
			file.Problem = err.Error()
		}
		data.files = append(data.files, file)
	}()
	f, info, err := openFile(at.path)
	if err != nil {
		return data, err
	}
	defer f.Close()
	digest := sha256.New()
	compressed := io.TeeReader(contextReader{ctx, f}, digest)
	data.train, data.test, err = readCIFARTar(compressed, at.path, train, test)
	if ctx.Err() != nil {
		return data, context.Cause(ctx)
	}
	if _, drainErr := io.Copy(io.Discard, compressed); drainErr != nil {
		return data, drainErr
	}
	file.SHA256 = hex.EncodeToString(digest.Sum(nil))
	if at.own && info.Size() != cifarSource.size {
		file.Want = ""
		return data, err
	}
	if wrong := checkDigest(at.path, file.SHA256, file.Want); wrong != nil {
		return data, wrong // which explains whatever is the matter with the content
	}
	return data, err
}

func readCIFARTar(compressed io.Reader, file string, train, test int) (trainSplit, testSplit Split, err error) {
	fail := func(err error) (Split, Split, error) { return Split{}, Split{}, fmt.Errorf("%s: %w", file, err) }
	r, err := maybeGunzip(compressed)
	if err != nil {
		return fail(err)
	}
	archive := tar.NewReader(&cappedReader{r: r, left: cifarTarMax})
	seen := map[string]bool{}
	for {
		header, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return fail(unreadable(err, "inside the archive"))
		}
		if !filepath.IsLocal(header.Name) {
			return fail(fmt.Errorf("the archive has a member outside of itself, %q", header.Name))
		}
		name := path.Base(header.Name)
		if header.Typeflag != tar.TypeReg || name != "train.bin" && name != "test.bin" {
			continue
		}
		if seen[name] {
			return fail(fmt.Errorf("the archive has two files %s", name))
		}
		seen[name] = true
		if name == "train.bin" {
			trainSplit, _, err = readCIFAR(archive, file+": "+name, train)
		} else {
			testSplit, _, err = readCIFAR(archive, file+": "+name, test)
		}
		if err != nil {
			return Split{}, Split{}, err
		}
	}
	for _, name := range []string{"train.bin", "test.bin"} {
		if !seen[name] {
			return fail(fmt.Errorf("the archive has no %s", name))
		}
	}
	// The rest of the gzip stream holds the checksum.
	if _, err := io.Copy(io.Discard, r); err != nil {
		return fail(unreadable(err, "inside the archive"))
	}
	return trainSplit, testSplit, nil
}

// readCIFAR reads all records and checks them, and keeps the first limit.
func readCIFAR(r io.Reader, file string, limit int) (images Split, coarse []int32, err error) {
	buffered := bufio.NewReaderSize(r, 1<<18)
	record := make([]byte, cifarRecord)
	fail := func(n int, format string, args ...any) (Split, []int32, error) {
		return Split{}, nil, fmt.Errorf("%s: record %d: %w", file, n+1, fmt.Errorf(format, args...))
	}
	for n := 0; ; n++ {
		got, err := io.ReadFull(buffered, record)
		switch {
		case err == io.EOF && n == 0:
			return Split{}, nil, fmt.Errorf("%s is empty", file)
		case err == io.EOF:
			return images, coarse, nil
		case err == io.ErrUnexpectedEOF:
			return fail(n, "truncated: %d of %d bytes", got, cifarRecord)
		case err != nil:
			return fail(n, "%w", err)
		case n == cifarMax:
			return fail(n, "more than %d records", cifarMax)
		case record[0] >= 20:
			return fail(n, "the coarse label is %d, want 0 to 19", record[0])
		case record[1] >= 100:
			return fail(n, "the fine label is %d, want 0 to 99", record[1])
		case n >= limit:
			continue
		}
		coarse = append(coarse, int32(record[0]))
		images.Labels = append(images.Labels, int32(record[1]))
		images.Pixels = appendInterleaved(images.Pixels, record[2:])
	}
}

// appendInterleaved appends the three planes as pixels of three channels.
func appendInterleaved(pixels, planes []byte) []byte {
	const plane = cifarSide * cifarSide
	from := len(pixels)
	pixels = append(pixels, planes...)
	out := pixels[from:]
	red, green, blue := planes[:plane], planes[plane:2*plane], planes[2*plane:3*plane]
	for p := range plane {
		out[3*p], out[3*p+1], out[3*p+2] = red[p], green[p], blue[p]
	}
	return pixels
}

// cappedReader fails after so many bytes: a small archive can uncompress to any size.
type cappedReader struct {
	r    io.Reader
	left int
}

func (c *cappedReader) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, fmt.Errorf("the archive holds more than %d bytes", cifarTarMax)
	}
	n, err := c.r.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}
