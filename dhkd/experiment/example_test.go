package experiment_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/dhkd-lab/dhkd-go/dhkd/device"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/report"
)

// A student is distilled with DHKD, and its teacher is trained first: the README's example. It takes minutes, so it is not run
// as a test.
func Example() {
	ctx := context.Background()
	d, err := device.Open(ctx, device.Options{}) // XLA where it can be had
	if err != nil {
		log.Fatal(err)
	}
	e, err := experiment.Open("quickstart") // or the path of your own YAML file
	if err != nil {
		log.Fatal(err)
	}
	recipe, err := e.Resolve("dhkd", 1) // the run, and its seed
	if err != nil {
		log.Fatal(err)
	}
	recipes, err := experiment.WithTeachers(e, []record.Recipe{recipe}, nil)
	if err != nil {
		log.Fatal(err)
	}
	runner := &experiment.Runner{Device: d, Dir: "runs", Progress: experiment.NewProgress(os.Stderr)}
	records, err := runner.RunAll(ctx, recipes) // Ctrl-C and the same call again: it continues
	if err != nil {
		log.Fatal(err)
	}
	if err := report.Text(os.Stdout, records); err != nil {
		log.Fatal(err)
	}
}

func ExampleOpen() {
	e, err := experiment.Open("quickstart")
	if err != nil {
		log.Fatal(err)
	}
	for _, run := range e.Runs {
		fmt.Printf("%-20s %s\n", run.Recipe.Name, run.Recipe.Label)
	}
	// Output:
	// teacher              Teacher (resnet20, CE)
	// ce                   CE
	// kd                   KD
	// binarykl             BinaryKL
	// ce+binarykl          CE + BinaryKL (one head)
	// ce+binarykl-literal  CE + BinaryKL (one head, literal float32, T = 1)
	// dhkd                 DHKD (two heads)
}
