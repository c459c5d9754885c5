package distill

import (
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/support/exceptions"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

// catKD is class attention transfer (CAT-KD, arXiv 2304.12777): where in the image each network sees each class.
//
//	CAM = W last          [N, H, W, classes]; W of the main head, last the map that it reads the mean of
//	L = gamma CE(z, y) + alpha mse(pool(CAM), pool(CAMt))
//
// pool averages to resolution x resolution; with normalize, each class's pooled map is divided by its L2 norm. The
// authors' networks have a head without bias, a 1x1 convolution before the mean; here the maps are without it, and
// the logits are the maps' means plus the bias.
//
// Published for CIFAR-100 (the authors' configs/cifar100/CAT_KD), alpha at resolution 2 without normalize: resnet32x4
// to resnet8x4 15, wrn_40_2 to wrn_16_2 12 and to wrn_40_1 1.5, resnet56 to resnet20 0.7, resnet110 to resnet32 1.8,
// vgg13 to vgg8 4.5; with normalize: to MobileNetV2 at 2 from vgg13 15 and from ResNet50 40, at 4 resnet32x4 to
// ShuffleV1 or ShuffleV2 600, wrn_40_2 to ShuffleV1 80. ImageNet, ResNet34 to ResNet18: 0.5 at resolution 4.
type catKD struct{ record.Method }

func init() {
	registry["catkd"] = entry{
		make: func(p record.Method) Method { return catKD{p} },
		parameters: []HyperParameter{labels(1),
			positive("alpha", 15, "weight of the maps' mean squared error (0.5 to 600, by pair)"),
			{Name: "resolution", Default: 2, What: "height and width that maps are averaged to (4 for ShuffleV1 and ShuffleV2)"},
			option("normalize", "each class's map to length 1, as published for students of another architecture")},
		what:   "CAT-KD: class activation maps, where in the image the teacher sees each class",
		source: "Guo et al. 2023, CVPR, arXiv 2304.12777",
	}
}

func (m catKD) Name() string { return m.Method.Name }

func (catKD) Needs() Needs { return Needs{Teacher: true, Features: true, Classifier: true} }

func (m catKD) Losses(b Batch) Losses {
	student, teacher := ActivationMaps(b.Outputs, m.Resolution), ActivationMaps(b.Teacher, m.Resolution)
	return Losses{Terms: []Term{
		{Name: "ce", Value: dhkd.CrossEntropy(b.Logits, b.Labels), Weight: m.Gamma},
		{Name: "catkd", Value: ClassAttention(student, teacher, m.Normalize), Weight: m.Alpha},
	}}
}

// ActivationMaps are a network's class activation maps averaged to resolution x resolution, [N, resolution,
// resolution, classes]. Both steps are linear, so the average comes first. Source: Zhou et al. 2016, CVPR, equation
// 2.
func ActivationMaps(out zoo.Outputs, resolution int) *Node {
	pooled := nn.AdaptiveAveragePool2D(nn.New(nil, nn.Options{}), out.Last, resolution, resolution)
	return DotGeneral(pooled, []int{3}, nil, out.Classifier.Weight, []int{1}, nil)
}

// ClassAttention is the mean squared error of class activation maps [N, H, W, classes]; with normalize, of the maps
// divided by their L2 norms over the places, map by map (0 stays 0). The teacher is a constant. Source: Guo et al.
// 2023 (arXiv 2304.12777), equation 5; the authors' CAT_KD.py, whose mean is over all values.
func ClassAttention(student, teacher *Node, normalized bool) *Node {
	checkFeatures("ClassAttention", student, teacher, 4)
	if !student.Shape().Equal(teacher.Shape()) {
		exceptions.Panicf("ClassAttention: maps of shapes %s and %s", student.Shape(), teacher.Shape())
	}
	teacher = StopGradient(teacher)
	if normalized {
		perMap := func(x *Node) *Node { // [N, classes, places]
			dims := x.Shape().Dimensions
			return normalize(Transpose(Reshape(x, dims[0], dims[1]*dims[2], dims[3]), 1, 2))
		}
		student, teacher = perMap(student), perMap(teacher)
	}
	return ReduceAllMean(Square(Sub(student, teacher)))
}
