// Package weights reads and writes the weights of networks.
package weights

import (
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

// maxFileSize is far above any network of the zoo; a larger file is refused before it is read.
const maxFileSize = 8 << 30

// dtypeOf maps the stored types that are read; no other is written.
var dtypeOf = map[safetensors.DType]dtypes.DType{
	safetensors.F32: dtypes.Float32, safetensors.F64: dtypes.Float64, safetensors.I32: dtypes.Int32, safetensors.I64: dtypes.Int64,
}

// SaveSafetensors writes named tensors and text metadata as a safetensors file, atomically.
func SaveSafetensors(path string, values map[string]*tensors.Tensor, metadata map[string]string) error {
	views := make(map[string]safetensors.TensorView, len(values))
	for name, t := range values {
		view, err := viewOf(t)
		if err != nil {
			return fmt.Errorf("tensor %q: %w", name, err)
		}
		views[name] = view
	}
	return safefile.Write(path, func(w io.Writer) error { return safetensors.SerializeToWriter(views, metadata, w) })
}

// LoadSafetensors reads a safetensors file. Its content is untrusted: types, shapes and sizes are checked, and the error names
// the file.
func LoadSafetensors(path string) (values map[string]*tensors.Tensor, metadata map[string]string, err error) {
	defer func() {
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			err = fmt.Errorf("%s is not a usable safetensors file: %w", path, err)
		}
	}()
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if info.Size() > maxFileSize {
		return nil, nil, fmt.Errorf("%d bytes are more than the limit of %d", info.Size(), int64(maxFileSize))
	}
	buffer := make([]byte, info.Size())
	if _, err := io.ReadFull(f, buffer); err != nil {
		return nil, nil, err
	}
	if len(buffer) < 8 {
		return nil, nil, errors.New("shorter than its header")
	}
	_, header, err := safetensors.ReadMetadata(buffer)
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

func viewOf(t *tensors.Tensor) (view safetensors.TensorView, err error) {
	for stored, dtype := range dtypeOf {
		if dtype != t.DType() {
			continue
		}
		shape := make([]uint64, t.Rank())
		for i, d := range t.Shape().Dimensions {
			shape[i] = uint64(d)
		}
		accessErr := t.ConstBytes(func(data []byte) {
			view, err = safetensors.NewTensorView(stored, shape, append([]byte(nil), data...))
		})
		return view, errors.Join(accessErr, err)
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
