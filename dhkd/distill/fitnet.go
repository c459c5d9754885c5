package distill

import (
	"math"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/support/exceptions"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
)

// fitNet is FitNets' hint: one of the teacher's maps teaches the student's of the same number, through a regressor that
// is trained with the student.
//
//	L = gamma CE(z, y) + alpha mse(regressor(f), ft)
//
// Published: alpha 100 at stage 2 (RepDistiller, scripts/run_cifar_distill.sh; mdistiller, engine/cfg.py). FitNets' own
// training in two phases is not what the literature's tables have.
type fitNet struct{ record.Method }

func init() {
	registry["fitnet"] = entry{
		make: func(p record.Method) Method { return fitNet{p} },
		parameters: []HyperParameter{labels(1), positive("alpha", 100, "weight of the hint"),
			count("stage", 2, "the maps that are compared: 0 is the stem's, 1 the first stage's")},
		what:   "FitNets: one of the teacher's maps as a hint for the student's, through a regressor",
		source: "Romero et al. 2015, ICLR, arXiv 1412.6550",
	}
}

func (m fitNet) Name() string { return m.Method.Name }

func (fitNet) Needs() Needs { return Needs{Teacher: true, Features: true, Modules: true} }

func (m fitNet) Losses(b Batch) Losses {
	if last := min(len(b.Features), len(b.Teacher.Features)) - 1; m.Stage > last {
		exceptions.Panicf("method.stage: %d is more than %d, the last stage that both networks have", m.Stage, last)
	}
	hint := b.Teacher.Features[m.Stage]
	return Losses{Terms: []Term{
		{Name: "ce", Value: dhkd.CrossEntropy(b.Logits, b.Labels), Weight: m.Gamma},
		{Name: "fitnet", Value: Hint(HintRegressor(b.Scope, b.Features[m.Stage], hint), hint), Weight: m.Alpha},
	}}
}

// Hint is the mean of (student - teacher)² over all values of two maps of one shape, [N, H, W, C].
func Hint(student, teacher *Node) *Node {
	checkFeatures("Hint", student, teacher, 4)
	if !student.Shape().Equal(teacher.Shape()) {
		exceptions.Panicf("Hint: maps of shapes %s and %s", student.Shape(), teacher.Shape())
	}
	return ReduceAllMean(Square(Sub(student, StopGradient(teacher))))
}

// HintRegressor gives the student's map [N, h, w, c] the shape of the teacher's [N, H, W, C], by a convolution, batch
// norm and ReLU:
//
//	h = 2H        3x3 with stride 2 and padding 1
//	2h = H        transposed, 4x4 with stride 2 and padding 1
//	h >= H        h-H+1 x h-H+1, of the map alone
//
// Other sizes panic. Modules: conv (with bias) and bn. Source: RepDistiller, models/util.py, ConvReg.
func HintRegressor(s *nn.Scope, student, teacher *Node) *Node {
	checkFeatures("HintRegressor", student, teacher, 4)
	h, w, c := student.Shape().Dim(1), student.Shape().Dim(2), student.Shape().Dim(3)
	height, width, channels := teacher.Shape().Dim(1), teacher.Shape().Dim(2), teacher.Shape().Dim(3)
	conv := nn.Conv{Channels: channels, Kernel: h - height + 1, Weight: nn.KaimingUniform}
	x := student
	switch {
	case h == 2*height && w == 2*width:
		conv.Kernel, conv.Stride, conv.Padding = 3, 2, 1
		fallthrough
	case h >= height && h-height == w-width:
		conv.Bias = nn.Uniform(1 / math.Sqrt(float64(c*conv.Kernel*conv.Kernel)))
		x = nn.ConvWith(s.In("conv"), x, conv)
	case 2*h == height && 2*w == width:
		x = nn.ConvTranspose2D(s.In("conv"), x, channels, 4, 2, 1)
	default:
		exceptions.Panicf("HintRegressor: no regressor from the student's %dx%d maps to the teacher's %dx%d: take another "+
			"stage", h, w, height, width)
	}
	return nn.ReLU(s, nn.BatchNorm(s.In("bn"), x))
}
