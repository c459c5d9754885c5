// Loader measures how many images a second this project's image folders give, with libjpeg-turbo and with Go's decoder,
// and how many torchvision's ImageFolder with RandomResizedCrop(224) and RandomHorizontalFlip, of the same files on as many
// cores. The three take turns, an epoch each, so that a ratio is of epochs that were measured one after another:
//
//	python3 photographs.py FOLDER FILE...
//	go run ./dhkd/internal/bench/loader -python PYTHON -images FOLDER -json loader.json
package main

import (
	"bufio"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/dhkd-lab/dhkd-go/dhkd/dataset"
	"github.com/dhkd-lab/dhkd-go/dhkd/device"
	"github.com/dhkd-lab/dhkd-go/dhkd/internal/safefile"
)

//go:embed peer.py
var peerProgram string

// result is what is measured, in images a second.
type result struct {
	CPU      string            `json:"cpu"`
	Cores    int               `json:"cores"`   // of the machine
	Workers  int               `json:"workers"` // of each side
	Batch    int               `json:"batch"`
	Images   int               `json:"images"`
	Bytes    int64             `json:"mean_bytes"` // of a file
	Versions map[string]string `json:"versions"`
	Note     string            `json:"note,omitempty"` // what else the machine did
	Rounds   []round           `json:"rounds"`
	Turbo    ratio             `json:"libjpeg_turbo_to_torchvision"`
	Go       ratio             `json:"go_decoder_to_torchvision"`
	Faster   ratio             `json:"libjpeg_turbo_to_go_decoder"`
}

type round struct {
	Turbo       float64 `json:"libjpeg_turbo"`
	Go          float64 `json:"go_decoder"`
	Torchvision float64 `json:"torchvision"`
}

// ratio is of the rounds' ratios.
type ratio struct {
	Median float64 `json:"median"`
	Low    float64 `json:"quarter"`
	High   float64 `json:"three_quarters"`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "loader:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	python := flag.String("python", "python3", "a Python that has torchvision")
	folder := flag.String("images", "", "a folder with train/CLASS/IMAGE and val/CLASS/IMAGE")
	rounds := flag.Int("rounds", 9, "how often each side has its turn")
	path := flag.String("json", "", "write the record to this `file`")
	note := flag.String("note", "", "what else the machine does, for the record")
	r := result{}
	flag.IntVar(&r.Workers, "workers", 2, "cores of each side")
	flag.IntVar(&r.Batch, "batch", 64, "images of a batch")
	flag.Parse()
	if *folder == "" || *rounds < 1 || r.Workers < 1 || r.Batch < 1 {
		return errors.New("-images FOLDER is needed; -rounds, -workers and -batch must be 1 or more")
	}
	runtime.GOMAXPROCS(r.Workers)
	if name, why := dataset.JPEGDecoder(); name != dataset.TurboJPEG {
		return errors.New("there is nothing to compare: " + why)
	}
	o := dataset.Options{Dir: *folder, View: dataset.View{Side: 224, MinArea: 0.08, MinAspect: 0.75}}
	set, err := dataset.Load(ctx, "image-folder", o)
	if err != nil {
		return err
	}
	if r.Bytes, err = meanBytes(*folder, set.Train.Len()); err != nil {
		return err
	}
	r.CPU, r.Cores, r.Images, r.Note = device.CPUModel(ctx), runtime.NumCPU(), set.Train.Len(), *note
	peer, err := start(ctx, *python, *folder, r.Workers, r.Batch)
	if err != nil {
		return err
	}
	defer peer.Close()
	if err := peer.answers.Decode(&r.Versions); err != nil {
		return fmt.Errorf("torchvision's side ended before its time: %w", err)
	}
	r.Versions["Go"] = runtime.Version()
	for i := range *rounds + 1 {
		one, err := r.round(ctx, set, peer, i)
		if err != nil {
			return err
		}
		if i == 0 {
			continue // warms up
		}
		r.Rounds = append(r.Rounds, one)
		fmt.Printf("images/s: libjpeg-turbo %.0f, Go's decoder %.0f, torchvision %.0f\n", one.Turbo, one.Go, one.Torchvision)
	}
	r.summarise()
	fmt.Printf("to torchvision: libjpeg-turbo %.2f, Go's decoder %.2f; libjpeg-turbo to Go's decoder %.2f\n",
		r.Turbo.Median, r.Go.Median, r.Faster.Median)
	if *path == "" {
		return nil
	}
	return safefile.Write(*path, func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", " ")
		return e.Encode(r)
	})
}

