package distill_test

import (
	"fmt"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/dhkd-lab/dhkd-go/dhkd/distill"
	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

// One image of 2x2 pixels and one channel.
func asMap(x *graph.Node) *graph.Node { return graph.Reshape(x, 1, 2, 2, 1) }

func ExampleHint() {
	show(func(student, teacher, _ *graph.Node) []*graph.Node {
		return []*graph.Node{distill.Hint(asMap(student), asMap(teacher))}
	}, [][]float64{{1, 2, 3, 4}}, [][]float64{{1, 2, 3, 2}})
	// Output: 1.0000
}

// Maps that are large at the same places are the same to attention transfer.
func ExampleAttentionTransfer() {
	show(func(student, teacher, _ *graph.Node) []*graph.Node {
		return []*graph.Node{distill.AttentionTransfer(asMap(student), asMap(teacher)),
			distill.AttentionTransfer(asMap(student), asMap(graph.Reverse(teacher, 1)))}
	}, [][]float64{{1, 2, 0, 0}}, [][]float64{{2, 4, 0, 0}})
	// Output: 0.0000 0.5000
}

// Two images are the same to the teacher, and a right angle apart to the student.
func ExampleSimilarityPreserving() {
	show(func(student, teacher, _ *graph.Node) []*graph.Node {
		return []*graph.Node{distill.SimilarityPreserving(student, teacher)}
	}, [][]float64{{1, 0}, {0, 1}}, [][]float64{{1, 1}, {1, 1}})
	// Output: 0.2929
}

// The same images: to the student an image is its own neighbour twice as likely as the other.
func ExamplePKT() {
	show(func(student, teacher, _ *graph.Node) []*graph.Node {
		return []*graph.Node{distill.PKT(student, teacher)}
	}, [][]float64{{1, 0}, {0, 1}}, [][]float64{{1, 1}, {1, 1}})
	// Output: 0.0294
}

// Three images on a line, the second at 1/4 of the way for the student, in the middle for the teacher: the distances
// differ, the angles do not.
func ExampleRKD() {
	show(func(student, teacher, _ *graph.Node) []*graph.Node {
		distance, angle := distill.RKD(student, teacher)
		return []*graph.Node{distance, angle}
	}, [][]float64{{0}, {1}, {4}}, [][]float64{{0}, {3}, {6}})
	// Output: 0.0312 0.0000
}

// The regressor makes 0 of a map of zeros; the variance is 5 at first.
func ExampleVariationalInformation() {
	backend, err := compute.NewWithConfig("go")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer backend.Finalize()
	store := model.NewStore()
	defer store.Finalize()
	loss, err := model.CallOnce(backend, store, func(variables *model.Scope, maps []*graph.Node) *graph.Node {
		modules := nn.New(variables, nn.Options{Training: true})
		return distill.VariationalInformation(modules, asMap(maps[0]), asMap(maps[1]))
	}, []float64{0, 0, 0, 0}, []float64{1, -1, 1, -1})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%.4f\n", loss.Value())
	for v := range store.IterVariables() {
		fmt.Println(v.Name(), v.Shape().Dimensions)
	}
	// Output:
	// 0.9047
	// regressor.0.weight [1 1 1 1]
	// regressor.2.weight [1 1 1 1]
	// regressor.4.weight [1 1 1 1]
	// log_scale [1]
}

// The margin is -0.8. Only the first value, positive for the teacher, and the last, above the teacher's, count.
func ExamplePartialL2() {
	show(func(student, teacher, _ *graph.Node) []*graph.Node {
		margin := distill.Margin(zoo.Norm{Scale: graph.Const(student.Graph(), []float64{1}),
			Shift: graph.Const(student.Graph(), []float64{0})})
		return []*graph.Node{margin, distill.PartialL2(asMap(student), asMap(teacher), margin)}
	}, [][]float64{{2, -5, -1, 0}}, [][]float64{{1, -2, -0.5, -0.5}})
	// Output: [-0.7979] 1.2500
}
