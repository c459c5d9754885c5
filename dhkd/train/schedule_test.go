package train_test

import (
	"math"
	"testing"

	"github.com/dhkd-lab/dhkd-go/dhkd/train"
)

func TestMultiStep(t *testing.T) {
	milestones := []int{150, 180, 210}
	for _, test := range []struct {
		epoch int
		want  float64
	}{{1, 0.05}, {150, 0.05}, {151, 0.005}, {180, 0.005}, {181, 5e-4}, {210, 5e-4}, {211, 5e-5}, {240, 5e-5}} {
		if got := train.MultiStep(0.05, milestones, 0.1, test.epoch); math.Abs(got-test.want) > 1e-12*test.want {
			t.Errorf("epoch %d: %g, want %g", test.epoch, got, test.want)
		}
	}
	if got := train.MultiStep(0.05, nil, 0.1, 1000); got != 0.05 {
		t.Errorf("without milestones: %g", got)
	}
}
