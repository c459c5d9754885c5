package distill_test

import (
	"fmt"

	"github.com/gomlx/compute"
	_ "github.com/gomlx/compute/gobackend"
	"github.com/gomlx/gomlx/core/graph"

	"github.com/dhkd-lab/dhkd-go/dhkd/distill"
)

// Methods come from a registry with their published hyper-parameters.
func ExampleNew() {
	recipe := distill.Defaults("dkd")
	recipe.Beta = 6 // published for VGG13 to VGG8
	method, err := distill.New(recipe)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(method.Name(), method.Needs().Teacher, method.Needs().AuxHead)

	recipe.Beta = 0
	_, err = distill.New(recipe)
	fmt.Println(err)
	// Output:
	// dkd true false
	// method.beta: method dkd needs it, more than 0 (published: 8)
}

// The student is sure of the true class and right about the others: the first part of the loss is large, the second 0.
func ExampleDKD() {
	show(func(student, teacher, labels *graph.Node) []*graph.Node {
		target, others := distill.DKD(student, teacher, labels, 1)
		return []*graph.Node{target, others}
	}, [][]float64{{5, 1, 2}}, [][]float64{{2, 1, 2}})
	// Output: 0.9369 0.0000
}

// Correlations do not see that the student is less sure than its teacher, as long as classes are in the same
// proportions.
func ExampleDIST() {
	show(func(student, teacher, _ *graph.Node) []*graph.Node {
		inter, intra := distill.DIST(student, teacher, 1)
		return []*graph.Node{inter, intra}
	}, [][]float64{{2, 0, 0}, {0, 2, 0}, {0, 0, 2}}, [][]float64{{4, 0, 0}, {0, 4, 0}, {0, 0, 4}})
	// Output: 0.0000 0.0000
}

func ExampleMLKD() {
	show(func(student, teacher, _ *graph.Node) []*graph.Node {
		instance, class, batch := distill.MLKD(student, teacher, 2)
		return []*graph.Node{instance, class, batch}
	}, [][]float64{{2, 0, 0}, {0, 2, 0}, {0, 0, 2}}, [][]float64{{4, 0, 0}, {0, 4, 0}, {0, 0, 4}})
	// Output: 0.3955 0.0728 0.0728
}

// The temperature is a number of the graph, so that it may be a variable.
func ExampleLearntKL() {
	show(func(student, teacher, _ *graph.Node) []*graph.Node {
		two := graph.Scalar(student.Graph(), student.DType(), 2)
		kl := distill.LearntKL(student, teacher, two)
		return []*graph.Node{kl, graph.Gradient(kl, two)[0]}
	}, [][]float64{{2, 0, 0}}, [][]float64{{4, 0, 0}})
	// Output: 0.3955 0.1467
}

// Twice the logits, and 3 on each, have the same scores.
func ExampleStandardize() {
	show(func(student, teacher, _ *graph.Node) []*graph.Node {
		return []*graph.Node{distill.Standardize(student), distill.Standardize(teacher)}
	}, [][]float64{{1, 2, 3}}, [][]float64{{5, 7, 9}})
	// Output: [-1.0000 0.0000 1.0000] [-1.0000 0.0000 1.0000]
}

// It is least, log 3, where the network prefers no class.
func ExampleUniformCrossEntropy() {
	show(func(student, teacher, _ *graph.Node) []*graph.Node {
		return []*graph.Node{distill.UniformCrossEntropy(student), distill.UniformCrossEntropy(teacher)}
	}, [][]float64{{5, 5, 5}}, [][]float64{{8, 2, 0}})
	// Output: 1.0986 4.6695
}

func ExampleMSE() {
	show(func(student, teacher, _ *graph.Node) []*graph.Node {
		return []*graph.Node{distill.MSE(student, teacher)}
	}, [][]float64{{1, 2, 3}}, [][]float64{{1, 2, 6}})
	// Output: 3.0000
}

// show prints what is built of logits, with labels of 0.
func show(build func(student, teacher, labels *graph.Node) []*graph.Node, student, teacher [][]float64) {
	backend, err := compute.NewWithConfig("go")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer backend.Finalize()
	outputs, err := graph.CallOnceN(backend, build, student, teacher, make([]int32, len(student)))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, x := range outputs {
		value := x.Value()
		if rows, ok := value.([][]float64); ok {
			value = rows[0]
		}
		fmt.Printf("%.4f ", value)
	}
	fmt.Println()
}
