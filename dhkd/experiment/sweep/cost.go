package sweep

import (
	"math"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// Cost is what the runs of a plan compute, by [experiment.WorkOf].
type Cost struct {
	Experiments []ExperimentCost `json:"experiments"` // in the order of the plan
	Runs        int              `json:"runs"`
	Work        experiment.Work  `json:"work"` // of all
	// Chain are the IDs of the runs that must be made one after the other and have the most work: a student's, and those of
	// the teachers before it.
	Chain     []string        `json:"chain"`
	ChainWork experiment.Work `json:"chain_work"`
}

// ExperimentCost is the part of one experiment.
type ExperimentCost struct {
	Name    string          `json:"name"`
	Profile string          `json:"profile"`
	Runs    int             `json:"runs"`
	Work    experiment.Work `json:"work"`
}

// Devices is how many devices, each making one run at a time, are of use at most: the work of all over that of the
// longest chain, rounded up.
func (c *Cost) Devices() int {
	if c.ChainWork.Total() == 0 {
		return 0
	}
	return int(math.Ceil(c.Work.Total() / c.ChainWork.Total()))
}

// Cost counts.
func (p *Plan) Cost() (*Cost, error) {
	recipes := make([]record.Recipe, len(p.Runs))
	for i, run := range p.Runs {
		recipes[i] = run.Recipe
	}
	works, err := experiment.WorkOf(recipes)
	if err != nil {
		return nil, err
	}
	c := &Cost{Runs: len(p.Runs)}
	places := map[[2]string]int{}
	chains := map[string]experiment.Work{} // of a run and all before it
	after := map[string]string{}
	for i, run := range p.Runs {
		key := [2]string{run.Recipe.Experiment, run.Recipe.Profile}
		at, known := places[key]
		if !known {
			at = len(c.Experiments)
			places[key] = at
			c.Experiments = append(c.Experiments, ExperimentCost{Name: key[0], Profile: key[1]})
		}
		e := &c.Experiments[at]
		e.Runs++
		e.Work = e.Work.Plus(works[i])
		c.Work = c.Work.Plus(works[i])
		after[run.ID] = run.After
		chain := works[i].Plus(chains[run.After]) // teachers come first
		chains[run.ID] = chain
		if chain.Total() > c.ChainWork.Total() {
			c.ChainWork, c.Chain = chain, []string{run.ID}
		}
	}
	for len(c.Chain) > 0 && after[c.Chain[0]] != "" {
		c.Chain = append([]string{after[c.Chain[0]]}, c.Chain...)
	}
	return c, nil
}

// Rate is how fast networks were computed in training steps, in floating-point operations a second, two for a
// multiply-add.
type Rate struct{ Low, High float64 }

// RateOf takes the slowest and the fastest step among a bench's cases, each by its median.
func RateOf(b *record.Bench) Rate {
	rate := Rate{Low: math.Inf(1)}
	for _, c := range b.Cases {
		ours := c.Best(record.OurName)
		if c.Given || ours == nil {
			continue
		}
		perSecond := 1e9 * c.GFLOP / (ours.Times().Median / 1000)
		rate.Low, rate.High = min(rate.Low, perSecond), max(rate.High, perSecond)
	}
	return rate
}

// Hours that the work takes on one device at the highest and at the lowest rate.
func (r Rate) Hours(w experiment.Work) (least, most float64) {
	return 2 * w.Total() / r.High / 3600, 2 * w.Total() / r.Low / 3600
}
