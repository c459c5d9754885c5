package main

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/dhkd-lab/dhkd-go/dhkd/device/devicetest"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

func TestGrowthPlan(t *testing.T) {
	p := newGrowthPlan(nil, 3)
	if want := len(growthDepths) + len(pairs); len(p.compiled) != want {
		t.Errorf("%d are compiled, want %d", len(p.compiled), want)
	}
	for _, of := range pairs {
		is := func(j growthJob) bool { return j.Student == of.student && j.Teacher == of.teacher }
		if !slices.ContainsFunc(p.compiled, is) {
			t.Errorf("%s of %s is not compiled", of.student, of.teacher)
		}
	}
	left := p.without(&record.Growth{Compiled: []record.GrowthCompiled{{Student: "resnet8", Teacher: "resnet20", Size: 32}},
		Timed: []record.GrowthTimed{{Name: "depthwise 3x3", Layer: true, Width: 32}, {Name: "vgg8"}, {Name: "resnet8", Layer: true}}})
	if len(left.compiled) != len(p.compiled)-1 || len(left.timed) != len(p.timed)-2 {
		t.Errorf("%d and %d are left of %d and %d", len(left.compiled), len(left.timed), len(p.compiled), len(p.timed))
	}
	p = newGrowthPlan(regexp.MustCompile("^depthwise"), 3)
	if len(p.compiled) != 0 || len(p.timed) != len(growthWidths) {
		t.Errorf("of depthwise convolutions alone: %v", p)
	}
}

// Each layer's step runs, and its work is that of PyTorch's definition times three.
func TestLayersAreTimed(t *testing.T) {
	want := map[string]float64{"convolution 3x3": 3 * 9 * 8, "depthwise 3x3": 3 * 9, "grouped 1x1, 4 groups": 3 * 2,
		"max pool 3x3": 1, "average pool 3x3": 1, "channel shuffle": 1} // for each value of the input
	for _, l := range layers {
		j := growthJob{Layer: l.name, Width: 8, Size: 4, Batches: []int{1, 2}, Rounds: 2}
		g, err := j.measure(t.Context(), devicetest.Go(t).Backend)
		if err != nil {
			t.Fatalf("%s: %v", l.name, err)
		}
		for i, timed := range g.Timed {
			if timed.Work != want[l.name]*8*4*4*float64(i+1) || len(timed.Milliseconds) != 2 || timed.Median() <= 0 {
				t.Errorf("%s: %+v", l.name, timed)
			}
		}
	}
}

func TestGrowthText(t *testing.T) {
	g := &record.Growth{Note: "quiet", Compiled: []record.GrowthCompiled{{Student: "resnet8", Teacher: "resnet20", Size: 32,
		Depth: 8, Nodes: 10, TextBytes: 2048, Seconds: []float64{3, 4, 9}, CPU: []float64{5}, PeakRSS: []float64{7, 6}}}}
	for _, batch := range []int{32, 64} {
		g.Timed = append(g.Timed, record.GrowthTimed{Name: "resnet8", Batch: batch, Work: 1e6,
			Milliseconds: []float64{float64(batch)}})
	}
	got := growthText(g)
	for _, want := range []string{"quiet\n", "| resnet8 | resnet20 | 32 | 10 | 2 | 5.0 | 4.0 | 7 |\n",
		"| resnet8 | – | 32 | 1 | 32 | 32 | 32 |\n", "- resnet8: CPU ms by batch: 1.00 (1.00), 2 points\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}
