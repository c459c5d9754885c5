package distill_test

import (
	"github.com/gomlx/gomlx/core/graph"

	"github.com/dhkd-lab/dhkd-go/dhkd/distill"
)

// One pixel of four is 2 off: 1 at full size, 0.25 on average, which has half the weight.
func ExampleHierarchicalContext() {
	show(func(student, teacher, _ *graph.Node) []*graph.Node {
		return []*graph.Node{distill.HierarchicalContext([]*graph.Node{asMap(student)}, []*graph.Node{asMap(teacher)})}
	}, [][]float64{{1, 2, 3, 4}}, [][]float64{{1, 2, 3, 2}})
	// Output: 0.7500
}

// A positive and two negatives, the same image drawn twice, of which the network cannot tell whether they are noise: log 2
// each.
func ExampleNoiseContrastive() {
	show(func(scores, drawn, _ *graph.Node) []*graph.Node {
		positive := graph.ReduceSum(scores, -1)
		return []*graph.Node{distill.NoiseContrastive(positive, scores, drawn, 2)}
	}, [][]float64{{0, 0}}, [][]float64{{2, 0}})
	// Output: 2.0794
}

// Both networks see the class at the same place, the teacher more clearly: with maps of length 1 that is no difference.
func ExampleClassAttention() {
	show(func(student, teacher, _ *graph.Node) []*graph.Node {
		return []*graph.Node{distill.ClassAttention(asMap(student), asMap(teacher), false),
			distill.ClassAttention(asMap(student), asMap(teacher), true)}
	}, [][]float64{{1, 0, 0, 0}}, [][]float64{{2, 0, 0, 0}})
	// Output: 0.2500 0.0000
}
