package plots

import "github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"

// Alignment draws what gradient alignment did, by epoch: the share of steps in conflict, the mean coefficient c by
// which it raised cross-entropy's gradient, and the mean cosine between the two gradients, all taken over all
// parameters. Line and band are as in [TrainingCurves]. The error is that of [Summarize] or of a bad option, or says
// that no record is of a run with alignment.
func Alignment(records []*record.Record, o Options) (*Figure, error) {
	return metricCurves(records, o, "Gradient alignment",
		"Over the steps of each epoch, of cross-entropy's and the logit-level loss's gradients by all parameters.",
		"gradient/conflict and gradient/mean_c: train with alignment, --set method.align=true",
		[]metricPanel{
			{title: "Steps in conflict", label: "share of steps", metrics: []string{record.MetricConflict}, zero: true},
			{title: "Coefficient c", label: "mean c", metrics: []string{record.MetricCoefficient}, zero: true},
			{title: "Cosine of the two gradients", label: "mean cosine", metrics: []string{record.MetricCosine}, zero: true},
		})
}
