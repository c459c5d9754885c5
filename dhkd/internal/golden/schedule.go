package golden

import (
	"context"

	"github.com/gomlx/compute"

	"github.com/dhkd-lab/dhkd-go/dhkd/internal/golden/fixture"
	"github.com/dhkd-lab/dhkd-go/dhkd/train"
)

// verifySchedule checks the learning rate of every epoch of the schedules of a case.
func verifySchedule(_ context.Context, _ compute.Backend, c *fixture.Case, r *Result) error {
	var schedules []struct {
		Name       string
		Initial    float64
		Milestones []int
		Rate       float64
	}
	if err := c.Field("schedules", &schedules); err != nil {
		return err
	}
	tolerance, err := c.Tolerance("value")
	if err != nil {
		return err
	}
	for _, s := range schedules {
		ref, err := c.Floats(s.Name, -1)
		if err != nil {
			return err
		}
		got := make([]float64, len(ref))
		for i := range got {
			got[i] = train.MultiStep(s.Initial, s.Milestones, s.Rate, i+1)
		}
		r.PerEntry(s.Name, got, ref, tolerance, 0)
	}
	return nil
}
