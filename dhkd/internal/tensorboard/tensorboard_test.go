package tensorboard_test

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/dhkd-lab/dhkd-go/dhkd/internal/tensorboard"
)

var when = time.Unix(1700000000, 250000000)

// writeResumedRun leaves a run that was killed in step 4 while it wrote, and went on from a checkpoint after step 2.
func writeResumedRun(t *testing.T, dir string) {
	t.Helper()
	w, err := tensorboard.Create(dir)
	check(t, err)
	for step := 1; step <= 4; step++ {
		check(t, w.Scalar("loss/ce", step, float64(step), when))
		check(t, w.Scalar("only/before", step, 7, when))
	}
	check(t, w.Close())
	path := files(t, dir)[0]
	info, err := os.Stat(path)
	check(t, err)
	check(t, os.Truncate(path, info.Size()-5)) // a torn record
	w, err = tensorboard.Resume(dir, 2)
	check(t, err)
	check(t, w.Scalar("loss/ce", 3, 0.1, when))
	check(t, w.Scalar("loss/ce", 4, math.NaN(), when))
	check(t, w.Scalar("loss/ce", 5, 1e300, when))
	check(t, w.Scalar("κ\xff", 5, -1, when))
	check(t, w.Close())
}

func TestEvents(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "run")
	writeResumedRun(t, dir)
	paths := files(t, dir)
	if len(paths) != 2 {
		t.Fatalf("files: %v", paths)
	}
	var got []string
	for _, path := range paths {
		got = append(got, read(t, path)...)
	}
	want := []string{"version brain.Event:2", "start 0",
		"loss/ce 1 1", "only/before 1 7", "loss/ce 2 2", "only/before 2 7", "loss/ce 3 3",
		"only/before 3 7", "loss/ce 4 4", "torn",
		"version brain.Event:2", "start 3", "loss/ce 3 0.1", "loss/ce 4 NaN", "loss/ce 5 +Inf", "κ? 5 -1"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// The real TensorBoard drops the steps that were done again, and reads past the torn record into the next file.
func TestTensorBoardReads(t *testing.T) {
	python := findPython(t)
	dir := t.TempDir()
	writeResumedRun(t, dir)
	const wall = 1700000000.25
	want := map[string][][3]any{
		"loss/ce": {{1., "1.0", wall}, {2., "2.0", wall}, {3., "0.10000000149011612", wall}, {4., "nan", wall},
			{5., "inf", wall}},
		"only/before": {{1., "7.0", wall}, {2., "7.0", wall}},
		"κ?":          {{5., "-1.0", wall}},
	}
	if diff := cmp.Diff(want, readWithTensorBoard(t, python, dir)); diff != "" {
		t.Error(diff)
	}
	w, err := tensorboard.Create(dir) // the run is started anew in the same directory
	check(t, err)
	check(t, w.Scalar("loss/ce", 1, 9, when))
	check(t, w.Close())
	got := readWithTensorBoard(t, python, dir)
	if diff := cmp.Diff([][3]any{{1., "9.0", wall}}, got["loss/ce"]); diff != "" || len(got["only/before"]) != 0 {
		t.Errorf("%s\nonly/before: %v", diff, got["only/before"])
	}
}

// A later file comes later by name, whatever the clock says, and a live run's events are there to read after Flush.
func TestFileOrderAndFlush(t *testing.T) {
	dir := t.TempDir()
	future := filepath.Join(dir, fmt.Sprintf("events.out.tfevents.%010d.host", time.Now().Add(time.Hour).Unix()))
	check(t, os.WriteFile(future, nil, 0o600))
	for range 3 {
		w, err := tensorboard.Create(dir)
		check(t, err)
		check(t, w.Scalar("a", 1, 1, when))
		check(t, w.Flush())
		paths := files(t, dir)
		if got := read(t, paths[len(paths)-1]); len(got) != 3 {
			t.Errorf("after Flush: %v", got)
		}
		check(t, w.Close())
		check(t, w.Close())
		if err := w.Scalar("a", 2, 1, when); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("Scalar after Close: %v", err)
		}
	}
	if paths := files(t, dir); paths[0] != future || len(paths) != 4 {
		t.Errorf("order: %v", paths)
	}
}

func TestErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	check(t, os.WriteFile(path, nil, 0o600))
	if _, err := tensorboard.Create(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("Create in a file: %v", err)
	}
}

// read lists the events of a file, checking every checksum; it shares no code with the writer.
func read(t *testing.T, path string) []string {
	t.Helper()
	data, err := os.ReadFile(path)
	check(t, err)
	sum := func(b []byte) uint32 {
		crc := crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))
		return (crc>>15 | crc<<17) + 0xa282ead8
	}
	var events []string
	for len(data) > 0 {
		if len(data) < 12 || uint64(len(data)) < 16+binary.LittleEndian.Uint64(data) {
			return append(events, "torn")
		}
		n := binary.LittleEndian.Uint64(data)
		if sum(data[:8]) != binary.LittleEndian.Uint32(data[8:]) ||
			sum(data[12:12+n]) != binary.LittleEndian.Uint32(data[12+n:]) {
			t.Fatalf("%s: wrong checksum", path)
		}
		e := fields(t, data[12:12+n])
		data = data[16+n:]
		switch {
		case e[3] != nil:
			events = append(events, "version "+string(e[3].([]byte)))
		case e[7] != nil:
			if fields(t, e[7].([]byte))[1] != uint64(1) {
				t.Fatal("a session log that is no START")
			}
			events = append(events, fmt.Sprint("start ", e[2]))
		default:
			v := fields(t, fields(t, e[5].([]byte))[1].([]byte))
			events = append(events, fmt.Sprint(string(v[1].([]byte)), " ", e[2], " ", math.Float32frombits(v[2].(uint32))))
			if wall := math.Float64frombits(e[1].(uint64)); wall != 1700000000.25 {
				t.Errorf("wall time %f", wall)
			}
		}
	}
	return events
}

// fields are those of a message, by number.
func fields(t *testing.T, b []byte) map[protowire.Number]any {
	t.Helper()
	m := map[protowire.Number]any{}
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		b = b[n:]
		switch kind {
		case protowire.VarintType:
			m[number], n = protowire.ConsumeVarint(b)
		case protowire.Fixed32Type:
			m[number], n = protowire.ConsumeFixed32(b)
		case protowire.Fixed64Type:
			m[number], n = protowire.ConsumeFixed64(b)
		case protowire.BytesType:
			m[number], n = protowire.ConsumeBytes(b)
		default:
			t.Fatalf("field %d of type %d", number, kind)
		}
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		b = b[n:]
	}
	return m
}

func readWithTensorBoard(t *testing.T, python, dir string) map[string][][3]any {
	t.Helper()
	command := exec.Command(python, "testdata/read.py", dir)
	command.Stderr = os.Stderr
	out, err := command.Output()
	check(t, err)
	var tags map[string][][3]any
	check(t, json.Unmarshal(out, &tags))
	return tags
}

// findPython is a Python that has the tensorboard package.
func findPython(t *testing.T) string {
	t.Helper()
	python := os.Getenv("DHKD_TENSORBOARD_PYTHON")
	if python == "" {
		python = filepath.Join("..", "..", "..", ".venv", "bin", "python")
	}
	if out, err := exec.Command(python, "-c", "import tensorboard").CombinedOutput(); err != nil {
		why := fmt.Sprintf("%s cannot import tensorboard (%v) %s: set DHKD_TENSORBOARD_PYTHON to a Python that can",
			python, err, out)
		if os.Getenv("CI") != "" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	return python
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "events.out.tfevents.*"))
	check(t, err)
	return paths
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
