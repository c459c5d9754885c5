package distill

import (
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/support/exceptions"

	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
)

// What losses on feature maps [N, H, W, C] and pooled features [N, d] share.

// stages pairs two networks' maps of the stages, the last with the last: what is left over, the stem as a rule, is left
// out.
func stages(student, teacher []*Node) (s, t []*Node) {
	n := min(len(student), len(teacher)-1)
	return student[len(student)-n:], teacher[len(teacher)-n:]
}

// sameSize averages the larger of two maps to the size of the smaller, by height. The teacher is a constant.
func sameSize(student, teacher *Node) (s, t *Node) {
	teacher = StopGradient(teacher)
	pool := func(x, like *Node) *Node {
		return nn.AdaptiveAveragePool2D(nn.New(nil, nn.Options{}), x, like.Shape().Dim(1), like.Shape().Dim(2))
	}
	if student.Shape().Dim(1) > teacher.Shape().Dim(1) {
		return pool(student, teacher), teacher
	}
	return student, pool(teacher, student)
}

// flat is [N, anything] as [N, d].
func flat(x *Node) *Node { return Reshape(x, x.Shape().Dim(0), -1) }

// normalize divides the rows of [N, d] by their L2 norms. A row whose norm is at most 1e-12 becomes 0, with gradient 0
// (torch divides it by 1e-12, and its gradient explodes).
func normalize(x *Node) *Node {
	square := ReduceAndKeep(Square(x), ReduceSum, -1)
	none := LessOrEqual(square, Scalar(x.Graph(), x.DType(), 1e-24))
	norm := Sqrt(Where(none, OnesLike(square), square))
	return Where(BroadcastToShape(none, x.Shape().Clone()), ZerosLike(x), Div(x, norm))
}

// checkFeatures panics unless both networks' features are of one batch and type, and of that rank.
func checkFeatures(loss string, student, teacher *Node, rank int) {
	for _, x := range []*Node{student, teacher} {
		if rank > 0 && x.Rank() != rank || x.Rank() < 2 || !x.DType().IsFloat() {
			exceptions.Panicf("%s: features of shapes %s and %s: needs floats, %s", loss, student.Shape(), teacher.Shape(),
				map[int]string{0: "[N, ...]", 2: "[N, d]", 4: "[N, H, W, C]"}[rank])
		}
	}
	if student.DType() != teacher.DType() || student.Shape().Dim(0) != teacher.Shape().Dim(0) {
		exceptions.Panicf("%s: the student's features %s and the teacher's %s are not of one batch and type", loss,
			student.Shape(), teacher.Shape())
	}
}

// overStages adds up the losses of pairs of maps.
func overStages(student, teacher []*Node, loss func(student, teacher *Node) *Node) (sum *Node) {
	for i := range student {
		if l := loss(student[i], teacher[i]); sum == nil {
			sum = l
		} else {
			sum = Add(sum, l)
		}
	}
	return sum
}
