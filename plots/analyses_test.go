package plots_test

import (
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/plots"
	"github.com/dhkd-lab/dhkd-go/plots/plotstest"
)

// A constant added to all logits of a network does not count where rows are centred, and does elsewhere.
func TestLogitDifferences(t *testing.T) {
	analyses := plotstest.Analyses(4)[:1]
	teacher := analyses[0].LogitsOf(record.TeacherNetwork).Map
	student := analyses[0].LogitsOf(record.MainHead)
	student.Map = nil
	for label := range teacher {
		row := make([]float64, len(teacher))
		for class := range row {
			row[class] = teacher[label][class] - 3
		}
		student.Map = append(student.Map, row)
	}
	figure, err := plots.LogitDifferences(analyses, record.MainHead, false, plots.Options{})
	saying(t, figure, err, "mean size 3.00")
	figure, err = plots.LogitDifferences(analyses, record.MainHead, true, plots.Options{})
	saying(t, figure, err, "mean size 0.00")
	_, err = plots.LogitDifferences(analyses, record.AuxHead, true, plots.Options{})
	refused(t, err, `run "ce-binarykl" seed 1 has no mean logits of the teacher and of the aux head`)
}

func TestAnalysisFiguresRefuse(t *testing.T) {
	figures := map[string]func([]*record.Analysis) error{
		"LogitDifferences": func(a []*record.Analysis) error {
			_, err := plots.LogitDifferences(a, record.MainHead, false, plots.Options{})
			return err
		},
		"LogitDistributions": func(a []*record.Analysis) error {
			_, err := plots.LogitDistributions(a, plots.Options{})
			return err
		},
		"CollapseMeasures": func(a []*record.Analysis) error {
			_, err := plots.CollapseMeasures(a, plots.Options{})
			return err
		},
		"StageSimilarity": func(a []*record.Analysis) error {
			_, err := plots.StageSimilarity(a, plots.Options{})
			return err
		},
		"Embeddings": func(a []*record.Analysis) error {
			_, err := plots.Embeddings(a, record.TSNE, nil, plots.Options{})
			return err
		},
	}
	for name, draw := range figures {
		t.Run(name, func(t *testing.T) {
			refused(t, draw(nil), "no analyses")
			refused(t, draw([]*record.Analysis{nil}), "analysis 1 of 1 is nil")
			empty := plotstest.Analyses(4)[:1]
			empty[0].Logits, empty[0].Collapse, empty[0].CKA, empty[0].Embeddings = nil, nil, nil, nil
			refused(t, draw(empty), `the analysis of run "ce-binarykl" seed 1 has no `)
			other := plotstest.Analyses(4)
			other[1].Data.Name = "other"
			refused(t, draw(other), "cannot be compared")
			other[1].Schema = 9
			refused(t, draw(other), "schema: is 9")
		})
	}
	_, err := plots.Embeddings(plotstest.Analyses(4), record.TSNE, []int{7}, plots.Options{})
	refused(t, err, "class 7: none of the images")
	eleven := []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	_, err = plots.Embeddings(plotstest.Analyses(20), record.TSNE, eleven, plots.Options{})
	refused(t, err, "11 classes: too many")
	_, err = plots.NeuralCollapse(plotstest.Records(plotstest.Quickstart(), 1), plots.Options{})
	refused(t, err, "collapse/main/nc1")
}

// Whatever an analysis says, figures of it are drawn or refused.
func TestFiguresOfAnyAnalysis(t *testing.T) {
	figures := map[string]func([]*record.Analysis, plots.Options) (*plots.Figure, error){
		"LogitDifferences": func(a []*record.Analysis, o plots.Options) (*plots.Figure, error) {
			return plots.LogitDifferences(a, record.MainHead, true, o)
		},
		"LogitDistributions": plots.LogitDistributions,
		"CollapseMeasures":   plots.CollapseMeasures,
		"StageSimilarity":    plots.StageSimilarity,
		"Embeddings": func(a []*record.Analysis, o plots.Options) (*plots.Figure, error) {
			return plots.Embeddings(a, record.PCA, nil, o)
		},
	}
	text := rapid.SampledFrom([]string{"", "<b>&", strings.Repeat("long ", 40), "日本語"})
	value := rapid.Custom(func(t *rapid.T) float64 {
		if rapid.IntRange(0, 40).Draw(t, "odd") == 0 {
			return rapid.SampledFrom([]float64{1e-300, 1e29, -1e29, 1e308, -1e308}).Draw(t, "value")
		}
		return rapid.Float64Range(-5, 5).Draw(t, "value")
	})
	drawn := 0
	rapid.Check(t, func(t *rapid.T) {
		analyses := plotstest.Analyses(rapid.IntRange(2, 12).Draw(t, "classes"))[rapid.IntRange(0, 1).Draw(t, "from"):]
		for _, a := range analyses {
			a.Recipe.Label = text.Draw(t, "label")
			for i := range a.Logits {
				l := &a.Logits[i]
				if rapid.Bool().Draw(t, "no images of a label") {
					l.Map[0] = nil
				}
				l.Map[1][0] = value.Draw(t, "mean logit")
				for _, d := range []*record.Distribution{&l.All, &l.Label, &l.Offset} {
					v := value.Draw(t, "quantile")
					for k := range d.Quantiles {
						d.Quantiles[k] = v
					}
				}
			}
			for i := range a.Collapse {
				a.Collapse[i].Measures[record.NC1] = rapid.SampledFrom([]float64{math.NaN(), math.Inf(1), 0, 1e308}).Draw(t, "nc1")
			}
			for i := range a.Embeddings.All {
				e := &a.Embeddings.All[i]
				e.Points[0][0], e.Explained = value.Draw(t, "x"), nil
			}
			a.CKA.Student[0] = text.Draw(t, "stage")
		}
		o := plots.Options{Width: rapid.SampledFrom([]float64{0, 3}).Draw(t, "width"), DPI: 30}
		for name, draw := range figures {
			figure, err := draw(analyses, o)
			if err != nil {
				continue
			}
			drawn++
			checkSVG(t, name, figure)
		}
	})
	if drawn < 100 {
		t.Errorf("only %d figures were drawn: the analyses are too odd for this test to mean much", drawn)
	}
}
