package train

// MultiStep is the learning rate in the given epoch, counted from 1: the initial rate, multiplied by rate once for each
// milestone m with epoch > m, so that the first reduced epoch is the one after the milestone. The order of the milestones
// does not matter. It is computed as initial * rate^steps. Source: the reference implementation's adjust_learning_rate.
func MultiStep(initial float64, milestones []int, rate float64, epoch int) float64 {
	factor := 1.0
	for _, milestone := range milestones {
		if epoch > milestone {
			factor *= rate
		}
	}
	return initial * factor
}
