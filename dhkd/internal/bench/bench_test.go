package main

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// quick is one case measured on this computer in two rounds of three steps, with other programs running.
func quick() report {
	m := measurement{Case: benchCase{Network: "resnet8", Size: 16, Method: "ce"}, Nodes: 7, CompileSeconds: 1.25, Rounds: []round{
		{DHKD: []float64{20, 90, 30}, Torch: []float64{10, 11, 60}, TorchShare: 0.9}, // busy at the end of each turn
		{DHKD: []float64{42, 40, 44}, Torch: []float64{20, 21, 22}, TorchShare: 0.7},
	}}
	m.summarize()
	return report{Batch: 64, Steps: 3, Cases: []measurement{m}}
}

func TestSummaryPairsRounds(t *testing.T) {
	m := quick().Cases[0]
	if want := (summary{Median: 41, Min: 20}); m.DHKD != want {
		t.Errorf("dhkd %+v, want %+v", m.DHKD, want)
	}
	if want := (summary{Median: 20.5, Min: 10}); m.Torch != want {
		t.Errorf("torch %+v, want %+v", m.Torch, want)
	}
	if want := (30./11 + 42./21) / 2; math.Abs(m.Ratio-want) > 1e-12 || m.MinRatio != 2 {
		t.Errorf("ratios %g and %g, want %g and 2", m.Ratio, m.MinRatio, want)
	}
}

func TestMarkdown(t *testing.T) {
	const want = "| resnet8 16x16 ce | 41.0 | 20.0 | 20.5 | 10.0 | **2.36** | 2.00 | 7 | 1.2 s |\n"
	if got := quick().markdown(); !strings.HasSuffix(got, want) {
		t.Errorf("got\n%swant as the last line\n%s", got, want)
	}
}

func TestPairsAreTheirOwnTable(t *testing.T) {
	r := quick()
	r.Cases = append(r.Cases, measurement{Case: benchCase{"vgg8", 32, "dhkd", "vgg13"}, Nodes: 9, CompileSeconds: 2})
	if got, want := r.markdown(), "\n\n| whole step of a pair"; !strings.Contains(got, want) ||
		!strings.HasSuffix(got, "| vgg8 32x32 dhkd of vgg13 | 9 | 2.0 s |\n") {
		t.Errorf("got\n%s", got)
	}
	r.Cases[0].TorchShare = 0.95
	if err := r.check(0.1); r.busy() != "" || strings.Contains(err.Error(), "vgg8") {
		t.Errorf("a pair, which is not timed, is slow or shows a busy machine: %q, %v", r.busy(), err)
	}
}

func TestLimit(t *testing.T) {
	r := quick()
	tooSlow := "more than 2.2 times PyTorch's time: resnet8 16x16 ce 2.36"
	for limit, want := range map[float64]string{0: "", 2.4: "", 2.2: tooSlow} {
		got := ""
		if err := r.check(limit); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("limit %g: %q, want %q", limit, got, want)
		}
	}
}

func TestBusyMachineIsSaid(t *testing.T) {
	r := quick()
	if got := r.busy(); !strings.Contains(got, "only 80 % of its cores") {
		t.Errorf("got %q", got)
	}
	r.Cases[0].TorchShare = 0.95
	if got := r.busy(); got != "" {
		t.Errorf("a quiet machine: %q", got)
	}
}

func TestSavedReportHasRawNumbers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bench.json")
	if err := quick().save(path); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var back report
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	if got := back.Cases[0].Rounds[1].DHKD; len(got) != 3 || got[2] != 44 {
		t.Errorf("second round %v", got)
	}
}

// The conversation with PyTorch's side, played by a shell.
func TestPyTorchProtocol(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil && os.Getenv("CI") == "" {
		t.Skip("no sh on PATH")
	}
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ script, want string }{
		"answers":      {`read c; echo '{"ms":[1,3],"cpu_ms":6}'`, ""},
		"error":        {`read c; echo "{\"error\":\"$c: KeyError\"}"`, "PyTorch: run resnet8 16 64 ce 2: KeyError"},
		"short":        {`read c; echo '{"ms":[1]}'`, "PyTorch timed 1 steps, not 2"},
		"ends":         {`exit`, "PyTorch ended before its time"},
		"no PyTorch":   {``, "has no PyTorch that works"},
		"no JSON":      {`read c; echo hello`, "PyTorch ended before its time"},
		"not a Python": {"-", "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			python := filepath.Join(t.TempDir(), "python")
			if test.script != "-" {
				script := "#!" + sh + "\n"
				if test.script != "" {
					script += `echo '{"torch":"2.0","python":"3.12","threads":2}'` + "\n" + test.script + "\n"
				}
				if err := os.WriteFile(python, []byte(script), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			t.Setenv(pythonVariable, python)
			ms, share, err := askOnce(t.Context())
			if test.want == "" {
				if err != nil || len(ms) != 2 || share != 0.75 {
					t.Errorf("got %v, share %g, error %v", ms, share, err)
				}
			} else if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

func askOnce(ctx context.Context) ([]float64, float64, error) {
	torch, err := startPyTorch(ctx)
	if err != nil {
		return nil, 0, err
	}
	defer torch.Close()
	return torch.time(ctx, cases[0], 2)
}

func TestRequirementsNameNoIndex(t *testing.T) {
	if text := string(requirements); strings.Contains(text, "://") || !strings.Contains(text, "--hash=sha256:") {
		t.Error("requirements.txt must have hashes and no addresses")
	}
}
