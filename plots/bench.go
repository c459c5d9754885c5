package plots

import (
	"errors"
	"fmt"
	"image/color"
	"math"

	"gonum.org/v1/plot/vg/draw"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// BenchRatios draws what this project's time is of each other framework's: a row a case, a dot a framework, with the
// quartiles over rounds as a line; left of 1 this project is faster. Of a case that measures what a method adds it is
// the ratio of what is added, and the line is this project's quartiles. A case without a ratio, or with none above
// noise, is left out. It fails if there is none at all, or for a bad option.
func BenchRatios(b *record.Bench, o Options) (*Figure, error) {
	rows := ratioRows(b)
	if len(rows) == 0 {
		return nil, errors.New("the bench's record has no case that was measured in two frameworks")
	}
	if len(rows) > maxRuns {
		return nil, fmt.Errorf("%d cases: too many for one figure, the limit is %d", len(rows), maxRuns)
	}
	o, err := o.resolve("Time of a training step, against other frameworks")
	if err != nil {
		return nil, err
	}
	var keys []key
	reach := 1.0
	m := b.Machine
	caption := fmt.Sprintf("%s, %d cores, %s; dhkd on %s", m.CPU, m.Cores, m.OS, m.Backend)
	measured := map[color.Color]bool{}
	for _, r := range rows {
		for _, dot := range r.dots {
			measured[dot.colour] = true
			reach = math.Max(reach, math.Max(dot.value, math.Min(dot.high, 2*dot.value)))
		}
	}
	for _, name := range frameworks {
		if colour := frameworkColour[name]; measured[colour] {
			keys = append(keys, key{label: name, line: draw.LineStyle{Color: colour, Width: 4}})
			caption += fmt.Sprintf(", %s %s", name, m.Versions[name])
		}
	}
	caption += fmt.Sprintf("; batch %d.", b.Batch)
	f := newFrame(o, "Ratio of the medians, below 1 where dhkd is faster: median over rounds, the line from quartile to "+
		"quartile.", caption, keys...)
	dots := dotRows{rows: rows, narrow: o.narrow()}
	return dots.figure(f, o, "Time of dhkd as a ratio."+dots.alt(), axis{high: reach * 1.08},
		level{at: 1, style: draw.LineStyle{Color: ink, Width: 1}}), nil
}

var (
	frameworks      = []string{record.PyTorchAny, record.JAXAny}
	frameworkColour = map[string]color.Color{record.PyTorchAny: others[0], record.JAXAny: others[1]}
)

func ratioRows(b *record.Bench) (rows []dotRow) {
	for _, c := range b.Cases {
		r := dotRow{label: Printable(c.String(), 120)}
		for _, name := range frameworks {
			q := c.Ratio(name)
			if c.Given {
				q = record.Quartiles{Median: c.ExtraRatio(name)}
				if q.Median > 0 {
					ours := c.Best(record.OurName).Extra()
					q.Low, q.High = q.Median*ours.Low/ours.Median, q.Median*ours.High/ours.Median
				}
			}
			if q.Median > 0 && !math.IsInf(q.Median, 1) {
				r.dots = append(r.dots, dot{value: q.Median, low: q.Low, high: q.High, colour: frameworkColour[name],
					text: fmt.Sprintf("%.2f of %s", q.Median, name)})
			}
		}
		if len(r.dots) > 0 {
			rows = append(rows, r)
		}
	}
	return rows
}
