package jupyter

import (
	"encoding/json"
	"fmt"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const checkout = "../../.."

// TestNotebooksAreClean looks at the committed notebooks. Nothing is run.
func TestNotebooksAreClean(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(checkout, "notebooks", "*.ipynb"))
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) == 0 {
		t.Fatal("there is no notebook")
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			md, err := os.ReadFile(strings.TrimSuffix(path, ".ipynb") + ".md")
			if err != nil {
				t.Fatalf("the notebook has no Markdown twin: %v", err)
			}
			for _, problem := range lint(data, string(md)) {
				t.Error(problem)
			}
			problems, note := checkStamp(checkout, strings.TrimSuffix(filepath.Base(path), ".ipynb"), data)
			for _, problem := range problems {
				t.Error(problem)
			}
			if note != "" {
				t.Log(note)
			}
		})
	}
}

// lint lists what is wrong with a notebook that is to be committed; md is its Markdown twin.
func lint(data []byte, md string) (problems []string) {
	problem := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	var notebook struct {
		NBFormat int `json:"nbformat"`
		Metadata struct {
			KernelSpec struct{ Name, Language string }
		}
		Cells []struct {
			CellType       string `json:"cell_type"`
			Source         lines
			ExecutionCount int `json:"execution_count"`
			Outputs        []struct {
				OutputType string `json:"output_type"`
				EValue     string
				Text       lines
				Data       map[string]json.RawMessage
			}
		}
	}
	if err := json.Unmarshal(data, &notebook); err != nil {
		return []string{fmt.Sprintf("not a notebook: %v", err)}
	}
	if notebook.NBFormat != 4 {
		problem("nbformat is %d, want 4", notebook.NBFormat)
	}
	if spec := notebook.Metadata.KernelSpec; spec.Name != "gonb" || spec.Language != "go" {
		problem("its kernel is %q (%s), want gonb (go)", spec.Name, spec.Language)
	}
	if len(data) > 1<<20 {
		problem("it is %d KiB, and at most 1024 are allowed: smaller or fewer pictures", len(data)>>10)
	}
	ran := 0
	for i, cell := range notebook.Cells {
		source := string(cell.Source)
		rest, found := "", false
		if _, rest, found = strings.Cut(md, strings.TrimSpace(source)); found {
			md = rest
		} else {
			problem("cell %d is not in the Markdown twin at this place: run notebooks/sync.py", i+1)
		}
		if cell.CellType != "code" {
			continue
		}
		if path := machinePath(source); path != "" {
			problem("cell %d has a path of one machine: %s", i+1, path)
		}
		ran++
		if cell.ExecutionCount != ran {
			problem("cell %d has count %d, want %d: run it whole, with notebooks/run.py --inplace", i+1, cell.ExecutionCount, ran)
		}
		for _, output := range cell.Outputs {
			if output.OutputType == "error" {
				problem("cell %d failed: %s", i+1, output.EValue)
			}
			shown := string(output.Text)
			for kind, content := range output.Data {
				if strings.HasPrefix(kind, "text/") {
					shown += string(content)
				}
			}
			if path := machinePath(shown); path != "" {
				problem("cell %d shows a path of the machine that it ran on: %s", i+1, path)
			}
			if strings.Contains("\n"+string(output.Text), "\nexit status ") {
				problem("cell %d: a command failed: %s", i+1, output.Text)
			}
		}
		for _, fragment := range goFragments(source) {
			for _, path := range foreignImports(fragment) {
				problem("cell %d imports %s, which is in no module of go.mod", i+1, path)
			}
			formatted, err := format.Source([]byte(fragment))
			if err != nil {
				problem("cell %d is not Go: %v", i+1, err)
			} else if string(formatted) != fragment {
				problem("cell %d is not as gofmt has it:\n%s", i+1, formatted)
			}
		}
	}
	return problems
}

// machinePath is the first path in a text that another reader will not have. (A path below the checkout is relative.)
func machinePath(text string) string {
	match := machinePaths.FindStringSubmatch(text)
	if match == nil {
		return ""
	}
	return match[1]
}

var machinePaths = regexp.MustCompile(
	`(?:^|[\s"'=(:\x60])(/(?:home|root|tmp|var|usr|opt|mnt|work|data|Users|private)/[^\s"'\x60\\]*)`)

// foreignImports are a fragment's imports that are neither of the standard library nor of a module that go.mod names.
func foreignImports(fragment string) (paths []string) {
	file, err := parser.ParseFile(token.NewFileSet(), "", "package cell\n"+fragment, parser.ImportsOnly)
	if err != nil {
		return nil // it is said elsewhere that it is not Go
	}
	for _, spec := range file.Imports {
		path, _ := strconv.Unquote(spec.Path.Value)
		first, _, _ := strings.Cut(path, "/")
		known := !strings.Contains(first, ".") || slices.ContainsFunc(modules(), func(module string) bool {
			return path == module || strings.HasPrefix(path, module+"/")
		})
		if !known {
			paths = append(paths, path)
		}
	}
	return paths
}

