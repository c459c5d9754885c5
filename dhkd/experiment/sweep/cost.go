package sweep

import (
	"maps"
	"math"
	"slices"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// Cost is what the runs of a plan compute, by [experiment.WorkOf].
type Cost struct {
	Part
	Experiments []ExperimentCost `json:"experiments"` // in the order of the plan
	// Chain are the runs that must be made one after the other and have the most work: a student's, and those of the
	// teachers before it.
	Chain Chain `json:"chain"`
}

// ExperimentCost is the part of one experiment.
type ExperimentCost struct {
	Name    string `json:"name"`
	Profile string `json:"profile"`
	Part
}

// Chain is runs one after the other.
type Chain struct {
	IDs []string `json:"ids"`
	Part
}

// Part is some of the runs.
type Part struct {
	Runs  int             `json:"runs"`
	Work  experiment.Work `json:"work"`
	kinds map[kind]experiment.Work
}

// kind is what runs have in common whose training steps are about as fast.
type kind struct {
	student string
	taught  bool // a teacher's pass is in its steps
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
	c := &Cost{}
	chains := map[string]Chain{} // of a run and all before it
	for i, run := range p.Runs {
		r := run.Recipe
		at := slices.IndexFunc(c.Experiments, func(e ExperimentCost) bool {
			return e.Name == r.Experiment && e.Profile == r.Profile
		})
		if at < 0 {
			at = len(c.Experiments)
			c.Experiments = append(c.Experiments, ExperimentCost{Name: r.Experiment, Profile: r.Profile})
		}
		c.Experiments[at].add(r, works[i])
		c.add(r, works[i])

		chain := chains[run.After] // teachers come first
		chain.IDs = append(slices.Clone(chain.IDs), run.ID)
		chain.kinds = maps.Clone(chain.kinds)
		chain.add(r, works[i])
		chains[run.ID] = chain
		if chain.Work.Total() > c.Chain.Work.Total() {
			c.Chain = chain
		}
	}
	return c, nil
}

func (p *Part) add(r record.Recipe, w experiment.Work) {
	if p.kinds == nil {
		p.kinds = map[kind]experiment.Work{}
	}
	k := kind{r.Model.Name, w.Teacher > 0}
	p.kinds[k] = p.kinds[k].Plus(w)
	p.Work = p.Work.Plus(w)
	p.Runs++
}

// Devices is how many devices, each making one run at a time, are of use at most: the work of all over that of the
// longest chain, rounded up.
func (c *Cost) Devices() int {
	if c.Chain.Runs == 0 {
		return 0
	}
	return int(math.Ceil(c.Work.Total() / c.Chain.Work.Total()))
}

// Rate is how fast networks are computed in training steps, in floating-point operations a second, two for a
// multiply-add.
type Rate struct{ Low, High float64 }

// Rates are those of a device.
type Rates struct {
	All   Rate
	kinds map[kind]Rate
}

// RatesOf takes the slowest and the fastest of a bench's steps, each by its median: of each student, with a teacher and
// without, and of all.
func RatesOf(b *record.Bench) Rates {
	rates := Rates{kinds: map[kind]Rate{}}
	for _, c := range b.Cases {
		ours := c.Best(record.OurName)
		if c.Given || ours == nil {
			continue
		}
		perSecond := 1e9 * c.GFLOP / (ours.Times().Median / 1000)
		k := kind{c.Student, c.Method != "ce"}
		rates.All, rates.kinds[k] = rates.All.with(perSecond), rates.kinds[k].with(perSecond)
	}
	return rates
}

func (r Rate) with(perSecond float64) Rate {
	if r == (Rate{}) {
		return Rate{perSecond, perSecond}
	}
	return Rate{min(r.Low, perSecond), max(r.High, perSecond)}
}

// Hours that the runs take on one device at the highest and at the lowest rate of steps like theirs; where there are none,
// at those of all steps.
func (p Part) Hours(r Rates) (least, most float64) {
	for k, w := range p.kinds {
		rate, measured := r.kinds[k]
		if !measured {
			rate = r.All
		}
		least += 2 * w.Total() / rate.High / 3600
		most += 2 * w.Total() / rate.Low / 3600
	}
	return least, most
}
