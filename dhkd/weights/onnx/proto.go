package onnx

import (
	"encoding/binary"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// message is a protocol buffer in the making. Field numbers are those of onnx.proto.
type message []byte

func (m message) bytes(field protowire.Number, content []byte) message {
	return protowire.AppendBytes(protowire.AppendTag(m, field, protowire.BytesType), content)
}

func (m message) text(field protowire.Number, s string) message { return m.bytes(field, []byte(s)) }

func (m message) integer(field protowire.Number, v int) message {
	return protowire.AppendVarint(protowire.AppendTag(m, field, protowire.VarintType), uint64(v))
}

// node is a NodeProto with one output, whose name it has.
func node(op string, inputs []string, output string, attributes ...message) (m message) {
	for _, input := range inputs {
		m = m.text(1, input)
	}
	m = m.text(2, output).text(3, output).text(4, op)
	for _, a := range attributes {
		m = m.bytes(5, a)
	}
	return m
}

// The types of AttributeProto that are used.
const (
	attributeFloat    = 1
	attributeInteger  = 2
	attributeIntegers = 7
)

func float(name string, v float32) message {
	m := protowire.AppendTag(message{}.text(1, name), 2, protowire.Fixed32Type)
	return message(protowire.AppendFixed32(m, math.Float32bits(v))).integer(20, attributeFloat)
}

func integer(name string, v int) message {
	return message{}.text(1, name).integer(3, v).integer(20, attributeInteger)
}

func integers(name string, values ...int) message {
	m := message{}.text(1, name)
	for _, v := range values {
		m = m.integer(8, v)
	}
	return m.integer(20, attributeIntegers)
}

// The types of TensorProto that are used.
const (
	tensorFloat32 = 1
	tensorInt64   = 7
)

func floatTensor(name string, values []float32, shape []int) message {
	raw := make([]byte, 0, 4*len(values))
	for _, v := range values {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
	}
	return tensor(name, tensorFloat32, shape, raw)
}

// intTensor is a vector.
func intTensor(name string, values []int) message {
	var raw []byte
	for _, v := range values {
		raw = binary.LittleEndian.AppendUint64(raw, uint64(v))
	}
	return tensor(name, tensorInt64, []int{len(values)}, raw)
}

func tensor(name string, dataType int, shape []int, raw []byte) (m message) {
	for _, d := range shape {
		m = m.integer(1, d)
	}
	return m.integer(2, dataType).text(8, name).bytes(9, raw)
}

// valueInfo is the ValueInfoProto of float32 [batch, dims...].
func valueInfo(name string, dims ...int) message {
	shape := message{}.bytes(1, message{}.text(2, batchName))
	for _, d := range dims {
		shape = shape.bytes(1, message{}.integer(1, d))
	}
	return message{}.text(1, name).bytes(2, message{}.bytes(1, message{}.integer(1, tensorFloat32).bytes(2, shape)))
}
