package weights_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"
	"github.com/google/go-cmp/cmp"

	"github.com/dhkd-lab/dhkd-go/dhkd/weights"
)

func TestRoundTrip(t *testing.T) {
	nan := float32(math.NaN())
	values := map[string]*tensors.Tensor{
		"conv1.weight":   tensors.FromFlatDataAndDimensions([]float32{1, -2, nan, float32(math.Inf(1)), 5, 6}, 1, 3, 1, 2),
		"double":         tensors.FromFlatDataAndDimensions([]float64{math.Pi, -0.1}, 2),
		"scalar":         tensors.FromScalar(float32(7)),
		"labels":         tensors.FromFlatDataAndDimensions([]int32{-3, 4}, 2, 1),
		"student/ünï 世界": tensors.FromFlatDataAndDimensions([]int64{math.MinInt64}, 1),
	}
	metadata := map[string]string{"format": "test", "ü": "\n\"quoted\""}
	path := filepath.Join(t.TempDir(), "weights.safetensors")
	if err := weights.SaveSafetensors(path, values, metadata); err != nil {
		t.Fatal(err)
	}
	got, gotMetadata, err := weights.LoadSafetensors(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(metadata, gotMetadata); diff != "" {
		t.Error(diff)
	}
	expectSame(t, got, values)
}

// expectSame compares shapes and bytes.
func expectSame(t *testing.T, got, want map[string]*tensors.Tensor) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d tensors, want %d", len(got), len(want))
	}
	for name, value := range want {
		if got[name] == nil || !got[name].Shape().Equal(value.Shape()) ||
			!slices.Equal(bytesOf(t, got[name]), bytesOf(t, value)) {
			t.Errorf("tensor %s is %v, want %v", name, got[name], value)
		}
	}
}

func bytesOf(t *testing.T, x *tensors.Tensor) (copied []byte) {
	t.Helper()
	if err := x.ConstBytes(func(data []byte) { copied = slices.Clone(data) }); err != nil {
		t.Fatal(err)
	}
	return copied
}

func TestSaveErrors(t *testing.T) {
	values := map[string]*tensors.Tensor{"pixels": tensors.FromFlatDataAndDimensions([]complex64{1, 2}, 2)}
	path := filepath.Join(t.TempDir(), "w.safetensors")
	err := weights.SaveSafetensors(path, values, nil)
	if err == nil || !strings.Contains(err.Error(), `tensor "pixels": type`) {
		t.Errorf("unsupported type: %v", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("half a file was left")
	}
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := weights.SaveSafetensors(filepath.Join(path, "x"), nil, nil); err == nil {
		t.Error("no error for a file in place of a directory")
	}
}

func TestLoadErrors(t *testing.T) {
	dir := t.TempDir()
	if _, _, err := weights.LoadSafetensors(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	const good = `{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`
	for _, test := range []struct {
		name    string
		content []byte
		want    string
	}{
		{"empty", nil, "shorter than its header"},
		{"seven bytes", make([]byte, 7), "shorter than its header"},
		{"header of no bytes", file("", 0), "JSON"},
		{"header beyond the file", binary.LittleEndian.AppendUint64(nil, 100), "claims 100 bytes"},
		{"impossible header", binary.LittleEndian.AppendUint64(nil, math.MaxUint64), "claims 18446744073709551615 bytes"},
		{"header over the limit", binary.LittleEndian.AppendUint64(nil, 99<<20), "claims 103809024 bytes"},
		{"no JSON", file("hello", 0), "invalid character"},
		{"a list", file(`[1]`, 0), "cannot unmarshal array"},
		{"truncated data", file(good, 7), "its tensors need 8 bytes, it has 7"},
		{"data after the end", file(good, 9), "its tensors need 8 bytes, it has 9"},
		{"unknown type", file(strings.Replace(good, "F32", "F33", 1), 8), "F33"},
		{"type that is not read", file(strings.Replace(good, "F32", "U64", 1), 16), ""},
		{"unsigned", file(`{"a":{"dtype":"U32","shape":[2],"data_offsets":[0,8]}}`, 8),
			`tensor "a": type U32 is not supported`},
		{"two of a name", file(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},`+
			`"\u0061":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, 8), `tensor "a" is there twice`},
		{"no name", file(strings.Replace(good, `"a"`, `""`, 1), 8), `impossible name ""`},
		{"many axes", file(strings.Replace(good, "[2]", "[1,1,1,1,1,1,1,1,1,2]", 1), 8), "impossible shape"},
		{"shape and bytes differ", file(strings.Replace(good, "[2]", "[3]", 1), 8), "offsets"},
		{"negative size", file(strings.Replace(good, "[2]", "[-2]", 1), 8), "shape"},
		{"huge shape", file(`{"a":{"dtype":"F32","shape":[4294967296,4294967296,0],"data_offsets":[0,0]}}`, 0), ""},
		{"huge and empty", file(`{"a":{"dtype":"F32","shape":[0,4294967296],"data_offsets":[0,0]}}`, 0), "impossible shape"},
		{"huge size", file(`{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}`, 8),
			"need 4398046511104 bytes"},
		{"backwards", file(strings.Replace(good, "[0,8]", "[8,0]", 1), 8), ""},
		{"gap", file(strings.Replace(good, "[0,8]", "[4,12]", 1), 12), "offset"},
		{"overlap",
			file(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},`+
				`"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}`, 12),
			"offset"},
		{"a missing key", file(`{"a":{"dtype":"F32","shape":[2]}}`, 8), "keys"},
		{"metadata that is no text", file(`{"__metadata__":{"a":1}}`, 0), "__metadata__"},
	} {
		path := filepath.Join(dir, "bad.safetensors")
		if err := os.WriteFile(path, test.content, 0o644); err != nil {
			t.Fatal(err)
		}
		values, _, err := weights.LoadSafetensors(path)
		if err == nil || values != nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), path) ||
			strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, error %v, want %q", test.name, values, err, test.want)
		}
	}
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, pipe} {
		if _, _, err := weights.LoadSafetensors(path); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestTruncation cuts a good file at every length.
func TestTruncation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "w.safetensors")
	values := map[string]*tensors.Tensor{"a": tensors.FromFlatDataAndDimensions([]float32{1, 2, 3}, 3)}
	if err := weights.SaveSafetensors(path, values, map[string]string{"k": "v"}); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		if err := os.WriteFile(path, whole[:n], 0o644); err != nil {
			t.Fatal(err)
		}
		if _, _, err := weights.LoadSafetensors(path); err == nil {
			t.Errorf("the first %d of %d bytes are accepted", n, len(whole))
		}
	}
}

