package weights

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/dtypes/float16"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/tensors"
)

// element is a type of stored values, and its bytes.
type element struct {
	dtype dtypes.DType
	size  int
}

// wide is the type that a network gets: half precision becomes float32, which holds its values exactly.
func (e element) wide() dtypes.DType {
	if e.dtype == dtypes.Float16 || e.dtype == dtypes.BFloat16 {
		return dtypes.Float32
	}
	return e.dtype
}

// tensor makes a tensor of stored values (row-major, little-endian), whose number has been checked.
func (e element) tensor(raw []byte, dimensions []int) (*tensors.Tensor, error) {
	t := tensors.FromShape(shapes.Make(e.wide(), dimensions...))
	var sizeErr error
	err := t.MutableBytes(func(data []byte) {
		if want := len(data) / int(e.wide().Size()) * e.size; len(raw) != want {
			sizeErr = fmt.Errorf("has %d bytes, its shape needs %d", len(raw), want)
			return
		}
		switch e.dtype {
		case dtypes.Float16:
			widen(data, raw, func(bits uint16) float32 { return float16.FromBits(bits).Float32() })
		case dtypes.BFloat16:
			widen(data, raw, func(bits uint16) float32 { return math.Float32frombits(uint32(bits) << 16) })
		case dtypes.Bool: // whose bytes must be 0 or 1
			for i, v := range raw {
				data[i] = min(v, 1)
			}
		default:
			copy(data, raw)
		}
	})
	if err == nil {
		err = sizeErr
	}
	return t, err
}

func widen(to, from []byte, value func(bits uint16) float32) {
	for i := 0; i < len(from); i += 2 {
		v := value(binary.LittleEndian.Uint16(from[i:]))
		binary.LittleEndian.PutUint32(to[2*i:], math.Float32bits(v))
	}
}

// gather copies the values of a view out of its storage, row-major.
func (v *view) gather() []byte {
	width, from := v.storage.element.size, v.storage.data
	if v.contiguous {
		return from[v.offset*width : (v.offset+v.size)*width]
	}
	to := make([]byte, 0, v.size*width)
	index := make([]int, len(v.dimensions))
	for at := v.offset; len(to) < cap(to); {
		to = append(to, from[at*width:(at+1)*width]...)
		for axis := len(index) - 1; axis >= 0; axis-- {
			at += v.stride[axis]
			if index[axis]++; index[axis] < v.dimensions[axis] {
				break
			}
			at -= index[axis] * v.stride[axis]
			index[axis] = 0
		}
	}
	return to
}
