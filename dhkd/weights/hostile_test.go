package weights_test

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/dhkd-lab/dhkd-go/dhkd/weights"
)

// TestHostileFiles loads stored files, each of which must be refused: see internal/golden for those that are larger.
func TestHostileFiles(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join("testdata", "hostile", "*.pth"))
	if err != nil || len(paths) < 49 {
		t.Fatalf("%d files, error %v", len(paths), err)
	}
	for _, path := range paths {
		if content, err := os.ReadFile(path); err != nil {
			t.Error(err)
		} else {
			expectRefused(t, path, content, "")
		}
	}
	if _, err := os.Lstat("/tmp/pwned"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("code of a file was run: %v", err)
	}
}

// expectRefused loads a file of that content. Refusing it must cost little time, and memory in proportion to its size.
func expectRefused(t *testing.T, name string, content []byte, want string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hostile.pth")
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	_, err := weights.Load(path)
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	if err == nil {
		t.Errorf("%s: accepted", name)
		return
	}
	text := err.Error()
	if !strings.Contains(text, want) || !strings.HasPrefix(text, path) || strings.Contains(text, "\n") || len(text) > 600 {
		t.Errorf("%s: error %.700s, want %q", name, text, want)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > uint64(2<<20+400*len(content)) || took > 5*time.Second {
		t.Errorf("%s: %d bytes in memory and %v for %d bytes", name, used, took, len(content))
	}
}

// Pieces of pickles.
func text(s string) string {
	return "X" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(s)))) + s
}

func number(n int) string { return "J" + string(binary.LittleEndian.AppendUint32(nil, uint32(n))) }

func tuple(items ...string) string { return "(" + strings.Join(items, "") + "t" }

func storage(class, key string, count int) string {
	return tuple(text("storage"), "ctorch\n"+class+"\n", text(key), text("cpu"), number(count)) + "Q"
}

func tensor(storage string, offset int, size, stride string) string {
	return "ctorch._utils\n_rebuild_tensor_v2\n" + tuple(storage, number(offset), size, stride, "\x89", "N") + "R"
}

func pickled(body string) string { return "\x80\x02" + body + "." }

// member of a zip file.
type member struct {
	name, content string
	method        uint16
}

