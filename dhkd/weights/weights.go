// Package weights reads and writes the weights of networks: PyTorch's files and safetensors in, safetensors out. Files
// are untrusted: nothing in them is run, and time and memory stay in proportion to their size.
package weights

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/gomlx/gomlx/core/tensors"
)

const (
	maxFileSize = 2 << 30 // far above any network of the zoo
	maxTensors  = 1 << 16
	maxName     = 256 // bytes of a tensor's name
)

// trainingState is the format, in the metadata, of a file to continue training from.
const trainingState = "dhkd-checkpoint"

// Formats of files.
const (
	FormatSafetensors = "safetensors"
	FormatTorchZip    = "pytorch zip"
	FormatTorchLegacy = "pytorch legacy" // before PyTorch 1.6
)

// Checkpoint is what a file says of a network.
type Checkpoint struct {
	Format string // one of the formats above
	// Layout says where in a PyTorch file the weights were found: "bare", "crd", ...; see [Layouts].
	Layout string
	// Names are those of the tensors in the order of the file, without prefixes that all share, such as "module.".
	Names []string
	// Tensors have the stored type, but float16 and bfloat16 are widened to float32, which is exact.
	Tensors map[string]*tensors.Tensor
	// Metadata of a safetensors file, or the numbers and short texts beside the weights of a PyTorch file ("epoch",
	// "best_acc").
	Metadata map[string]string
	// Notes say what was left out or changed.
	Notes []string
}

// Load reads a file of weights, whose format is found from its content. An error names the file and says what is wrong
// with it; a file that is not there gives one that is [os.ErrNotExist].
func Load(path string) (c *Checkpoint, err error) {
	f, size, err := open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if c, err = load(f, size); err != nil {
		return nil, fmt.Errorf("%s: cannot read weights: %w", path, err)
	}
	return c, nil
}

func load(f io.ReaderAt, size int64) (c *Checkpoint, err error) {
	defer func() { // a last net: the scan of pickles is what keeps the library below from panicking
		if caught := recover(); caught != nil {
			c, err = nil, fmt.Errorf("reading it failed: %v", caught)
		}
	}()
	start := make([]byte, min(size, 512))
	if _, err := f.ReadAt(start, 0); err != nil && err != io.EOF {
		return nil, err
	}
	switch {
	case size == 0:
		return nil, errors.New("it is empty")
	case bytes.HasPrefix(start, []byte("PK\x03\x04")):
		return loadTorch(FormatTorchZip, f, size, openZip)
	// The length of its header, which comes first, may start like a pickle. No pickle starts like a length that fits.
	case len(start) > 8 && start[8] == '{' && binary.LittleEndian.Uint64(start) <= uint64(size):
		return loadSafetensors(f, size)
	case start[0] == 0x80:
		return loadTorch(FormatTorchLegacy, f, size, openLegacy)
	case len(start) > 8 && start[8] == '{':
		return loadSafetensors(f, size)
	case len(start) > 262 && string(start[257:262]) == "ustar" || bytes.HasPrefix(start, []byte("\x1f\x8b")):
		return nil, errors.New("it is a tar or gzip archive: unpack it, and name the file of weights in it")
	}
	return nil, errors.New("it is neither a PyTorch file nor safetensors")
}

// open opens a regular file of limited size. (Opening a pipe would wait for ever.)
func open(path string) (f *os.File, size int64, err error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, 0, err
	case !info.Mode().IsRegular():
		return nil, 0, fmt.Errorf("%s: it is not a regular file", path)
	case info.Size() > maxFileSize:
		return nil, 0, fmt.Errorf("%s: %d bytes are more than the limit of %d", path, info.Size(), maxFileSize)
	}
	f, err = os.Open(path)
	return f, info.Size(), err
}

func loadSafetensors(f io.ReaderAt, size int64) (*Checkpoint, error) {
	c := &Checkpoint{Format: FormatSafetensors, Layout: "bare"}
	header, err := c.readSafetensors(f, size)
	if err != nil {
		return nil, err
	}
	c.Metadata = header
	if c.Metadata["format"] == trainingState {
		return nil, errors.New("it is the state of a training run, not a network: use the run's weights file")
	}
	return c, c.removePrefixes()
}

func loadTorch(format string, f io.ReaderAt, size int64, open func(io.ReaderAt, int64) (*archive, error)) (
	*Checkpoint, error) {
	a, err := open(f, size)
	if err != nil {
		return nil, err
	}
	c := &Checkpoint{Format: format, Tensors: map[string]*tensors.Tensor{}, Metadata: map[string]string{}}
	state, err := c.findState(a)
	if err != nil {
		return nil, err
	}
	if len(state) > maxTensors {
		return nil, fmt.Errorf("it has %d tensors, the limit is %d", len(state), maxTensors)
	}
	// Views may share a storage, so that their copies need more than the file has: some do in real files, a few times.
	var total int64
	widened := map[string]int{}
	for _, e := range state {
		v := e.value.(*view)
		name := e.key.(string)
		if total += int64(v.size) * int64(v.storage.element.size); total > 4*size {
			return nil, fmt.Errorf("its tensors share their values: as copies they need more than 4 times its %d bytes", size)
		}
		if err := c.checkName(name); err != nil {
			return nil, err
		}
		if c.Tensors[name], err = a.tensor(v); err != nil {
			return nil, fmt.Errorf("tensor %q: %w", name, err)
		}
		c.Names = append(c.Names, name)
		if e := v.storage.element; e.wide() != e.dtype {
			widened[strings.ToLower(e.dtype.String())]++
		}
	}
	c.noteWidened(widened)
	return c, c.removePrefixes()
}

func (c *Checkpoint) noteWidened(widened map[string]int) {
	for _, dtype := range slices.Sorted(maps.Keys(widened)) {
		c.Notes = append(c.Notes, fmt.Sprintf("%d tensors widened from %s to float32", widened[dtype], dtype))
	}
}

func (c *Checkpoint) checkName(name string) error {
	unprintable := func(r rune) bool { return r < ' ' || r == '\uFFFD' }
	switch {
	case name == "" || len(name) > maxName || strings.ContainsFunc(name, unprintable):
		return fmt.Errorf("a tensor has the impossible name %.80q", name)
	case c.Tensors[name] != nil:
		return fmt.Errorf("tensor %q is there twice", name)
	}
	return nil
}
