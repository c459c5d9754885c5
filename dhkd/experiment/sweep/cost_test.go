package sweep_test

import (
	"math"
	"slices"
	"testing"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/sweep"
)

func costOf(t *testing.T, s record.Sweep) (*sweep.Plan, *sweep.Cost) {
	t.Helper()
	p, err := sweep.Expand(&s)
	if err != nil {
		t.Fatal(err)
	}
	cost, err := p.Cost()
	if err != nil {
		t.Fatal(err)
	}
	return p, cost
}

func TestCost(t *testing.T) {
	s := record.Sweep{Name: "cost", Recipes: []string{"cifar-100-resnet56-resnet20", "cifar-100-vgg13-vgg8"},
		Runs: []string{"kd", "dhkd"}, Seeds: []uint64{1}}
	one, costOfOne := costOf(t, s)
	s.Seeds = []uint64{1, 2, 3}
	_, costOfThree := costOf(t, s)
	if len(one.Runs) != 6 || costOfOne.Runs != 6 || costOfThree.Runs != 14 {
		t.Fatalf("%d runs with one seed and %d with three, want 6 and 14", costOfOne.Runs, costOfThree.Runs)
	}

	// Teachers are trained once, whatever the number of seeds.
	var students, teachers experiment.Work
	for _, run := range one.Runs {
		works, err := experiment.WorkOf([]record.Recipe{run.Recipe})
		if err != nil {
			t.Fatal(err)
		}
		if run.After == "" {
			teachers = teachers.Plus(works[0])
		} else {
			students = students.Plus(works[0])
		}
	}
	for seeds, cost := range map[float64]*sweep.Cost{1: costOfOne, 3: costOfThree} {
		if want := teachers.Total() + seeds*students.Total(); math.Abs(cost.Work.Total()-want) > 1e-9*want {
			t.Errorf("%g seeds: %.6g multiply-adds, want %.6g", seeds, cost.Work.Total(), want)
		}
		sum := 0.0
		for _, e := range cost.Experiments {
			sum += e.Work.Total()
		}
		if len(cost.Experiments) != 2 || math.Abs(sum-cost.Work.Total()) > 1e-9*sum {
			t.Errorf("%d experiments with %.6g multiply-adds, want 2 with %.6g", len(cost.Experiments), sum, cost.Work.Total())
		}
		// vgg13 and vgg8 are the larger networks, and alignment has a backward pass more.
		want := []string{"cifar-100-vgg13-vgg8/paper/teacher-seed1", "cifar-100-vgg13-vgg8/paper/dhkd-seed1"}
		if !slices.Equal(cost.Chain, want) {
			t.Errorf("the longest chain is %v, want %v", cost.Chain, want)
		}
	}
	if few, many := costOfOne.Devices(), costOfThree.Devices(); few < 2 || many <= few || many > costOfThree.Runs {
		t.Errorf("%d devices are of use with one seed, %d with three", few, many)
	}
}

func TestRateOf(t *testing.T) {
	step := func(gflop float64, given bool, ms ...float64) record.BenchCase {
		return record.BenchCase{GFLOP: gflop, Given: given, Peers: []record.BenchPeer{
			{Name: record.OurName, Turns: []record.BenchTurn{{Milliseconds: ms}}},
			{Name: "PyTorch", Turns: []record.BenchTurn{{Milliseconds: []float64{0.001}}}},
		}}
	}
	rate := sweep.RateOf(&record.Bench{Cases: []record.BenchCase{
		step(2, false, 10, 20, 1000), // 100 GFLOP/s
		step(9, false, 30),           // 300
		step(9, true, 1),             // not a whole step
	}})
	if rate != (sweep.Rate{Low: 100e9, High: 300e9}) {
		t.Errorf("rate %+v, want 100 to 300 GFLOP/s", rate)
	}
	least, most := rate.Hours(experiment.Work{Student: 540e12})
	if math.Abs(least-1) > 1e-12 || math.Abs(most-3) > 1e-12 {
		t.Errorf("%v to %v hours, want 1 to 3", least, most)
	}
}
