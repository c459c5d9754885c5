package dhkd_test

import (
	"testing"

	"github.com/gomlx/compute"

	"github.com/dhkd-lab/dhkd-go/dhkd/internal/golden"
)

// TestReference compares values and gradients with those of PyTorch in testdata/golden.
func TestReference(t *testing.T) {
	onBackends(t, func(t *testing.T, backend compute.Backend) {
		cases := 0
		failed, err := golden.Verify(t.Context(), backend, "testdata/golden", func(r golden.Result) {
			cases++
			if !r.Failed() {
				return
			}
			t.Errorf("%s: worst %+v, error: %v", r.Case, r.Worst(), r.Err)
		})
		if err != nil || failed != 0 || cases < 9 {
			t.Errorf("%d cases, %d failed, error: %v", cases, failed, err)
		}
	})
}
