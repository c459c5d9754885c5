package main

import (
	"bufio"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

//go:embed *.py
var programs embed.FS

// way is a framework and how it is run.
type way struct {
	name                  string
	program               string // of Python; "" is this program
	compile, channelsLast bool
}

var (
	ours = way{name: record.OurName}
	ways = []way{
		ours,
		{name: record.PyTorchAny, program: "pytorch.py"},
		{name: record.PyTorchAny + " channels_last", program: "pytorch.py", channelsLast: true},
		{name: record.PyTorchAny + " compiled", program: "pytorch.py", compile: true},
		{name: record.PyTorchAny + " compiled channels_last", program: "pytorch.py", compile: true, channelsLast: true},
		{name: record.JAXAny, program: "jaxside.py"},
	}
)

// house is what processes need.
type house struct {
	python string
	dir    string // of the programs, the fixtures and PyTorch's compiled code
	log    io.Writer
}

// peer is a process that measures a job.
type peer struct {
	hello
	way     way
	last    turn
	process *exec.Cmd
	input   io.WriteCloser
	output  *json.Decoder
}

// start starts a process and waits until its programs are compiled and it has said hello.
func (h house) start(ctx context.Context, w way, j job) (*peer, error) {
	j.Compile, j.ChannelsLast = w.compile, w.channelsLast
	definition, err := json.Marshal(j)
	if err != nil {
		return nil, err
	}
	p := &peer{way: w}
	if w.program == "" {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		p.process = exec.CommandContext(ctx, self, "worker", string(definition))
		p.process.Env = append(os.Environ(), "DHKD_COMPILE_CACHE=off") // the time to compile is measured
	} else {
		p.process = exec.CommandContext(ctx, h.python, "-W", "ignore", filepath.Join(h.dir, w.program), string(definition))
		p.process.Env = append(os.Environ(), "TORCHINDUCTOR_CACHE_DIR="+filepath.Join(h.dir, "inductor"))
		if os.Getenv("JAX_PLATFORMS") == "" && !j.CUDA {
			p.process.Env = append(p.process.Env, "JAX_PLATFORMS=cpu")
		}
	}
	p.process.Stderr = h.log
	p.process.WaitDelay = 2 * time.Second
	if p.input, err = p.process.StdinPipe(); err != nil {
		return nil, err
	}
	output, err := p.process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.output = json.NewDecoder(bufio.NewReader(output))
	if err := p.process.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", w.name, err)
	}
	if err := p.hear(ctx, &p.hello, &p.hello.Error); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// run times so many steps of each method.
func (p *peer) run(ctx context.Context, steps int) (t turn, err error) {
	if _, err = fmt.Fprintln(p.input, "run", steps); err == nil {
		err = p.hear(ctx, &t, &t.Error)
	}
	if err != nil {
		return t, err
	}
	for name := range p.Losses {
		if len(t.Milliseconds[name]) != steps {
			return t, fmt.Errorf("%s timed %d steps of %s, not %d", p.way.name, len(t.Milliseconds[name]), name, steps)
		}
	}
	return t, nil
}

// hear reads an answer, whose error is the result if there is one.
func (p *peer) hear(ctx context.Context, answer any, said *string) error {
	err := p.output.Decode(answer)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("%s ended before its time: %w", p.way.name, err)
	case *said != "":
		return errors.New(p.way.name + ": " + *said)
	}
	return nil
}

// share is what the process had of its threads' time on the cores, 0 to 1; 0 where it does not tell.
func (p *peer) share(t turn) float64 {
	var all float64
	for _, times := range t.Milliseconds {
		for _, ms := range times {
			all += ms * float64(p.Threads)
		}
	}
	if all == 0 {
		return 0
	}
	return t.CPU / all
}

// Close ends the process.
func (p *peer) Close() {
	p.input.Close()
	_ = p.process.Wait() // it was asked to go, or has said why it failed
}