// TestNoHugeAllocation loads large sparse files with lying headers.
func TestNoHugeAllocation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sparse.safetensors")
	for size, headers := range map[int64][]string{
		1 << 30: {"", "{}", `{"a":{"dtype":"F32","shape":[268435456],"data_offsets":[0,1073741824]}}`},
		1 << 40: {"{}"},
	} {
		for _, header := range headers {
			if err := os.WriteFile(path, file(header, 0), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(path, size); err != nil {
				t.Fatal(err)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			if _, _, err := weights.LoadSafetensors(path); err == nil {
				t.Error("accepted")
			}
			runtime.ReadMemStats(&after)
			if used := after.TotalAlloc - before.TotalAlloc; used > 1<<20 {
				t.Errorf("header %.20q: %d bytes were allocated", header, used)
			}
		}
	}
}

// FuzzSafetensors checks that no file makes the reader panic, and that what it accepts it writes again unchanged.
func FuzzSafetensors(f *testing.F) {
	f.Add(file(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"__metadata__":{"k":"v"}}`, 8))
	f.Add(file(`{"a":{"dtype":"I64","shape":[],"data_offsets":[0,8]},`+
		`"b":{"dtype":"F64","shape":[0],"data_offsets":[8,8]}}`, 8))
	f.Add(file(`{"b":{"dtype":"I32","shape":[1,1,2],"data_offsets":[0,8]}}`, 8))
	f.Fuzz(func(t *testing.T, content []byte) {
		c, err := weights.LoadFrom(bytes.NewReader(content), int64(len(content)))
		if err != nil || c.Format != weights.FormatSafetensors {
			return
		}
		var written bytes.Buffer
		if err := weights.WriteSafetensors(&written, c.Tensors, c.Metadata); err != nil {
			t.Fatal(err)
		}
		again, err := weights.LoadFrom(bytes.NewReader(written.Bytes()), int64(written.Len()))
		if err != nil {
			t.Fatal(err)
		}
		expectSame(t, again.Tensors, c.Tensors)
	})
}

// file is a safetensors file with the given header and so many bytes of data.
func file(header string, data int) []byte {
	content := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(content, header...), make([]byte, data)...)
}

// TestHeaderThatStartsLikeAPickle loads a file whose first byte, of its header's length, is that of a pickle.
func TestHeaderThatStartsLikeAPickle(t *testing.T) {
	path := filepath.Join(t.TempDir(), "net.safetensors")
	values := map[string]*tensors.Tensor{"w": tensors.FromValue([]float32{1, 2})}
	for padding := range 512 {
		if err := weights.SaveSafetensors(path, values, map[string]string{"x": strings.Repeat("x", padding)}); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if data[0] == 0x80 {
			c, err := weights.Load(path)
			if err != nil || c.Format != weights.FormatSafetensors {
				t.Errorf("%+v, error %v", c, err)
			}
			return
		}
	}
	t.Fatal("no header had a length that starts with 0x80")
}
