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

func ExampleKubernetes_Manifest() {
	plan, err := sweep.Expand(&record.Sweep{Name: "rates", Recipes: []string{"quickstart"}, Runs: []string{"kd", "ce"}})
	if err != nil {
		log.Fatal(err)
	}
	k := &sweep.Kubernetes{Dir: "/data/runs/rates", Plan: plan, Command: []string{"dhkd", "sweep", "one", "/data/runs/rates"},
		Image: "registry.example/dhkd:cuda", Volume: "sweeps", Mount: "/data", User: 1000, GPUs: 1}
	m, err := k.Manifest((&sweep.Surveyor{Dir: k.Dir, Plan: plan}).Survey())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(m.Job.Name, *m.Job.Spec.Completions) // m.Text is for kubectl create
	for _, run := range m.Runs {                     // kd waits for the teacher, and has a job of its own when that is done
		fmt.Println(run)
	}
	// Output:
	// rates-1 2
	// quickstart/offline/teacher-seed1
	// quickstart/offline/ce-seed1
}
