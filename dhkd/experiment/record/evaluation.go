package record

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/dhkd-lab/dhkd-go/dhkd/internal/safefile"
)

// EvaluationSchema is the version of the format of an [Evaluation].
const EvaluationSchema = 1

// The heads and the splits of an [Evaluation].
const (
	MainHead   = "main"
	AuxHead    = "aux"
	TestSplit  = "test" // held-out training images where the network's recipe holds some out, see Data.Evaluation
	TrainSplit = "train"
)

// Evaluation is what a trained network does on the images of a split, in inference mode: a JSON file, from which the
// figures are drawn.
type Evaluation struct {
	Schema  int         `json:"schema"`
	Weights WeightsFile `json:"weights"`
	Model   string      `json:"model"`
	Head    string      `json:"head"` // MainHead or AuxHead
	Data    Data        `json:"data"`
	Split   string      `json:"split"` // TestSplit or TrainSplit
	Scores
	// Difference is Top1 less what the file says, in percentage points; nil unless both are of the same head and
	// images.
	Difference *float64 `json:"difference_top1"`
	Parameters int      `json:"parameters"` // trained values, of both heads
	// InferenceParameters are those that the logits of this head depend on.
	InferenceParameters int `json:"inference_parameters"`
	// MultiplyAdds of the logits of one image: multiplications with an addition each, in convolutions and linear
	// layers. 0 = not known, as of an auxiliary head, or where modules of a method predict.
	MultiplyAdds int64       `json:"multiply_adds,omitempty"`
	Environment  Environment `json:"environment"`
	Latency      []Latency   `json:"latency,omitempty"` // where it was measured; of this environment, not of the weights
}

// WeightsFile is a file of weights and what it says of itself.
type WeightsFile struct {
	Name    string   `json:"name"` // without directory
	SHA256  string   `json:"sha256"`
	Model   string   `json:"model"`
	Classes int      `json:"classes"`
	Head    string   `json:"head,omitempty"`      // the main one, "linear" (also if empty) or "nonlinear"
	AuxHead string   `json:"aux_head"`            // "none", "linear" or "nonlinear"
	Dataset string   `json:"dataset,omitempty"`   // that it was trained on
	Top1    *float64 `json:"test_top1,omitempty"` // of its main head on that data's test images, per cent
}

// Scores are measures of a classifier on labelled images. An image with a logit that is NaN or infinite has no
// prediction: it counts as wrong, and is left out of CrossEntropy, ECE, Bins and Confusion, as NonFinite says.
type Scores struct {
	Images    int      `json:"images"`
	NonFinite int      `json:"non_finite"`     // images without a prediction
	Top1      float64  `json:"top1"`           // per cent
	Top5      *float64 `json:"top5,omitempty"` // per cent; nil with 5 classes or fewer
	// CrossEntropy is the mean of -log p(label), in nats; nil where no image has a prediction.
	CrossEntropy *float64 `json:"cross_entropy"`
	// ECE is the expected calibration error, 0 to 1: the sum over bins of n_b/n |accuracy_b - confidence_b|, where a
	// prediction's confidence is its softmax probability (Guo, Pleiss, Sun and Weinberger 2017, On Calibration of
	// Modern Neural Networks, equation 3; 15 bins, as there). It is nil where no image has a prediction.
	ECE     *float64 `json:"ece"`
	Bins    []Bin    `json:"bins"`    // of equal width, from 0 to 1
	Classes []Class  `json:"classes"` // by label
	// Confusion counts images by label (row) and prediction (column).
	Confusion [][]int `json:"confusion"`
}

// Bin holds the predictions whose confidence is above Low and at most High.
type Bin struct {
	Low        float64 `json:"low"`
	High       float64 `json:"high"`
	Images     int     `json:"images"`
	Confidence float64 `json:"confidence"` // mean, 0 to 1; 0 in an empty bin
	Accuracy   float64 `json:"accuracy"`   // 0 to 1; 0 in an empty bin
}

// Class is how well the images of one label are told.
type Class struct {
	Name      string   `json:"name,omitempty"` // empty where the data set has no names
	Images    int      `json:"images"`
	NonFinite int      `json:"non_finite"`
	Top1      *float64 `json:"top1"` // per cent; nil without images
}

// Latency is the time of calls with a batch of images: from bytes on the host to logits on the host, after warm-up.
type Latency struct {
	Batch           int     `json:"batch"` // images a call
	Calls           int     `json:"calls"` // timed ones
	Median          float64 `json:"median_ms"`
	P10             float64 `json:"p10_ms"`
	P90             float64 `json:"p90_ms"`
	ImagesPerSecond float64 `json:"images_per_second"` // at the median
}

// Confidence is the mean over the predictions of their probability, 0 to 1; NaN without predictions.
func (s Scores) Confidence() float64 {
	sum, n := 0.0, 0
	for _, b := range s.Bins {
		sum, n = sum+float64(b.Images)*b.Confidence, n+b.Images
	}
	return sum / float64(n)
}

// ClassName is the name of a label, or its number where it has none.
func (s Scores) ClassName(label int) string {
	if name := s.Classes[label].Name; name != "" {
		return name
	}
	return fmt.Sprintf("class %d", label)
}

// Confused counts the images of a label that are taken for another.
type Confused struct{ Label, Prediction, Images int }

