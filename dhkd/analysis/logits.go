package analysis

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/stat"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/metric"
)

// histogramBins is fine enough to show a shape and coarse enough to be drawn.
const histogramBins = 80

// Output is the logits of one head or network.
type Output struct {
	Of     string    // record.MainHead, record.AuxHead or record.TeacherNetwork
	Logits []float32 // [n, classes]
}

// Logits describes logits of the same images, whose labels are [n], 0 to classes-1. The differences are from the
// output of [record.TeacherNetwork], if there is one. The error says which size does not fit, or which output has
// logits that are NaN or infinite: nothing can be said of those.
func Logits(labels []int32, classes int, outputs ...Output) ([]record.Logits, error) {
	if len(labels) == 0 {
		return nil, fmt.Errorf("no images: their logits cannot be described")
	}
	var all []record.Logits
	var parts []quantities
	teacher := slices.IndexFunc(outputs, func(o Output) bool { return o.Of == record.TeacherNetwork })
	for i, o := range outputs {
		measured := metric.NewClassification(classes)
		if err := measured.Add(o.Logits, labels); err != nil {
			return nil, fmt.Errorf("%s: %w", o.Of, err)
		}
		s := measured.Scores(nil)
		if s.NonFinite > 0 {
			return nil, fmt.Errorf("%s: the logits of %d of %d images are NaN or infinite: they cannot be described", o.Of,
				s.NonFinite, s.Images)
		}
		l := record.Logits{Of: o.Of, Images: s.Images, Top1: s.Top1, CrossEntropy: *s.CrossEntropy, ECE: *s.ECE, Bins: s.Bins}
		if classes <= record.MostMapped {
			l.Map = meanLogits(o.Logits, labels, classes)
		}
		all = append(all, l)
		parts = append(parts, split(o.Logits, labels, classes))
		if teacher >= 0 && i != teacher {
			if len(outputs[teacher].Logits) != len(o.Logits) {
				return nil, fmt.Errorf("%s: %d logits, the teacher has %d", o.Of, len(o.Logits), len(outputs[teacher].Logits))
			}
			parts[i][ofDifference] = widen(o.Logits)
			floats.Sub(parts[i][ofDifference], widen(outputs[teacher].Logits))
		}
	}
	for kind := range kinds {
		low, high := math.Inf(1), math.Inf(-1)
		for _, q := range parts {
			if values := q[kind]; len(values) > 0 {
				slices.Sort(values)
				low, high = min(low, values[0]), max(high, values[len(values)-1])
			}
		}
		for i, q := range parts {
			if len(q[kind]) == 0 {
				continue
			}
			d, l := distribution(q[kind], low, high), &all[i]
			switch kind {
			case ofAll:
				l.All = d
			case ofLabel:
				l.Label = d
			case ofOffset:
				l.Offset = d
			case ofDifference:
				l.Difference = &d
			}
		}
	}
	return all, nil
}

// The quantities that have a distribution.
const (
	ofAll = iota
	ofLabel
	ofOffset
	ofDifference
	kinds
)

// quantities are those of one output, by kind.
type quantities [kinds][]float64

func split(logits []float32, labels []int32, classes int) (q quantities) {
	q[ofAll] = widen(logits)
	for i, label := range labels {
		row := q[ofAll][i*classes:][:classes]
		q[ofLabel] = append(q[ofLabel], row[label])
		q[ofOffset] = append(q[ofOffset], stat.Mean(row, nil))
	}
	return q
}

// distribution is that of sorted values, with bins from low to high.
func distribution(sorted []float64, low, high float64) record.Distribution {
	d := record.Distribution{Values: len(sorted), Low: low, High: high}
	d.Mean, d.SD = stat.PopMeanStdDev(sorted, nil)
	for _, share := range record.QuantileLevels {
		d.Quantiles = append(d.Quantiles, stat.Quantile(share, stat.Empirical, sorted, nil))
	}
	if low == high {
		d.Counts = []int{len(sorted)}
		return d
	}
	d.Counts = make([]int, histogramBins)
	for _, v := range sorted {
		d.Counts[min(histogramBins-1, int((v-low)/(high-low)*histogramBins))]++
	}
	return d
}

// meanLogits is record.Logits.Map.
func meanLogits(logits []float32, labels []int32, classes int) [][]float64 {
	sums, images := make([][]float64, classes), make([]float64, classes)
	for i, label := range labels {
		if sums[label] == nil {
			sums[label] = make([]float64, classes)
		}
		images[label]++
		floats.Add(sums[label], widen(logits[i*classes:][:classes]))
	}
	for label, row := range sums {
		for class := range row {
			row[class] = round(row[class] / images[label])
		}
	}
	return sums
}

// round keeps four decimals, which no picture shows more of.
func round(v float64) float64 { return math.Round(v*1e4)/1e4 + 0 } // no -0
