package golden

import "github.com/dhkd-lab/dhkd-go/dhkd/internal/golden/fixture"

// verifyRecipe checks the parameters that the weight recipe makes, where a case says what they must be: if they are
// wrong, nothing that follows can be right.
func verifyRecipe(c *fixture.Case, r *Result) error {
	if !c.HasTensor("recipe/sum") {
		return nil
	}
	rows := len(c.Params)
	sums, err := c.Floats("recipe/sum", rows)
	if err != nil {
		return err
	}
	first, err := c.Floats("recipe/first4", rows, 4)
	if err != nil {
		return err
	}
	got, gotFirst := make([]float64, rows), make([]float64, 4*rows)
	for i, p := range c.Params {
		values, err := c.Param(p.Name)
		if err != nil {
			return err
		}
		for k, value := range values {
			got[i] += float64(value)
			if k < 4 {
				gotFirst[4*i+k] = float64(value)
			}
		}
	}
	r.MaxRelative("sums of the parameters", got, sums, 1e-9)
	r.MaxAbsolute("first values of the parameters", gotFirst, first, 1e-12)
	return nil
}
