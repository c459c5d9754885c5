package distill

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/support/exceptions"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
)

// reviewKD teaches the student's maps, each fused with what was made of the deeper ones (ReviewKD, arXiv 2104.09044):
//
//	L = gamma CE(z, y) + alpha min(epoch/warmup, 1) HCL(ABF(student's maps), teacher's maps)
//
// Compared are the pooled features and the maps of the stages, the teacher's before their last ReLU; the student's
// after it, or before it with pre_relu. The fused maps have as many channels as the student's pooled feature, but at
// most dim.
//
// Published alpha: 5 for wrn_16_2, wrn_40_1, ShuffleV1 and resnet8x4, 8 for ShuffleV2, 0.6 for resnet20, 1 for
// resnet32 (the authors' scripts, batch 128, learning rate 0.1, Nesterov); 5 with batch 64 and learning rate 0.05 in
// mdistiller. On ImageNet, warmup 1 and pre_relu: alpha 1 from ResNet34 to ResNet18, alpha 8 and dim 256 from
// ResNet50 to MobileNetV1 (mdistiller sets 256 too, but its code does not read it and takes 512).
type reviewKD struct{ record.Method }

func init() {
	registry["reviewkd"] = entry{
		make: func(p record.Method) Method { return reviewKD{p} },
		parameters: []HyperParameter{labels(1),
			positive("alpha", 5, "weight of the maps' loss (8 for ShuffleV2, 0.6 for resnet20, 1 for resnet32 and ResNet18)"),
			warmup,
			{Name: "dim", Default: 512, What: "channels of the fused maps, at most (256 from ResNet50 to MobileNetV1)"},
			option("pre_relu", "the student's maps before their last ReLU, as published for ImageNet")},
		what:   "ReviewKD: each of the student's maps, fused with the deeper ones, learns one of the teacher's",
		source: "Chen et al. 2021, CVPR, arXiv 2104.09044",
	}
}

func (m reviewKD) Name() string { return m.Method.Name }

func (m reviewKD) Needs() Needs {
	return Needs{Teacher: true, Features: true, Modules: true, Epoch: m.Warmup > 0}
}

func (m reviewKD) Losses(b Batch) Losses {
	student := b.Features
	if m.PreReLU {
		student = b.PreReLU
	}
	student, targets := stages(student, b.Teacher.PreReLU)
	maps := append(slices.Clone(student), asMap(b.Pooled))
	targets = append(slices.Clone(targets), asMap(b.Teacher.Pooled))
	slices.Reverse(maps) // the deepest first
	slices.Reverse(targets)
	fused := FuseMaps(b.Scope, maps, targets, min(m.Dim, b.Pooled.Shape().Dim(-1)))
	return Losses{Terms: []Term{
		{Name: "ce", Value: dhkd.CrossEntropy(b.Logits, b.Labels), Weight: m.Gamma},
		{Name: "reviewkd", Value: HierarchicalContext(fused, targets), Weight: m.Alpha, Factor: warmUp(b, m.Warmup)},
	}}
}

// FuseMaps is ReviewKD's attention based fusion (ABF) of the student's maps, deepest first, [N, h, w, c]. What it
// returns for a map has the shape of the teacher's map of the same number, [N, H, W, C]:
//
//	x = BN(conv1x1(map))                                                       h x w, as many channels as given
//	x = x z0 + y z1,  (z0, z1) = sigmoid(conv1x1([x, y]))                      with y the residual r of the map before
//	r = x at H x W,   fused = BN(conv3x3(r))
//
// The first map is not mixed. Maps are resized to the nearest neighbour, as torch does. Of the teacher only the
// shapes are used. Modules of map i: abf<i>.conv1, abf<i>.conv2 (each 0 the convolution, 1 the batch norm) and
// abf<i>.att_conv.0. Source: Chen et al. 2021 (arXiv 2104.09044), section 3.3; the authors' model/reviewkd.py.
func FuseMaps(s *nn.Scope, student, teacher []*Node, channels int) (fused []*Node) {
	checkMaps("FuseMaps", student, teacher)
	var residual *Node
	for i, x := range student {
		block := s.In(fmt.Sprint("abf", i))
		height, width := x.Shape().Dim(1), x.Shape().Dim(2)
		x = convNorm(block.In("conv1"), x, nn.Conv{Channels: channels, Kernel: 1})
		if i > 0 {
			y := nearest(residual, height, width)
			z := Sigmoid(nn.ConvWith(block.In("att_conv.0"), Concatenate([]*Node{x, y}, -1), nn.Conv{Channels: 2, Kernel: 1,
				Weight: nn.KaimingUniform, Bias: nn.Uniform(1 / math.Sqrt(float64(2*channels)))}))
			x = Add(Mul(x, SliceAxis(z, -1, AxisElem(0))), Mul(y, SliceAxis(z, -1, AxisElem(1))))
		}
		target := teacher[i].Shape()
		residual = nearest(x, target.Dim(1), target.Dim(2))
		fused = append(fused, convNorm(block.In("conv2"), residual,
			nn.Conv{Channels: target.Dim(3), Kernel: 3, Padding: 1}))
	}
	return fused
}

