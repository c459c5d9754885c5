package record_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// grownAs is a record in which time is batch to the power of the exponent, and nodes and seconds are linear in depth.
func grownAs(exponent float64) *record.Growth {
	g := &record.Growth{}
	for _, depth := range []int{8, 14, 20} {
		g.Compiled = append(g.Compiled, record.GrowthCompiled{Student: "resnet", Depth: depth, Nodes: 100 * depth,
			TextBytes: int64(depth), Seconds: []float64{9, 1, 99}, CPU: []float64{float64(depth) / 10}})
	}
	for _, name := range []string{"a", "b"} {
		for _, batch := range []int{16, 64, 256} {
			work := 3 * float64(batch) * float64(len(g.Timed)/3+1)
			g.Timed = append(g.Timed, record.GrowthTimed{Name: name, Batch: batch, Work: work, Milliseconds: []float64{7},
				CPU: []float64{math.Pow(float64(batch), exponent)}})
		}
	}
	for _, width := range []int{32, 64} {
		g.Timed = append(g.Timed, record.GrowthTimed{Name: "layer", Layer: true, Width: width, Batch: 64,
			Work: float64(width * width), Milliseconds: []float64{float64(width)}})
	}
	for _, batch := range []int{128, 256} {
		g.Timed = append(g.Timed, record.GrowthTimed{Name: "layer", Layer: true, Width: 64, Batch: batch,
			Work: 64 * float64(batch), Milliseconds: []float64{float64(batch)}})
	}
	return g
}

func TestGrowthFits(t *testing.T) {
	fits := map[string]record.GrowthFit{}
	for _, f := range grownAs(1.25).Fits() {
		fits[f.What] = f
	}
	for what, want := range map[string]struct {
		points   int
		exponent float64
	}{
		"by depth: nodes": {3, 1}, "by depth: bytes of the program": {3, 1}, "by depth: CPU seconds to compile": {3, 1},
		"by depth: CPU seconds to compile, by nodes": {3, 1}, "a: CPU ms by batch": {3, 1.25}, "b: CPU ms by batch": {3, 1.25},
		"networks: CPU ms by work": {2, 0}, "layer: CPU ms by work": {2, 0.5},
		"layer: CPU ms by batch": {3, 1},
	} {
		got := fits[what]
		const rounding = 1e-12
		if got.Points != want.points || math.Abs(got.Exponent-want.exponent) > rounding ||
			math.Abs(got.Last-want.exponent) > rounding {
			t.Errorf("%s: %+v, want %+v", what, got, want)
		}
		delete(fits, what)
	}
	if len(fits) > 0 {
		t.Errorf("and %+v", fits)
	}
}

func TestExponent(t *testing.T) {
	if got := record.Exponent([]float64{1, 10, 100}, []float64{5, 500, 5}); got != 0 {
		t.Errorf("up and down: %g", got)
	}
	if got := record.Exponent([]float64{2, 2}, []float64{1, 3}); !math.IsNaN(got) {
		t.Errorf("one x: %g", got)
	}
	if got := record.Exponent([]float64{2, 3}, []float64{0, 3}); !math.IsNaN(got) {
		t.Errorf("a zero: %g", got)
	}
}

func TestLoadGrowth(t *testing.T) {
	for want, change := range map[string]func(g *record.Growth){
		"":                               func(*record.Growth) {},
		"nothing that was compiled":      func(g *record.Growth) { *g = record.Growth{} },
		"resnet of  lacks":               func(g *record.Growth) { g.Compiled[1].Seconds = nil },
		"b at batch 16 lacks":            func(g *record.Growth) { g.Timed[3].Milliseconds[0] = 0 },
		"a at batch 256 lacks work":      func(g *record.Growth) { g.Timed[2].Work = 0 },
		"layer at batch 0 lacks work or": func(g *record.Growth) { g.Timed[6].Batch = 0 },
	} {
		g := grownAs(1)
		change(g)
		data, err := json.Marshal(g)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "growth.json")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err = record.LoadGrowth(path)
		switch {
		case want == "" && err != nil:
			t.Error(err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path)):
			t.Errorf("want an error with %q: %v", want, err)
		}
	}
}