// modules are this module and those that its go.mod requires, directly or not.
var modules = sync.OnceValue(func() []string {
	text, err := os.ReadFile(filepath.Join(checkout, "go.mod"))
	if err != nil {
		panic(err)
	}
	var names []string
	for _, match := range regexp.MustCompile(`(?m)^(?:module |\t)(\S+)`).FindAllSubmatch(text, -1) {
		names = append(names, string(match[1]))
	}
	return names
})

// lines is a notebook's text, which may be one string or several.
type lines string

func (l *lines) UnmarshalJSON(data []byte) error {
	var several []string
	if err := json.Unmarshal(data, &several); err == nil {
		*l = lines(strings.Join(several, ""))
		return nil
	}
	return json.Unmarshal(data, (*string)(l))
}

// goFragments gives the stretches of Go in a cell: what lies between GoNB's own lines, which begin with % or !. A cell in
// another language (%%bash) has none.
func goFragments(source string) (fragments []string) {
	first, _, _ := strings.Cut(source, "\n")
	if strings.HasPrefix(first, "%%") && !slices.Contains([]string{"%%", "%main", "%test"}, strings.Fields(first)[0]) {
		return nil
	}
	var now []string
	special := false
	end := func() {
		if text := strings.Trim(strings.Join(now, "\n"), "\n"); text != "" {
			fragments = append(fragments, text)
		}
		now = nil
	}
	for _, line := range strings.Split(source, "\n") {
		if special || strings.HasPrefix(line, "%") || strings.HasPrefix(line, "!") {
			end()
			special = strings.HasSuffix(line, `\`) // goes on in the next line
			continue
		}
		now = append(now, line)
	}
	end()
	return fragments
}

func TestLint(t *testing.T) {
	notebook := func(change func(cell map[string]any)) string {
		cell := map[string]any{
			"cell_type": "code", "execution_count": 1, "metadata": map[string]any{}, "outputs": []any{},
			"source": []string{"!echo a \\\n", "  b\n", "import \"fmt\"\n", "\n", "%% --steps=3\n", "fmt.Println(1)"},
		}
		change(cell)
		data, err := json.Marshal(map[string]any{
			"nbformat": 4, "cells": []any{cell},
			"metadata": map[string]any{"kernelspec": map[string]string{"name": "gonb", "language": "go"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	shown := func(kind, content string) []any {
		return []any{map[string]any{"output_type": "display_data", "data": map[string]string{kind: content}}}
	}
	good := notebook(func(map[string]any) {})
	const md = "# Title\n\n```go\n!echo a \\\n  b\nimport \"fmt\"\n\n%% --steps=3\nfmt.Println(1)\n```\n"
	tests := []struct{ name, data, want string }{
		{"good", good, ""},
		{"not JSON", "{", "not a notebook"},
		{"format", strings.Replace(good, `"nbformat":4`, `"nbformat":3`, 1), "nbformat is 3"},
		{"kernel", strings.Replace(good, `"gonb"`, `"python3"`, 1), `its kernel is "python3"`},
		{"path in an output", notebook(func(c map[string]any) {
			c["outputs"] = []any{map[string]string{"output_type": "stream", "text": "at /tmp/gonb_1/main.go:3"}}
		}), "a path of the machine that it ran on: /tmp/gonb_1"},
		{"path in what is shown", notebook(func(c map[string]any) {
			c["outputs"] = shown("text/html", "see /home/me/x")
		}), "a path of the machine"},
		{"picture that looks like a path", notebook(func(c map[string]any) {
			c["outputs"] = shown("image/png", " /tmp/x")
		}), ""},
		{"path in a cell", notebook(func(c map[string]any) { c["source"] = "%%\nos.Open(\"/home/me/x\")" }),
			"a path of one machine"},
		{"failed command", notebook(func(c map[string]any) {
			c["outputs"] = []any{map[string]string{"output_type": "stream", "text": "oh\nexit status 3\n"}}
		}), "a command failed"},
		{"foreign import", notebook(func(c map[string]any) { c["source"] = "import \"example.com/x\"" }),
			"imports example.com/x"},
		{"import of a module with a longer name", notebook(func(c map[string]any) {
			c["source"] = "import (\n\t\"fmt\"\n\n\tg \"gonum.org/v1/plotting\"\n)"
		}), "imports gonum.org/v1/plotting"},
		{"size", good + strings.Repeat(" ", 1<<20), "KiB"},
		{"twin", notebook(func(c map[string]any) { c["source"] = "fmt.Println(2)" }), "not in the Markdown twin"},
		{"not run", notebook(func(c map[string]any) { c["execution_count"] = nil }), "count 0, want 1"},
		{"error", notebook(func(c map[string]any) {
			c["outputs"] = []any{map[string]string{"output_type": "error", "evalue": "exit status 2"}}
		}), "cell 1 failed: exit status 2"},
		{"not Go", notebook(func(c map[string]any) { c["source"] = "%%\nfmt.Println(1" }), "is not Go"},
		{"not formatted", notebook(func(c map[string]any) { c["source"] = "%%\nx:=1" }), "gofmt"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := strings.Join(lint([]byte(test.data), md), "; ")
			if test.want == "" && got != "" || !strings.Contains(got, test.want) {
				t.Errorf("problems %q, want one with %q", got, test.want)
			}
		})
	}
}

func TestFindInAnEmptyFolder(t *testing.T) {
	status := Find(t.TempDir())
	if status.Ready() || len(status.Missing) != 5 || !strings.Contains(status.Missing[0], "dhkd setup --jupyter") {
		t.Errorf("found %+v", status)
	}
	if err := Lab(t.Context(), t.TempDir()); err == nil || !strings.Contains(err.Error(), "missing nbclient") {
		t.Errorf("JupyterLab without a set-up: %v", err)
	}
	if err := RunNotebook(t.Context(), t.TempDir(), "x.md", "", nil, nil); err == nil {
		t.Error("a notebook ran without a set-up")
	}
}

// TestRunNotebook runs a notebook on the real kernel. Where Jupyter isn't set up it needs leave to do so, which takes a
// network and half a minute: DHKD_TEST_JUPYTER=1, or CI.
func TestRunNotebook(t *testing.T) {
	root, err := filepath.Abs(checkout)
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv("DHKD_TEST_JUPYTER") != "" || os.Getenv("CI") != "" {
		if err := Setup(t.Context(), root, Options{Progress: func(line string) { t.Log(line) }}); err != nil {
			t.Fatal(err)
		}
	}
	if status := Find(root); !status.Ready() {
		why := "set DHKD_TEST_JUPYTER=1 to set Jupyter up: missing " + strings.Join(status.Missing, "; ")
		if os.Getenv("CI") != "" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	dir := filepath.Join(t.TempDir(), "a folder")
	notebook := func(name, cell string) string {
		path := filepath.Join(dir, name+".md")
		write(t, path, "---\njupyter:\n  kernelspec:\n    display_name: Go (gonb)\n    language: go\n    name: gonb\n"+
			"---\n\n# A test\n\n```go\n"+cell+"\n```\n")
		return path
	}
	t.Run("good", func(t *testing.T) {
		// The module's own packages must be found without a network.
		path := notebook("good", `import (
	"fmt"
	"os"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

%%
fmt.Printf("%T %s\n", record.Recipe{}, os.Getenv("DHKD_TEST_WORD"))`)
		env := []string{"DHKD_TEST_WORD=hello", "GOPROXY=off"}
		if err := RunNotebook(t.Context(), root, path, "", env, nil); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(filepath.Join(dir, "good.ipynb"))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(data), `"record.Recipe hello\n"`) {
			t.Errorf("the output is missing:\n%s", data)
		}
		md, _ := os.ReadFile(path)
		for _, problem := range lint(data, string(md)) {
			t.Error(problem)
		}
		for _, script := range [][]string{{"sync.py", "--check"}, {"run.py", "--check"}} {
			python := filepath.Join(root, ".venv", "bin", "python")
			cmd := exec.Command(python, filepath.Join(root, "notebooks", script[0]), script[1], path)
			cmd.Env = append(os.Environ(), env...)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s of an unchanged pair: %v\n%s", script, err, out)
			}
		}
		var stamped struct{ Metadata struct{ DHKD stamp } }
		if err := json.Unmarshal(data, &stamped); err != nil {
			t.Fatal(err)
		}
		_, cell, _ := strings.Cut(string(md), "```go\n")
		if want := pythonDigest(strings.TrimSuffix(cell, "\n```\n")); stamped.Metadata.DHKD.Cells != want {
			t.Errorf("the stamp has the digest %q of its cells, want %q", stamped.Metadata.DHKD.Cells, want)
		}
		if code, err := digestFiles(root, "", isSource, codeFolders...); err != nil || stamped.Metadata.DHKD.Code != code {
			t.Errorf("the stamp has the digest %q of the code, want %q (%v)", stamped.Metadata.DHKD.Code, code, err)
		}
		write(t, filepath.Join(dir, "good.ipynb"), strings.Replace(string(data), "hello", "goodbye", 1))
		cmd := exec.Command(filepath.Join(root, ".venv", "bin", "python"), filepath.Join(root, "notebooks", "run.py"), "--check", path)
		cmd.Env = append(os.Environ(), env...)
		if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "+stdout: record.Recipe hello") {
			t.Errorf("run.py --check of another output: %v\n%s", err, out)
		}
	})
	for name, cell := range map[string]string{
		"panics":  "%%\npanic(\"oh no\")",
		"compile": "%%\nundefinedThing()",
		"command": "!exit 3",
	} {
		t.Run(name, func(t *testing.T) {
			path := notebook(name, cell)
			err := RunNotebook(t.Context(), root, path, "", nil, nil)
			if err == nil || !strings.HasPrefix(err.Error(), path+": code cell 1 failed") ||
				!strings.Contains(err.Error(), strings.Split(cell, "\n")[0]) {
				t.Errorf("error %v, want one that shows the cell", err)
			}
			if isFile(filepath.Join(dir, name+".ipynb")) {
				t.Error("a notebook that failed was written")
			}
		})
	}
}
