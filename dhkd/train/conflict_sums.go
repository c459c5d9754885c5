package train

import (
	"math"
	"strconv"
	"strings"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// GradientSums accumulate an epoch's measured steps. They are a part of [Progress], and so of checkpoints.
type GradientSums struct {
	Steps     int
	NonFinite int // of them, which count in no tally
	Terms     []string
	Tallies   []Tally // in the order of the program's values
}

// Tally sums up a quantity over steps: Welford's algorithm, so that nothing is lost of small differences.
type Tally struct {
	Name     string
	Steps    int
	Mean     float64
	Squares  float64 // of differences from the mean
	Min, Max float64
	Negative int // steps
}

func (t *Tally) add(v float64) {
	if t.Steps == 0 {
		t.Min, t.Max = v, v
	}
	t.Steps++
	delta := v - t.Mean
	t.Mean += delta / float64(t.Steps)
	t.Squares += delta * (v - t.Mean)
	t.Min, t.Max = min(t.Min, v), max(t.Max, v)
	if v < 0 {
		t.Negative++
	}
}

// spread is nil of nothing.
func (t Tally) spread() *record.Spread {
	if t.Steps == 0 {
		return nil
	}
	s := &record.Spread{Steps: t.Steps, Min: rounded(t.Min), Max: rounded(t.Max),
		Negative: rounded(float64(t.Negative) / float64(t.Steps))}
	s.Mean = rounded(min(max(t.Mean, t.Min), t.Max)) // of equal values, rounding moves it
	if t.Steps > 1 {
		s.Std = rounded(math.Sqrt(t.Squares / float64(t.Steps-1)))
	}
	return s
}

// rounded keeps six digits, of the seven that float32 has: it makes records smaller by half.
func rounded(v float64) float64 {
	v, _ = strconv.ParseFloat(strconv.FormatFloat(v, 'g', 6, 64), 64)
	return v
}

// add counts a step. A part that one of the gradients is 0 in has no angle in that step.
func (g *GradientSums) add(terms []string, measured Metrics) {
	g.Terms = terms
	g.Steps++
	if measured.nonFinite() != nil {
		g.NonFinite++
		return
	}
	values, places := map[string]float64{}, map[string]int{}
	for _, m := range measured {
		values[m.Name] = m.Value
	}
	for i, t := range g.Tallies {
		places[t.Name] = i
	}
	for _, m := range measured {
		quantity, part, _ := strings.Cut(m.Name, " ")
		if quantity == quantityG1 || quantity == quantityG2 {
			continue
		}
		place, ok := places[m.Name]
		if !ok {
			place = len(g.Tallies)
			g.Tallies = append(g.Tallies, Tally{Name: m.Name})
		}
		switch quantity {
		case quantityDot, quantityRows, quantityFilters, quantityCosine:
			if values[quantityG1+" "+part] == 0 || values[quantityG2+" "+part] == 0 {
				continue
			}
			if quantity == quantityCosine {
				m.Value = min(max(m.Value, -1), 1) // rounding
			}
		}
		g.Tallies[place].add(m.Value)
	}
}

// record is what the epoch's record says, with or without parts of kind [record.PartLayer]; nil without a measured step.
func (g *GradientSums) record(layers bool) *record.Gradients {
	if g == nil || g.Steps == 0 {
		return nil
	}
	r := &record.Gradients{Steps: g.Steps, NonFinite: g.NonFinite, Terms: g.Terms}
	tallies := map[string]Tally{}
	for _, t := range g.Tallies {
		tallies[t.Name] = t
	}
	for _, t := range g.Tallies {
		quantity, of, _ := strings.Cut(t.Name, " ")
		switch quantity {
		case quantityCosine:
			part := record.GradientPart{}
			part.Kind, part.Name, _ = strings.Cut(of, " ")
			if part.Kind == record.PartLayer && !layers {
				continue
			}
			if s := t.spread(); s != nil {
				part.Cosine = *s
				part.Dot = rounded(tallies[quantityDot+" "+of].Mean)
				r.Parts = append(r.Parts, part)
			} else {
				r.Disjoint = append(r.Disjoint, part.Title())
			}
		case quantityRows:
			r.RowsNegative = t.spread()
		case quantityFilters:
			r.FiltersNegative = t.spread()
		case quantityAligning:
			r.Coefficient = t.spread()
		}
	}
	for _, head := range []string{record.HeadMain, record.HeadAux} {
		if h := headOf(tallies, head, g.Terms); len(h.Losses) > 0 {
			r.Heads = append(r.Heads, h)
		}
	}
	return r
}

// headOf is what is known of a head, and of the losses that act on it.
func headOf(tallies map[string]Tally, head string, terms []string) record.HeadGradients {
	mean := func(name ...string) float64 { return rounded(tallies[strings.Join(name, " ")].Mean) }
	h := record.HeadGradients{Head: head}
	for _, term := range terms {
		pull := func(what string) float64 { return mean(quantityPull, head, what, term) }
		p := record.Pull{Term: term, TruePull: pull("true_pull"), TruePush: pull("true_push"), OtherPull: pull("other_pull"),
			OtherPush: pull("other_push")}
		if p != (record.Pull{Term: term}) {
			h.Losses = append(h.Losses, p)
		}
	}
	if len(h.Losses) > 1 {
		oppose := func(what string) float64 { return mean(quantityOppose, head, what) }
		h.Oppose = &record.Oppositions{All: oppose("all"), True: oppose("true"), Other: oppose("other")}
	}
	return h
}
