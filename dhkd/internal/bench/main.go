// Bench measures what training steps take here and in other frameworks, PyTorch and JAX, on one machine in turns, and
// prints times and ratios. It is for the developers of this module and for sceptics: make bench.
//
// A whole step is what users run: the batch's images are gathered from a data set of uint8 in memory, cropped at random,
// flipped and normalised; the teacher's forward pass; the student's, in training mode; the losses; one backward pass or
// two, with the alignment of their gradients; SGD; and the loss is read back. What a method adds ("extra") is
// measured on a step whose images and teacher's outputs are given, against a step of cross-entropy alone in the same
// process, the two taking turns.
//
// Each side runs each case in processes of its own, several one after another, since times differ between processes.
// A method's name with "-cached" says that this project gathers the teacher's logits from a cache, while the peers, who have
// none, run the teacher in every step: a choice that users have, not the same work.
//
// PyTorch runs eager and compiled, with channels first and last; the fastest counts. Before it is timed, each
// process runs two steps from the same initial values on the same batch; if its losses are not this project's, the
// bench fails. (This project's whole steps are built of the same parts as the steps that are verified.)
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"syscall"

	"github.com/dhkd-lab/dhkd-go/dhkd/device"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/plots"
)

// cuda is the backend on an NVIDIA card.
const cuda = "xla:cuda"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch {
	case len(os.Args) == 3 && os.Args[1] == "worker":
		err = work(ctx, os.Args[2], os.Stdin, os.Stdout)
	case len(os.Args) == 3 && os.Args[1] == "growth-worker":
		err = growthWork(ctx, os.Args[2], os.Stdout)
	default:
		err = run(ctx, os.Args[1:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

// options are the command line's.
type options struct {
	plan
	chosen        *regexp.Regexp // nil = the default cases
	batch, images int
	limit         float64
	json, figure  string // files to write
	from          string // file to read
	list          bool
	memory        bool // alone
	steady        int  // steps
	// Of -growth:
	growth          bool
	part, add, note string
}

func parse(args []string) (o options, err error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.IntVar(&o.processes, "processes", 2, "how often each side is started anew in each case")
	flags.IntVar(&o.rounds, "rounds", 3, "how often each process has its turn; 0 = only compile this project's steps")
	flags.IntVar(&o.steps, "steps", 4, "timed steps of a turn")
	flags.IntVar(&o.batch, "batch", 64, "images of a step")
	flags.IntVar(&o.images, "images", 50000, "images of the training set")
	match := flags.String("run", "", "only cases whose name matches this `regexp`, as \"^ShuffleV.* (ce|kd)$\"; see -list")
	with := flags.String("with", "", "only ways of running whose name matches this `regexp`, as \"^PyTorch$\"; this project is "+
		"always one")
	flags.Float64Var(&o.limit, "limit", 0, "fail where the ratio to PyTorch's time is larger (0 = no limit)")
	flags.StringVar(&o.json, "json", "", "write all numbers and a description of the machine to this `file`")
	flags.StringVar(&o.figure, "figure", "", "draw the ratios in this `file`, .svg or .png")
	flags.StringVar(&o.from, "from", "", "measure nothing, print and draw this `file` of an earlier -json")
	flags.BoolVar(&o.list, "list", false, "list all cases")
	flags.BoolVar(&o.memory, "memory", false, "measure memory alone, of whole steps: the times of one short turn are not kept, "+
		"so other programs may run")
	flags.IntVar(&o.steady, "steady", 0, "run so many steps of "+steadyCase.String()+" of this project, no peers, and write "+
		"down the memory of the process all along")
	flags.BoolVar(&o.growth, "growth", false, "measure how this project's steps grow with depth, width and batch, and no peers")
	flags.StringVar(&o.part, "part", "", "with -growth: only \"compilation\" or only \"times\"")
	flags.StringVar(&o.add, "add", "", "with -growth: measure what this earlier `file` lacks, and add it to it; with the same -json "+
		"what was interrupted is continued")
	flags.StringVar(&o.note, "note", "", "with -growth: what else the machine does, for the record")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	switch {
	case flags.NArg() > 0:
		return o, fmt.Errorf("%q: there are flags only, see -help", flags.Arg(0))
	case o.processes < 1 || o.rounds < 0 || o.steps < 1:
		return o, errors.New("-processes and -steps must be 1 or more, -rounds 0 or more")
	case o.batch < 2 || o.images < o.batch:
		return o, errors.New("-batch must be 2 or more, and -images as many at least")
	}
	if o.part != "" && o.part != "compilation" && o.part != "times" {
		return o, fmt.Errorf("-part %q: must be compilation or times", o.part)
	}
	if !o.growth && o.part+o.add+o.note != "" {
		return o, errors.New("-part, -add and -note go with -growth")
	}
	if o.steady != 0 && (o.steady < steadySamples || o.memory || o.growth) {
		return o, fmt.Errorf("-steady must be %d or more, and goes with neither -memory nor -growth", steadySamples)
	}
	if o.memory {
		o.processes, o.rounds = 1, 1
	}
	if *match != "" {
		if o.chosen, err = regexp.Compile(*match); err != nil {
			return o, fmt.Errorf("-run: %w", err)
		}
	}
	names, err := regexp.Compile(*with)
	if err != nil {
		return o, fmt.Errorf("-with: %w", err)
	}
	for _, w := range ways {
		if w == ours || names.MatchString(w.name) {
			o.ways = append(o.ways, w)
		}
	}
	if o.rounds == 0 {
		o.ways, o.processes = []way{ours}, 1
	}
	return o, nil
}

func run(ctx context.Context, args []string) error {
	o, err := parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return nil
	case err != nil:
		return err
	case o.steady > 0:
		return runSteady(ctx, o)
	case o.growth:
		return runGrowth(ctx, o)
	case o.from != "":
		b, err := record.LoadBench(o.from)
		if err != nil {
			return err
		}
		return finish(*b, o)
	}
	jobs := o.jobs()
	if o.list {
		for _, j := range jobs {
			for _, c := range j.cases() {
				if !j.Write {
					fmt.Println(c)
				}
			}
		}
		return nil
	}
	if len(jobs) == 0 {
		return fmt.Errorf("no case matches -run %q: see -list", o.chosen)
	}
	b := record.Bench{Batch: o.batch, Images: o.images}
	if b.Machine, err = describe(ctx); err != nil {
		return err
	}
	h := house{log: os.Stderr}
	if h.dir, err = os.MkdirTemp("", "dhkd-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(h.dir)
	if err := os.CopyFS(h.dir, programs); err != nil {
		return err
	}
	if len(o.ways) > 1 {
		if h.python, err = findPython(ctx); err != nil {
			return fmt.Errorf("the peers cannot be had: %w", err)
		}
	}
	var losses map[string][]float64
	for _, j := range jobs {
		if o.memory && j.Given && !j.Write {
			continue // several methods share a process
		}
		j.Fixture, j.CUDA = filepath.Join(h.dir, "fixture.safetensors"), b.Machine.Backend == cuda
		if j.Write {
			fmt.Fprintf(h.log, "%s: computing what all sides must compute\n", j)
			p, err := h.start(ctx, ours, j)
			if err != nil {
				return fmt.Errorf("%s: %w", j, err)
			}
			losses = p.Losses
			p.Close()
			continue
		}
		cases, met, err := o.plan.measure(ctx, h, j, losses)
		if err != nil {
			return fmt.Errorf("%s: %w", j, err)
		}
		for _, p := range met {
			maps.Copy(b.Machine.Versions, p.Versions)
			b.Machine.Threads = cmp.Or(b.Machine.Threads, p.Threads)
			b.Machine.GFLOPS = max(b.Machine.GFLOPS, p.GFLOPS)
		}
		if o.memory {
			forgetTimes(cases)
		}
		b.Cases = append(b.Cases, cases...)
	}
	return finish(b, o)
}

// jobs are the measurements that are chosen; -list without -run chooses all.
func (o options) jobs() (jobs []job) {
	for _, p := range pairs {
		jobs = append(jobs, p.jobs(func(c record.BenchCase) bool {
			if o.chosen == nil {
				return o.list || p.byDefault(c)
			}
			return o.chosen.MatchString(c.String())
		}, o.batch, o.images)...)
	}
	return jobs
}

func describe(ctx context.Context) (m record.BenchMachine, err error) {
	d, err := device.Open(ctx, device.Options{})
	if err != nil {
		return m, err
	}
	defer d.Close()
	return machineOf(ctx, d), nil
}

func machineOf(ctx context.Context, d *device.Device) record.BenchMachine {
	return record.BenchMachine{CPU: device.CPUModel(ctx), Cores: runtime.NumCPU(), OS: runtime.GOOS, Arch: runtime.GOARCH,
		Backend: d.Name, Device: d.Description, XLAFlags: os.Getenv("XLA_FLAGS"), Versions: map[string]string{}}
}

// finish prints the tables, keeps the numbers and compares them with the limit.
func finish(b record.Bench, o options) error {
	fmt.Print(markdown(b))
	if busy := busy(b); busy != "" {
		fmt.Println("\nwarning: " + busy)
	}
	if o.json != "" {
		if err := save(b, o.json); err != nil {
			return err
		}
	}
	if o.figure != "" {
		figure, err := plots.BenchRatios(&b, plots.Options{})
		if err != nil {
			return err
		}
		if err := figure.Save(o.figure); err != nil {
			return err
		}
	}
	return check(b, o.limit)
}

// forgetTimes leaves what was measured of memory.
func forgetTimes(cases []record.BenchCase) {
	for i := range cases {
		for k := range cases[i].Peers {
			cases[i].Peers[k].Turns, cases[i].Peers[k].CompileSeconds = nil, nil
		}
	}
}
