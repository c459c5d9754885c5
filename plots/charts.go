package plots

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Chart is a panel of lines of your own numbers, for [Charts].
type Chart struct {
	Title  string
	X, Y   string // names of the axes, with their units
	Series []Series
	Zero   bool // zero is on the vertical axis, and marked
	Log    bool // the vertical axis is logarithmic; a line ends where its value is not positive
}

// Series is a line: Y against X, which ascends. Where Low and High are given, as long as they, there is a band around
// it, but for values that no axis can show or that are not on both sides of Y. A value that is NaN or infinite ends
// the line; a cross marks an infinite one's end.
type Series struct {
	Label     string // the same in two charts: the same colour
	X, Y      []float64
	Low, High []float64
	Dashed    bool
}

const (
	maxPanels = 24
	maxSeries = 12 // different labels in a figure
)

// Charts draws lines of your own numbers, side by side: subtitle says what they are, caption where they come from. The
// error says which series has lengths that do not fit, or nothing to draw, or what option is bad.
func Charts(title, subtitle, caption string, charts []Chart, o Options) (*Figure, error) {
	o, err := o.resolve(Printable(title, 120))
	if err != nil {
		return nil, err
	}
	var keys legend
	var tiles []tile
	alt := "Line charts."
	for i, of := range charts {
		ch, err := of.chart(&keys)
		if err != nil {
			return nil, fmt.Errorf("chart %d, %q: %w", i+1, Printable(of.Title, 60), err)
		}
		tiles = append(tiles, ch.tile())
		alt += of.alt()
	}
	switch {
	case len(tiles) == 0:
		return nil, fmt.Errorf("no charts: nothing to draw")
	case len(tiles) > maxPanels:
		return nil, fmt.Errorf("%d charts: too many for one figure, the limit is %d", len(tiles), maxPanels)
	case len(keys.names) > maxSeries:
		return nil, fmt.Errorf("%d different series: too many for one figure, the limit is %d", len(keys.names), maxSeries)
	}
	f := newFrame(o, Printable(subtitle, 400), Printable(caption, 400), keys.keys...)
	return f.tiles(o, alt+" "+Printable(caption, 400), o.columnsFor(2), chartHeight(len(tiles)), tiles), nil
}

func chartHeight(panels int) vg.Length {
	if panels == 1 {
		return 250
	}
	return 165
}

// legend gives each label its colour as it comes first, and collects the entries.
type legend struct {
	names []string // in the order of the colours
	keys  []key
}

func (l *legend) style(label string, dashed bool) draw.LineStyle {
	i := slices.Index(l.names, label)
	if i < 0 {
		i = len(l.names)
		l.names = append(l.names, label)
	}
	style := draw.LineStyle{Color: accents[i%len(accents)], Width: 1.8}
	if dashed {
		style.Dashes = strokes[1]
	}
	return style
}

// add puts an entry into the legend, unless one has that text.
func (l *legend) add(k key) {
	if k.label != "" && !slices.ContainsFunc(l.keys, func(other key) bool { return other.label == k.label }) {
		l.keys = append(l.keys, k)
	}
}

// chart checks and converts.
func (of Chart) chart(keys *legend) (*chart, error) {
	ch := &chart{title: Printable(of.Title, 80), x: axis{label: Printable(of.X, 60)},
		y: axis{label: Printable(of.Y, 60), log: of.Log}}
	for _, s := range of.Series {
		label := Printable(s.Label, 60)
		n := len(s.X)
		if len(s.Y) != n || len(s.Low) != len(s.High) || len(s.Low) != 0 && len(s.Low) != n {
			return nil, fmt.Errorf("series %q: %d values of X, %d of Y, %d of Low and %d of High: want as many of each",
				label, n, len(s.Y), len(s.Low), len(s.High))
		}
		style := keys.style(label, s.Dashed)
		keys.add(key{label: label, line: style})
		if s.add(ch, style) {
			keys.add(key{label: "infinite from here", marker: alarm})
		}
	}
	if of.Zero {
		ch.levels = append(ch.levels, level{at: 0, style: zeroStyle})
	}
	low, high := math.Inf(1), math.Inf(-1)
	for _, l := range ch.lines {
		for _, pt := range l.points {
			low, high = math.Min(low, pt.X), math.Max(high, pt.X)
		}
	}
	if low > high {
		return nil, fmt.Errorf("no finite values to draw")
	}
	if low == high {
		low, high = low-1, high+1
	}
	ch.x.low, ch.x.high = low, high
	ch.y.fit(ch.extent())
	return ch, nil
}

