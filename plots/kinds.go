package plots

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// Kind is a figure that can be asked for by name.
type Kind struct {
	Name string `json:"name"` // "training-curves"
	What string `json:"what"` // one line
	From string `json:"from"` // what it is drawn from: "records", "analyses", "an evaluation", "a bench" or "nothing"
	draw func(*Source, Choices, Options) (*Figure, error)
}

// Choices are what some figures can be asked for; the zero value is good for all of them but accuracy-map.
type Choices struct {
	Baseline string // the run that others are compared with
	X, Y     string // keys of the recipe, along the axes of a map
	Head     string // "main" or "aux"; empty means main
	Classes  []int  // that are coloured
}

// Kinds lists the figures.
func Kinds() []Kind {
	return []Kind{
		ofRecords("accuracy", "last-epoch test accuracy of each run, as bars", AccuracyBars),
		ofRecords("accuracy-intervals", "last-epoch test accuracy of each run with its 95 % interval over seeds",
			AccuracyIntervals),
		{"paired-differences", "accuracy less a baseline's, seed by seed, with 95 % intervals (--baseline)", "records",
			func(s *Source, c Choices, o Options) (*Figure, error) {
				return PairedDifferences(s.Records, c.Baseline, o)
			}},
		{"accuracy-map", "accuracy over two hyper-parameters of a sweep (--x, --y)", "records",
			func(s *Source, c Choices, o Options) (*Figure, error) { return AccuracyMap(s.Records, c.X, c.Y, o) }},
		ofRecords("training-curves", "test accuracy by epoch", TrainingCurves),
		ofRecords("loss-curves", "every loss term by epoch", LossCurves),
		ofRecords("alignment", "what gradient alignment did, by epoch", Alignment),
		ofRecords("gradient-cosines", "cosine between the gradients of two losses, by epoch, in head, backbone and stages",
			GradientCosines),
		ofRecords("conflict-shares", "share of steps in which two losses conflict, by epoch", ConflictShares),
		ofRecords("layer-cosines", "cosine between the gradients of two losses in every layer, by epoch", LayerCosines),
		ofRecords("pull-and-push", "how losses pull and push the classifier's rows, by epoch", PullAndPush),
		ofRecords("neural-collapse", "measures of neural collapse by epoch, of main and auxiliary head", NeuralCollapse),
		ofAnalyses("collapse-measures", "measures of neural collapse of trained networks",
			func(a []*record.Analysis, _ Choices, o Options) (*Figure, error) { return CollapseMeasures(a, o) }),
		ofAnalyses("logit-differences", "teacher's mean logits less the student's, a map for each run (--head)",
			func(a []*record.Analysis, c Choices, o Options) (*Figure, error) {
				return LogitDifferences(a, c.Head, false, o)
			}),
		ofAnalyses("logit-differences-centred", "the same without the offset that softmax hides (--head)",
			func(a []*record.Analysis, c Choices, o Options) (*Figure, error) {
				return LogitDifferences(a, c.Head, true, o)
			}),
		ofAnalyses("logit-distributions", "how the logits of teacher and heads are spread",
			func(a []*record.Analysis, _ Choices, o Options) (*Figure, error) { return LogitDistributions(a, o) }),
		ofAnalyses("t-sne", "t-SNE of the features (--classes)",
			func(a []*record.Analysis, c Choices, o Options) (*Figure, error) {
				return Embeddings(a, record.TSNE, c.Classes, o)
			}),
		ofAnalyses("pca", "principal components of the features (--classes)",
			func(a []*record.Analysis, c Choices, o Options) (*Figure, error) {
				return Embeddings(a, record.PCA, c.Classes, o)
			}),
		ofAnalyses("stage-similarity", "CKA between the stages of student and teacher",
			func(a []*record.Analysis, _ Choices, o Options) (*Figure, error) { return StageSimilarity(a, o) }),
		ofEvaluation("reliability", "accuracy by confidence", Reliability),
		ofEvaluation("confusion", "what is taken for what", Confusion),
		ofEvaluation("per-class", "the classes by accuracy", PerClass),
		{"bench-ratios", "time of a training step against other frameworks", "a bench",
			func(s *Source, _ Choices, o Options) (*Figure, error) {
				if len(s.Benches) != 1 {
					return nil, fmt.Errorf("%s: want one bench's record, made with make bench BENCH=\"-json FILE\"", s)
				}
				return BenchRatios(s.Benches[0], o)
			}},
		{"growth", "what training steps cost as networks and batches grow", "a bench",
			func(s *Source, _ Choices, o Options) (*Figure, error) {
				if len(s.Growths) != 1 {
					return nil, fmt.Errorf("%s: want one record of growth, made with make bench BENCH=-growth", s)
				}
				return Growth(s.Growths[0], o)
			}},
		{"softmax-hides", "two networks' logits that softmax cannot tell apart, and sigmoid can", "nothing",
			func(_ *Source, _ Choices, o Options) (*Figure, error) { return SoftmaxHides(PaperExample, o) }},
	}
}

func ofRecords(name, what string, draw func([]*record.Record, Options) (*Figure, error)) Kind {
	return Kind{name, what, "records", func(s *Source, _ Choices, o Options) (*Figure, error) {
		return draw(s.Records, o)
	}}
}

func ofAnalyses(name, what string, draw func([]*record.Analysis, Choices, Options) (*Figure, error)) Kind {
	return Kind{name, what, "analyses", func(s *Source, c Choices, o Options) (*Figure, error) {
		if c.Head == "" {
			c.Head = record.MainHead
		}
		return draw(s.Analyses, c, o)
	}}
}

func ofEvaluation(name, what string, draw func(*record.Evaluation, Options) (*Figure, error)) Kind {
	return Kind{name, what, "an evaluation", func(s *Source, _ Choices, o Options) (*Figure, error) {
		if len(s.Evaluations) != 1 {
			return nil, fmt.Errorf("%s: want one evaluation, made with dhkd evaluate WEIGHTS --out FILE", s)
		}
		return draw(s.Evaluations[0], o)
	}}
}

// Draw draws the figure of that name. The error is that of the figure's own function, or lists the names.
func Draw(name string, s *Source, c Choices, o Options) (*Figure, error) {
	var names []string
	for _, kind := range Kinds() {
		if kind.Name != name {
			names = append(names, kind.Name)
			continue
		}
		if kind.From == "records" && len(s.Records) == 0 || kind.From == "analyses" && len(s.Analyses) == 0 {
			return nil, fmt.Errorf("%s: %s is drawn from %s, which dhkd %s makes", s, name, kind.From,
				map[string]string{"records": "train and dhkd distill", "analyses": "analyse"}[kind.From])
		}
		figure, err := kind.draw(s, c, o)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		return figure, nil
	}
	slices.Sort(names)
	return nil, fmt.Errorf("no figure is called %q: choose one of %s", Printable(name, 40), strings.Join(names, ", "))
}
