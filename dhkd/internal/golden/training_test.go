package golden

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"github.com/dhkd-lab/dhkd-go/dhkd/device/devicetest"
	"github.com/dhkd-lab/dhkd-go/dhkd/internal/golden/fixture"
)

// TestTrajectoryFloat64 runs the training steps in float64, in which the reference is exact to the last digits, so
// nothing can hide behind float32's tolerance.
func TestTrajectoryFloat64(t *testing.T) {
	for _, name := range []string{"networks/train_resnet8_plain", "networks/train_resnet8_ga_gc",
		"families/train_ShuffleV2_nonlinear_ga"} {
		c, err := fixture.Load(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		var r Result
		if err := verifySteps(t.Context(), devicetest.Go(t).Backend, c, dtypes.Float64, &r); err != nil {
			t.Fatal(err)
		}
		for _, check := range r.Checks {
			tolerance := 1e-9
			if strings.HasPrefix(check.Name, "final_full") {
				tolerance = 1e-6 // stored as float32
			}
			if !(check.Deviation <= tolerance) {
				t.Errorf("%s: %s is off by %g", name, check.Name, check.Deviation)
			}
		}
		if len(r.Checks) < 60 {
			t.Errorf("%s: only %d checks", name, len(r.Checks))
		}
	}
}