// add appends the series' lines to a chart, one for each stretch of drawable values; it says whether it was cut short
// by an infinite value.
func (s Series) add(ch *chart, style draw.LineStyle) (cut bool) {
	current := line{style: style}
	end := func() {
		if len(current.points) > 0 {
			ch.lines = append(ch.lines, current)
		}
		current = line{style: style}
	}
	for i, x := range s.X {
		y := s.Y[i]
		if !drawable(x) || !drawable(y) || ch.y.log && y < leastOfLog {
			if n := len(current.points); n > 0 && math.IsInf(y, 0) {
				ch.crosses = append(ch.crosses, current.points[n-1])
				cut = true
			}
			end()
			continue
		}
		current.points = append(current.points, plotter.XY{X: x, Y: y})
		if len(s.Low) > 0 {
			low, high := s.Low[i], s.High[i]
			if !(low <= y && y <= high && math.Abs(low) < overflow && high < overflow) || ch.y.log && low < leastOfLog {
				low, high = y, y
			}
			current.low, current.high = append(current.low, low), append(current.high, high)
		}
	}
	end()
	return cut
}

// drawable values fit on an axis beside others.
func drawable(v float64) bool { return math.Abs(v) <= overflow }

// alt says where each line starts and ends.
func (of Chart) alt() string {
	var lines []string
	for _, s := range of.Series {
		var drawn []string
		for _, v := range s.Y {
			if finite(v) {
				drawn = append(drawn, fmt.Sprintf("%.3g", v))
			}
		}
		if len(drawn) > 0 {
			lines = append(lines, fmt.Sprintf("%s from %s to %s", Printable(s.Label, 60), drawn[0], drawn[len(drawn)-1]))
		}
	}
	words := " "
	if of.Title != "" {
		words += Printable(of.Title, 80) + ": "
	}
	return words + strings.Join(lines, ", ") + "."
}

// LossFunction is a loss of one logit: its value and its gradient, in nats, at differences between the student's and
// the teacher's logit.
type LossFunction struct {
	Label      string
	Dashed     bool
	Difference []float64 // ascending
	Loss       []float64 // +Inf where the formula overflows
	Gradient   []float64 // by the student's logit; NaN where the formula has none
}

// LossFunctions draws losses of one logit and their gradients by the difference between student and teacher, side by
// side: how steep each is where the student is far off, and where the literal float32 forms overflow (a cross). note
// says what the curves were computed with, such as the teacher's logit and the temperature. The error is that of
// [Charts].
func LossFunctions(functions []LossFunction, note string, o Options) (*Figure, error) {
	const x = "student's logit less the teacher's"
	charts := []Chart{{Title: "Loss", X: x, Y: "loss (nats)"},
		{Title: "Gradient", X: x, Y: "gradient by the student's logit", Zero: true}}
	for _, f := range functions {
		gradient := slices.Clone(f.Gradient)
		for i := range gradient {
			if i < len(f.Loss) && math.IsInf(f.Loss[i], 0) {
				gradient[i] = math.Inf(1) // NaN in float32: the line ends with a cross there too
			}
		}
		charts[0].Series = append(charts[0].Series, Series{Label: f.Label, Dashed: f.Dashed, X: f.Difference, Y: f.Loss})
		charts[1].Series = append(charts[1].Series, Series{Label: f.Label, Dashed: f.Dashed, X: f.Difference, Y: gradient})
	}
	return Charts("Losses of one logit",
		"Value and slope of each loss by how far the student's logit is from the teacher's.", note, charts, o)
}
