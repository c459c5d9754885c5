// Bench measures what a training step takes here and in PyTorch, on the same machine in the same minutes, and prints
// both and their ratio. It is for the developers of this module: make bench.
//
// Both sides do the whole step, from a batch of images to new weights, and read the loss back; for DHKD with two
// backward passes and the alignment of their gradients, the teacher's logits being given. This project's step also
// gathers the batch from the data set on the device and normalises it; PyTorch's batch is ready in memory. The two take
// turns, so a ratio is one of times that were measured next to each other. A busy machine hurts PyTorch more all the
// same: that is said.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"runtime"

	"github.com/gomlx/compute"

	"github.com/dhkd-lab/dhkd-go/dhkd/device"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	rounds := flag.Int("rounds", 10, "how often each side has its turn in each case")
	steps := flag.Int("steps", 5, "timed steps of a turn")
	limit := flag.Float64("limit", 0, "fail where the ratio of a case is larger (0 = no limit)")
	match := flag.String("run", "", "only cases whose name matches this `regexp`, as \"^(ShuffleV|MobileNet).* ce$\"")
	jsonPath := flag.String("json", "", "write all numbers and a description of the machine to this `file`")
	flag.Parse()
	if *rounds < 1 || *steps < 1 || flag.NArg() > 0 {
		return errors.New("-rounds and -steps must be 1 or more, and there are no other arguments")
	}
	chosen, err := regexp.Compile(*match)
	if err != nil {
		return fmt.Errorf("-run: %w", err)
	}

	d, err := device.Open(ctx, device.Options{})
	if err != nil {
		return err
	}
	defer d.Close()
	torch, err := startPyTorch(ctx)
	if err != nil {
		return fmt.Errorf("PyTorch, which the steps are compared with, cannot be had: %w", err)
	}
	defer torch.Close()
	report := report{
		Machine: machine{
			CPU: device.CPUModel(ctx), Cores: runtime.NumCPU(), OS: runtime.GOOS, Arch: runtime.GOARCH,
			Go: runtime.Version(), Backend: d.Name, Device: d.Description, XLAFlags: os.Getenv("XLA_FLAGS"),
			Torch: torch.Version, Python: torch.Python, TorchThreads: torch.Threads,
		},
		Batch: batchSize, Steps: *steps,
	}
	fmt.Printf("%s\n%s\n", report.Machine, d.Description)

	for _, c := range cases {
		if !chosen.MatchString(c.String()) {
			continue
		}
		m, err := measure(ctx, d.Backend, torch, c, *rounds, *steps)
		if err != nil {
			return fmt.Errorf("%s: %w", c, err)
		}
		report.Cases = append(report.Cases, m)
	}
	if len(report.Cases) == 0 {
		return fmt.Errorf("no case matches -run %q", *match)
	}
	fmt.Printf("\n%s", report.markdown())
	if busy := report.busy(); busy != "" {
		fmt.Println("\nwarning: " + busy)
	}
	if *jsonPath != "" {
		if err := report.save(*jsonPath); err != nil {
			return err
		}
	}
	return report.check(*limit)
}

func measure(ctx context.Context, backend compute.Backend, torch *pyTorch, c benchCase, rounds, steps int) (
	m measurement, err error) {
	fmt.Fprintf(os.Stderr, "%s: compiling\n", c)
	ours, err := newStepper(ctx, backend, c)
	if err != nil {
		return m, err
	}
	defer ours.trainer.Close()
	m = measurement{Case: c, Nodes: ours.nodes, CompileSeconds: ours.compileSeconds}
	if c.Teacher != "" {
		return m, nil
	}
	for i := range rounds {
		fmt.Fprintf(os.Stderr, "%s: round %d of %d\n", c, i+1, rounds)
		r, err := takeTurns(ctx, ours, torch, c, steps, i%2 == 1)
		if err != nil {
			return m, err
		}
		m.Rounds = append(m.Rounds, r)
	}
	m.summarize()
	return m, nil
}

// takeTurns is one round: each side's steps, one side after the other.
func takeTurns(ctx context.Context, ours *stepper, torch *pyTorch, c benchCase, steps int, torchFirst bool) (
	r round, err error) {
	turns := []func() error{
		func() (err error) { r.DHKD, err = ours.time(ctx, steps); return err },
		func() (err error) { r.Torch, r.TorchShare, err = torch.time(ctx, c, steps); return err },
	}
	if torchFirst {
		turns[0], turns[1] = turns[1], turns[0]
	}
	return r, errors.Join(turns[0](), turns[1]())
}
