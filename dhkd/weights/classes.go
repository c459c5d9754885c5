package weights

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/big"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/dtypes/float16"
	"github.com/nlpodyssey/gopickle/pickle"
	"github.com/nlpodyssey/gopickle/types"
)

// orderedDict is the class that the pickle library makes itself.
const orderedDict = "collections.OrderedDict"

// class is a class or function that a pickle may name. Calling it makes a value of this package, whatever the arguments
// say; nothing of the file is ever run.
type class struct {
	name string
	make func(args []any) (any, error)
}

// Call is what REDUCE does, PyNew what NEWOBJ does.
func (c *class) Call(args ...any) (any, error)  { return c.make(args) }
func (c *class) PyNew(args ...any) (any, error) { return c.make(args) }

// object is an instance of a class of which nothing is kept, such as argparse.Namespace.
type object struct{}

// PySetState ignores the state.
func (*object) PySetState(any) error { return nil }

// classes is the closed list. Storages are in [storageTypes] and not called.
var classes = map[string]*class{}

func init() {
	add := func(make func([]any) (any, error), names ...string) {
		for _, name := range names {
			classes[name] = &class{name, make}
		}
	}
	add(func([]any) (any, error) { return &object{}, nil },
		"argparse.Namespace", "collections.Counter", "torch.Size", "torch.device")
	add(rebuildTensor, "torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2")
	add(rebuildParameter, "torch._utils._rebuild_parameter")
	add(numpyDType, "numpy.dtype")
	add(numpyScalar, "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
	add(encode, "_codecs.encode")
	add(func([]any) (any, error) { return nil, errors.New("a dictionary's class is not called") }, orderedDict)
	for name := range storageTypes {
		add(func([]any) (any, error) { return nil, errors.New("a storage is named, not called") }, name)
	}
}

func findClass(module, name string) (any, error) {
	if c, ok := classes[module+"."+name]; ok {
		return c, nil
	}
	return nil, fmt.Errorf("the file wants %.80q of module %.80q, which is not on the list of what weights are made of; "+
		"in PyTorch, save the state dict alone: torch.save(model.state_dict(), file)", name, module)
}

// storageTypes are PyTorch's names of the types of stored values.
var storageTypes = map[string]element{
	"torch.FloatStorage":    {dtypes.Float32, 4},
	"torch.DoubleStorage":   {dtypes.Float64, 8},
	"torch.HalfStorage":     {dtypes.Float16, 2},
	"torch.BFloat16Storage": {dtypes.BFloat16, 2},
	"torch.LongStorage":     {dtypes.Int64, 8},
	"torch.IntStorage":      {dtypes.Int32, 4},
	"torch.ShortStorage":    {dtypes.Int16, 2},
	"torch.CharStorage":     {dtypes.Int8, 1},
	"torch.ByteStorage":     {dtypes.Uint8, 1},
	"torch.BoolStorage":     {dtypes.Bool, 1},
}

// storage is an array of values in the file, of which tensors are views.
type storage struct {
	object
	element
	key   string
	count int
	data  []byte // once it has been read
}

// view is a tensor as a pickle describes it: it lies inside its storage.
type view struct {
	object
	storage            *storage
	offset, size       int // in elements
	dimensions, stride []int
	contiguous         bool
}

// unpickle reads a pickle that scan has passed. Storages are registered in the order in which they are named.
func unpickle(data []byte, storages *storageList) (any, error) {
	u := pickle.NewUnpickler(bytes.NewReader(data))
	u.FindClass = findClass
	u.PersistentLoad = storages.find
	return u.Load()
}

// storageList holds the storages that a pickle names.
type storageList struct {
	byKey map[string]*storage
	order []*storage
}

// find is the storage of a persistent id: ("storage", class, key, location, count) with None as a sixth in old files.
func (l *storageList) find(id any) (any, error) {
	tuple, ok := id.(*types.Tuple)
	if !ok || l == nil || tuple.Len() < 5 || tuple.Len() > 6 {
		return nil, errors.New("the identity of a storage is damaged")
	}
	word, _ := tuple.Get(0).(string)
	c, _ := tuple.Get(1).(*class)
	key, keyOK := tuple.Get(2).(string)
	count, countOK := tuple.Get(4).(int)
	if word != "storage" || c == nil || !keyOK || !countOK || tuple.Len() == 6 && tuple.Get(5) != nil {
		return nil, errors.New("the identity of a storage is damaged, or it is a view of another one")
	}
	e, ok := storageTypes[c.name]
	if !ok {
		return nil, fmt.Errorf("%s is not a type of storage", c.name)
	}
	if count < 0 || int64(count) > maxFileSize/int64(e.size) {
		return nil, fmt.Errorf("storage %.20q declares the impossible size of %d values", key, count)
	}
	if known, ok := l.byKey[key]; ok {
		if known.element != e || known.count != count {
			return nil, fmt.Errorf("storage %.20q is declared twice, differently", key)
		}
		return known, nil
	}
	s := &storage{element: e, key: key, count: count}
	l.byKey[key] = s
	l.order = append(l.order, s)
	return s, nil
}

// rebuildTensor takes storage, offset, size, stride, and what does not matter here.
func rebuildTensor(args []any) (any, error) {
	if len(args) < 4 {
		return nil, errors.New("a tensor is described by too few values")
	}
	s, ok := args[0].(*storage)
	offset, offsetOK := args[1].(int)
	dimensions, sizeOK := integers(args[2])
	stride, strideOK := integers(args[3])
	if !ok || !offsetOK || !sizeOK || !strideOK || len(dimensions) != len(stride) {
		return nil, errors.New("the description of a tensor is damaged")
	}
	v := &view{storage: s, offset: offset, size: 1, dimensions: dimensions, stride: stride, contiguous: true}
	last, expected := offset, 1
	for i := len(dimensions) - 1; i >= 0; i-- {
		d, step := dimensions[i], stride[i]
		if d < 0 || step < 0 || d > math.MaxInt32 || step > math.MaxInt32 || v.size > maxFileSize/max(d, 1) {
			return nil, fmt.Errorf("a tensor has the impossible size %v with strides %v", dimensions, stride)
		}
		if d > 1 {
			v.contiguous = v.contiguous && step == expected
			last += (d - 1) * step
		}
		v.size *= d
		expected = v.size
	}
	if offset < 0 || v.size > 0 && last >= s.count || v.size == 0 && offset > s.count {
		return nil, fmt.Errorf("a tensor of size %v at %d with strides %v lies outside its storage of %d values", dimensions,
			offset, stride, s.count)
	}
	return v, nil
}

func rebuildParameter(args []any) (any, error) {
	if len(args) > 0 {
		if v, ok := args[0].(*view); ok {
			return v, nil
		}
	}
	return nil, errors.New("a parameter is not made of a tensor")
}

// integers are the values of a tuple of at most 8.
func integers(v any) ([]int, bool) {
	tuple, ok := v.(*types.Tuple)
	if !ok || tuple.Len() > 8 {
		return nil, false
	}
	all := make([]int, tuple.Len())
	for i := range all {
		if all[i], ok = tuple.Get(i).(int); !ok {
			return nil, false
		}
	}
	return all, true
}

// dtype is a NumPy type, which scalars such as an accuracy may have.
type dtype struct {
	name  string // "f8"
	order string
}

// PySetState takes the byte order, the second value of the state.
func (d *dtype) PySetState(state any) error {
	if tuple, ok := state.(*types.Tuple); ok && tuple.Len() > 1 {
		d.order, _ = tuple.Get(1).(string)
	}
	return nil
}

func numpyDType(args []any) (any, error) {
	d := &dtype{}
	if len(args) > 0 {
		d.name, _ = args[0].(string)
	}
	return d, nil
}

// encoded is bytes, which protocol 2 stores as text.
type encoded struct {
	object
	text string
}

func encode(args []any) (any, error) {
	if len(args) != 2 || args[1] != "latin1" {
		return nil, errors.New("bytes that are not written as latin1")
	}
	text, ok := args[0].(string)
	if !ok || len(text) > 64 { // a number has 16 at most
		return nil, errors.New("bytes that are not written as text, or too many")
	}
	raw := make([]byte, 0, len(text))
	for _, r := range text {
		if r > 255 {
			return nil, errors.New("bytes that are not written as latin1")
		}
		raw = append(raw, byte(r))
	}
	return &encoded{text: string(raw)}, nil
}

// numpyScalar is the number, or an object without a value if its type is not a common one.
func numpyScalar(args []any) (any, error) {
	if len(args) != 2 {
		return nil, errors.New("a NumPy number is described by a type and bytes")
	}
	d, ok := args[0].(*dtype)
	value, valueOK := args[1].(*encoded)
	if !ok || !valueOK || d.order != "<" {
		return &object{}, nil
	}
	raw := []byte(value.text)
	switch {
	case d.name == "f8" && len(raw) == 8:
		return scalar{math.Float64frombits(binary.LittleEndian.Uint64(raw))}, nil
	case d.name == "f4" && len(raw) == 4:
		return scalar{math.Float32frombits(binary.LittleEndian.Uint32(raw))}, nil
	case d.name == "f2" && len(raw) == 2:
		return scalar{float16.FromBits(binary.LittleEndian.Uint16(raw)).Float32()}, nil
	case d.name == "i8" && len(raw) == 8:
		return scalar{int64(binary.LittleEndian.Uint64(raw))}, nil
	}
	return &object{}, nil
}

// scalar is a NumPy number.
type scalar struct{ value any }

// PySetState ignores the state.
func (scalar) PySetState(any) error { return nil }

// text is a number or a text as it is shown, or false for any other value.
func text(v any) (string, bool) {
	switch v := v.(type) {
	case scalar:
		return fmt.Sprint(v.value), true
	case string:
		return v, len(v) <= 256
	case bool, int, float64:
		return fmt.Sprint(v), true
	case *big.Int:
		return v.String(), v.BitLen() <= 256
	}
	return "", false
}
