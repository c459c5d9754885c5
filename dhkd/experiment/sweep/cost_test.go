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
		if !slices.Equal(cost.Chain.IDs, want) {
			t.Errorf("the longest chain is %v, want %v", cost.Chain.IDs, want)
		}
	}
	if few, many := costOfOne.Devices(), costOfThree.Devices(); few < 2 || many <= few || many > costOfThree.Runs {
		t.Errorf("%d devices are of use with one seed, %d with three", few, many)
	}
}

// Runs are timed by the steps of their student, with a teacher or without; what was not measured is by those of all.
func TestHours(t *testing.T) {
	step := func(student, method string, gflop float64, given bool, ms ...float64) record.BenchCase {
		return record.BenchCase{Student: student, Method: method, GFLOP: gflop, Given: given, Peers: []record.BenchPeer{
			{Name: record.OurName, Turns: []record.BenchTurn{{Milliseconds: ms}}},
			{Name: "PyTorch", Turns: []record.BenchTurn{{Milliseconds: []float64{0.001}}}},
		}}
	}
	rates := sweep.RatesOf(&record.Bench{Cases: []record.BenchCase{
		step("resnet20", "ce", 2, false, 10, 20, 1000), // 100 GFLOP/s by its median
		step("resnet20", "kd", 9, false, 30),           // 300
		step("resnet20", "dhkd", 9, false, 20),         // 450
		step("vgg8", "ce", 1, false, 20),               // 50
		step("vgg8", "kd", 9, true, 1),                 // not a whole step
	}})
	if rates.All != (sweep.Rate{Low: 50e9, High: 450e9}) {
		t.Errorf("rates %+v of all, want 50 to 450 GFLOP/s", rates.All)
	}
	hours := func(run string, wantLow, wantHigh float64) {
		t.Helper()
		p, cost := costOf(t, record.Sweep{Name: "hours", Recipes: []string{"cifar-100-resnet56-resnet20"}, Runs: []string{run},
			Seeds: []uint64{1}})
		student := p.Runs[len(p.Runs)-1]
		works, err := experiment.WorkOf([]record.Recipe{student.Recipe})
		if err != nil {
			t.Fatal(err)
		}
		wantLeast, wantMost := 2*works[0].Total()/wantHigh/3600, 2*works[0].Total()/wantLow/3600
		if student.After != "" { // resnet56 was not measured
			teacher := cost.Work.Total() - works[0].Total()
			wantLeast, wantMost = wantLeast+2*teacher/450e9/3600, wantMost+2*teacher/50e9/3600
		}
		least, most := cost.Hours(rates)
		if math.Abs(least-wantLeast) > 1e-9*wantLeast || math.Abs(most-wantMost) > 1e-9*wantMost {
			t.Errorf("%s: %v to %v hours, want %v to %v", run, least, most, wantLeast, wantMost)
		}
	}
	hours("ce", 100e9, 100e9)
	hours("kd", 300e9, 450e9)
}
