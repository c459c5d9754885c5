package plots_test

import (
	"fmt"
	"log"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/metric"
	"github.com/dhkd-lab/dhkd-go/plots"
	"github.com/dhkd-lab/dhkd-go/plots/plotstest"
)

var evaluationFigures = map[string]func(*record.Evaluation, plots.Options) (*plots.Figure, error){
	"Reliability": plots.Reliability,
	"Confusion":   plots.Confusion,
	"PerClass":    plots.PerClass,
}

// save draws a figure of an invented evaluation.
func save(draw func(*record.Evaluation, plots.Options) (*plots.Figure, error), classes, images int, file string) {
	figure, err := draw(plotstest.Evaluation(classes, images), plots.Options{})
	if err != nil {
		log.Fatal(err)
	}
	if err := figure.Save("testdata/" + file); err != nil {
		log.Fatal(err)
	}
}

// How often answers are right, by the probability that the network gives them.
func ExampleReliability() {
	evaluation := plotstest.Evaluation(10, 2000) // or record.LoadEvaluation of what dhkd evaluate --out wrote
	figure, err := plots.Reliability(evaluation, plots.Options{})
	if err != nil {
		log.Fatal(err)
	}
	if err := figure.Save("testdata/reliability.png"); err != nil {
		log.Fatal(err)
	}
}

// What is taken for what, with numbers in the cells where there are few classes.
func ExampleConfusion() { save(plots.Confusion, 10, 2000, "confusion.png") }

// With many classes the colours alone speak.
func ExampleConfusion_hundredClasses() { save(plots.Confusion, 100, 10_000, "confusion_100.png") }

// The classes by accuracy.
func ExamplePerClass() { save(plots.PerClass, 10, 2000, "per_class.png") }

// A hundred classes still have their names.
func ExamplePerClass_hundredClasses() { save(plots.PerClass, 100, 10_000, "per_class_100.png") }

func TestGoldenEvaluation(t *testing.T) {
	checkGolden(t, map[string]func(){
		"reliability.png":   ExampleReliability,
		"confusion.png":     ExampleConfusion,
		"confusion_100.png": ExampleConfusion_hundredClasses,
		"per_class.png":     ExamplePerClass,
		"per_class_100.png": ExamplePerClass_hundredClasses,
	})
}

// Whatever the logits were, the figures are drawn: from a network without any prediction to one that is always sure.
func TestFiguresOfAnyEvaluation(t *testing.T) {
	value := rapid.OneOf(rapid.Float64Range(-5, 5), rapid.SampledFrom([]float64{0, 1e4, math.NaN(), math.Inf(1)}))
	rapid.Check(t, func(t *rapid.T) {
		classes := rapid.IntRange(2, 30).Draw(t, "classes")
		c := metric.NewClassification(classes)
		for range rapid.IntRange(1, 20).Draw(t, "images") {
			logits := make([]float32, classes)
			for j := range logits {
				logits[j] = float32(value.Draw(t, "logit"))
			}
			if err := c.Add(logits, []int32{int32(rapid.IntRange(0, classes-1).Draw(t, "label"))}); err != nil {
				t.Fatal(err)
			}
		}
		text := rapid.SampledFrom([]string{"", "<b>&\x00", strings.Repeat("long ", 40)})
		e := plotstest.Evaluation(2, 2)
		e.Scores = c.Scores(nil)
		e.Model, e.Data.Name, e.Classes[0].Name = text.Draw(t, "model"), text.Draw(t, "data"), text.Draw(t, "class")
		e.Weights.SHA256 = text.Draw(t, "digest")
		o := plots.Options{Width: rapid.SampledFrom([]float64{0, 3}).Draw(t, "width"), DPI: 30}
		for name, draw := range evaluationFigures {
			figure, err := draw(e, o)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if rapid.IntRange(0, 4).Draw(t, "PNG too") == 0 {
				checkPNG(t, name, figure)
			}
			checkSVG(t, name, figure)
		}
	})
}

func TestEvaluationFiguresRefuse(t *testing.T) {
	for name, draw := range evaluationFigures {
		e := plotstest.Evaluation(3, 30)
		if _, err := draw(e, plots.Options{DPI: 1}); err == nil || !strings.Contains(err.Error(), "DPI 1") {
			t.Errorf("%s: %v", name, err)
		}
		e.Top1 = 101
		const want = "evaluation: images, non_finite or top1"
		if _, err := draw(e, plots.Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	e := plotstest.Evaluation(2001, 2001)
	for _, name := range []string{"Confusion", "PerClass"} {
		if _, err := evaluationFigures[name](e, plots.Options{}); err == nil || !strings.Contains(err.Error(), "too many") {
			t.Errorf("%s of %d classes: %v", name, len(e.Classes), err)
		}
	}
}

// A heat map's picture in an SVG says that it is PNG, which it is: strict programs draw nothing else.
func TestPictureInSVG(t *testing.T) {
	figure, err := plots.Confusion(plotstest.Evaluation(3, 30), plots.Options{})
	if err != nil {
		t.Fatal(err)
	}
	svg, err := figure.SVG()
	const png = `"data:image/png;base64,iVBORw0KGgo`
	if err != nil || !strings.Contains(string(svg), png) || strings.Contains(string(svg), "image/jpg") {
		t.Errorf("%v; no %s in %.300s", err, png, svg)
	}
}

// The text alternative has the numbers.
func TestEvaluationAlt(t *testing.T) {
	e := plotstest.Evaluation(10, 2000)
	for name, want := range map[string]string{
		"Reliability": fmt.Sprintf("Expected calibration error %.2f\u00a0%%", 100**e.ECE),
		"Confusion":   fmt.Sprintf("%.2f %% of the images are on the diagonal", e.Top1),
		"PerClass":    fmt.Sprintf("example class 3: %.1f", *e.Classes[3].Top1),
	} {
		figure, err := evaluationFigures[name](e, plots.Options{})
		if err != nil || !strings.Contains(figure.Alt, want) {
			t.Errorf("%s: %v, %v; want %q", name, figure.Alt, err, want)
		}
	}
}
