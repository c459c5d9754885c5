package plots

import (
	"fmt"
	"math"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// maxRuns is how many runs one figure can show and still be read.
const maxRuns = 60

var (
	barLabelStyle = textStyle(9.5, false, ink)
	valueStyle    = textStyle(9.5, true, ink)
	troubleStyle  = textStyle(8.5, false, alarm)
)

// AccuracyBars draws a bar per run: the mean over seeds of the last epoch's student/test_top1, in per cent. The error
// bar is plus and minus one standard deviation where two or more seeds finished; every finished seed is a dot. The
// teacher's accuracy is a dashed line. A run that failed or is unfinished has no bar and says so; one that went on with
// a loss that was not finite has its low bar and says so too. The error is that of [Summarize] or of a bad option.
func AccuracyBars(records []*record.Record, o Options) (*Figure, error) {
	s, o, err := summarizeForFigure(records, "Test accuracy", o)
	if err != nil {
		return nil, err
	}
	subtitle := "Top-1 accuracy in per cent at the last epoch."
	if _, most := s.Seeds(); most > 1 {
		subtitle = "Top-1 accuracy in per cent at the last epoch: mean ± standard deviation over seeds. A dot is a seed."
	}
	f := newFrame(o, subtitle, s.Caption())
	row := vg.Length(26)
	if o.narrow() {
		row = 38
	}
	bars := newAccuracyBars(s, o.narrow())
	p := newPlot()
	p.X.Min, p.X.Max = 0, bars.limit()
	p.X.Tick.Marker = linearTicks{count: 6}
	p.X.LineStyle.Width, p.X.Tick.Length = 0, 2
	p.Y.Min, p.Y.Max = 0, float64(len(s.Students))
	p.HideY()
	p.Add(gridLines{vertical: true}, bars)
	body := vg.Length(len(s.Students))*row + 16 + bars.headroom()
	return f.figure(o, accuracyAlt(s), body, func(c draw.Canvas) {
		if !o.narrow() {
			c.Min.X += bars.labelWidth() + 8
		}
		c.Max.X -= 4
		c.Max.Y -= bars.headroom()
		p.Draw(c)
	}), nil
}

// summarizeForFigure is Summarize with a limit on what is drawn; it completes the options too.
func summarizeForFigure(records []*record.Record, title string, o Options) (*Summary, Options, error) {
	s, err := Summarize(records)
	if err != nil {
		return nil, o, err
	}
	if len(s.Students) > maxRuns {
		return nil, o, fmt.Errorf("%d runs: too many for one figure, the limit is %d", len(s.Students), maxRuns)
	}
	o, err = o.resolve(title)
	return s, o, err
}

// accuracyBars is the plotter of horizontal bars; run i is centred at y = n - i - 0.5.
type accuracyBars struct {
	*Summary
	looks  map[*Run]look
	narrow bool // labels above the bars, not left of them
}

func newAccuracyBars(s *Summary, narrow bool) accuracyBars {
	return accuracyBars{Summary: s, looks: looks(s.Students), narrow: narrow}
}

// limit is the right end of the axis: room for the longest bar and its value.
func (b accuracyBars) limit() float64 {
	reach := 0.0
	if b.TeacherTop1.N > 0 {
		reach = b.TeacherTop1.Mean
	}
	for _, run := range b.Students {
		for _, v := range run.lastValues() {
			reach = math.Max(reach, v)
		}
		if run.Last.N > 1 {
			reach = math.Max(reach, run.Last.Mean+run.Last.SD)
		}
	}
	room := 1.18
	if b.narrow {
		room = 1.32
	}
	return math.Max(1, reach*room)
}

// headroom is the height above the bars for the teacher's label.
func (b accuracyBars) headroom() vg.Length {
	if b.TeacherTop1.N > 0 {
		return 14
	}
	return 0
}

// maxLabelWidth is how wide a label left of its bar can be; a longer one takes two lines.
const maxLabelWidth = vg.Length(165)

// labelLines is a label left of its row, on one line or two.
func labelLines(label string, width vg.Length) []string {
	lines := wrap(label, barLabelStyle, width)
	if len(lines) > 2 {
		lines = []string{lines[0], strings.Join(lines[1:], " ")}
	}
	for i := range lines {
		lines[i] = shorten(lines[i], barLabelStyle, width)
	}
	return lines
}

func (b accuracyBars) labelWidth() vg.Length {
	var w vg.Length
	for _, run := range b.Students {
		for _, line := range labelLines(run.Label, maxLabelWidth) {
			w = max(w, barLabelStyle.Width(line))
		}
	}
	return w
}

// Plot implements [plot.Plotter].
func (b accuracyBars) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	row := y(1) - y(0)
	for i, run := range b.Students {
		middle := y(float64(len(b.Students)-i) - 0.5)
		half := row * 0.31
		if b.narrow {
			half = row * 0.2
			middle -= row * 0.16
		} else {
			drawLabel(c, labelLines(run.Label, maxLabelWidth), middle)
		}
		if run.Last.N > 0 {
			fillRectangle(c, b.looks[run].colour, x(0), middle-half, x(run.Last.Mean), middle+half)
		}
	}
	if b.TeacherTop1.N > 0 {
		b.plotTeacher(c, x(b.TeacherTop1.Mean))
	}
	for i, run := range b.Students {
		middle := y(float64(len(b.Students)-i) - 0.5)
		if b.narrow {
			middle -= row * 0.16
			label := shorten(run.Label, barLabelStyle, c.Max.X-c.Min.X)
			fillTextOnSurface(c, barLabelStyle, vg.Point{X: c.Min.X, Y: middle + row*0.2 + 2.5}, label)
		}
		b.plotSpread(c, run, middle, row*0.12, x)
		b.plotWords(c, run, middle, x)
	}
	if !b.narrow {
		c.StrokeLine2(draw.LineStyle{Color: rule, Width: 0.8}, x(0), c.Min.Y, x(0), c.Max.Y)
	}
}

