package dataset

import (
	"math/rand/v2"
	"slices"
)

// scans writes JPEG files that Go's encoder does not: of any usual sampling, progressive, with restarts. Coefficients are
// drawn. All codes of its Huffman tables have eight bits.
type scans struct {
	width, height int
	factors       []byte
	progressive   bool
	restart       int // MCUs between restart markers
	r             *rand.Rand

	out    []byte
	bits   uint64
	n      int
	before [3]int // DC
	codes  [256]int
}

func (s *scans) segment(marker byte, data ...byte) {
	s.out = append(append(s.out, 0xff, marker, byte((len(data)+2)>>8), byte(len(data)+2)), data...)
}

// put appends bits, of which a byte that is all ones is followed by a zero.
func (s *scans) put(value, n int) {
	for n--; n >= 0; n-- {
		s.bits = s.bits<<1 | uint64(value>>n&1)
		if s.n++; s.n == 8 {
			s.out = append(s.out, byte(s.bits))
			if byte(s.bits) == 0xff {
				s.out = append(s.out, 0)
			}
			s.n = 0
		}
	}
}

func (s *scans) flush() {
	for s.n > 0 {
		s.put(1, 1)
	}
	s.before = [3]int{}
}

// number puts a value of that many bits, after its code: the zeros before it, and the bits.
func (s *scans) number(zeros, v int) {
	n := 0
	for abs := max(v, -v); abs>>n > 0; n++ {
	}
	s.put(s.codes[zeros<<4|n], 8)
	if v < 0 {
		v += 1<<n - 1
	}
	s.put(v, n)
}

func (s *scans) file() []byte {
	s.out = []byte{0xff, 0xd8}
	s.segment(0xe0, []byte("JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00")...)
	table := []byte{0}
	for range 64 {
		table = append(table, byte(1+s.r.IntN(20)))
	}
	s.segment(0xdb, table...)
	frame := []byte{8, byte(s.height >> 8), byte(s.height), byte(s.width >> 8), byte(s.width), byte(len(s.factors))}
	for c, f := range s.factors {
		frame = append(frame, byte(c+1), f, 0)
	}
	kind := byte(0xc0)
	if s.progressive {
		kind = 0xc2
	}
	s.segment(kind, frame...)
	var symbols []byte
	for v := range 256 {
		if v&15 != 0 || v == 0 || v == 0xf0 {
			s.codes[v] = len(symbols)
			symbols = append(symbols, byte(v))
		}
	}
	lengths := make([]byte, 16)
	lengths[7] = 12
	s.segment(0xc4, slices.Concat([]byte{0x00}, lengths, symbols[:12])...)
	lengths[7] = byte(len(symbols))
	s.segment(0xc4, slices.Concat([]byte{0x10}, lengths, symbols)...)
	s.segment(0xdd, 0, byte(s.restart))
	all := []int{0, 1, 2}[:len(s.factors)]
	if !s.progressive {
		s.scan(all, 0, 63, 0x00)
	} else {
		s.scan(all, 0, 0, 0x01)
		for c := range all {
			s.scan([]int{c}, 1, 5, 0x00)
			s.scan([]int{c}, 6, 63, 0x00)
		}
		s.scan(all, 0, 0, 0x10)
	}
	s.out = append(s.out, 0xff, 0xd9)
	return s.out
}

// scan writes these coefficients of all blocks of components.
func (s *scans) scan(components []int, first, last int, bits byte) {
	head := []byte{byte(len(components))}
	for _, c := range components {
		head = append(head, byte(c+1), 0)
	}
	s.segment(0xda, append(head, byte(first), byte(last), bits)...)
	x, y := int(s.factors[0]>>4), int(s.factors[0]&15)
	columns, rows := ceilDiv(s.width, 8*x), ceilDiv(s.height, 8*y)
	alone := len(components) == 1
	if c := components[0]; alone && c == 0 { // its blocks in the image, one an MCU
		columns, rows = ceilDiv(s.width, 8), ceilDiv(s.height, 8)
	}
	for i := range columns * rows {
		if s.restart > 0 && i > 0 && i%s.restart == 0 {
			s.flush()
			s.out = append(s.out, 0xff, 0xd0+byte(i/s.restart-1)%8)
		}
		for _, c := range components {
			blocks := int(s.factors[c]>>4) * int(s.factors[c]&15)
			if alone {
				blocks = 1
			}
			for range blocks {
				s.block(c, first, last, bits)
			}
		}
	}
	s.flush()
}

func (s *scans) block(c, first, last int, bits byte) {
	if bits>>4 != 0 { // refines the first coefficient
		s.put(s.r.IntN(2), 1)
		return
	}
	k := first
	if k == 0 {
		value := s.r.IntN(61) - 30
		s.number(0, value-s.before[c])
		s.before[c] = value
		k++
	}
	for zeros := s.r.IntN(16); k+zeros <= last; zeros = s.r.IntN(16) {
		k += zeros
		value := 1 + s.r.IntN(8)
		if s.r.IntN(2) == 0 {
			value = -value
		}
		s.number(zeros, value)
		k++
	}
	if k <= last {
		s.put(0, 8) // none is left
	}
}
