// Package tensorboard writes event files that TensorBoard shows: named scalars over steps.
//
// An event file is a sequence of records, each the length of its data (uint64, little endian), that length's masked
// CRC-32C, the data and the data's masked CRC-32C (TensorFlow's record_writer.h). The data is a protocol buffer
// (event.proto).
package tensorboard

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// filePrefix starts the name of every event file. TensorBoard reads the files of a directory in the order of their
// names.
const filePrefix = "events.out.tfevents."

// Writer appends to an event file. After its first error it writes nothing more and returns that error from every call.
// It is for one goroutine.
//
// Event files are not written through a temporary file, so that TensorBoard can show a run while it trains: a crash
// leaves whole records and perhaps a torn last one, where TensorBoard stops reading.
type Writer struct {
	file   *os.File
	buffer *bufio.Writer
	err    error
}

// Create starts the events of a new run in dir, making dir when missing. TensorBoard drops what earlier files there
// say.
func Create(dir string) (*Writer, error) { return start(dir, 0) }

// Resume starts a new event file in dir for a run that goes on after step. What earlier files say of later steps, done
// before a crash and now done again, is dropped by TensorBoard (by its fast loader once the tag is written again).
func Resume(dir string, step int) (*Writer, error) { return start(dir, step+1) }

// Scalar records a value (a float32 to TensorBoard) at a step. The slashes of a tag group charts: "loss/ce".
func (w *Writer) Scalar(tag string, step int, value float64, at time.Time) error {
	v := appendText(nil, 1, strings.ToValidUTF8(tag, "?")) // Value.tag
	v = protowire.AppendTag(v, 2, protowire.Fixed32Type)   // Value.simple_value
	v = protowire.AppendFixed32(v, math.Float32bits(float32(value)))
	summary := appendBytes(nil, 1, v)                           // Summary.value
	return w.write(appendBytes(newEvent(at, step), 5, summary)) // Event.summary
}

// Flush hands everything to the operating system, where TensorBoard sees it.
func (w *Writer) Flush() error {
	if w.err == nil {
		w.fail(w.buffer.Flush())
	}
	return w.err
}

// Sync is [Writer.Flush] that also waits for the disk.
func (w *Writer) Sync() error {
	if w.Flush() == nil {
		w.fail(w.file.Sync())
	}
	return w.err
}

// Close syncs and closes the file. A closed writer refuses everything but another Close.
func (w *Writer) Close() error {
	if errors.Is(w.err, fs.ErrClosed) {
		return nil
	}
	w.Sync()
	w.fail(w.file.Close())
	err := w.err
	w.err = fmt.Errorf("cannot write TensorBoard events to %s: %w", w.file.Name(), fs.ErrClosed)
	return err
}

// start makes an event file that says: what is known of step and later is void.
func start(dir string, step int) (*Writer, error) {
	f, err := newFile(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot write TensorBoard events: %w", err)
	}
	w := &Writer{file: f, buffer: bufio.NewWriterSize(f, 64<<10)}
	w.write(appendText(newEvent(time.Now(), 0), 3, "brain.Event:2")) // Event.file_version
	session := protowire.AppendTag(nil, 1, protowire.VarintType)     // SessionLog.status
	session = protowire.AppendVarint(session, 1)                     // START
	w.write(appendBytes(newEvent(time.Now(), step), 7, session))     // Event.session_log
	if err := w.Flush(); err != nil {
		f.Close()
		return nil, err
	}
	return w, nil
}

// newFile makes a file whose name is the last of the directory's event files, even when the clock went backwards.
func newFile(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	second := time.Now().Unix()
	for _, entry := range entries {
		name, ok := strings.CutPrefix(entry.Name(), filePrefix)
		digits, _, _ := strings.Cut(name, ".")
		if n, err := strconv.ParseInt(digits, 10, 64); ok && err == nil && n >= second && n < math.MaxInt32 {
			second = n + 1
		}
	}
	for {
		path := filepath.Join(dir, fmt.Sprintf("%s%010d.dhkd", filePrefix, second))
		f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		if !errors.Is(err, fs.ErrExist) {
			return f, err
		}
		second++ // another process was faster
	}
}

// write appends a record.
func (w *Writer) write(data []byte) error {
	if w.err != nil {
		return w.err
	}
	length := binary.LittleEndian.AppendUint64(nil, uint64(len(data)))
	record := binary.LittleEndian.AppendUint32(length, maskedCRC(length))
	record = append(record, data...)
	record = binary.LittleEndian.AppendUint32(record, maskedCRC(data))
	_, err := w.buffer.Write(record)
	w.fail(err)
	return w.err
}

func (w *Writer) fail(err error) {
	if err != nil && w.err == nil {
		w.err = fmt.Errorf("cannot write TensorBoard events: %w", err)
	}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// maskedCRC is rotated and offset, since a CRC of data that holds CRCs would be weak.
func maskedCRC(data []byte) uint32 {
	crc := crc32.Checksum(data, castagnoli)
	return (crc>>15 | crc<<17) + 0xa282ead8
}

// newEvent is an Event with its wall_time and step.
func newEvent(at time.Time, step int) []byte {
	e := protowire.AppendTag(nil, 1, protowire.Fixed64Type)
	e = protowire.AppendFixed64(e, math.Float64bits(float64(at.UnixMicro())/1e6))
	e = protowire.AppendTag(e, 2, protowire.VarintType)
	return protowire.AppendVarint(e, uint64(step))
}

func appendBytes(b []byte, field protowire.Number, value []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), value)
}

func appendText(b []byte, field protowire.Number, value string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), value)
}