// plotTeacher draws the dashed line, its label above the bars.
func (b accuracyBars) plotTeacher(c draw.Canvas, at vg.Length) {
	c.StrokeLine2(dashedStyle, at, c.Min.Y, at, c.Max.Y+2)
	label := "Teacher " + b.TeacherTop1.String()
	text := textStyle(9, false, ink)
	left := at - text.Width(label)/2
	left = max(c.Min.X, min(left, c.Max.X-text.Width(label)))
	c.FillText(text, vg.Point{X: left, Y: c.Max.Y + 4}, label)
}

// plotSpread draws the error bar and the seeds of a run.
func (b accuracyBars) plotSpread(c draw.Canvas, run *Run, middle, spacing vg.Length, x func(float64) vg.Length) {
	if run.Last.N < 2 {
		return
	}
	low, high := x(math.Max(0, run.Last.Mean-run.Last.SD)), x(run.Last.Mean+run.Last.SD)
	const cap = 3.5
	for _, style := range []draw.LineStyle{{Color: surface, Width: 2.6}, {Color: ink, Width: 1}} {
		c.StrokeLine2(style, low, middle, high, middle)
		c.StrokeLine2(style, low, middle-cap, low, middle+cap)
		c.StrokeLine2(style, high, middle-cap, high, middle+cap)
	}
	values := run.lastValues()
	spacing = min(spacing, spacing*4/vg.Length(len(values)))
	for i, v := range values {
		at := vg.Point{X: x(v), Y: middle + spacing*vg.Length(float64(len(values)-1)/2-float64(i))}
		drawCircle(c, at, ink)
	}
}

// plotWords writes the value and what went wrong to the right of everything else in the row.
func (b accuracyBars) plotWords(c draw.Canvas, run *Run, middle vg.Length, x func(float64) vg.Length) {
	at := x(0)
	if run.Last.N > 0 {
		at = x(run.Last.Mean)
	}
	for _, v := range run.lastValues() {
		at = max(at, x(v)+2.4)
	}
	if run.Last.N > 1 {
		at = max(at, x(run.Last.Mean+run.Last.SD))
	}
	at += 5
	base := middle - valueStyle.Font.Size*0.5
	write := func(style draw.TextStyle, text string) {
		text = shorten(text, style, c.Max.X-at)
		w := style.Width(text)
		if line := x(b.TeacherTop1.orZero()); b.TeacherTop1.N > 0 && at-4 < line && line < at+w+4 {
			at = line + 5
		}
		fillTextOnSurface(c, style, vg.Point{X: at, Y: base}, text)
		at += w + 6
	}
	if run.Last.N > 0 {
		write(valueStyle, run.Last.String())
	}
	if trouble := run.Trouble(); trouble != "" {
		if run.Last.N == 0 {
			cross(&c, vg.Point{X: at + 1, Y: middle}, alarm)
			at += 9
		}
		write(troubleStyle, trouble)
	}
}

// fillTextOnSurface hides the lines behind a text.
func fillTextOnSurface(c draw.Canvas, style draw.TextStyle, at vg.Point, text string) {
	right := at.X + style.Width(text) + 2
	c.FillPolygon(surface, []vg.Point{{X: at.X - 1, Y: at.Y - 1}, {X: right, Y: at.Y - 1},
		{X: right, Y: at.Y + 10}, {X: at.X - 1, Y: at.Y + 10}})
	c.FillText(style, at, text)
}

// accuracyAlt is the figure in words.
func accuracyAlt(s *Summary) string {
	var words strings.Builder
	words.WriteString("Bar chart of test top-1 accuracy in per cent at the last epoch.")
	for _, run := range s.Students {
		fmt.Fprintf(&words, " %s: %s", run.Label, run.Last)
		if trouble := run.Trouble(); trouble != "" {
			fmt.Fprintf(&words, " (%s)", trouble)
		}
		words.WriteString(".")
	}
	if s.TeacherTop1.N > 0 {
		fmt.Fprintf(&words, " Teacher: %s.", s.TeacherTop1)
	}
	return words.String() + " " + s.Caption() + "."
}
