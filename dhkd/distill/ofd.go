package distill

import (
	"fmt"
	"math"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/support/exceptions"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

// overhaul is the comprehensive overhaul of feature distillation: maps before ReLU, of which what is negative for the
// teacher need only be negative for the student.
//
//	L = gamma CE(z, y) + alpha sum over stages l of 2^(l-last) PartialL2(connector(f), ft, margin)
//
// The connector is a 1x1 convolution and batch norm that gives the student's map the teacher's channels. The teacher
// must have batch norms before its maps' ReLU, which gives its margins: ShuffleNets have none.
//
// Published: alpha 0.001 on CIFAR-100 and 0.0001 on ImageNet (the authors' code, CIFAR-100 and
// ImageNet/train_with_distillation.py; mdistiller, engine/cfg.py and configs/imagenet/r50_mv1/ofd.yaml).
type overhaul struct{ record.Method }

func init() {
	registry["ofd"] = entry{
		make: func(p record.Method) Method { return overhaul{p} },
		parameters: []HyperParameter{labels(1),
			positive("alpha", 0.001, "weight of the maps' partial L2 loss (0.0001 on ImageNet)")},
		what:   "overhaul of feature distillation: maps before ReLU with the teacher's margins, by a partial L2 loss",
		source: "Heo et al. 2019, ICCV, arXiv 1904.01866",
	}
}

func (m overhaul) Name() string { return m.Method.Name }

func (overhaul) Needs() Needs { return Needs{Teacher: true, Features: true, Modules: true} }

func (m overhaul) Losses(b Batch) Losses {
	student, teacher := stages(b.PreReLU, b.Teacher.PreReLU)
	norms := b.Teacher.Norms[len(b.Teacher.Norms)-len(teacher):]
	stage := 0
	distance := overStages(student, teacher, func(f, ft *Node) *Node {
		norm := norms[stage]
		stage++
		if norm.Scale == nil {
			exceptions.Panicf("method.name: ofd needs a teacher with a batch norm before the last ReLU of each stage: stage %d "+
				"has none", stage)
		}
		in := b.Scope.In(fmt.Sprint("stage", stage))
		f = nn.Conv2D(in.In("0"), f, ft.Shape().Dim(3), 1, 1, 0)
		f = nn.BatchNorm(in.In("1"), f)
		return MulScalar(PartialL2(f, ft, Margin(norm)), math.Exp2(float64(stage-len(teacher))))
	})
	return Losses{Terms: []Term{
		{Name: "ce", Value: dhkd.CrossEntropy(b.Logits, b.Labels), Weight: m.Gamma},
		{Name: "ofd", Value: distance, Weight: m.Alpha},
	}}
}

// PartialL2 is the squared distance of two maps before ReLU, but where the student is below a teacher that is negative:
//
//	t = max(ft, margin)      L = 1/N sum of (f - t)² where f > t or ft > 0
//
// student: [N, H, W, C]; teacher: [N, h, w, C], averaged to H x W; margin: [C], all negative. The teacher is a
// constant. Source: Heo et al. 2019, arXiv 1904.01866; the authors' CIFAR-100/distiller.py.
func PartialL2(student, teacher, margin *Node) *Node {
	checkFeatures("PartialL2", student, teacher, 4)
	teacher = nn.AdaptiveAveragePool2D(nn.New(nil, nn.Options{}), StopGradient(teacher), student.Shape().Dim(1),
		student.Shape().Dim(2))
	target := Max(teacher, ExpandLeftToRank(StopGradient(margin), 4))
	counts := LogicalOr(GreaterThan(student, target), GreaterThan(teacher, ZerosLike(teacher)))
	off := Where(counts, Sub(student, target), ZerosLike(student))
	return DivScalar(ReduceAllSum(Square(off)), float64(student.Shape().Dim(0)))
}

// Margin is the mean of a channel's negative values, [C], if they are as the batch norm makes them, normal with mean m
// and standard deviation s:
//
//	E[x | x < 0] = m - s phi(m/s) / Phi(-m/s)      or -3 s where Phi(-m/s) <= 0.001
//
// phi and Phi are the standard normal density and its integral. Source: Heo et al. 2019, arXiv 1904.01866; the
// authors' CIFAR-100/distiller.py for the second case.
func Margin(norm zoo.Norm) *Node {
	s, m := MaxScalar(Abs(StopGradient(norm.Scale)), 1e-12), StopGradient(norm.Shift)
	ratio := Div(m, s)
	density := DivScalar(Exp(DivScalar(Square(ratio), -2)), math.Sqrt(2*math.Pi))
	negative := DivScalar(OneMinus(Erf(DivScalar(ratio, math.Sqrt2))), 2)
	rare := LessOrEqual(negative, Scalar(m.Graph(), m.DType(), 0.001))
	mean := Sub(m, Mul(s, Div(density, Where(rare, OnesLike(negative), negative))))
	return Where(rare, MulScalar(s, -3), mean)
}