func zipped(t *testing.T, members ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, m := range members {
		f, err := w.CreateHeader(&zip.FileHeader{Name: m.name, Method: m.method})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(m.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// torchZip is a PyTorch file of that pickle, with storage 0 of four floats.
func torchZip(t *testing.T, body string, more ...member) []byte {
	members := []member{
		{name: "a/data.pkl", content: pickled(body)}, {name: "a/data/0", content: strings.Repeat("\x00", 16)},
	}
	return zipped(t, append(members, more...)...)
}

// four is a good tensor of four floats, fourAs a dictionary that has it.
var (
	four   = tensor(storage("FloatStorage", "0", 4), 0, tuple(number(4)), tuple(number(1)))
	fourAs = func(name string) string { return "}" + text(name) + four + "s" }
)

func TestTorchZipIsRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "good.pth")
	if err := os.WriteFile(path, torchZip(t, fourAs("w")), 0o644); err != nil {
		t.Fatal(err)
	}
	if c, err := weights.Load(path); err != nil || len(c.Tensors) != 1 || c.Tensors["w"].Size() != 4 {
		t.Errorf("%+v, error %v", c, err)
	}
}

func TestHostileZip(t *testing.T) {
	good := torchZip(t, fourAs("w"))
	changed := bytes.Clone(good)
	changed[bytes.Index(changed, []byte("a/data/0"))+8]++
	for _, test := range []struct {
		name    string
		content []byte
		want    string
	}{
		{"absolute name", torchZip(t, fourAs("w"), member{name: "/etc/x"}), "unsafe name"},
		{"parent", torchZip(t, fourAs("w"), member{name: "a/../../x"}), "unsafe name"},
		{"backslash", torchZip(t, fourAs("w"), member{name: `a\..\x`}), "unsafe name"},
		{"drive", torchZip(t, fourAs("w"), member{name: "C:x"}), "unsafe name"},
		{"deflated", torchZip(t, fourAs("w"), member{name: "a/x", content: "x", method: zip.Deflate}), "compressed"},
		{"two of a name", torchZip(t, fourAs("w"), member{name: "a/data/0"}), "is there twice"},
		{"two pickles", torchZip(t, fourAs("w"), member{name: "b/data.pkl"}), "two data.pkl"},
		{"big-endian", torchZip(t, fourAs("w"), member{name: "a/byteorder", content: "big"}), "not little-endian"},
		{"changed value", changed, "checksum"},
		{"after the pickle", zipped(t, member{name: "a/data.pkl", content: pickled("}") + "x"}), "1 bytes follow"},
		{"large pickle", zipped(t, member{name: "a/data.pkl", content: strings.Repeat("x", 5<<20)}), "the limit is 4194304"},
		{"overlap", overlapping(t), "overlap"},
	} {
		expectRefused(t, test.name, test.content, test.want)
	}
	for n := range good { // cut anywhere, with and without its end
		if path := filepath.Join(t.TempDir(), "cut"); os.WriteFile(path, good[:n], 0o644) != nil {
			t.Fatal("cannot write")
		} else if _, err := weights.Load(path); err == nil {
			t.Errorf("the first %d of %d bytes are accepted", n, len(good))
		}
	}
}

// overlapping makes the directory's entry of a member point to that of another one.
func overlapping(t *testing.T) []byte {
	content := torchZip(t, fourAs("w"), member{name: "a/data/1", content: "0123456789abcdef"})
	const entry = 46 // of the directory, with the name after it and the offset at its end
	at := bytes.LastIndex(content, []byte("a/data/1")) - entry
	other := bytes.LastIndex(content, []byte("a/data/0")) - entry
	copy(content[at+42:at+46], content[other+42:other+46])
	return content
}

func TestHostilePickles(t *testing.T) {
	one := tuple(number(1))
	for _, test := range []struct{ name, body, want string }{
		{"code", "cos\nsystem\n" + tuple(text("touch /tmp/pwned")) + "R", `"system" of module "os"`},
		{"code by getattr", "cbuiltins\ngetattr\n" + tuple("cos\n", text("system")) + "R", `"getattr"`},
		{"lookalike", "ctorch._utils._rebuild_tensor_v2\nx\n", "not on the list"},
		{"nested loads", "ctorch.storage\n_load_from_bytes\n" + tuple(text("x")) + "R", `"_load_from_bytes"`},
		{"library's own class", "carray\n_array_reconstructor\n" + tuple("N") + "R", `"_array_reconstructor"`},
		{"storage called", "ctorch\nFloatStorage\n" + tuple(number(1<<30)) + "R", "named, not called"},
		{"tensor called", four + ")R", "only a class is called"},
		{"class as new object", "ccollections\nOrderedDict\n)\x81", ""},
		{"OrderedDict of Python 2", "ccollections\nOrderedDict\n(]tR", "Python 2"},
		{"wrong arguments", "ctorch._utils\n_rebuild_tensor_v2\n" + tuple("N", "N", "N", "N") + "R", "damaged"},
		{"view of a storage",
			tuple(text("storage"), "ctorch\nFloatStorage\n", text("0"), text("cpu"), number(4), one) + "Q", "damaged"},
		{"storage of a list", tuple(text("storage"), "]", text("0"), text("cpu"), number(4)) + "Q", "damaged"},
		{"storage of two types", tuple(four, tensor(storage("IntStorage", "0", 4), 0, one, one)), "declared twice"},
		{"storage elsewhere",
			fourAs("w") + text("x") + tensor(storage("FloatStorage", "../0", 1), 0, one, one) + "s", "is not in the file"},
		{"many axes", tensor(storage("FloatStorage", "0", 4), 0, tuple(strings.Repeat("K\x01", 9)), one), "damaged"},
		{"empty and huge", tensor(storage("FloatStorage", "0", 4), 0,
			tuple("K\x00", "\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x10"), tuple("K\x01", "K\x01")), "impossible size"},
		{"key twice", "}" + text("w") + four + "s" + text("w") + four + "s", `"w" is there twice`},
		{"no tensors", "}", "no tensors"},
		{"a number", number(3), "holds a number"},
		{"value is a list", "}" + text("w") + "]s", `"w" is a list, not a tensor`},
		{"state is a list", "}" + text("state_dict") + "]s", `"state_dict" is a list`},
		{"newline in a name", fourAs("a\nb"), "impossible name"},
		{"long name", fourAs(strings.Repeat("a", 300)), "impossible name"},
		{"a prefix alone", fourAs("student."), "prefix for its name"},
		{"tuple as a key", "})" + four + "s", "neither text nor a number"},
		{"odd items", "}(" + text("w") + "u", "has no value"},
		{"attributes of a dictionary", "}}b", "attributes"},
		{"state of number keys", "ccollections\nOrderedDict\n)R}K\x01K\x02sb", "attributes"},
		{"mark at the end", "}(N", "ends at byte"},
		{"two values", "}}", "with 2 values"},
		{"empty long", "\x8a\x00", "impossible length"},
		{"deep marks", strings.Repeat("(", 1<<20), "more than 64 levels"},
		{"deep lists", strings.Repeat("]", 1<<20) + strings.Repeat("a", 1<<20), "opcodes"},
		{"nothing but values", strings.Repeat("]", 4<<20-10), "opcodes"},
		{"tuples of marks", strings.Repeat("(t", 1<<19-10), "values, want one"},
	} {
		expectRefused(t, test.name, torchZip(t, test.body), test.want)
	}
}

// TestBombs has files that grow when they are walked, printed or copied.
func TestBombs(t *testing.T) {
	// Each list holds the one before twice: 2^200 values for who walks it, or prints it in an error.
	var nested strings.Builder
	nested.WriteString("]q\x00")
	for i := range byte(200) {
		nested.WriteString("](h" + string([]byte{i}) + "h" + string([]byte{i}) + "eq" + string([]byte{i + 1}))
	}
	bomb := nested.String()
	cut := strings.Repeat("a", 200) // leaves the last in the first, so that it holds itself too
	for name, body := range map[string]string{
		"the whole":       tuple(bomb),
		"in state":        "}" + text("w") + tuple(bomb) + "s",
		"called":          "(" + bomb + cut + "t)R",
		"class's state":   "cargparse\nNamespace\n)\x81" + tuple(bomb) + "b",
		"as a tensor":     "ctorch._utils\n_rebuild_tensor_v2\n" + tuple(tuple(bomb), tuple(bomb), "N", "N") + "R",
		"persistent":      tuple(bomb) + "Q",
		"OrderedDict":     "ccollections\nOrderedDict\n" + tuple(bomb) + "R",
		"key":             "}" + tuple(bomb) + "Ns",
		"NumPy":           "cnumpy.core.multiarray\nscalar\n" + tuple(tuple(bomb), "N") + "R",
		"attribute's key": "ccollections\nOrderedDict\n)R}" + tuple(bomb) + "Nsb",
	} {
		expectRefused(t, name, torchZip(t, body), "")
	}

	// Attributes set again and again: the product of two lengths.
	var attributes strings.Builder
	attributes.WriteString("}q\x00(")
	for i := range 20000 {
		attributes.WriteString(text(fmt.Sprint(i)) + "N")
	}
	attributes.WriteString("u\x85q\x01ccollections\nOrderedDict\n)R" + strings.Repeat("h\x00b", 20000) + "\x86")
	expectRefused(t, "attributes", torchZip(t, attributes.String()), "too many attributes")

	// A long text made into bytes again and again.
	encoded := "(c_codecs\nencode\nq\x00" + tuple(text(strings.Repeat("x", 60000)), text("latin1")) + "q\x01" +
		strings.Repeat("h\x00h\x01R", 10000) + "t"
	expectRefused(t, "bytes", torchZip(t, encoded), "too many")

	// 5,000 tensors that share a storage of 64 KB: 320 MB as copies.
	var shared strings.Builder
	shared.WriteString("}(" + text("t"))
	shared.WriteString(tensor(storage("FloatStorage", "1", 1<<14), 0, tuple(number(1<<14)), one()) + "q\x00")
	for i := range 5000 {
		shared.WriteString(text(fmt.Sprint(i)) + "h\x00")
	}
	data := member{name: "a/data/1", content: strings.Repeat("\x00", 1<<16)}
	expectRefused(t, "shared", torchZip(t, shared.String()+"u", data), "share their values")

	// A stride of zero: one value for 2^26.
	expanded := tensor(storage("FloatStorage", "0", 4), 0, tuple(number(1<<26)), tuple(number(0)))
	expectRefused(t, "expanded", torchZip(t, "}"+text("w")+expanded+"s"), "share their values")

	// More tensors than a network has, of no size.
	var many strings.Builder
	many.WriteString("}(" + text("t") + tensor(storage("FloatStorage", "0", 4), 0, tuple(number(0)), one()) + "q\x00")
	for i := range 1 << 16 {
		many.WriteString(text(fmt.Sprint(i)) + "h\x00")
	}
	expectRefused(t, "many", torchZip(t, many.String()+"u"), "the limit is 65536")
}

func one() string { return tuple(number(1)) }

// TestHostileLegacy builds files of the old format.
func TestHostileLegacy(t *testing.T) {
	const start = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03."
	machine := pickled("}" + text("little_endian") + "\x88s")
	keys := pickled("]" + text("0") + "a")
	good := pickled(fourAs("w"))
	data := "\x04\x00\x00\x00\x00\x00\x00\x00" + strings.Repeat("\x00", 16)
	for name, test := range map[string]struct{ content, want string }{
		"big-endian":      {start + pickled("}"+text("little_endian")+"\x89s") + good + keys + data, "not little-endian"},
		"key twice":       {start + machine + good + pickled("]"+text("0")+"a"+text("0")+"a") + data, "damaged"},
		"another key":     {start + machine + good + pickled("]"+text("1")+"a") + data, `"1"`},
		"key that nests":  {start + machine + good + pickled("]q\x00h\x00a") + data, `""`},
		"more data":       {start + machine + good + keys + data + "x", "1 bytes follow"},
		"storage in keys": {start + machine + good + pickled(storage("FloatStorage", "0", 4)) + data, "damaged"},
	} {
		expectRefused(t, name, []byte(test.content), test.want)
	}
}

// TestSparse loads large files with little in them: the limit on a file's size, and on what is read before the content
// is known.
func TestSparse(t *testing.T) {
	for start, size := range map[string]int64{
		"PK\x03\x04": 1 << 30, "\x80\x02": 1 << 30, "x": 1 << 30, "PK\x03\x04 ": 3 << 30,
	} {
		path := filepath.Join(t.TempDir(), "sparse")
		if err := os.WriteFile(path, []byte(start), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := weights.Load(path); err == nil {
			t.Errorf("%q: accepted", start)
		}
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > 8<<20 {
			t.Errorf("%q: %d bytes were allocated", start, used)
		}
	}
}

func TestLoadOther(t *testing.T) {
	expectRefused(t, "gzip", []byte("\x1f\x8b\x08\x00"), "unpack it")
	expectRefused(t, "tar", append(make([]byte, 257), "ustar\x0000"...), "unpack it")
	if _, err := weights.Load(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if _, err := weights.Load(t.TempDir()); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Error(err)
	}
}

// FuzzTorch checks that no file makes the reader panic or hang. The checksums of zip files keep most changes from the
// pickles in them: those are for FuzzPickle.
func FuzzTorch(f *testing.F) {
	for _, content := range torchFiles(f) {
		f.Add(content)
	}
	f.Fuzz(expectNoPanic)
}

// FuzzPickle puts a pickle into a good zip file, with storage 0 of 432 bytes.
func FuzzPickle(f *testing.F) {
	for _, content := range torchFiles(f) {
		reader, err := zip.NewReader(bytes.NewReader(content), int64(len(content)))
		if err != nil {
			continue
		}
		for _, m := range reader.File {
			if filepath.Base(m.Name) != "data.pkl" || m.Method != zip.Store {
				continue
			}
			at, err := m.DataOffset()
			if err != nil {
				f.Fatal(err)
			}
			f.Add(string(content[at : at+int64(m.CompressedSize64)]))
		}
	}
	f.Add(pickled(fourAs("w")))
	f.Fuzz(func(t *testing.T, pickle string) {
		expectNoPanic(t, zipped(t, member{name: "a/data.pkl", content: pickle},
			member{name: "a/data/0", content: strings.Repeat("\x00", 432)}))
	})
}

func torchFiles(f *testing.F) (contents [][]byte) {
	paths, err := filepath.Glob(filepath.Join("testdata", "*", "*.pth"))
	if err != nil || len(paths) == 0 {
		f.Fatal("no seeds")
	}
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		contents = append(contents, content)
	}
	return contents
}

func expectNoPanic(t *testing.T, content []byte) {
	c, err := weights.LoadFrom(bytes.NewReader(content), int64(len(content)))
	if err == nil && len(c.Names) != len(c.Tensors) {
		t.Errorf("%d names of %d tensors", len(c.Names), len(c.Tensors))
	}
	if err != nil && strings.Contains(err.Error(), "reading it failed") { // it panicked
		t.Error(err)
	}
}
