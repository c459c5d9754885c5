package plots_test

import (
	"log"

	"github.com/dhkd-lab/dhkd-go/plots"
	"github.com/dhkd-lab/dhkd-go/plots/plotstest"
)

// keep saves an example's figure.
func keep(file string, figure *plots.Figure, err error) {
	if err == nil {
		err = figure.Save("testdata/" + file)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// Differences of tenths of a point can be seen, and whether the seeds bear them out.
func ExampleAccuracyIntervals() {
	runs := plotstest.Quickstart()
	runs[5].FailStep, runs[5].Diverge = 0, 17
	figure, err := plots.AccuracyIntervals(plotstest.Records(runs, 5), plots.Options{})
	keep("accuracy_intervals.png", figure, err)
}

// Seed by seed against KD. The literal formula's runs failed.
func ExamplePairedDifferences() {
	figure, err := plots.PairedDifferences(plotstest.Records(plotstest.Quickstart(), 5), "kd", plots.Options{})
	keep("paired_differences.png", figure, err)
}

// A sweep over the weight alpha and the learning rate, for one and two heads and both losses.
func ExampleAccuracyMap() {
	records := plotstest.Sweep(3)
	figure, err := plots.AccuracyMap(records, "optimizer.learning_rate", "method.alpha", plots.Options{})
	keep("accuracy_map.png", figure, err)
}

// How often and how strongly alignment acted.
func ExampleAlignment() {
	figure, err := plots.Alignment(plotstest.Records(plotstest.Quickstart(), 3), plots.Options{})
	keep("alignment.png", figure, err)
}

// The angle between two losses' gradients, in the head and in the backbone.
func ExampleGradientCosines() {
	figure, err := plots.GradientCosines(plotstest.Measured(3), plots.Options{})
	keep("gradient_cosines.png", figure, err)
}

// In how many steps the losses pull apart.
func ExampleConflictShares() {
	figure, err := plots.ConflictShares(plotstest.Measured(3), plots.Options{})
	keep("conflict_shares.png", figure, err)
}

// Where in the network they do.
func ExampleLayerCosines() {
	figure, err := plots.LayerCosines(plotstest.Measured(3), plots.Options{})
	keep("layer_cosines.png", figure, err)
}

// Why they do: one loss pulls a row of the classifier while the other pushes it.
func ExamplePullAndPush() {
	figure, err := plots.PullAndPush(plotstest.Measured(3), plots.Options{})
	keep("pull_and_push.png", figure, err)
}
