// Package metric measures classifiers from their logits. It needs no compute library.
package metric

import (
	"fmt"
	"math"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

const (
	// bins of the expected calibration error; Guo et al. (2017) have 15.
	bins = 15
	topK = 5
)

// Classification accumulates the measures of a classifier, batch by batch: its memory does not grow with the images.
type Classification struct {
	images, right, inTop5 int
	crossEntropy          float64 // sum
	bins                  [bins]bin
	confusion             [][]int
	nonFinite             []int // by label
}

type bin struct {
	images, right int
	confidence    float64 // sum
}

// NewClassification starts with no images. It panics unless there are at least 2 classes.
func NewClassification(classes int) *Classification {
	if classes < 2 {
		panic(fmt.Sprintf("metric: a classifier has at least 2 classes, not %d", classes))
	}
	c := &Classification{confusion: make([][]int, classes), nonFinite: make([]int, classes)}
	for i := range c.confusion {
		c.confusion[i] = make([]int, classes)
	}
	return c
}

// Add counts a batch: logits are [n, classes], row-major, labels [n], 0 to classes-1. Of equal logits the first counts
// as the largest. After an error nothing of the batch is counted.
func (c *Classification) Add(logits []float32, labels []int32) error {
	classes := len(c.confusion)
	if len(logits) != len(labels)*classes {
		return fmt.Errorf("%d logits do not fit %d labels and %d classes", len(logits), len(labels), classes)
	}
	for i, label := range labels {
		if label < 0 || int(label) >= classes {
			return fmt.Errorf("label %d of %d is %d, want 0 to %d", i+1, len(labels), label, classes-1)
		}
	}
	for i, label := range labels {
		c.add(logits[i*classes:][:classes], int(label))
	}
	return nil
}

func (c *Classification) add(logits []float32, label int) {
	c.images++
	prediction, rank := 0, 0 // rank is the number of logits before the label's, in descending order
	for j, z := range logits {
		if math.IsNaN(float64(z)) || math.IsInf(float64(z), 0) {
			c.nonFinite[label]++
			return
		}
		if z > logits[prediction] {
			prediction = j
		}
		if z > logits[label] || z == logits[label] && j < label {
			rank++
		}
	}
	largest, sum := float64(logits[prediction]), 0.0
	for _, z := range logits {
		sum += math.Exp(float64(z) - largest)
	}
	c.crossEntropy += math.Log(sum) + largest - float64(logits[label])
	c.confusion[label][prediction]++
	confidence := 1 / sum
	b := &c.bins[max(0, int(math.Ceil(confidence*bins))-1)]
	b.images++
	b.confidence += confidence
	if rank == 0 {
		c.right++
		b.right++
	}
	if rank < topK {
		c.inTop5++
	}
}

// Scores are the measures of the images so far, of which there must be at least one. The names are those of the
// classes, or nil.
func (c *Classification) Scores(names []string) record.Scores {
	n := float64(c.images)
	s := record.Scores{Images: c.images, Top1: 100 * float64(c.right) / n}
	if len(c.confusion) > topK {
		s.Top5 = new(100 * float64(c.inTop5) / n)
	}
	for label, row := range c.confusion {
		class := record.Class{NonFinite: c.nonFinite[label], Images: c.nonFinite[label]}
		if len(names) == len(c.confusion) {
			class.Name = names[label]
		}
		for _, count := range row {
			class.Images += count
		}
		if class.Images > 0 {
			class.Top1 = new(100 * float64(row[label]) / float64(class.Images))
		}
		s.NonFinite += class.NonFinite
		s.Classes = append(s.Classes, class)
		s.Confusion = append(s.Confusion, append([]int(nil), row...))
	}
	predicted, gap := float64(s.Images-s.NonFinite), 0.0
	for i, b := range c.bins {
		out := record.Bin{Low: float64(i) / bins, High: float64(i+1) / bins, Images: b.images}
		if b.images > 0 {
			out.Confidence = min(1, b.confidence/float64(b.images)) // rounding may put it above 1
			out.Accuracy = float64(b.right) / float64(b.images)
		}
		gap += float64(b.images) * math.Abs(out.Accuracy-out.Confidence)
		s.Bins = append(s.Bins, out)
	}
	if predicted > 0 {
		s.CrossEntropy, s.ECE = new(max(0, c.crossEntropy/predicted)), new(min(1, gap/predicted))
	}
	return s
}
