package plots_test

import (
	"os"
	"path/filepath"
	"testing"

	"gonum.org/v1/plot/cmpimg"
)

// TestGolden compares the figure of each example with its committed picture. After a wanted change look at the new
// pictures and keep them: go test ./plots -run TestGolden -regen.
func TestGolden(t *testing.T) {
	checkGolden(t, map[string]func(){
		"accuracy_bars.png":        ExampleAccuracyBars,
		"accuracy_bars_seeds.png":  ExampleAccuracyBars_seeds,
		"accuracy_bars_narrow.png": ExampleAccuracyBars_narrow,
		"training_curves.png":      ExampleTrainingCurves,
		"loss_curves.png":          ExampleLossCurves,
		"bench_ratios.png":         ExampleBenchRatios,

		"accuracy_intervals.png": ExampleAccuracyIntervals,
		"paired_differences.png": ExamplePairedDifferences,
		"accuracy_map.png":       ExampleAccuracyMap,
		"alignment.png":          ExampleAlignment,
		"gradient_cosines.png":   ExampleGradientCosines,
		"conflict_shares.png":    ExampleConflictShares,
		"layer_cosines.png":      ExampleLayerCosines,
		"pull_and_push.png":      ExamplePullAndPush,
		"neural_collapse.png":    ExampleNeuralCollapse,

		"logit_differences.png":         ExampleLogitDifferences,
		"logit_differences_centred.png": ExampleLogitDifferences_centred,
		"logit_distributions.png":       ExampleLogitDistributions,
		"embeddings.png":                ExampleEmbeddings,
		"embeddings_classes.png":        ExampleEmbeddings_classes,
		"stage_similarity.png":          ExampleStageSimilarity,
		"collapse_measures.png":         ExampleCollapseMeasures,
		"softmax_hides.png":             ExampleSoftmaxHides,
		"loss_functions.png":            ExampleLossFunctions,
		"charts.png":                    ExampleCharts,

		"growth.png": ExampleGrowth,
		"images.png": ExampleImages,
	})
}

// checkGolden draws examples and compares their figures with the committed ones.
func checkGolden(t *testing.T, examples map[string]func()) {
	for file, example := range examples {
		t.Run(file, func(t *testing.T) {
			cmpimg.CheckPlotApprox(example, t, 0.05, file)
			if !t.Failed() && !*cmpimg.GenerateTestData {
				os.Remove(filepath.Join("testdata", file))
			}
		})
	}
}
