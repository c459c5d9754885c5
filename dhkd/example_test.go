package dhkd_test

import (
	"fmt"

	"github.com/gomlx/compute"
	_ "github.com/gomlx/compute/gobackend"
	"github.com/gomlx/gomlx/core/graph"

	"github.com/dhkd-lab/dhkd-go/dhkd"
)

// Two logit vectors that differ by a constant are the same to the softmax and not to the sigmoids: BinaryKL carries
// what KL does not see. This is figure 1(a) of the paper.
func Example() {
	backend, err := compute.NewWithConfig("go")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer backend.Finalize()
	outputs, err := graph.CallOnceN(backend, func(teacher, student *graph.Node) []*graph.Node {
		return []*graph.Node{
			graph.Softmax(teacher), graph.Softmax(student), dhkd.KL(student, teacher, 1),
			graph.Sigmoid(teacher), graph.Sigmoid(student), dhkd.BinaryKL(student, teacher, 1),
		}
	}, [][]float64{{2, 3, 4}}, [][]float64{{-2, -1, 0}})
	if err != nil {
		fmt.Println(err)
		return
	}
	for i, name := range []string{"softmax, teacher", "softmax, student", "KL", "sigmoid, teacher", "sigmoid, student",
		"BinaryKL"} {
		fmt.Printf("%-17s %.2f\n", name, outputs[i].Value())
	}
	// Output:
	// softmax, teacher  [[0.09 0.24 0.67]]
	// softmax, student  [[0.09 0.24 0.67]]
	// KL                0.00
	// sigmoid, teacher  [[0.88 0.95 0.98]]
	// sigmoid, student  [[0.12 0.27 0.50]]
	// BinaryKL          3.20
}

// Where the student's logits have passed the teacher's, BinaryKL pushes a class that cross-entropy still pulls: here the
// true one, while of the others, which are below the teacher's, BinaryKL pulls what cross-entropy pushes.
func ExampleMeasurePull() {
	backend, err := compute.NewWithConfig("go")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer backend.Finalize()
	outputs, err := graph.CallOnceN(backend, func(student, teacher, labels *graph.Node) []*graph.Node {
		ce := graph.Gradient(dhkd.CrossEntropy(student, labels), student)[0]
		binary := graph.Gradient(dhkd.BinaryKL(student, teacher, 1), student)[0]
		of, ofBinary := dhkd.MeasurePull(ce, labels), dhkd.MeasurePull(binary, labels)
		return []*graph.Node{of.TruePull, of.TruePush, of.OtherPull, of.OtherPush,
			ofBinary.TruePull, ofBinary.TruePush, ofBinary.OtherPull, ofBinary.OtherPush,
			dhkd.MeasureOppositions(ce, binary, labels).All}
	}, [][]float64{{2, -2, -1}}, [][]float64{{1, -1, 0}}, []int32{0})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, output := range outputs {
		fmt.Printf("%.2f ", output.Value())
	}
	// Output:
	// 0.06 0.00 0.00 0.03 0.00 0.15 0.19 0.00 1.00
}
