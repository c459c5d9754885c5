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