// MostConfused lists the most frequent confusions, at most so many, the most frequent first.
func (s Scores) MostConfused(most int) []Confused {
	var all []Confused
	for label, row := range s.Confusion {
		for prediction, images := range row {
			if label != prediction && images > 0 {
				all = append(all, Confused{label, prediction, images})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b Confused) int { return cmp.Compare(b.Images, a.Images) })
	return all[:min(most, len(all))]
}

// Save writes the evaluation as JSON, whole or not at all.
func (e *Evaluation) Save(path string) error {
	if err := e.Validate(); err != nil {
		return fmt.Errorf("cannot write evaluation %s: %w", path, err)
	}
	return safefile.Write(path, func(w io.Writer) error {
		encoder := json.NewEncoder(w)
		encoder.SetEscapeHTML(false)
		return encoder.Encode(e)
	})
}

// LoadEvaluation reads and checks what [Evaluation.Save] wrote.
func LoadEvaluation(path string) (*Evaluation, error) {
	e := &Evaluation{}
	if err := loadFile("evaluation", path, "dhkd evaluate --out", e); err != nil {
		return nil, err
	}
	return e, nil
}

// Validate says what in an evaluation contradicts the rest of it, or nil.
func (e *Evaluation) Validate() error {
	if e.Schema != EvaluationSchema {
		return fmt.Errorf("schema: is %d, want %d", e.Schema, EvaluationSchema)
	}
	if e.Head != MainHead && e.Head != AuxHead {
		return fmt.Errorf("head: is %q, want %s or %s", e.Head, MainHead, AuxHead)
	}
	if e.Split != TestSplit && e.Split != TrainSplit {
		return fmt.Errorf("split: is %q, want %s or %s", e.Split, TestSplit, TrainSplit)
	}
	for _, l := range e.Latency {
		for _, v := range []float64{l.Median, l.P10, l.P90, l.ImagesPerSecond} {
			if !(v >= 0) || math.IsInf(v, 0) {
				return fmt.Errorf("latency: must be numbers of at least 0, one is %g", v)
			}
		}
	}
	return e.Scores.validate()
}

// validate makes sure that a table or a figure of the scores can be made without further checks.
func (s Scores) validate() error {
	if s.Images < 1 || s.Images > math.MaxInt32 || s.NonFinite < 0 || s.NonFinite > s.Images {
		return fmt.Errorf("images: %d, without a prediction: %d; want at least one image", s.Images, s.NonFinite)
	}
	if len(s.Classes) < 2 || len(s.Confusion) != len(s.Classes) {
		return fmt.Errorf("confusion: has %d rows, there are %d classes", len(s.Confusion), len(s.Classes))
	}
	images, nonFinite, right := 0, 0, 0
	for label, row := range s.Confusion {
		c := s.Classes[label]
		if len(row) != len(s.Classes) {
			return fmt.Errorf("confusion[%d]: has %d columns, there are %d classes", label, len(row), len(s.Classes))
		}
		sum := c.NonFinite
		for _, n := range append(row[:len(row):len(row)], c.NonFinite) {
			if n < 0 || n > s.Images {
				return fmt.Errorf("confusion[%d]: has a count of %d of %d images", label, n, s.Images)
			}
		}
		for _, n := range row {
			sum += n
		}
		if sum != c.Images {
			return fmt.Errorf("classes[%d]: has %d images, its row of the confusion matrix %d", label, c.Images, sum)
		}
		if (c.Images > 0) != (c.Top1 != nil) || c.Images > 0 && !near(*c.Top1, 100*float64(row[label])/float64(c.Images)) {
			return fmt.Errorf("classes[%d].top1: is not that of the confusion matrix", label)
		}
		images, nonFinite, right = images+c.Images, nonFinite+c.NonFinite, right+row[label]
	}
	if images != s.Images || nonFinite != s.NonFinite || !near(s.Top1, 100*float64(right)/float64(images)) {
		return errors.New("images, non_finite or top1 are not those of the confusion matrix")
	}
	if s.Top5 != nil && !(*s.Top5 >= s.Top1-1e-9 && *s.Top5 <= 100) {
		return fmt.Errorf("top5: is %g, must be %g (top1) to 100 per cent", *s.Top5, s.Top1)
	}
	if v := s.CrossEntropy; v != nil && (!(*v >= 0) || math.IsInf(*v, 0)) {
		return fmt.Errorf("cross_entropy: must be a number of at least 0, is %g", *v)
	}
	if v := s.ECE; v != nil && !(*v >= 0 && *v <= 1) {
		return fmt.Errorf("ece: must be 0 to 1, is %g", *v)
	}
	if predicted := s.Images > s.NonFinite; predicted != (s.CrossEntropy != nil) || predicted != (s.ECE != nil) {
		return errors.New("cross_entropy and ece belong to scores with predictions, and to no others")
	}
	return s.validateBins()
}

func (s Scores) validateBins() error {
	images, low := 0, 0.0
	for i, b := range s.Bins {
		if b.Images < 0 || b.Images > s.Images || !near(b.Low, low) || !(b.High > b.Low && b.High <= 1+1e-9) ||
			!(b.Accuracy >= 0 && b.Accuracy <= 1) || !(b.Confidence >= 0 && b.Confidence <= 1) {
			return fmt.Errorf("bins[%d]: must follow the bin before, with values of 0 to 1, and hold 0 to %d images", i,
				s.Images)
		}
		images, low = images+b.Images, b.High
	}
	if images != s.Images-s.NonFinite || !near(low, 1) {
		return fmt.Errorf("bins: hold %d images and end at %g, want %d and 1", images, low, s.Images-s.NonFinite)
	}
	return nil
}

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-9*math.Max(1, math.Abs(b)) }
