// Package weights reads and writes the weights of networks.
package weights

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/nlpodyssey/safetensors"

	"github.com/dhkd-lab/dhkd-go/dhkd/internal/safefile"
)

// Limits far above any network of the zoo: what is larger is refused before it is read.
const (
	maxFileSize   = 2 << 30
	maxHeaderSize = 16 << 20
)

// dtypeOf maps the stored types that are read; no other is written.
var dtypeOf = map[safetensors.DType]dtypes.DType{
	safetensors.F32: dtypes.Float32, safetensors.F64: dtypes.Float64, safetensors.I32: dtypes.Int32,
	safetensors.I64: dtypes.Int64,
}

// SaveSafetensors writes named tensors and text metadata as a safetensors file, atomically.
func SaveSafetensors(path string, values map[string]*tensors.Tensor, metadata map[string]string) error {
	views := make(map[string]stored, len(values))
	for name, t := range values {
		view, err := viewOf(t)
		if err != nil {
			return fmt.Errorf("tensor %q: %w", name, err)
		}
		views[name] = view
	}
	return safefile.Write(path, func(w io.Writer) error { return safetensors.SerializeToWriter(views, metadata, w) })
}

// LoadSafetensors reads a safetensors file. Its content is untrusted: types, shapes and sizes are checked, and the
// error names the file.
func LoadSafetensors(path string) (values map[string]*tensors.Tensor, metadata map[string]string, err error) {
	defer func() {
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			err = fmt.Errorf("%s is not a usable safetensors file: %w", path, err)
		}
	}()
	if info, err := os.Stat(path); err != nil {
		return nil, nil, err
	} else if !info.Mode().IsRegular() { // opening a pipe would wait for ever
		return nil, nil, errors.New("it is not a regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	buffer, header, err := read(f)
	if err != nil {
		return nil, nil, err
	}
	file, err := safetensors.Deserialize(buffer)
	if err != nil {
		return nil, nil, err
	}
	values = make(map[string]*tensors.Tensor, file.Len())
	for _, named := range file.Tensors() {
		if values[named.Name], err = tensorOf(named.TensorView); err != nil {
			return nil, nil, fmt.Errorf("tensor %q: %w", named.Name, err)
		}
	}
	return values, header.Metadata(), nil
}

// read returns the whole file, and its header, which is checked against the file's size before the rest is read.
func read(f *os.File) (buffer []byte, header safetensors.Metadata, err error) {
	info, err := f.Stat()
	if err != nil {
		return nil, header, err
	}
	size := info.Size()
	if size > maxFileSize {
		return nil, header, fmt.Errorf("%d bytes are more than the limit of %d", size, maxFileSize)
	}
	var start [8]byte
	if _, err := io.ReadFull(f, start[:]); err != nil {
		return nil, header, errors.New("shorter than its header")
	}
	headerSize := binary.LittleEndian.Uint64(start[:])
	if headerSize > maxHeaderSize || int64(headerSize) > size-8 {
		return nil, header, fmt.Errorf("its header claims %d bytes; the limit is %d, and the file has %d",
			headerSize, maxHeaderSize, size)
	}
	text := make([]byte, headerSize)
	if _, err := io.ReadFull(f, text); err != nil {
		return nil, header, err
	}
	if err := json.Unmarshal(text, &header); err != nil {
		return nil, header, err
	}
	var end uint64
	for _, t := range header.Tensors() {
		end = max(end, t.DataOffsets[1])
	}
	if data := uint64(size) - 8 - headerSize; end != data {
		return nil, header, fmt.Errorf("its tensors need %d bytes, it has %d: it is truncated or damaged", end, data)
	}
	buffer = make([]byte, size)
	copy(buffer, start[:])
	copy(buffer[8:], text)
	_, err = io.ReadFull(f, buffer[8+headerSize:])
	return buffer, header, err
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
	for dtype, own := range dtypeOf {
		if own != t.DType() {
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
	dtype, ok := dtypeOf[view.DType()]
	if !ok {
		return nil, fmt.Errorf("type %s is not supported", view.DType())
	}
	dims := make([]int, len(view.Shape()))
	for i, d := range view.Shape() {
		if d > math.MaxInt32 {
			return nil, fmt.Errorf("impossible shape %v", view.Shape())
		}
		dims[i] = int(d)
	}
	t := tensors.FromShape(shapes.Make(dtype, dims...))
	var sizeErr error
	err := t.MutableBytes(func(data []byte) {
		if len(data) != len(view.Data()) {
			sizeErr = fmt.Errorf("has %d bytes, its shape needs %d", len(view.Data()), len(data))
			return
		}
		copy(data, view.Data())
	})
	return t, errors.Join(err, sizeErr)
}
