package plots_test

import (
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/plots"
	"github.com/dhkd-lab/dhkd-go/plots/plotstest"
)

// How far each student's logits are from the teacher's, on one scale.
func ExampleLogitDifferences() {
	figure, err := plots.LogitDifferences(plotstest.Analyses(100), record.MainHead, false, plots.Options{})
	keep("logit_differences.png", figure, err)
}

// Without what softmax hides, and with the names of few classes.
func ExampleLogitDifferences_centred() {
	figure, err := plots.LogitDifferences(plotstest.Analyses(10), record.MainHead, true, plots.Options{})
	keep("logit_differences_centred.png", figure, err)
}

// Teacher, main and auxiliary head.
func ExampleLogitDistributions() {
	figure, err := plots.LogitDistributions(plotstest.Analyses(100), plots.Options{})
	keep("logit_distributions.png", figure, err)
}

// Ten of the classes in colour.
func ExampleEmbeddings() {
	figure, err := plots.Embeddings(plotstest.Analyses(100), record.TSNE, nil, plots.Options{})
	keep("embeddings.png", figure, err)
}

// Three classes of your choice, along the directions of the largest variance.
func ExampleEmbeddings_classes() {
	figure, err := plots.Embeddings(plotstest.Analyses(10)[1:], record.PCA, []int{0, 3, 7}, plots.Options{})
	keep("embeddings_classes.png", figure, err)
}

// Which stages have learnt alike.
func ExampleStageSimilarity() {
	figure, err := plots.StageSimilarity(plotstest.Analyses(10), plots.Options{})
	keep("stage_similarity.png", figure, err)
}

// How near each head is to a simplex.
func ExampleCollapseMeasures() {
	figure, err := plots.CollapseMeasures(plotstest.Analyses(100), plots.Options{})
	keep("collapse_measures.png", figure, err)
}

// Solid lines are main heads, dotted ones auxiliary heads.
func ExampleNeuralCollapse() {
	figure, err := plots.NeuralCollapse(plotstest.Measured(3), plots.Options{})
	keep("neural_collapse.png", figure, err)
}