// meanBytes is the mean size of the training files.
func meanBytes(folder string, n int) (sum int64, err error) {
	err = filepath.WalkDir(filepath.Join(folder, "train"), func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			sum += info.Size()
		}
		return err
	})
	return sum / int64(n), err
}

// round gives each side a turn, another one first each time.
func (r *result) round(ctx context.Context, set *dataset.Set, peer *peer, n int) (one round, err error) {
	turns := []func() error{
		func() (err error) { one.Turbo, err = r.epoch(ctx, set, n, ""); return err },
		func() (err error) { one.Go, err = r.epoch(ctx, set, n, "off"); return err },
		func() (err error) { one.Torchvision, err = peer.epoch(r.Images); return err },
	}
	for i := range turns {
		if err := turns[(i+n)%len(turns)](); err != nil {
			return one, err
		}
	}
	return one, nil
}

// epoch returns images a second. turbo is the environment variable that chooses the decoder.
func (r *result) epoch(ctx context.Context, set *dataset.Set, n int, turbo string) (float64, error) {
	if err := os.Setenv("DHKD_TURBOJPEG", turbo); err != nil {
		return 0, err
	}
	order := make([]int32, set.Train.Len())
	for i := range order {
		order[i] = int32(i)
	}
	start := time.Now()
	stream := set.Train.Stream(ctx, order, r.Batch, &dataset.Draw{Seed: 1, Epoch: n})
	defer stream.Close()
	for images := 0; ; {
		b, err := stream.Next()
		if errors.Is(err, io.EOF) {
			return float64(images) / time.Since(start).Seconds(), nil
		}
		if err != nil {
			return 0, err
		}
		images += len(b.Labels)
	}
}

func (r *result) summarise() {
	r.Turbo = r.ratio(func(o round) float64 { return o.Turbo / o.Torchvision })
	r.Go = r.ratio(func(o round) float64 { return o.Go / o.Torchvision })
	r.Faster = r.ratio(func(o round) float64 { return o.Turbo / o.Go })
}

func (r *result) ratio(of func(round) float64) ratio {
	var all []float64
	for _, one := range r.Rounds {
		all = append(all, of(one))
	}
	slices.Sort(all)
	at := func(share float64) float64 {
		place := share * float64(len(all)-1)
		low := int(place)
		high := min(low+1, len(all)-1)
		return all[low] + (place-float64(low))*(all[high]-all[low])
	}
	return ratio{at(0.5), at(0.25), at(0.75)}
}

// peer is the process of torchvision.
type peer struct {
	process *exec.Cmd
	input   io.WriteCloser
	answers *json.Decoder
}

func start(ctx context.Context, python, folder string, workers, batch int) (*peer, error) {
	p := &peer{process: exec.CommandContext(ctx, python, "-c", peerProgram, folder, strconv.Itoa(workers), strconv.Itoa(batch))}
	p.process.Stderr = os.Stderr
	var err error
	if p.input, err = p.process.StdinPipe(); err != nil {
		return nil, err
	}
	output, err := p.process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.answers = json.NewDecoder(bufio.NewReader(output))
	return p, p.process.Start()
}

func (p *peer) epoch(images int) (float64, error) {
	if _, err := fmt.Fprintln(p.input); err != nil {
		return 0, err
	}
	var answer struct {
		Images  int
		Seconds float64
	}
	if err := p.answers.Decode(&answer); err != nil {
		return 0, fmt.Errorf("torchvision's side ended before its time: %w", err)
	}
	if answer.Images != images {
		return 0, fmt.Errorf("torchvision read %d images, not %d", answer.Images, images)
	}
	return float64(answer.Images) / answer.Seconds, nil
}

func (p *peer) Close() {
	p.input.Close()
	_ = p.process.Wait()
}
