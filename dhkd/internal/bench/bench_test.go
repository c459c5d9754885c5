package main

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// quick is one case in two rounds of three steps, and what a method adds, in one.
func quick() record.Bench {
	turn := func(process int, share float64, ms ...float64) record.BenchTurn {
		return record.BenchTurn{Process: process, Milliseconds: ms, Share: share}
	}
	whole := record.BenchCase{Student: "resnet8", Teacher: "resnet20", Size: 16, Method: "ce", GFLOP: 0.2, Nodes: 7,
		Peers: []record.BenchPeer{
			{Name: "dhkd", CompileSeconds: []float64{1.25, 1}, PeakRSS: []float64{100, 120},
				Turns: []record.BenchTurn{turn(0, 0, 20, 90, 30), turn(1, 0, 42, 40, 44)}},
			{Name: "PyTorch", Turns: []record.BenchTurn{turn(0, 0.9, 30, 31, 32)}, PeakRSS: []float64{300}},
			{Name: "PyTorch compiled", CompileSeconds: []float64{9, 8}, PeakRSS: []float64{400},
				Turns: []record.BenchTurn{turn(0, 0.9, 10, 11, 60), turn(1, 0.7, 20, 21, 22)}},
			{Name: "JAX", Missing: "resnet8 is not written for JAX"},
		}}
	added := func(name string, ms ...float64) record.BenchPeer {
		p := record.BenchPeer{Name: name}
		for round, x := range ms {
			p.Turns = append(p.Turns, record.BenchTurn{Round: round, Milliseconds: []float64{10 + x}, Plain: []float64{10}, Share: 1})
		}
		return p
	}
	extra := func(method string, peers ...record.BenchPeer) record.BenchCase {
		return record.BenchCase{Student: "resnet8", Teacher: "resnet20", Size: 16, Method: method, Given: true, Peers: peers}
	}
	return record.Bench{Machine: record.BenchMachine{GFLOPS: 50}, Batch: 64, Cases: []record.BenchCase{whole,
		extra("kd", added("dhkd", 2, 2, 2), added("PyTorch", 1, 1, 1)),
		extra("dist", added("dhkd", -1, 1, 2), added("PyTorch", 1, 1, 1)),
		extra("rkd", added("dhkd", 2, 2), added("PyTorch", 1, 1))}}
}

func TestMarkdown(t *testing.T) {
	got := markdown(quick())
	for _, want := range []string{
		"\n| resnet8 of resnet20 16x16 ce | 41.0 (20.0; 30.0, 42.0) | 20.5 (10.0; 11.0, 21.0) | compiled | **2.36 (2.18–2.55)** " +
			"| – | – | 1561 | 10 % |\n",
		"\n| resnet8 of resnet20 16x16 kd | 2.00 (2.00–2.00) | 1.00 (1.00–1.00) | **2.00** | eager | – | – |\n",
		"\n| resnet8 of resnet20 16x16 dist | 1.00 (0.00–1.50) | 1.00 (1.00–1.00) | **–** | eager | – | – |\n", // noise
		"\n| resnet8 of resnet20 16x16 rkd | 2.00 (2.00–2.00) | 1.00 (1.00–1.00) | **–** | eager | – | – |\n",  // few rounds
		"\n| resnet8 of resnet20 16x16 ce | 7 | 1.2 | compiled 9.0 | 120 | eager 300, compiled 400 |\n",
		"\n- resnet8 of resnet20 16x16 ce: JAX cannot: resnet8 is not written for JAX\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no line\n%s\nin\n%s", want, got)
		}
	}
}

func TestLimit(t *testing.T) {
	b := quick()
	b.Cases[0].Peers = b.Cases[0].Peers[:1]
	if err := check(b, 100); err == nil || !strings.Contains(err.Error(), "16x16 ce: there is no ratio") {
		t.Errorf("without PyTorch: %v", err)
	}
	slow := "more than 1.9 times PyTorch's time: resnet8 of resnet20 16x16 ce 2.36, resnet8 of resnet20 16x16 kd extra 2.00"
	for limit, want := range map[float64]string{0: "", 2.4: "", 1.9: slow} {
		got := ""
		if err := check(quick(), limit); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("limit %g: %q, want %q", limit, got, want)
		}
	}
}

func TestBusyMachineIsSaid(t *testing.T) {
	b := quick()
	if got := busy(b); !strings.Contains(got, "only 80 % of its cores") {
		t.Errorf("got %q", got)
	}
	b.Cases[0].Peers[2].Turns[1].Share = 0.95
	if got := busy(b); got != "" {
		t.Errorf("a quiet machine: %q", got)
	}
}

