package plots_test

import (
	"image"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/plots"
	"github.com/dhkd-lab/dhkd-go/plots/plotstest"
)

// saying wants a figure whose words hold each text.
func saying(t *testing.T, figure *plots.Figure, err error, texts ...string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range texts {
		if !strings.Contains(figure.Alt, text) {
			t.Errorf("the figure does not say %q: %s", text, figure.Alt)
		}
	}
}

// refused wants an error with a text.
func refused(t *testing.T, err error, text string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("got %v, want an error with %q", err, text)
	}
}

// withLast sets the last accuracies of runs.
func withLast(records []*record.Record, top1 map[string][]float64) []*record.Record {
	for _, r := range records {
		if values, ok := top1[r.Recipe.Name]; ok {
			r.Epochs[len(r.Epochs)-1].Metrics[record.MetricStudentTest] = values[r.Recipe.Seed-1]
			plotstest.Recount(r)
		}
	}
	return records
}

// Differences 1, 2 and 3 have mean 2 and standard deviation 1; Student's t for two degrees of freedom is 4.3027, so
// that the half interval is 4.3027 / sqrt 3 = 2.48.
func TestPairedDifferences(t *testing.T) {
	runs := plotstest.Quickstart()
	records := withLast(plotstest.Records(runs[1:3], 3), map[string][]float64{"ce": {50, 60, 55}, "kd": {51, 62, 58}})
	figure, err := plots.PairedDifferences(records, "ce", plots.Options{})
	saying(t, figure, err, "KD: +2.00 ± 2.48.")
	figure, err = plots.AccuracyIntervals(records, plots.Options{})
	saying(t, figure, err, "CE: 55.0 ± 12.4.") // 4.3027 x 5 / sqrt 3
	_, err = plots.PairedDifferences(records, "dhkd", plots.Options{})
	refused(t, err, `no run is called "dhkd" to compare with: there are ce, kd`)
	// Seed 1 of the one and seeds 2, 3 of the other have none in common.
	records = append(records[:1], records[4:]...)
	_, err = plots.PairedDifferences(records, "ce", plots.Options{})
	refused(t, err, "a finished seed")
}

func TestAccuracyMap(t *testing.T) {
	records := plotstest.Sweep(2)
	figure, err := plots.AccuracyMap(records, "optimizer.learning_rate", "method.alpha", plots.Options{})
	saying(t, figure, err, "CE + BinaryKL, one head: alpha 3: 0.02 ",
		"DHKD (BinaryKL-Norm), linear auxiliary head: alpha 3: 0.02 ")
	_, err = plots.AccuracyMap(records, "optimizer.rate", "method.alpha", plots.Options{})
	refused(t, err, "optimizer.learning_rate")
	_, err = plots.AccuracyMap(records, "method.alpha", "method.alpha", plots.Options{})
	refused(t, err, "name two keys")
	other := *records[0]
	other.Recipe.Name = "again"
	_, err = plots.AccuracyMap(append(records, &other), "optimizer.learning_rate", "method.alpha", plots.Options{})
	refused(t, err, "both have optimizer.learning_rate = 0.02 and method.alpha = 0.1")
	// Where panels would have one title, what tells them apart is added.
	for _, r := range records {
		if r.Recipe.Method.Name == "ce+binarykl-norm" {
			r.Recipe.Method.Name, r.Recipe.Optimizer.ClipNorm = "ce+binarykl", 5
		}
	}
	figure, err = plots.AccuracyMap(records, "optimizer.learning_rate", "method.alpha", plots.Options{})
	saying(t, figure, err, "CE + BinaryKL, one head, clip norm 5: ")
}

func TestSoftmaxHides(t *testing.T) {
	figure, err := plots.SoftmaxHides(plots.PaperExample, plots.Options{})
	saying(t, figure, err, "Softmax of teacher [2, 3, 4]: [0.09 0.24 0.67].",
		"Softmax of student [−2, −1, 0]: [0.09 0.24 0.67].",
		"Sigmoid of teacher [2, 3, 4]: [0.88 0.95 0.98].", "Sigmoid of student [−2, −1, 0]: [0.12 0.27 0.50].")
	for _, logits := range [][]float64{{1}, {1, 2, math.NaN()}, {1, 2, 1e7}} {
		examples := append(plots.PaperExample[:1:1], plots.LogitExample{Label: "odd", Logits: logits})
		_, err := plots.SoftmaxHides(examples, plots.Options{})
		refused(t, err, `example "odd"`)
	}
}

