package nb

import (
	"encoding/json"
	"errors"
	"image"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/dhkd-lab/dhkd-go/plots"
)

// exited is what ends a test's cell in place of its process.
type exited int

// endOf runs a cell and returns its exit status, and what it wrote to stderr.
func endOf(t *testing.T, cell func()) (status int, said string) {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr := os.Stderr
	os.Stderr, exit = write, func(status int) { panic(exited(status)) }
	defer func() {
		os.Stderr, exit = stderr, os.Exit
		write.Close()
		text, _ := io.ReadAll(read)
		said = string(text)
		if r := recover(); r != nil {
			code, ok := r.(exited)
			if !ok {
				panic(r)
			}
			status = int(code)
		}
	}()
	cell()
	return 0, ""
}

func TestMust(t *testing.T) {
	status, said := endOf(t, func() { Must(1, errors.New("no such thing")) })
	if status != 1 || said != "error: no such thing\n" {
		t.Errorf("an error ends the cell with status %d, saying %q", status, said)
	}
	if status, _ := endOf(t, func() {
		if Must(7, nil) != 7 {
			t.Error("the value is lost")
		}
	}); status != 0 {
		t.Error("no error ends the cell")
	}
}

func TestProfile(t *testing.T) {
	for value, want := range map[string]string{"": Offline, "smoke": Smoke, "offline": Offline, "paper": Paper} {
		t.Setenv(profileVariable, value)
		if got := Profile(); got != want {
			t.Errorf("%s=%s: %s, want %s", profileVariable, value, got, want)
		}
	}
	t.Setenv(profileVariable, "Paper")
	status, said := endOf(t, func() { Profile() })
	if status != 1 || !strings.Contains(said, `DHKD_PROFILE is "Paper": set it to smoke, offline or paper`) {
		t.Errorf("an unknown profile: status %d, %q", status, said)
	}
}

func TestNew(t *testing.T) {
	for name, want := range map[string]int{"03-the-collapse": 0, "3-x": 1, "03-../x": 1, "": 1} {
		if status, _ := endOf(t, func() { New(name) }); status != want {
			t.Errorf("New(%q) ends with %d, want %d", name, status, want)
		}
	}
}

// The stamp has what run.py keeps.
func TestStamp(t *testing.T) {
	file := filepath.Join(t.TempDir(), "stamp")
	t.Setenv(stampVariable, file)
	t.Setenv(profileVariable, "")
	t.Setenv("GOMLX_BACKEND", "go")
	New("01-x").Stamp(4)
	Check(report(map[string]string{"experiment": "e"}))
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	var got stamp
	if err := json.Unmarshal([]byte(lines[0]), &got); err != nil {
		t.Fatal(err)
	}
	complete := got.Cores > 0 && got.Go != "" && got.Commit != "" && cmp.Equal(got.Seeds, []uint64{4})
	if got.Notebook != "01-x" || got.Profile != Offline || got.Backend != "go" || !complete {
		t.Errorf("the stamp is %s", lines[0])
	}
	if diff := cmp.Diff([]string{`{"experiment":"e"}`, ""}, lines[1:]); diff != "" {
		t.Error(diff)
	}
}

func TestShow(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv(figuresVariable, "")
	picture := image.NewGray(image.Rect(0, 0, 4, 4))
	figure, err := plots.Images([]image.Image{picture}, nil, 1, plots.Options{DPI: 40})
	if err != nil {
		t.Fatal(err)
	}
	New("01-x").Show("squares", figure)
	for file, start := range map[string]string{"squares.png": "\x89PNG", "squares.svg": "<?xml"} {
		data, err := os.ReadFile(filepath.Join("figures", "01-x", file))
		if err != nil || !strings.HasPrefix(string(data), start) {
			t.Errorf("%s: %v, %.10q", file, err, data)
		}
	}
	if status, _ := endOf(t, func() { New("01-x").Show("../squares", figure) }); status != 1 {
		t.Error("a figure was saved outside its directory")
	}
}