// HierarchicalContext is ReviewKD's loss (HCL) of maps of the same shapes, the mean square of their differences, at
// full size and averaged to 4x4, 2x2 and 1x1:
//
//	L = sum over maps of [mse(d) + sum_l w_l mse(pool_l(d))] / (1 + sum_l w_l),   d = student - teacher
//
// student, teacher: [N, H, W, C] each. Only l < H count; w is 1/2, 1/4, 1/8 in that order, so the first that counts
// has 1/2. The teacher is a constant. Source: Chen et al. 2021 (arXiv 2104.09044), section 3.4; the authors' hcl.
func HierarchicalContext(student, teacher []*Node) *Node {
	checkMaps("HierarchicalContext", student, teacher)
	untraced := nn.New(nil, nn.Options{})
	var sum *Node
	for i, x := range student {
		if !x.Shape().Equal(teacher[i].Shape()) {
			exceptions.Panicf("HierarchicalContext: map %d of the student has shape %s, the teacher's %s", i, x.Shape(),
				teacher[i].Shape())
		}
		difference := Sub(x, StopGradient(teacher[i])) // the mean is linear: one map to pool
		loss := ReduceAllMean(Square(difference))
		weight, total := 1.0, 1.0
		for _, side := range []int{4, 2, 1} {
			if side >= x.Shape().Dim(1) {
				continue
			}
			weight /= 2
			total += weight
			pooled := nn.AdaptiveAveragePool2D(untraced, difference, side, side)
			loss = Add(loss, MulScalar(ReduceAllMean(Square(pooled)), weight))
		}
		loss = DivScalar(loss, total)
		if sum == nil {
			sum = loss
		} else {
			sum = Add(sum, loss)
		}
	}
	return sum
}

// asMap is a pooled feature [N, d] as a map [N, 1, 1, d].
func asMap(pooled *Node) *Node { return ExpandAxes(pooled, 1, 2) }

// convNorm is a convolution and its batch norm, named 0 and 1 as in torch's Sequential.
func convNorm(s *nn.Scope, x *Node, c nn.Conv) *Node {
	c.Weight = kaimingUniformLinear
	return nn.BatchNorm(s.In("1"), nn.ConvWith(s.In("0"), x, c))
}

// kaimingUniformLinear is torch's kaiming_uniform_(a=1) of a convolution weight: U(-b, b), b = sqrt(3/(in height
// width)).
func kaimingUniformLinear(rng *rand.Rand, dims []int) []float32 {
	return nn.Uniform(math.Sqrt(3/float64(dims[1]*dims[2]*dims[3])))(rng, dims)
}

// nearest is torch's interpolate in the mode of that name: place i of an axis of `from` values that becomes one of
// `to` has the value of place floor(i from/to).
func nearest(x *Node, height, width int) *Node {
	return nearestAxis(nearestAxis(x, 1, height), 2, width)
}

func nearestAxis(x *Node, axis, to int) *Node {
	dims := x.Shape().Clone().Dimensions
	from := dims[axis]
	switch {
	case from == to:
		return x
	case to%from == 0: // each place becomes several
		repeated := slices.Insert(slices.Clone(dims), axis+1, to/from)
		dims[axis] = to
		return Reshape(BroadcastToDims(ExpandAxes(x, axis+1), repeated...), dims...)
	}
	parts := make([]*Node, to)
	for i := range parts {
		parts[i] = SliceAxis(x, axis, AxisElem(i*from/to))
	}
	return Concatenate(parts, axis)
}

func checkMaps(function string, student, teacher []*Node) {
	if len(student) == 0 || len(student) != len(teacher) {
		exceptions.Panicf("%s: needs as many maps of the student as of the teacher, and at least one: got %d and %d", function,
			len(student), len(teacher))
	}
	for i := range student {
		if student[i].Rank() != 4 || teacher[i].Rank() != 4 {
			exceptions.Panicf("%s: maps must be [N, H, W, C], number %d is %s, the teacher's %s", function, i,
				student[i].Shape(), teacher[i].Shape())
		}
	}
}
