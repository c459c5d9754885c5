package weights

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// Limits of a pickle: a checkpoint of a thousand tensors with its optimizer has some 200 KB and 200,000 opcodes.
const (
	maxPickle  = 4 << 20
	maxOpcodes = 1 << 20
	maxMarks   = 64
	maxString  = 64 << 10
)

// kind is what scan knows of a value.
type kind uint8

const (
	kindOther  kind = iota // a number, None, a boolean or bytes
	kindString             // the only kinds that are keys are these two
	kindTuple
	kindList
	kindDict   // a dictionary, or an OrderedDict
	kindClass  // what GLOBAL pushes
	kindObject // an instance of one of the classes
)

// scanned is what scan knows of one value on the stack or in the memo.
type scanned struct {
	kind       kind
	size       int    // of a tuple, or of a dictionary
	class      string // of kindClass
	ordered    bool   // an OrderedDict
	keysNoText bool   // a dictionary with a key that is no text
}

// scanner runs a pickle on kinds instead of values. The library that reads pickles trusts them: it allocates what a
// length declares, prints values of any depth in its errors, and indexes what may not be there. What passes here cannot
// do that: every length lies inside the data, every operand exists and has the kind that the opcode needs, every class
// is on the list, and the number of steps is bounded. The opcodes are those that torch.load(weights_only=True) takes.
type scanner struct {
	data  []byte
	at    int
	stack []*scanned
	marks []int
	memo  map[uint32]*scanned
	built int // attributes that were set
}

// scanPickle checks the pickle at the start of data and returns its length.
func scanPickle(data []byte) (length int, err error) {
	s := scanner{data: data, memo: map[uint32]*scanned{}}
	for range maxOpcodes {
		start := s.at
		op, err := s.bytes(1)
		if err != nil {
			return 0, errors.New("the pickle has no end")
		}
		if op[0] == '.' {
			if len(s.marks) > 0 || len(s.stack) != 1 {
				return 0, fmt.Errorf("the pickle ends at byte %d with %d values, want one", start, len(s.stack))
			}
			return s.at, nil
		}
		if err := s.step(op[0]); err != nil {
			return 0, fmt.Errorf("byte %d of the pickle (opcode 0x%02x): %w", start, op[0], err)
		}
	}
	return 0, fmt.Errorf("the pickle has more than %d opcodes", maxOpcodes)
}

func (s *scanner) step(op byte) error {
	switch op {
	case 0x80: // PROTO
		version, err := s.bytes(1)
		if err == nil && (version[0] < 2 || version[0] > 5) {
			err = fmt.Errorf("protocol %d is not supported", version[0])
		}
		return err
	case 'N', 0x88, 0x89: // NONE, NEWTRUE, NEWFALSE
		return s.literal(0, kindOther)
	case 'J':
		return s.literal(4, kindOther)
	case 'K':
		return s.literal(1, kindOther)
	case 'M':
		return s.literal(2, kindOther)
	case 'G':
		return s.literal(8, kindOther)
	case 0x8a: // LONG1
		return s.counted(1, kindOther)
	case 'X', 'T': // BINUNICODE, BINSTRING
		return s.counted(4, kindString)
	case 'U': // SHORT_BINSTRING
		return s.counted(1, kindString)
	case '(':
		if len(s.marks) == maxMarks {
			return fmt.Errorf("more than %d levels", maxMarks)
		}
		s.marks = append(s.marks, len(s.stack))
		return nil
	case ')':
		s.push(&scanned{kind: kindTuple})
	case ']':
		s.push(&scanned{kind: kindList})
	case '}':
		s.push(&scanned{kind: kindDict})
	case 't':
		items, err := s.popMark()
		if err != nil {
			return err
		}
		s.push(&scanned{kind: kindTuple, size: len(items)})
	case 0x85, 0x86, 0x87: // TUPLE1, TUPLE2, TUPLE3
		size := int(op) - 0x84
		if _, err := s.pop(size); err != nil {
			return err
		}
		s.push(&scanned{kind: kindTuple, size: size})
	case 'a':
		if _, err := s.pop(1); err != nil {
			return err
		}
		return s.top(kindList)
	case 'e':
		if _, err := s.popMark(); err != nil {
			return err
		}
		return s.top(kindList)
	case 's':
		items, err := s.pop(2)
		if err != nil {
			return err
		}
		return s.set(items)
	case 'u':
		items, err := s.popMark()
		if err != nil {
			return err
		}
		return s.set(items)
	case 'q', 'h': // BINPUT, BINGET
		return s.remember(op == 'q', 1)
	case 'r', 'j': // LONG_BINPUT, LONG_BINGET
		return s.remember(op == 'r', 4)
	case 'c':
		return s.global()
	case 'Q': // BINPERSID
		items, err := s.pop(1)
		if err != nil {
			return err
		}
		if items[0].kind != kindTuple {
			return errors.New("a storage's identity must be a tuple")
		}
		s.push(&scanned{kind: kindObject})
	case 'R', 0x81: // REDUCE, NEWOBJ
		return s.call()
	case 'b':
		return s.build()
	default:
		return errors.New("not an opcode of torch.save's default protocol: save the file again, without pickle_protocol")
	}
	return nil
}

