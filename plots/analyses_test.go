package plots_test

import (
	"testing"

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
