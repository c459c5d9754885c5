package train

import (
	"math"
	"testing"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/ml/model"
)

// TestSGD runs updates with moving gradients and learning rates against the same written as a loop.
func TestSGD(t *testing.T) {
	for _, sgd := range []SGD{{}, {Momentum: 0.9}, {WeightDecay: 5e-4}, {Momentum: 0.9, WeightDecay: 0.1},
		{Momentum: 0.9, WeightDecay: 0.1, Steps: 2}} {
		onBackends(t, func(t *testing.T, backend compute.Backend) {
			store := model.NewStore()
			w := []float64{1, -2, 0.5}
			if _, err := store.CreateVariable("/student/w", valueOf(w)); err != nil {
				t.Fatal(err)
			}
			exec, err := model.NewExec(backend, store, func(variables *model.Scope, gradient, learningRate *Node) *Node {
				p := variables.At(studentScope).GetVariable("w")
				sgd.update(variables.At(momentumScope), parameters{variables: []*model.Variable{p}, names: []string{"w"}}, []*Node{gradient}, learningRate)
				return learningRate
			})
			if err != nil {
				t.Fatal(err)
			}
			defer exec.Finalize()
			v := make([]float64, len(w))
			for step := range 6 {
				gradient := make([]float64, len(w))
				learningRate := 0.1 / float64(1+step/2)
				for i := range w {
					gradient[i] = math.Sin(float64(step*len(w) + i))
					for range max(1, sgd.Steps) {
						v[i] = sgd.Momentum*v[i] + gradient[i] + sgd.WeightDecay*w[i]
						w[i] -= learningRate * v[i]
					}
				}
				if _, err := exec.Call(gradient, learningRate); err != nil {
					t.Fatal(err)
				}
				for name, want := range map[string][]float64{"/student/w": w, "/momentum/w": v} {
					variable := store.GetVariable(name)
					for i, got := range flat64(t, variable) {
						if math.Abs(got-want[i]) > 1e-14 {
							t.Fatalf("%+v, step %d: %s[%d] is %.17g, want %.17g", sgd, step, name, i, got, want[i])
						}
					}
				}
			}
			if store.GetVariable("/momentum/w").Trainable {
				t.Error("momenta are trained")
			}
		})
	}
}
