package metric

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

func ExampleClassification() {
	c := NewClassification(2)
	logits := []float32{2, 0 /**/, 1, 0 /**/, 0, 3 /**/, 4, 0}
	if err := c.Add(logits, []int32{0, 1, 1, 0}); err != nil {
		fmt.Println(err)
	}
	s := c.Scores([]string{"cat", "dog"})
	fmt.Printf("top-1 %.0f %%, ECE %.3f, cross-entropy %.3f\n", s.Top1, *s.ECE, *s.CrossEntropy)
	fmt.Println(s.Confusion)
	// Output:
	// top-1 75 %, ECE 0.229, cross-entropy 0.377
	// [[2 0] [1 1]]
}

// Logits of which everything can be worked out by hand: log probabilities, so that the softmax gives them back.
func TestByHand(t *testing.T) {
	ln := func(p ...float64) (logits []float32) {
		for _, v := range p {
			logits = append(logits, float32(math.Log(v)))
		}
		return logits
	}
	c := NewClassification(6)
	add := func(label int32, logits []float32) {
		t.Helper()
		if err := c.Add(logits, []int32{label}); err != nil {
			t.Fatal(err)
		}
	}
	add(0, ln(.5, .1, .1, .1, .1, .1))      // right at 0.5, in bin 8 of (7/15, 8/15]
	add(1, ln(.5, .1, .1, .1, .1, .1))      // wrong at 0.5
	add(5, ln(.9, .02, .02, .02, .02, .02)) // wrong at 0.9, bin 14; of equals the last, so no top 5
	add(4, ln(.9, .02, .02, .02, .02, .02)) // wrong at 0.9, top 5
	add(2, make([]float32, 6))              // wrong at 1/6: the first of equals is predicted
	add(3, []float32{0, 0, 0, 1e5, 0, 0})   // right at 1: no overflow
	add(3, []float32{0, 0, 0, float32(math.NaN()), 0, 0})
	add(0, []float32{float32(math.Inf(1)), 0, 0, 0, 0, 0})
	s := c.Scores(nil)

	check := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 1e-6 {
			t.Errorf("%s: %g, want %g", what, got, want)
		}
	}
	check("top-1", s.Top1, 100*2./8)
	check("top-5", *s.Top5, 100*5./8)
	check("cross-entropy", *s.CrossEntropy, (-math.Log(.5)-math.Log(.1)-2*math.Log(.02)+math.Log(6)+0)/6)
	// Bin (2/15, 3/15]: 1/6 and none right; bin of 0.5: half right, no gap; bin of 0.9: none right; bin of 1: all
	// right.
	check("ECE", *s.ECE, (1./6+0+2*.9+0)/6)
	check("mean confidence", s.Confidence(), (1./6+2*.5+2*.9+1)/6)
	if s.Images != 8 || s.NonFinite != 2 {
		t.Errorf("%d images, %d without a prediction", s.Images, s.NonFinite)
	}
	var filled []string
	for i, b := range s.Bins {
		if b.Images > 0 {
			filled = append(filled, fmt.Sprintf("%d:%d", i, b.Images))
		}
	}
	if got := strings.Join(filled, " "); got != "2:1 7:2 13:2 14:1" {
		t.Errorf("bins %s", got)
	}
	want := [][]int{{1, 0, 0, 0, 0, 0}, {1, 0, 0, 0, 0, 0}, {1, 0, 0, 0, 0, 0}, {0, 0, 0, 1, 0, 0}, {1, 0, 0, 0, 0, 0},
		{1, 0, 0, 0, 0, 0}}
	if diff := gocmp.Diff(want, s.Confusion); diff != "" {
		t.Error(diff)
	}
	if c := s.Classes[3]; c.Images != 2 || c.NonFinite != 1 || *c.Top1 != 50 || s.ClassName(3) != "class 3" {
		t.Errorf("%+v", c)
	}
	validate(t, s)
}

// sample is random logits, some of them equal to others, and labels.
func sample(t *rapid.T) (classes int, logits []float32, labels []int32) {
	classes = rapid.IntRange(2, 12).Draw(t, "classes")
	value := rapid.OneOf(rapid.Float64Range(-8, 8), rapid.SampledFrom([]float64{0, 1, 2}))
	for range rapid.IntRange(1, 60).Draw(t, "images") {
		labels = append(labels, int32(rapid.IntRange(0, classes-1).Draw(t, "label")))
		for range classes {
			logits = append(logits, float32(value.Draw(t, "logit")))
		}
	}
	return classes, logits, labels
}

