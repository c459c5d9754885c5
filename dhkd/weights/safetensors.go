package weights

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/nlpodyssey/safetensors"

	"github.com/dhkd-lab/dhkd-go/dhkd/internal/safefile"
)

const maxHeaderSize = 16 << 20

// elementOf maps the stored types.
var elementOf = map[safetensors.DType]element{
	safetensors.F16: {dtypes.Float16, 2}, safetensors.BF16: {dtypes.BFloat16, 2},
	safetensors.F32: {dtypes.Float32, 4}, safetensors.F64: {dtypes.Float64, 8},
	safetensors.I8: {dtypes.Int8, 1}, safetensors.I16: {dtypes.Int16, 2},
	safetensors.I32: {dtypes.Int32, 4}, safetensors.I64: {dtypes.Int64, 8},
	safetensors.U8: {dtypes.Uint8, 1}, safetensors.BOOL: {dtypes.Bool, 1},
}

// SaveSafetensors writes named tensors and text metadata as a safetensors file, atomically.
func SaveSafetensors(path string, values map[string]*tensors.Tensor, metadata map[string]string) error {
	return safefile.Write(path, func(w io.Writer) error { return writeSafetensors(w, values, metadata) })
}

func writeSafetensors(w io.Writer, values map[string]*tensors.Tensor, metadata map[string]string) error {
	views := make(map[string]stored, len(values))
	for name, t := range values {
		view, err := viewOf(t)
		if err != nil {
			return fmt.Errorf("tensor %q: %w", name, err)
		}
		views[name] = view
	}
	return safetensors.SerializeToWriter(views, metadata, w)
}

// LoadSafetensors reads a safetensors file as it is: unlike [Load], it keeps all names. The error names the file.
func LoadSafetensors(path string) (values map[string]*tensors.Tensor, metadata map[string]string, err error) {
	f, size, err := open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	var c Checkpoint
	if metadata, err = c.readSafetensors(f, size); err != nil {
		return nil, nil, fmt.Errorf("%s is not a usable safetensors file: %w", path, err)
	}
	return c.Tensors, metadata, nil
}

// readSafetensors fills in the tensors and their names, and returns the metadata.
func (c *Checkpoint) readSafetensors(f io.ReaderAt, size int64) (metadata map[string]string, err error) {
	buffer, text, header, err := read(f, size)
	if err != nil {
		return nil, err
	}
	if c.Names, err = namesOf(text); err != nil {
		return nil, err
	}
	file, err := safetensors.Deserialize(buffer)
	if err != nil {
		return nil, err
	}
	c.Tensors = make(map[string]*tensors.Tensor, file.Len())
	widened := map[string]int{}
	for _, named := range file.Tensors() {
		if err := c.checkName(named.Name); err != nil {
			return nil, err
		}
		if c.Tensors[named.Name], err = tensorOf(named.TensorView); err != nil {
			return nil, fmt.Errorf("tensor %q: %w", named.Name, err)
		}
		if e := elementOf[named.TensorView.DType()]; e.wide() != e.dtype {
			widened[strings.ToLower(e.dtype.String())]++
		}
	}
	c.noteWidened(widened)
	return header.Metadata(), nil
}

// read returns the whole file, and its header, which is checked against the file's size before the rest is read.
func read(file io.ReaderAt, size int64) (buffer, text []byte, header safetensors.Metadata, err error) {
	f := io.NewSectionReader(file, 0, size)
	var start [8]byte
	if _, err := io.ReadFull(f, start[:]); err != nil {
		return nil, nil, header, errors.New("shorter than its header")
	}
	headerSize := binary.LittleEndian.Uint64(start[:])
	if headerSize > maxHeaderSize || int64(headerSize) > size-8 {
		return nil, nil, header, fmt.Errorf("its header claims %d bytes; the limit is %d, and the file has %d",
			headerSize, maxHeaderSize, size)
	}
	text = make([]byte, headerSize)
	if _, err := io.ReadFull(f, text); err != nil {
		return nil, nil, header, err
	}
	if err := json.Unmarshal(text, &header); err != nil {
		return nil, nil, header, err
	}
	var end uint64
	for _, t := range header.Tensors() {
		end = max(end, t.DataOffsets[1])
	}
	if data := uint64(size) - 8 - headerSize; end != data {
		return nil, nil, header, fmt.Errorf("its tensors need %d bytes, it has %d: it is truncated or damaged", end, data)
	}
	buffer = make([]byte, size)
	copy(buffer, start[:])
	copy(buffer[8:], text)
	_, err = io.ReadFull(f, buffer[8+headerSize:])
	return buffer, text, header, err
}

// namesOf lists the tensors in the order of a header that is known to be JSON. Two of one name, of which JSON would
// keep the last, are refused.
func namesOf(header []byte) (names []string, err error) {
	decoder := json.NewDecoder(bytes.NewReader(header))
	if _, err := decoder.Token(); err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for decoder.More() {
		key, err := decoder.Token()
		if err != nil {
			return nil, err
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return nil, err
		}
		name, _ := key.(string)
		if seen[name] {
			return nil, fmt.Errorf("tensor %.80q is there twice", name)
		}
		if seen[name] = true; name != "__metadata__" {
			names = append(names, name)
		}
	}
	if len(names) > maxTensors {
		return nil, fmt.Errorf("it has %d tensors, the limit is %d", len(names), maxTensors)
	}
	return names, nil
}

// stored is a tensor as it is written. (The library's own view refuses scalars.)
type stored struct {
	dtype safetensors.DType
	shape []uint64
	data  []byte
}

func (s stored) DType() safetensors.DType { return s.dtype }
func (s stored) Shape() []uint64          { return s.shape }
func (s stored) Data() []byte             { return s.data }
func (s stored) DataLen() uint64          { return uint64(len(s.data)) }

func viewOf(t *tensors.Tensor) (view stored, err error) {
	for dtype, own := range elementOf {
		if own.dtype != t.DType() {
			continue
		}
		view = stored{dtype: dtype, shape: make([]uint64, t.Rank())}
		for i, d := range t.Shape().Dimensions {
			view.shape[i] = uint64(d)
		}
		err = t.ConstBytes(func(data []byte) { view.data = bytes.Clone(data) })
		return view, err
	}
	return view, fmt.Errorf("type %s cannot be stored", t.DType())
}

func tensorOf(view safetensors.TensorView) (*tensors.Tensor, error) {
	e, ok := elementOf[view.DType()]
	if !ok {
		return nil, fmt.Errorf("type %s is not supported", view.DType())
	}
	dims := make([]int, len(view.Shape()))
	for i, d := range view.Shape() {
		if d > math.MaxInt32 || len(dims) > 8 {
			return nil, fmt.Errorf("impossible shape %.80v", view.Shape())
		}
		dims[i] = int(d)
	}
	return e.tensor(view.Data(), dims)
}
