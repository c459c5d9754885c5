package seeds_test

import (
	"fmt"

	"github.com/dhkd-lab/dhkd-go/dhkd/analysis/seeds"
)

func ExampleSummarize() {
	fmt.Println(seeds.Summarize(55.1, 55.6, 56.3))
	// Output: 55.67 [54.17, 57.16]
}

func ExamplePaired() {
	t, err := seeds.Paired([]float64{55.1, 55.6, 56.3}, []float64{54.7, 55.4, 55.5})
	if err != nil {
		panic(err)
	}
	fmt.Printf("%v, p = %.3f\n", t.Difference, t.P)
	// Output: 0.47 [-0.29, 1.23], p = 0.118
}

func ExampleNeeded() {
	n, err := seeds.Needed(0.3, 0.2)
	if err != nil {
		panic(err)
	}
	fmt.Println(n, "seeds")
	// Output: 20 seeds
}

func ExampleNeededUnpaired() {
	n, err := seeds.NeededUnpaired(0.3, 0.2)
	if err != nil {
		panic(err)
	}
	fmt.Println(n, "seeds of each method")
	// Output: 37 seeds of each method
}
