package sweep_test

import (
	"fmt"
	"log"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/sweep"
)

func ExampleExpand() {
	plan, err := sweep.Expand(&record.Sweep{
		Name:    "rates",
		Recipes: []string{"quickstart"},
		Runs:    []string{"kd"},
		Seeds:   []uint64{1, 2},
		Grid:    []record.Axis{{Key: "optimizer.learning_rate", Values: []string{"0.1", "0.5"}}},
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, run := range plan.Runs {
		fmt.Println(run.ID)
	}
	// Output:
	// quickstart/offline/teacher-seed1
	// quickstart/offline/kd-learning_rate0.1-seed1
	// quickstart/offline/kd-learning_rate0.1-seed2
	// quickstart/offline/kd-learning_rate0.5-seed1
	// quickstart/offline/kd-learning_rate0.5-seed2
}