// Figures of measured gradients say what is missing, and read the numbers that are there.
func TestGradientFigures(t *testing.T) {
	measured := plotstest.Measured(1)
	figure, err := plots.GradientCosines(measured, plots.Options{})
	saying(t, figure, err, "CE + BinaryKL, one head: head (last layer) from 0.2", "backbone from 0.5")
	figure, err = plots.LayerCosines(measured, plots.Options{})
	saying(t, figure, err, "the mean is below 0 in 0 of 18 layers")
	for name, draw := range map[string]func([]*record.Record, plots.Options) (*plots.Figure, error){
		"GradientCosines": plots.GradientCosines, "ConflictShares": plots.ConflictShares, "LayerCosines": plots.LayerCosines,
		"PullAndPush": plots.PullAndPush,
	} {
		_, err := draw(plotstest.Records(plotstest.Quickstart(), 1), plots.Options{})
		if err == nil || !strings.Contains(err.Error(), "measure: {gradients: {every: 10}}") {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err = plots.Alignment(plotstest.Records(plotstest.Quickstart()[:2], 1), plots.Options{})
	refused(t, err, "method.align=true")
}

// An epoch of a long run that does not keep its layers has no column in the map of layers.
func TestLayersOfSomeEpochs(t *testing.T) {
	drawn := func(edit func(*record.Epoch)) string {
		measured := plotstest.Measured(1)
		for _, r := range measured {
			for len(r.Epochs) < 100 { // of which 1, 4, 7 and so on keep them
				next := r.Epochs[len(r.Epochs)-1]
				next.Epoch, next.Step, next.Gradients = next.Epoch+1, next.Step+r.Epochs[0].Step, nil
				r.Epochs = append(r.Epochs, next)
			}
			r.Last, r.Recipe.Schedule.Epochs = 100, 100
			edit(&r.Epochs[2])
		}
		figure, err := plots.LayerCosines(measured, plots.Options{})
		if err != nil {
			t.Fatal(err)
		}
		svg, err := figure.SVG()
		if err != nil {
			t.Fatal(err)
		}
		return string(svg)
	}
	without := drawn(func(e *record.Epoch) {
		e.Gradients.Parts = slices.DeleteFunc(e.Gradients.Parts, func(p record.GradientPart) bool {
			return p.Kind == record.PartLayer
		})
	})
	if without != drawn(func(e *record.Epoch) { e.Gradients = nil }) || without == drawn(func(*record.Epoch) {}) {
		t.Error("the epoch has a column, or its layers do not matter")
	}
}

// Whatever the numbers are, charts are drawn or refused.
func TestChartsOfAnyNumbers(t *testing.T) {
	value := rapid.OneOf(rapid.Float64Range(-5, 5), rapid.Float64(),
		rapid.SampledFrom([]float64{math.NaN(), math.Inf(1), math.Inf(-1), 0, 1e308, 5e-324}))
	rapid.Check(t, func(t *rapid.T) {
		series := rapid.Custom(func(t *rapid.T) plots.Series {
			n := rapid.IntRange(0, 4).Draw(t, "n")
			s := plots.Series{Label: rapid.SampledFrom([]string{"", "a", "<b>&\x00"}).Draw(t, "label"),
				Dashed: rapid.Bool().Draw(t, "dashed")}
			for i := range n {
				s.X = append(s.X, float64(i)*rapid.SampledFrom([]float64{1, 1e-3, 1e9}).Draw(t, "step"))
				s.Y = append(s.Y, value.Draw(t, "y"))
			}
			if rapid.Bool().Draw(t, "band") {
				for range n {
					s.Low, s.High = append(s.Low, value.Draw(t, "low")), append(s.High, value.Draw(t, "high"))
				}
			}
			return s
		})
		charts := []plots.Chart{{Title: "one", Series: rapid.SliceOfN(series, 0, 3).Draw(t, "series"), Zero: true},
			{Title: "two", Series: rapid.SliceOfN(series, 1, 2).Draw(t, "series"), Log: true}}
		charts = charts[rapid.IntRange(0, 1).Draw(t, "from"):]
		figure, err := plots.Charts("title", "", "caption", charts, plots.Options{DPI: 30})
		if err != nil {
			return
		}
		checkPNG(t, "Charts", figure)
		checkSVG(t, "Charts", figure)
	})
}

// A description names the charts that have a title, whatever is in it.
func TestChartsInWords(t *testing.T) {
	line := []plots.Series{{Label: "a", X: []float64{1, 2}, Y: []float64{3, 4}}, {Label: "b", X: []float64{1}, Y: []float64{5}}}
	figure, err := plots.Charts("", "", "Caption", []plots.Chart{{Series: line}, {Title: "loss, gradient", Series: line}},
		plots.Options{})
	saying(t, figure, err, "Line charts. a from 3 to 4, b from 5 to 5. loss, gradient: a from 3 to 4, b from 5 to 5. Caption")
}

func TestChartsRefuse(t *testing.T) {
	one := func(s plots.Series) error {
		_, err := plots.Charts("", "", "", []plots.Chart{{Title: "it", Series: []plots.Series{s}}}, plots.Options{})
		return err
	}
	refused(t, one(plots.Series{Label: "a", X: []float64{1}}), `chart 1, "it": series "a": 1 values of X, 0 of Y`)
	refused(t, one(plots.Series{X: []float64{1}, Y: []float64{1}, Low: []float64{1}}), "1 of Low and 0 of High")
	refused(t, one(plots.Series{X: []float64{1}, Y: []float64{math.NaN()}}), "no finite values")
	_, err := plots.Charts("", "", "", nil, plots.Options{})
	refused(t, err, "no charts")
}

func TestImagesRefuse(t *testing.T) {
	images := func(columns int, titles []string, pictures ...image.Image) error {
		_, err := plots.Images(pictures, titles, columns, plots.Options{})
		return err
	}
	dot := image.NewGray(image.Rect(0, 0, 1, 1))
	refused(t, images(1, nil), "0 pictures: want 1 to 200")
	refused(t, images(1, []string{"a"}, dot, dot), "1 titles for 2 pictures")
	refused(t, images(0, nil, dot), "0 columns")
	refused(t, images(2, nil, dot, image.NewGray(image.Rectangle{})), "picture 2 of 2 has 0 x 0 pixels")
	if err := images(20, nil, dot); err != nil {
		t.Error(err)
	}
}
