package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/dhkd-lab/dhkd-go/dhkd/device"
)

// verified is the number of steps whose losses are compared; the second's tells of the gradients and the update.
const verified = 2

// hello is what a process says when it is ready.
type hello struct {
	Versions       map[string]string    `json:"versions"`
	Threads        int                  `json:"threads,omitempty"`
	GFLOPS         float64              `json:"gflops"`
	CompileSeconds map[string]float64   `json:"compile_seconds"` // by method
	Losses         map[string][]float64 `json:"losses"`          // of the verified steps, by method
	Nodes          map[string]int       `json:"nodes,omitempty"` // of the graphs, by method
	MultiplyAdds   map[string]int       `json:"multiply_adds,omitempty"`
	PeakRSS        float64              `json:"peak_rss_mib"` // so far
	Error          string               `json:"error,omitempty"`
}

// turn is the answer to "run 5".
type turn struct {
	Milliseconds map[string][]float64 `json:"ms"` // by method
	CPU          float64              `json:"cpu_ms"`
	PeakRSS      float64              `json:"peak_rss_mib"` // since hello
	Error        string               `json:"error,omitempty"`
}

// step is a training step of this project.
type step struct {
	name string
	run  func() (loss float64, err error)
}

// work is this project's side, in a process of its own: common.py in Go.
func work(ctx context.Context, definition string, in io.Reader, out io.Writer) error {
	say := json.NewEncoder(out).Encode
	var j job
	err := json.Unmarshal([]byte(definition), &j)
	if err != nil {
		return err
	}
	d, err := device.Open(ctx, device.Options{})
	if err != nil {
		return say(hello{Error: err.Error()})
	}
	defer d.Close()
	h := hello{Versions: map[string]string{"Go": runtime.Version()}, CompileSeconds: map[string]float64{},
		Losses: map[string][]float64{}, Nodes: map[string]int{}, MultiplyAdds: map[string]int{}}
	var steps []step
	if h.GFLOPS, err = gigaflops(d.Backend); err == nil {
		if j.Given {
			steps, err = givenSteps(d.Backend, j, &h)
		} else {
			steps, err = wholeSteps(d.Backend, j, &h)
		}
	}
	if err != nil {
		return say(hello{Error: err.Error()})
	}
	h.PeakRSS = peakRSS()
	forgetPeak()
	if err := say(h); err != nil {
		return err
	}
	for commands := bufio.NewScanner(in); commands.Scan(); {
		count, err := strconv.Atoi(strings.TrimPrefix(commands.Text(), "run "))
		if err != nil {
			return fmt.Errorf("unknown command %q", commands.Text())
		}
		t, err := runSteps(ctx, steps, count)
		if err != nil {
			t = turn{Error: err.Error()}
		}
		if err := say(t); err != nil {
			return err
		}
	}
	return nil
}

// runSteps times so many steps of each method, the methods taking turns, after one of each that is not timed.
func runSteps(ctx context.Context, steps []step, count int) (t turn, err error) {
	t.Milliseconds = map[string][]float64{}
	for i := range count + 1 {
		for _, s := range steps {
			if err := ctx.Err(); err != nil {
				return t, err
			}
			start := time.Now()
			if _, err := s.run(); err != nil {
				return t, fmt.Errorf("%s: %w", s.name, err)
			}
			if i > 0 {
				t.Milliseconds[s.name] = append(t.Milliseconds[s.name], 1000*time.Since(start).Seconds())
			}
		}
	}
	t.PeakRSS = peakRSS()
	return t, nil
}

// gigaflops is the speed of a product of two matrices.
func gigaflops(backend compute.Backend) (float64, error) {
	const side = 1536
	exec, err := NewExec(backend, func(a, b *Node) *Node { return MatMul(a, b) })
	if err != nil {
		return 0, err
	}
	defer exec.Finalize()
	a := tensors.FromFlatDataAndDimensions(make([]float32, side*side), side, side)
	b := tensors.FromFlatDataAndDimensions(make([]float32, side*side), side, side)
	least := math.Inf(1)
	for range 6 {
		start := time.Now()
		product, err := exec.Call1(a, b)
		if err != nil {
			return 0, err
		}
		least = min(least, time.Since(start).Seconds())
		product.MustFinalizeAll()
	}
	return 2 * side * side * side / least / 1e9, nil
}

// peakRSS is the most memory that this process had since [forgetPeak], in MiB; 0 where the system does not tell.
func peakRSS() float64 {
	status, _ := os.ReadFile("/proc/self/status")
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	number, _, _ := strings.Cut(strings.TrimSpace(after), " ")
	kib, _ := strconv.ParseFloat(number, 64)
	return kib / 1024
}

// forgetPeak begins the peak anew, where the system can.
func forgetPeak() { _ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) }
