package dataset

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// readIDX reads an idx file of at most limit items of unsigned bytes with the given shape, to its very end. The
// format: the number 0x08 (unsigned byte) and the number of dimensions in the magic number's last two bytes, the size
// of each dimension as a big-endian 32-bit number, the items in row-major order.
func readIDX(r io.Reader, limit uint32, shape ...uint32) ([]byte, error) {
	header := make([]uint32, 2+len(shape))
	if err := binary.Read(r, binary.BigEndian, header); err != nil {
		return nil, unreadable(err, "in the idx header")
	}
	if want := uint32(0x0801 + len(shape)); header[0] != want {
		return nil, fmt.Errorf("not an idx file of unsigned bytes in %d dimensions: magic number %#08x, want %#08x",
			1+len(shape), header[0], want)
	}
	count := header[1]
	if count == 0 || count > limit {
		return nil, fmt.Errorf("the header says %d items, want 1 to %d", count, limit)
	}
	size := int(count)
	for i, want := range shape {
		if header[2+i] != want {
			return nil, fmt.Errorf("the header says items of shape %v, want %v", header[2:], shape)
		}
		size *= int(want)
	}
	data := make([]byte, size)
	if n, err := io.ReadFull(r, data); err != nil {
		return nil, unreadable(err, fmt.Sprintf("after %d of the %d bytes that the header announces", n, size))
	}
	// Reading on to the end also makes gzip compare its checksum.
	switch _, err := io.ReadFull(r, make([]byte, 1)); err {
	case io.EOF:
		return data, nil
	case nil:
		return nil, fmt.Errorf("there are bytes after the %d items that the header announces", count)
	default:
		return nil, unreadable(err, "at the end")
	}
}

// unreadable words the error of a file that ends where it should not, or whose compression is damaged.
func unreadable(err error, where string) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("truncated: the file ends %s", where)
	}
	return fmt.Errorf("unreadable %s: %w", where, err)
}