func scores(t interface{ Fatal(...any) }, classes int, logits []float32, labels []int32) record.Scores {
	c := NewClassification(classes)
	if err := c.Add(logits, labels); err != nil {
		t.Fatal(err)
	}
	return c.Scores(nil)
}

// The measures agree with a plain computation from their definitions, by other means: sorted logits, a softmax without
// shift, bins by comparison of edges.
func TestAgainstDefinitions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		classes, logits, labels := sample(t)
		s := scores(t, classes, logits, labels)
		validate(t, s)
		var loss, ece, right, top5 float64
		n := float64(len(labels))
		confidences, hits := make([]float64, len(labels)), make([]float64, len(labels))
		for i, label := range labels {
			row := logits[i*classes:][:classes]
			order := make([]int, classes)
			for j := range order {
				order[j] = j
			}
			slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(row[b], row[a]) })
			var sum float64
			for _, z := range row {
				sum += math.Exp(float64(z))
			}
			loss -= math.Log(math.Exp(float64(row[label]))/sum) / n
			confidences[i] = math.Exp(float64(row[order[0]])) / sum
			if order[0] == int(label) {
				hits[i] = 1
				right++
			}
			if slices.Index(order, int(label)) < 5 {
				top5++
			}
		}
		for m := range 15 {
			var conf, acc, count float64
			for i, p := range confidences {
				if p > float64(m)/15 && p <= float64(m+1)/15 {
					conf, acc, count = conf+p, acc+hits[i], count+1
				}
			}
			if count > 0 {
				ece += count / n * math.Abs(acc/count-conf/count)
			}
		}
		for _, p := range confidences {
			if edge := math.Abs(p*15 - math.Round(p*15)); edge > 0 && edge < 1e-9 {
				t.Skip("a confidence on the edge of a bin falls to either side by rounding")
			}
		}
		for what, pair := range map[string][2]float64{
			"top-1": {s.Top1, 100 * right / n}, "cross-entropy": {*s.CrossEntropy, loss}, "ECE": {*s.ECE, ece},
		} {
			if math.Abs(pair[0]-pair[1]) > 1e-9 {
				t.Errorf("%s: %g, by definition %g", what, pair[0], pair[1])
			}
		}
		if (s.Top5 != nil) != (classes > 5) || s.Top5 != nil && math.Abs(*s.Top5-100*top5/n) > 1e-9 {
			t.Errorf("top-5: %v, by definition %g of %d classes", s.Top5, 100*top5/n, classes)
		}
	})
}

// The order of the images, their batches, and an added constant do not matter.
func TestInvariance(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		classes, logits, labels := sample(t)
		for i := range logits {
			logits[i] = float32(math.Round(float64(logits[i]))) // adding 1000 is exact
		}
		want := scores(t, classes, logits, labels)
		order := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0)).Perm(len(labels))
		c := NewClassification(classes)
		for _, i := range order {
			row := slices.Clone(logits[i*classes:][:classes])
			for j := range row {
				row[j] += 1000
			}
			if err := c.Add(row, labels[i:i+1]); err != nil {
				t.Fatal(err)
			}
		}
		if diff := gocmp.Diff(want, c.Scores(nil), cmpopts.EquateApprox(0, 1e-9)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestNothingFinite(t *testing.T) {
	nan := float32(math.NaN())
	s := scores(t, 2, []float32{nan, nan, float32(math.Inf(-1)), 0}, []int32{0, 1})
	if s.Top1 != 0 || s.NonFinite != 2 || s.ECE != nil || s.CrossEntropy != nil || s.Top5 != nil {
		t.Errorf("%+v", s)
	}
	validate(t, s)
}

func TestAddErrors(t *testing.T) {
	c := NewClassification(3)
	for _, test := range []struct {
		logits []float32
		labels []int32
		want   string
	}{
		{make([]float32, 5), make([]int32, 2), "5 logits do not fit 2 labels and 3 classes"},
		{make([]float32, 6), []int32{0, 3}, "label 2 of 2 is 3, want 0 to 2"},
		{make([]float32, 3), []int32{-1}, "label 1 of 1 is -1"},
	} {
		if err := c.Add(test.logits, test.labels); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v, want %q", err, test.want)
		}
	}
	if c.images != 0 {
		t.Error("images of a refused batch are counted")
	}
}

// validate checks ranges and that the parts agree: an evaluation with these scores can be written.
func validate(t interface{ Error(...any) }, s record.Scores) {
	e := record.Evaluation{Schema: record.EvaluationSchema, Head: record.MainHead, Split: record.TestSplit, Scores: s}
	if err := e.Validate(); err != nil {
		t.Error(err)
	}
}