// bytes consumes n bytes of the data.
func (s *scanner) bytes(n int) ([]byte, error) {
	if n > len(s.data)-s.at {
		return nil, fmt.Errorf("%d bytes are needed, %d are left", n, len(s.data)-s.at)
	}
	s.at += n
	return s.data[s.at-n : s.at], nil
}

func (s *scanner) number(size int) (uint32, error) {
	b, err := s.bytes(size)
	switch {
	case err != nil:
		return 0, err
	case size == 1:
		return uint32(b[0]), nil
	}
	return binary.LittleEndian.Uint32(b), nil
}

func (s *scanner) push(v *scanned) { s.stack = append(s.stack, v) }

func (s *scanner) literal(size int, k kind) error {
	_, err := s.bytes(size)
	s.push(&scanned{kind: k})
	return err
}

func (s *scanner) counted(size int, k kind) error {
	n, err := s.number(size)
	if err != nil {
		return err
	}
	if k == kindOther && n == 0 || n > maxString {
		return fmt.Errorf("impossible length %d", n)
	}
	return s.literal(int(n), k)
}

// base is where the values after the last mark begin.
func (s *scanner) base() int {
	if len(s.marks) == 0 {
		return 0
	}
	return s.marks[len(s.marks)-1]
}

func (s *scanner) pop(n int) ([]*scanned, error) {
	from := len(s.stack) - n
	if from < s.base() {
		return nil, errors.New("a value is missing on the stack")
	}
	items := s.stack[from:]
	s.stack = s.stack[:from]
	return items, nil
}

func (s *scanner) popMark() ([]*scanned, error) {
	if len(s.marks) == 0 {
		return nil, errors.New("a mark is missing on the stack")
	}
	items, err := s.pop(len(s.stack) - s.base())
	s.marks = s.marks[:len(s.marks)-1]
	return items, err
}

// top checks the kind of the value on top, which stays there.
func (s *scanner) top(k kind) error {
	if len(s.stack) == s.base() || s.stack[len(s.stack)-1].kind != k {
		return errors.New("the value to be changed is missing or of another kind")
	}
	return nil
}

func (s *scanner) set(items []*scanned) error {
	if len(items)%2 != 0 {
		return errors.New("a key has no value")
	}
	if err := s.top(kindDict); err != nil {
		return err
	}
	dict := s.stack[len(s.stack)-1]
	dict.size += len(items) / 2
	for i := 0; i < len(items); i += 2 {
		switch items[i].kind {
		case kindOther:
			dict.keysNoText = true
		case kindString:
		default:
			return errors.New("a key of a dictionary is neither text nor a number")
		}
	}
	return nil
}

func (s *scanner) remember(put bool, size int) error {
	slot, err := s.number(size)
	if err != nil {
		return err
	}
	if !put {
		v, ok := s.memo[slot]
		if !ok {
			return fmt.Errorf("slot %d of the memo is empty", slot)
		}
		s.push(v)
		return nil
	}
	if int64(slot) >= int64(len(s.data)) { // each slot is written by an opcode of its own
		return fmt.Errorf("slot %d of the memo, in %d bytes", slot, len(s.data))
	}
	if len(s.stack) == s.base() {
		return errors.New("a value is missing on the stack")
	}
	s.memo[slot] = s.stack[len(s.stack)-1]
	return nil
}

func (s *scanner) global() error {
	var lines [2]string
	for i := range lines {
		end := bytes.IndexByte(s.data[s.at:], '\n')
		if end < 0 || end > 200 {
			return errors.New("a class has no name, or a very long one")
		}
		line, err := s.bytes(end + 1)
		if err != nil {
			return err
		}
		lines[i] = string(line[:end])
	}
	name := strings.Join(lines[:], ".")
	if _, err := findClass(lines[0], lines[1]); err != nil {
		return err
	}
	s.push(&scanned{kind: kindClass, class: name})
	return nil
}

func (s *scanner) call() error {
	items, err := s.pop(2)
	if err != nil {
		return err
	}
	class, args := items[0], items[1]
	switch {
	case class.kind != kindClass || args.kind != kindTuple:
		return errors.New("only a class is called, with a tuple")
	case class.class != orderedDict:
		s.push(&scanned{kind: kindObject})
	case args.size > 0:
		return errors.New("an OrderedDict of Python 2: save the file again with Python 3")
	default:
		s.push(&scanned{kind: kindDict, ordered: true})
	}
	return nil
}

// build checks BUILD, which sets the state of an object, or attributes of an OrderedDict.
func (s *scanner) build() error {
	items, err := s.pop(1)
	if err != nil {
		return err
	}
	if s.top(kindObject) == nil {
		return nil
	}
	if err := s.top(kindDict); err != nil {
		return err
	}
	if state := items[0]; !s.stack[len(s.stack)-1].ordered || state.kind != kindDict || state.keysNoText {
		return errors.New("attributes that are not a dictionary, or not of an OrderedDict")
	}
	if s.built += items[0].size; s.built > maxOpcodes { // one dictionary may be set many times
		return errors.New("too many attributes")
	}
	return nil
}
