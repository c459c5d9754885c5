package plots_test

import (
	"fmt"
	"log"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/plots"
	"github.com/dhkd-lab/dhkd-go/plots/plotstest"
)

// The last epoch's accuracy of every run, one seed each. One run failed and says so in place of a bar.
func ExampleAccuracyBars() {
	records := plotstest.Records(plotstest.Quickstart(), 1)
	figure, err := plots.AccuracyBars(records, plots.Options{Title: "Example: six ways to train one student"})
	if err != nil {
		log.Fatal(err)
	}
	if err := figure.Save("testdata/accuracy_bars.png"); err != nil {
		log.Fatal(err)
	}
}

// With several seeds a bar is their mean, with the standard deviation and a dot for each.
func ExampleAccuracyBars_seeds() {
	runs := plotstest.Quickstart()
	runs[5].FailStep, runs[5].Diverge = 0, 17 // goes on with a loss that is not finite
	figure, err := plots.AccuracyBars(plotstest.Records(runs, 3), plots.Options{})
	if err != nil {
		log.Fatal(err)
	}
	if err := figure.Save("testdata/accuracy_bars_seeds.png"); err != nil {
		log.Fatal(err)
	}
}

// A narrow figure puts the labels above the bars.
func ExampleAccuracyBars_narrow() {
	figure, err := plots.AccuracyBars(plotstest.Records(plotstest.Quickstart(), 3), plots.Options{Width: 4})
	if err != nil {
		log.Fatal(err)
	}
	if err := figure.Save("testdata/accuracy_bars_narrow.png"); err != nil {
		log.Fatal(err)
	}
}

// Accuracy by epoch. The cross is where a run failed.
func ExampleTrainingCurves() {
	figure, err := plots.TrainingCurves(plotstest.Records(plotstest.Quickstart(), 3), plots.Options{})
	if err != nil {
		log.Fatal(err)
	}
	if err := figure.Save("testdata/training_curves.png"); err != nil {
		log.Fatal(err)
	}
}

// Every loss term in a panel of its own; a line ends where its loss stopped being finite.
func ExampleLossCurves() {
	runs := plotstest.Quickstart()
	runs[5].FailStep, runs[5].Diverge = 0, 17
	figure, err := plots.LossCurves(plotstest.Records(runs, 1), plots.Options{})
	if err != nil {
		log.Fatal(err)
	}
	if err := figure.Save("testdata/loss_curves.png"); err != nil {
		log.Fatal(err)
	}
}

// The grouping behind figures and tables.
func ExampleSummarize() {
	summary, err := plots.Summarize(plotstest.Records(plotstest.Quickstart(), 1))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(summary.Caption())
	for _, run := range summary.Students[3:] {
		fmt.Printf("%s: %d finished; %q\n", run.Label, run.Last.N, run.Trouble())
	}
	// Output:
	// Profile: offline (a small setting, not the paper's) · fashion-pairs-100, 2,000 training and 10,000 test images · resnet8 from resnet20 · 1 seed
	// CE + BinaryKL, one head: 1 finished; ""
	// CE + BinaryKL, one head, literal float32 formula, T = 1: 0 finished; "failed at step 533"
	// DHKD, two heads: 1 finished; ""
}

// Ratios to two frameworks of a step, and of what a method adds to it.
func ExampleBenchRatios() {
	b, err := record.LoadBench("testdata/bench.json")
	if err != nil {
		log.Fatal(err)
	}
	figure, err := plots.BenchRatios(b, plots.Options{})
	if err != nil {
		log.Fatal(err)
	}
	if err := figure.Save("testdata/bench_ratios.png"); err != nil {
		log.Fatal(err)
	}
}

// Of a made-up record: compilation linear in depth, and times that fixed costs keep below proportional.
func ExampleGrowth() {
	g := &record.Growth{Machine: record.BenchMachine{CPU: "a processor", Cores: 2, OS: "linux", Backend: "xla:cpu",
		Versions: map[string]string{"Go": "go1.26"}}, Note: "The numbers are made up"}
	for _, depth := range []int{8, 20, 56, 110} {
		g.Compiled = append(g.Compiled, record.GrowthCompiled{Student: fmt.Sprint("resnet", depth), Depth: depth, Nodes: 100 * depth,
			Seconds: []float64{0.2 * float64(depth)}})
	}
	g.Compiled = append(g.Compiled, record.GrowthCompiled{Student: "ShuffleV2", Nodes: 8000, Seconds: []float64{20}})
	for i, name := range []string{"resnet8", "MobileNetV2", "depthwise 3x3"} {
		for _, batch := range []int{16, 64, 256} {
			work := float64(batch) * []float64{40e6, 20e6, 1e6}[i]
			g.Timed = append(g.Timed, record.GrowthTimed{Name: name, Layer: i == 2, Batch: batch, Work: work,
				Milliseconds: []float64{1 + work/[]float64{50e6, 20e6, 8e6}[i]}})
		}
	}
	figure, err := plots.Growth(g, plots.Options{})
	if err != nil {
		log.Fatal(err)
	}
	if err := figure.Save("testdata/growth.png"); err != nil {
		log.Fatal(err)
	}
}