func TestTables(t *testing.T) {
	cells, right, err := tabulate([]string{"name", "n", "value"},
		[][]any{{"a|b", 10, 0.12345678}, {"β", 9, math.Inf(-1)}, {"c", 8, float32(1.25e8)}})
	if err != nil {
		t.Fatal(err)
	}
	const plain = "name   n     value\na|b   10    0.1235\nβ      9        -∞\nc      8  1.25e+08"
	if diff := cmp.Diff(plain, plainTable(cells, right)); diff != "" {
		t.Error(diff)
	}
	const markdown = "| name | n | value |\n| --- | ---: | ---: |\n" +
		"| a\\|b | 10 | 0.1235 |\n| β | 9 | -∞ |\n| c | 8 | 1.25e+08 |\n"
	if diff := cmp.Diff(markdown, markdownTable(cells, right)); diff != "" {
		t.Error(diff)
	}
	if _, right, _ := tabulate([]string{"mixed"}, [][]any{{1}, {"none"}}); right[0] {
		t.Error("a column with words is set like numbers")
	}
	_, _, err = tabulate([]string{"a", "b"}, [][]any{{1, 2}, {1}})
	if err == nil || !strings.Contains(err.Error(), "row 2 has 1 cells") {
		t.Errorf("a row that is too short: %v", err)
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.09003057: "0.09003", -2: "-2", 1e-11: "1e-11", -1e-17: "0",
		math.Inf(1): "∞", 9999.4: "9999", 9999.6: "10000", -13454: "-13450", 1e6: "1000000", 9999999: "1e+07"} {
		if got := number(v); got != want {
			t.Errorf("%g: %s, want %s", v, got, want)
		}
	}
	if number(math.NaN()) != "NaN" {
		t.Error("NaN has another name")
	}
}

func TestCached(t *testing.T) {
	t.Setenv(cacheVariable, "")
	dir, calls := t.TempDir(), 0
	get := func(key string, inputs any) (float64, error) {
		return cached(dir, key, inputs, func() (float64, error) {
			calls++
			if inputs == "bad" {
				return 0, errors.New("bad input")
			}
			return math.Inf(1), nil // which JSON could not keep
		})
	}
	want := func(what string, calledBefore int, key string, inputs any) {
		t.Helper()
		if v, err := get(key, inputs); err != nil || !math.IsInf(v, 1) || calls != calledBefore {
			t.Errorf("%s: %g, %v after %d calls, want %d", what, v, err, calls, calledBefore)
		}
	}
	want("first", 1, "a", []int{1})
	want("again", 1, "a", []int{1})
	want("other inputs", 2, "a", []int{2})
	want("another key", 3, "b", []int{1})
	want("still there", 3, "a", []int{1})
	for range 2 {
		if _, err := get("a", "bad"); err == nil {
			t.Error("an error is lost")
		}
	}
	if calls != 5 {
		t.Error("an error was cached")
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	for _, file := range files {
		if err := os.WriteFile(file, []byte("damaged"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want("damaged", 6, "a", []int{1})
	t.Setenv(cacheVariable, "off")
	want("off", 7, "a", []int{1})
	if _, err := get("a", func() {}); err != nil {
		t.Errorf("inputs without a JSON form matter only to the cache: %v", err)
	}
	t.Setenv(cacheVariable, "")
	if _, err := get("a", func() {}); err == nil {
		t.Error("inputs without a JSON form are accepted")
	}
}

// A slider's values are those of its steps, within its range, and each comes back from its position.
func TestSliderPositions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := Slider{Min: rapid.Float64Range(-100, 100).Draw(t, "min")}
		s.Step = rapid.Float64Range(0.01, 10).Draw(t, "step")
		n := rapid.IntRange(1, 200).Draw(t, "steps")
		s.Max = s.Min + float64(n)*s.Step
		i := rapid.IntRange(0, n).Draw(t, "position")
		v := s.value(i)
		if s.position(v) != i || v < s.Min-1e-8 || v > s.Max+1e-8 {
			t.Fatalf("position %d of %d: value %g, back to %d", i, n, v, s.position(v))
		}
		if s.value(-1) != s.value(0) || s.value(n+1) != s.value(n) {
			t.Fatal("a position out of range has a value of its own")
		}
	})
	if v := (Slider{Min: 0, Max: 1, Step: 0.1}).value(3); v != 0.3 {
		t.Errorf("the third tenth is %v", v)
	}
	for _, s := range []Slider{{Min: 0, Max: 0, Step: 1}, {Min: 0, Max: 1}, {Min: 0, Max: 1, Step: 1, Value: 2},
		{Max: math.NaN(), Step: 1}, {Max: math.Inf(1), Step: 1}} {
		if s.check() == nil {
			t.Errorf("%+v is accepted", s)
		}
	}
	if err := (Slider{Min: -1, Max: 1, Step: 0.5}).check(); err != nil {
		t.Error(err)
	}
}

func TestMovements(t *testing.T) {
	sliders := []Slider{{Label: "offset", Min: -2, Max: 2, Step: 0.5}, {Label: "T", Min: 1, Max: 4, Step: 1}}
	values := []float64{0, 1}
	if !(movement{0, 7}).apply(sliders, values) || (movement{1, 0}).apply(sliders, values) {
		t.Error("a movement is what changes a value")
	}
	if got := describe(sliders, values); got != "offset 1.5, T 1" {
		t.Error(got)
	}
}