func TestSavedReportHasRawNumbers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bench.json")
	if err := save(quick(), path); err != nil {
		t.Fatal(err)
	}
	back, err := record.LoadBench(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := back.Cases[0].Peers[0].Turns[1].Milliseconds; len(got) != 3 || got[2] != 44 {
		t.Errorf("second round %v", got)
	}
}

func TestWhatIsNoRecordIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bench.json")
	for text, want := range map[string]string{
		"":               "unexpected end",
		"{}":             "no cases",
		`{"cases":[{}]}`: "case 1: the first of its peers is not dhkd",
		`{"cases":[{"peers":[{"name":"dhkd","turns":[{}]}]}]}`:                      "dhkd has a turn without times",
		`{"cases":[{"given":true,"peers":[{"name":"dhkd","turns":[{"ms":[1]}]}]}]}`: "dhkd has a turn without times",
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := run(t.Context(), []string{"-from", path}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", text, err, want)
		}
	}
}

// A side that cannot be used does not leave the others' processes behind.
func TestProcessesEndWithAnError(t *testing.T) {
	h := house{python: filepath.Join(t.TempDir(), "python"), log: os.Stderr}
	ended := filepath.Join(t.TempDir(), "ended")
	script := `#!/bin/sh
case "$4" in *'"channels_last":true'*) echo '{"losses":{"ce":[9,9]}}'; exit;; esac
echo '{"losses":{"ce":[1,1]}}'; read c; : >'` + ended + "'\n"
	if err := os.WriteFile(h.python, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	p := plan{processes: 1, rounds: 1, steps: 1, ways: ways[1:3]}
	_, _, err := p.measure(t.Context(), h, job{Methods: []jobMethod{methodNamed("ce")}}, map[string][]float64{"ce": {1, 1}})
	if err == nil || !strings.Contains(err.Error(), "channels_last computes another loss") {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(ended); err != nil {
		t.Error("the process was not ended and waited for")
	}
}

func TestParse(t *testing.T) {
	for args, want := range map[string]string{
		"":                         "",
		"-limit 2 -run ^resnet8":   "",
		"-rounds 0":                "",
		"-rounds -1":               "-rounds 0 or more",
		"-steps 0":                 "must be 1 or more",
		"-processes 0":             "must be 1 or more",
		"-batch 1":                 "-batch must be 2 or more",
		"-images 5":                "-images as many",
		"-run (":                   "-run: error parsing regexp",
		"-with (":                  "-with: error parsing regexp",
		"resnet8":                  `"resnet8": there are flags only`,
		"-no-such-flag":            "not defined: -no-such-flag",
		"-from no-such.json -list": "",
	} {
		_, err := parse(strings.Fields(args))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: error %v, want %q", args, err, want)
		}
	}
}

func TestJobsOfAChoice(t *testing.T) {
	o, err := parse([]string{"-run", "^resnet20 of resnet56 .* (ce|kd|kd extra)$", "-with", "^JAX$"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, j := range o.jobs() {
		got = append(got, j.String())
	}
	want := "resnet20 of resnet56 32x32 fixture; resnet20 of resnet56 32x32 ce; resnet20 of resnet56 32x32 kd; " +
		"resnet20 of resnet56 32x32 kd extra"
	if strings.Join(got, "; ") != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if len(o.ways) != 2 || o.ways[0] != ours {
		t.Errorf("ways %v", o.ways)
	}
}

func TestEveryPairIsInTheZoo(t *testing.T) {
	for _, p := range pairs {
		for _, m := range wholeMethods {
			if _, err := stepOf(job{Student: p.student, Classes: classes}, methodNamed(m).Method); err != nil {
				t.Errorf("%s %s: %v", p.student, m, err)
			}
		}
	}
}

func TestDifferentLossesFail(t *testing.T) {
	want := map[string][]float64{"kd": {4, 3}}
	for name, test := range map[string]struct {
		losses []float64
		want   string
	}{
		"equal":         {[]float64{4.0001, 3.001}, ""},
		"first":         {[]float64{4.01, 3}, "PyTorch computes another loss of kd: 4.01 in step 1, this project 4"},
		"second":        {[]float64{4, 3.1}, "3.1 in step 2"},
		"not a number":  {[]float64{4, math.NaN()}, "NaN in step 2"},
		"not all steps": {[]float64{4}, "1 losses were verified, not 2"},
	} {
		p := &peer{way: ways[1], hello: hello{Losses: map[string][]float64{"kd": test.losses}}}
		if err := compare(p, want); (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want %q", name, err, test.want)
		}
	}
}

// The conversation with a peer, played by a shell.
func TestProtocol(t *testing.T) {
	const hello = `echo '{"threads":2,"losses":{"ce":[1,1]}}'; read c;`
	for name, test := range map[string]struct{ script, want string }{
		"answers":      {hello + `echo '{"ms":{"ce":[1,3]},"cpu_ms":6}'`, ""},
		"error":        {hello + `echo "{\"error\":\"$c: KeyError\"}"`, "PyTorch: run 2: KeyError"},
		"short":        {hello + `echo '{"ms":{"ce":[1]}}'`, "PyTorch timed 1 steps of ce, not 2"},
		"ends":         {hello + `exit`, "PyTorch ended before its time"},
		"cannot":       {`echo '{"error":"ImportError: torch"}'`, "PyTorch: ImportError: torch"},
		"no JSON":      {`echo hello`, "PyTorch ended before its time"},
		"not a Python": {"-", "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			h := house{python: filepath.Join(t.TempDir(), "python"), log: os.Stderr}
			if test.script != "-" {
				if err := os.WriteFile(h.python, []byte("#!/bin/sh\n"+test.script+"\n"), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			got, share, err := askOnce(t.Context(), h)
			if test.want == "" {
				if err != nil || len(got.Milliseconds["ce"]) != 2 || share != 0.75 {
					t.Errorf("got %v, share %g, error %v", got, share, err)
				}
			} else if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

// It needs the peers: scripts/test.sh pytorch. Every method's losses, and those of some on other kinds of networks.
func TestPeersComputeTheSameLosses(t *testing.T) {
	h := house{python: os.Getenv(pythonVariable), dir: t.TempDir(), log: os.Stderr}
	if h.python == "" {
		if os.Getenv("CI") != "" {
			t.Fatal(pythonVariable + " must name a Python with PyTorch and JAX: scripts/test.sh pytorch")
		}
		t.Skip(pythonVariable + " names no Python with PyTorch and JAX")
	}
	if err := os.CopyFS(h.dir, programs); err != nil {
		t.Fatal(err)
	}
	someMethods := []string{"kd", "reviewkd"}
	for _, p := range []pair{{"resnet8", "resnet14", 8, nil, givenMethods}, {"vgg8", "vgg8", 8, nil, someMethods},
		{"wrn_10_1", "wrn_10_1", 8, nil, someMethods}, {"ShuffleV2", "resnet8", 8, nil, someMethods}} {
		all := p.jobs(p.byDefault, 8, 4000)
		fixture, given := all[0], all[1]
		fixture.Fixture = filepath.Join(h.dir, "fixture.safetensors")
		given.Fixture = fixture.Fixture
		reference, err := h.start(t.Context(), ours, fixture)
		if err != nil {
			t.Fatal(err)
		}
		reference.Close()
		for _, w := range []way{ways[1], ways[2], ways[5]} {
			if w.name == record.JAXAny && p.student == "ShuffleV2" {
				continue
			}
			peer, err := h.start(t.Context(), w, given)
			if err != nil {
				t.Fatal(err)
			}
			peer.Close()
			if err := compare(peer, reference.Losses); err != nil {
				t.Error(err)
			}
			if got := len(peer.Losses); w.name != record.JAXAny && got != len(given.Methods) || got < 2 {
				t.Errorf("%s: %d of %d methods", w.name, got, len(given.Methods))
			}
		}
	}
}

// TestMain lets the test's program be this project's side, as the bench's is.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "worker" {
		if err := work(context.Background(), os.Args[2], os.Stdin, os.Stdout); err != nil {
			panic(err)
		}
		return
	}
	os.Exit(m.Run())
}

func askOnce(ctx context.Context, h house) (turn, float64, error) {
	p, err := h.start(ctx, ways[1], job{})
	if err != nil {
		return turn{}, 0, err
	}
	defer p.Close()
	answer, err := p.run(ctx, 2)
	return answer, p.share(answer), err
}

func TestRequirementsNameNoIndex(t *testing.T) {
	if text := string(requirements); strings.Contains(text, "://") || !strings.Contains(text, "--hash=sha256:") {
		t.Error("requirements.txt must have hashes and no addresses")
	}
}

// The name of a method says what else is measured of it, and a cache is of whole steps alone.
func TestMethodNames(t *testing.T) {
	m := methodNamed("dhkd-aligned-cached")
	if m.Method.Name != "dhkd" || !m.Method.Align || !m.Cached {
		t.Errorf("%+v", m)
	}
	if m := methodNamed("kd"); m.Method.Name != "kd" || m.Method.Align || m.Cached {
		t.Errorf("%+v", m)
	}
	for _, name := range givenMethods {
		if methodNamed(name).Cached {
			t.Errorf("%s: with the teacher's outputs given there is nothing to cache", name)
		}
	}
}
