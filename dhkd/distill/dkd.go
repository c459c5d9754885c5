package distill

import (
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/support/exceptions"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// decoupled is Decoupled Knowledge Distillation: L = gamma CE(z, y) + w (alpha TCKD + beta NCKD), see [DKD], where w
// grows from 1/warmup in the first epoch to 1. Published for CIFAR-100: gamma 1, alpha 1, T 4, warm-up 20, and beta 8
// (teacher resnet32x4; WRN-40-2 to ShuffleNetV1; ResNet50 to MobileNetV2), 6 (VGG13; WRN-40-2 to its own kind) or 2
// (resnet56, resnet110); for ImageNet T 1, warm-up 1, beta 0.5 (ResNet34) or 2 (ResNet50). Source: mdistiller's
// configuration.
type decoupled struct{ record.Method }

func init() {
	registry["dkd"] = entry{
		make: func(p record.Method) Method { return decoupled{p} },
		parameters: []HyperParameter{labels(1),
			positive("alpha", 1, "weight of TCKD, the true class against the others"),
			positive("beta", 8, "weight of NCKD, the other classes (6 or 2 for some pairs)"), temperature(4), warmup,
			standardize("T 2, alpha and beta 9 times as large")},
		what:   "decoupled KD: the true class against the others, and the others among themselves",
		source: "Zhao et al. 2022, CVPR, arXiv 2203.08679",
	}
}

func (m decoupled) Name() string { return m.Method.Name }

func (m decoupled) Needs() Needs { return Needs{Teacher: true, Epoch: m.Warmup > 0, Classes: 3} }

func (m decoupled) Losses(b Batch) Losses {
	student, teacher := mainLogits(b, m.Standardize)
	target, others := DKD(student, teacher, b.Labels, m.Temperature)
	grows := warmUp(b, m.Warmup)
	return Losses{Terms: []Term{
		{Name: "ce", Value: dhkd.CrossEntropy(b.Logits, b.Labels), Weight: m.Gamma},
		{Name: "tckd", Value: target, Weight: m.Alpha, Factor: grows},
		{Name: "nckd", Value: others, Weight: m.Beta, Factor: grows},
	}}
}

// DKD is Hinton's loss in two parts. With p = softmax(z/T), y the true class and q = softmax(z/T) over the other
// classes alone,
//
//	target = T²/N sum_i KL( (pt_y, 1-pt_y) || (ps_y, 1-ps_y) )      others = T²/N sum_i KL( qt || qs )
//
// student, teacher: [N, C] with C >= 3 (with two classes there are no others to compare); labels: [N], an integer
// dtype, 0 to C-1. The log-odds of p_y are z_y/T - log sum_k!=y exp(z_k/T), so target is [dhkd.BinaryKL] of them and
// others is [dhkd.KL] of the logits without the true class's: nothing is masked by large numbers, and large logits
// lose nothing. Source: Zhao et al. 2022, arXiv 2203.08679.
func DKD(student, teacher, labels *Node, temperature float64) (target, others *Node) {
	checkLogits("DKD", student, teacher, 3)
	if !labels.DType().IsInt() || labels.Rank() != 1 || labels.Shape().Dim(0) != student.Shape().Dim(0) {
		exceptions.Panicf("DKD: labels must be %d integers, one per row of the logits, got %s", student.Shape().Dim(0),
			labels.Shape())
	}
	oddsS, othersS := decouple(student, labels, temperature)
	oddsT, othersT := decouple(StopGradient(teacher), labels, temperature)
	target = MulScalar(dhkd.BinaryKL(oddsS, oddsT, 1), temperature*temperature)
	return target, dhkd.KL(othersS, othersT, temperature)
}

// decouple returns the log-odds of the true class at a temperature, [N, 1], and the other classes' logits, [N, C-1].
func decouple(logits, labels *Node, temperature float64) (odds, others *Node) {
	n, classes := logits.Shape().Dim(0), logits.Shape().Dim(1)
	logits = fromLargest(logits)
	label := ExpandAxes(ConvertDType(labels, dtypes.Int32), -1)
	class := func(classes int) *Node { return Iota(logits.Graph(), shapes.Make(dtypes.Int32, n, classes), 1) }
	target := ReduceAndKeep(Where(Equal(class(classes), label), logits, ZerosLike(logits)), ReduceSum, -1)
	others = Where(LessThan(class(classes-1), label),
		Slice(logits, AxisRange(), AxisRange(0, classes-1)), Slice(logits, AxisRange(), AxisRange(1)))
	return Sub(DivScalar(target, temperature), logSumExp(DivScalar(others, temperature))), others
}
