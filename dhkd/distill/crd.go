package distill

import (
	"math"
	"slices"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/support/exceptions"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
)

// crd is contrastive representation distillation (arXiv 1910.10699): the student's embedding of an image shall be
// told from the teacher's embeddings of images of other classes, and the teacher's from the student's.
//
//	v = normalize(W pooled + b) of either network           one linear layer each, both trained
//	P(v, m) = exp(<v, m>/T) / Z                             m of a memory bank with an embedding of every training image
//	L = gamma CE(z, y) + alpha [NCE(v_s, teacher's bank) + NCE(v_t, student's bank)]
//
// NCE is [NoiseContrastive]. Z is n times the mean of exp(<v, m>/T) over the first batch's pairs, and is kept. After
// the losses, the batch's entries of the banks become normalize(bank_momentum m + (1 - bank_momentum) v).
//
// Negatives are drawn on the device, uniformly with replacement from all images of other classes. (The authors'
// loader draws without replacement where it can.) The loss is theirs by other means: all similarities with a bank are
// one matrix product, and how often an image was drawn weighs its term, where the authors gather [N, negatives, dim].
//
// Modules: embed_s.linear, embed_t.linear. Buffers: memory_s and memory_t, [n, dim], whose rows are the training
// images sorted by class; log_z_s and log_z_t, of the student's and the teacher's anchors, NaN before the first
// batch.
type crd struct{ record.Method }

func init() {
	registry["crd"] = entry{
		make: func(p record.Method) Method { return crd{p} },
		parameters: []HyperParameter{labels(1), positive("alpha", 0.8, "weight of the contrastive loss"),
			positive("temperature", 0.07, "T, divides the similarities"),
			{Name: "dim", Default: 128, What: "of the embeddings"},
			{Name: "negatives", Default: 16384, What: "images of other classes that are drawn for each image"},
			{Name: "bank_momentum", Default: 0.5, What: "share that an entry of a memory bank keeps", zero: true, below: true}},
		what:   "CRD: each network's embeddings are contrasted with the other's of images of other classes",
		source: "Tian et al. 2020, ICLR, arXiv 1910.10699",
	}
}

func (m crd) Name() string { return m.Method.Name }

func (crd) Needs() Needs {
	return Needs{Teacher: true, Features: true, Modules: true, Random: true, Indices: true}
}

func (m crd) Losses(b Batch) Losses {
	g := b.Logits.Graph()
	images := sortByClass(b.TrainLabels)
	places := Gather(Const(g, images.place), ExpandAxes(b.Indices, -1))
	drawn := images.draw(b.Scope, b.Labels, m.Negatives, b.Logits.DType())
	student := embed(b.Scope.In("embed_s"), b.Pooled, m.Dim)
	teacher := embed(b.Scope.In("embed_t"), StopGradient(b.Teacher.Pooled), m.Dim)
	ofStudent := m.remember(b.Scope, "memory_s", len(b.TrainLabels), student, places)
	ofTeacher := m.remember(b.Scope, "memory_t", len(b.TrainLabels), teacher, places)
	loss := Add(m.contrast(b.Scope, "log_z_s", student, ofTeacher, places, drawn),
		m.contrast(b.Scope, "log_z_t", teacher, ofStudent, places, drawn))
	return Losses{Terms: []Term{
		{Name: "ce", Value: dhkd.CrossEntropy(b.Logits, b.Labels), Weight: m.Gamma},
		{Name: "crd", Value: loss, Weight: m.Alpha},
	}}
}

// NoiseContrastive is one side of CRD's loss: each of N anchors is to tell its positive from K negatives, drawn from
// n images:
//
//	c = K/n      L = -(1/N) sum_i [ log P+/(P+ + c + 1e-7) + sum over negatives of log c/(P + c + 1e-7) ]
//
// positive: [N], log P+; scores: [N, n], log P of each anchor with each image; drawn: [N, n], how often each image is
// a negative of each anchor, K in total. Evaluated as softplus of log P - log c, so no P overflows. Source: Tian et
// al. 2020 (arXiv 1910.10699), equations 17 and 18; the authors' crd/criterion.py, ContrastLoss.
func NoiseContrastive(positive, scores, drawn *Node, negatives int) *Node {
	if scores.Rank() != 2 || !scores.Shape().Equal(drawn.Shape()) || positive.Rank() != 1 ||
		positive.Shape().Dim(0) != scores.Shape().Dim(0) || negatives < 1 {
		exceptions.Panicf("NoiseContrastive: needs positive [N], scores and drawn [N, n], and negatives of at least 1: got %s, "+
			"%s, %s and %d", positive.Shape(), scores.Shape(), drawn.Shape(), negatives)
	}
	const epsilon = 1e-7
	anchors := float64(scores.Shape().Dim(0))
	noise := float64(negatives) / float64(scores.Shape().Dim(1))
	logNoise := math.Log(noise + epsilon)
	real := ReduceAllSum(softplus(Neg(AddScalar(positive, -logNoise))))
	others := AddScalar(softplus(AddScalar(scores, -logNoise)), logNoise-math.Log(noise))
	return DivScalar(Add(real, ReduceAllSum(Mul(StopGradient(drawn), others))), anchors)
}

// embed is a linear layer to [N, dim] whose rows are given length 1.
func embed(s *nn.Scope, pooled *Node, dim int) *Node {
	return normalize(nn.Linear(s.In("linear"), pooled, dim))
}

// remember moves the entries of a memory bank of n images at the places [N] towards the embeddings [N, dim]. What it
// returns is the bank before that, [n, dim].
func (m crd) remember(s *nn.Scope, name string, n int, embeddings, places *Node) (before *Node) {
	bank := s.Buffer(embeddings.DType(), name, nn.Uniform(math.Sqrt(3/float64(m.Dim))), n, m.Dim)
	before = StopGradient(bank.NodeValue(embeddings.Graph()))
	at := ExpandAxes(places, -1) // [N, 1]
	old := Gather(before, at)
	moved := normalize(Add(MulScalar(old, m.BankMomentum), MulScalar(StopGradient(embeddings), 1-m.BankMomentum)))
	// Of an image that is in the batch twice, the last embedding stays.
	order := Iota(at.Graph(), shapes.Make(dtypes.Int32, places.Shape().Dim(0), 1), 0)
	later := And(Equal(at, Transpose(at, 0, 1)), LessThan(order, Transpose(order, 0, 1))) // [N, N]
	again := BroadcastToShape(ExpandAxes(LogicalAny(later, -1), -1), moved.Shape().Clone())
	change := Where(again, ZerosLike(moved), Sub(moved, old))
	bank.SetNodeValue(ScatterSum(before, at, change, false, false))
	return before
}

// contrast is the loss of anchors [N, dim] with a bank [n, dim]; Z is the constant of that name.
func (m crd) contrast(s *nn.Scope, logZ string, anchors, bank, places, drawn *Node) *Node {
	n := float64(bank.Shape().Dim(0))
	scores := DivScalar(DotGeneral(anchors, []int{1}, nil, bank, []int{1}, nil), m.Temperature) // [N, n]
	own := Gather(bank, ExpandAxes(places, -1))
	positive := DivScalar(ReduceSum(Mul(anchors, own), -1), m.Temperature) // [N]

	constant := s.Buffer(anchors.DType(), logZ, nn.Constant(float32(math.NaN())))
	kept := constant.NodeValue(anchors.Graph())
	pairs := float64(anchors.Shape().Dim(0) * (m.Negatives + 1))
	most := Max(ReduceAllMax(positive), ReduceAllMax(scores))
	total := Add(ReduceAllSum(Exp(Sub(positive, most))), ReduceAllSum(Mul(drawn, Exp(Sub(scores, most)))))
	first := AddScalar(Add(Log(total), most), math.Log(n/pairs))
	kept = StopGradient(Where(IsNaN(kept), first, kept))
	constant.SetNodeValue(kept)
	return NoiseContrastive(Sub(positive, kept), Sub(scores, kept), drawn, m.Negatives)
}

// imagesByClass is a training set in the order of its classes.
type imagesByClass struct {
	place      []int32 // of each image in that order
	end, count []int32 // of each class: where it ends in that order, and its images
}

func sortByClass(labels []int32) imagesByClass {
	classes := 0
	for _, label := range labels {
		classes = max(classes, int(label)+1)
	}
	s := imagesByClass{place: make([]int32, len(labels)), end: make([]int32, classes), count: make([]int32, classes)}
	for _, label := range labels {
		s.count[label]++
	}
	next := make([]int32, classes)
	for class := 1; class < classes; class++ {
		next[class] = next[class-1] + s.count[class-1]
	}
	for image, label := range labels {
		s.place[image] = next[label]
		next[label]++
	}
	copy(s.end, next)
	return s
}

// draw draws negatives for labels [N], uniformly and with replacement from the images of other classes: how often each
// image was drawn, [N, n], by its place. From the end of its own class on, and around, there are n - count others.
func (s imagesByClass) draw(scope *nn.Scope, labels *Node, negatives int, dtype dtypes.DType) *Node {
	n, g := len(s.place), labels.Graph()
	if n == 0 || slices.Contains(s.count, int32(n)) {
		exceptions.Panicf("method crd: no negatives to draw: the %d training images are all of one class", n)
	}
	of := func(values []int32) *Node { // of each label's class, [N, 1]
		return ExpandAxes(Gather(Const(g, values), ExpandAxes(labels, -1)), -1)
	}
	others := Sub(Scalar(g, dtypes.Int32, n), of(s.count))
	u := scope.Draw(shapes.Make(dtypes.Float32, labels.Shape().Dim(0), negatives))
	step := Min(ConvertDType(Floor(Mul(u, ConvertDType(others, u.DType()))), dtypes.Int32), AddScalar(others, -1))
	place := Add(of(s.end), step)
	place = Where(GreaterOrEqual(place, Scalar(g, dtypes.Int32, n)), AddScalar(place, float64(-n)), place)
	row := Iota(g, place.Shape().Clone(), 0)
	at := Reshape(Stack([]*Node{row, place}, -1), -1, 2)
	once := Ones(g, shapes.Make(dtype, at.Shape().Dim(0)))
	return Scatter(at, once, shapes.Make(dtype, labels.Shape().Dim(0), n), false, false)
}
