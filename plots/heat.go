package plots

import (
	"cmp"
	"image"
	"image/color"
	"math"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// heat is a matrix of coloured cells, the same in every figure that has one.
type heat struct {
	title          string
	values         [][]float64 // a row each, the first on top; NaN: no value
	rows, columns  []string    // their names; empty for none
	xLabel, yLabel string      // below the columns, left of the rows
	scale          *scale
	aspect         float64   // a cell's height by its width, unless row is given
	row            vg.Length // a cell's height
	// Only every so many of the names are shown, as along an axis of numbers.
	sparseRows, sparseColumns bool
	// text is what stands in a cell, a line each; nil for nothing. Of a NaN it stands on the page's colour.
	text func(row, column int) []string
	bold func(row, column int) bool // whether that is bold; nil for nowhere
	// Found by layout:
	cell, rowHeight        vg.Length
	rowNames, columnNames  labels
	turned                 bool // the columns' names are written upwards
	left, bottom, headroom vg.Length
}

// Fixed colours of text in cells: unlike those of the page they stay as they are in dark mode, as the cells do.
var (
	onLight = color.NRGBA{0x1E, 0x22, 0x27, 0xFF}
	onDark  = color.NRGBA{0xFE, 0xFE, 0xFE, 0xFF}
)

const (
	largestName = vg.Length(8.5) // points
	axisGap     = vg.Length(16)  // between an axis's name and what is beside it
)

// layout fits the map into a width and returns its height.
func (h *heat) layout(width vg.Length) vg.Length {
	n, m := len(h.values), len(h.values[0])
	if h.sparseRows {
		h.rows = thinned(h.rows)
	}
	if h.sparseColumns {
		h.columns = thinned(h.columns)
	}
	h.headroom, h.left = 0, 0
	if h.title != "" {
		h.headroom = tileTitle.Font.Size*lineHeight + 5
	}
	h.cell = width * 0.75 / vg.Length(m)
	for range 2 { // the names depend on the size of a row, and that on the names
		h.rowNames = h.labelRows(largestName)
		h.left = h.rowNames.width() + 4
		if h.yLabel != "" {
			h.left += axisGap
		}
		h.cell = (width - h.left) / vg.Length(m)
	}
	h.rowNames = h.labelRows(h.rowNames.style.Font.Size)
	h.columnNames = newLabels(h.columns, 1000, largestName)
	h.turned = !h.sparseColumns && h.columnNames.width() > h.cell-3
	if h.turned {
		h.columnNames = newLabels(h.columns, h.cell, largestName)
		h.bottom = h.columnNames.width() + 6
	} else if h.bottom = 0; len(h.columns) > 0 {
		h.bottom = largestName + 6
	}
	if h.xLabel != "" {
		h.bottom += axisGap
	}
	return h.headroom + vg.Length(n)*h.rowHeight + h.bottom
}

// labelRows are the names beside the rows, and sets the rows' height; sparse ones have room for themselves.
func (h *heat) labelRows(largest vg.Length) labels {
	h.rowHeight = cmp.Or(h.row, h.cell*vg.Length(h.aspect))
	if h.sparseRows {
		return newLabels(h.rows, 1000, largest)
	}
	return newLabels(h.rows, h.rowHeight, largest)
}

// thinned are the names with all but at most ten of them empty.
func thinned(names []string) []string {
	step := int(niceStep(math.Max(1, float64(len(names))/10)))
	result := make([]string, len(names))
	for i := 0; i < len(names); i += step {
		result[i] = names[i]
	}
	return result
}

// draw draws the map from the left top of the canvas.
func (h *heat) draw(c draw.Canvas) {
	if h.title != "" {
		c.FillText(tileTitle, vg.Point{X: c.Min.X, Y: c.Max.Y - tileTitle.Font.Size*lineHeight},
			shorten(h.title, tileTitle, c.Max.X-c.Min.X))
	}
	n, m := vg.Length(len(h.values)), vg.Length(len(h.values[0]))
	top, left := c.Max.Y-h.headroom, c.Min.X+h.left
	box := vg.Rectangle{Min: vg.Point{X: left, Y: top - n*h.rowHeight}, Max: vg.Point{X: left + m*h.cell, Y: top}}
	c.DrawImage(box, h.picture())
	c.StrokeLines(draw.LineStyle{Color: rule, Width: 0.6}, []vg.Point{box.Min, {X: box.Max.X, Y: box.Min.Y}, box.Max,
		{X: box.Min.X, Y: box.Max.Y}, box.Min})
	h.drawNames(c, box)
	if h.text != nil {
		h.drawTexts(c, box)
	}
	name := textStyle(9, false, muted)
	name.XAlign = draw.XCenter
	c.FillText(name, vg.Point{X: (box.Min.X + box.Max.X) / 2, Y: box.Min.Y - h.bottom}, h.xLabel)
	name.Rotation = math.Pi / 2
	name.YAlign = draw.YTop
	c.FillText(name, vg.Point{X: c.Min.X, Y: (box.Min.Y + box.Max.Y) / 2}, h.yLabel)
}

func (h *heat) drawNames(c draw.Canvas, box vg.Rectangle) {
	style := h.rowNames.style
	for i := range h.rows {
		text := h.rowNames.text(i, i)
		c.FillText(style, vg.Point{X: box.Min.X - 4 - style.Width(text),
			Y: box.Max.Y - (vg.Length(i)+0.5)*h.rowHeight - style.Font.Size*0.5}, text)
	}
	style = h.columnNames.style
	style.XAlign, style.YAlign = draw.XCenter, draw.YTop
	if h.turned {
		style.XAlign, style.YAlign = draw.XRight, draw.YCenter
		style.Rotation = math.Pi / 2
	}
	for j := range h.columns {
		c.FillText(style, vg.Point{X: box.Min.X + (vg.Length(j)+0.5)*h.cell, Y: box.Min.Y - 4}, h.columnNames.text(j, j))
	}
}

// picture has a rectangle of dots for each cell, so that no viewer blurs it much. Cells without a value are clear.
func (h *heat) picture() image.Image {
	n, m := len(h.values), len(h.values[0])
	wide := max(1, 1000/max(n, m))
	high := max(1, int(math.Round(float64(wide)*float64(h.rowHeight/h.cell))))
	picture := image.NewNRGBA(image.Rect(0, 0, m*wide, n*high))
	for i, row := range h.values {
		for j, v := range row {
			if math.IsNaN(v) {
				continue
			}
			colour := h.scale.colour(v)
			for y := i * high; y < (i+1)*high; y++ {
				for x := j * wide; x < (j+1)*wide; x++ {
					picture.SetNRGBA(x, y, colour)
				}
			}
		}
	}
	return picture
}

func (h *heat) drawTexts(c draw.Canvas, box vg.Rectangle) {
	for i, row := range h.values {
		for j, v := range row {
			lines := h.text(i, j)
			if math.IsNaN(v) && len(lines) == 0 { // nothing is known
				left, top := box.Min.X+vg.Length(j)*h.cell, box.Max.Y-vg.Length(i)*h.rowHeight
				c.StrokeLine2(draw.LineStyle{Color: grid, Width: 0.8}, left, top-h.rowHeight, left+h.cell, top)
			}
			longest := ""
			for _, text := range lines {
				if len(text) > len(longest) {
					longest = text
				}
			}
			size := min(9, h.cell*0.34, h.rowHeight/vg.Length(max(1, len(lines)))*0.72)
			style := textStyle(size, h.bold != nil && h.bold(i, j), ink)
			if !math.IsNaN(v) {
				style.Color = h.scale.textColour(v)
			}
			if w := style.Width(longest); w > h.cell*0.92 {
				style.Font.Size *= h.cell * 0.92 / w
			}
			style.XAlign = draw.XCenter
			at := vg.Point{X: box.Min.X + (vg.Length(j)+0.5)*h.cell, Y: box.Max.Y - (vg.Length(i)+0.5)*h.rowHeight}
			leading := style.Font.Size * 1.25
			at.Y += leading*vg.Length(len(lines)-1)/2 - style.Font.Size*0.5
			for _, text := range lines {
				c.FillText(style, at, text)
				at.Y -= leading
			}
		}
	}
}

// scale is how values become colours.
type scale struct {
	stops     []color.NRGBA // from low to high, lightness changing steadily
	low, high float64
	power     float64 // of the value, so that small (below 1) or large ones can be told apart; 0 means 1
	ticks     []plot.Tick
	label     string // above the scale
}

var (
	// blues are for amounts.
	blues = []color.NRGBA{{0xFF, 0xFF, 0xFF, 0xFF}, {0xB5, 0xD6, 0xEC, 0xFF}, {0x4E, 0x9A, 0xCC, 0xFF},
		{0x00, 0x5F, 0x9A, 0xFF}, {0x06, 0x2A, 0x4F, 0xFF}}
	// signs are for values on both sides of zero: brown below, blue above, as bright as each other.
	signs = []color.NRGBA{{0x5A, 0x2A, 0x00, 0xFF}, {0xC0, 0x6A, 0x14, 0xFF}, {0xF0, 0xC9, 0x9A, 0xFF},
		{0xFA, 0xFA, 0xFA, 0xFF}, {0xA9, 0xCF, 0xE8, 0xFF}, {0x2B, 0x7C, 0xB8, 0xFF}, {0x06, 0x2A, 0x4F, 0xFF}}
)

// amounts is a scale from low to high.
func amounts(low, high float64, label string) *scale {
	s := &scale{stops: blues, low: low, high: high, label: label}
	s.ticks = linearTicks{count: 5}.Ticks(low, high)
	return s
}

// bothSigns is a scale from -reach to reach.
func bothSigns(reach float64, label string) *scale {
	s := amounts(-reach, reach, label)
	s.stops = signs
	return s
}

// position is where a value is on the scale, 0 to 1.
func (s *scale) position(v float64) float64 {
	at := math.Max(0, math.Min(1, (v-s.low)/(s.high-s.low)))
	return math.Pow(at, cmp.Or(s.power, 1))
}

func (s *scale) colour(v float64) color.NRGBA { return s.colourAt(s.position(v)) }

func (s *scale) colourAt(position float64) color.NRGBA {
	at := position * float64(len(s.stops)-1)
	i := min(int(at), len(s.stops)-2)
	mix := func(a, b uint8) uint8 { return uint8(math.Round(float64(a) + (at-float64(i))*(float64(b)-float64(a)))) }
	a, b := s.stops[i], s.stops[i+1]
	return color.NRGBA{mix(a.R, b.R), mix(a.G, b.G), mix(a.B, b.B), 0xFF}
}

// textColour is black or white, whichever can be read on the value's colour (by relative luminance, WCAG 2).
func (s *scale) textColour(v float64) color.Color {
	c := s.colour(v)
	linear := func(v uint8) float64 { return math.Pow(float64(v)/255, 2.2) }
	if 0.2126*linear(c.R)+0.7152*linear(c.G)+0.0722*linear(c.B) > 0.21 {
		return onLight
	}
	return onDark
}

// width is what the scale takes beside its maps, with the gap to them.
func (s *scale) width() vg.Length {
	w := textStyle(8, false, muted).Width(s.label)
	for _, t := range s.ticks {
		w = max(w, 15+textStyle(8, false, muted).Width(t.Label))
	}
	return max(50, w+12)
}

// draw draws the colours beside their values.
func (s *scale) draw(c draw.Canvas, left, bottom, top vg.Length) {
	const width, steps = 10, 100
	style := textStyle(8, false, muted)
	if s.label != "" {
		top -= style.Font.Size*lineHeight + 2
		c.FillText(style, vg.Point{X: left, Y: top + 4}, s.label)
	}
	height := top - bottom
	for i := range steps {
		at := float64(i) / steps
		low := bottom + height*vg.Length(at)
		fillRectangle(c, s.colourAt(at), left, low, left+width, min(top, low+height/steps+0.5))
	}
	for _, t := range s.ticks {
		y := bottom + height*vg.Length(s.position(t.Value))
		c.StrokeLine2(draw.LineStyle{Color: rule, Width: 0.6}, left+width, y, left+width+3, y)
		c.FillText(style, vg.Point{X: left + width + 5, Y: y - 4}, t.Label)
	}
}

func fillRectangle(c draw.Canvas, colour color.Color, left, bottom, right, top vg.Length) {
	c.FillPolygon(colour, []vg.Point{{X: left, Y: bottom}, {X: right, Y: bottom}, {X: right, Y: top}, {X: left, Y: top}})
}

// heats lays maps out row by row under a frame, with one scale: that of the first.
func (f frame) heats(o Options, alt string, columns int, maps ...*heat) *Figure {
	const gap = vg.Length(16)
	s := maps[0].scale
	columns = min(columns, len(maps))
	width := (f.width - 2*margin - s.width() - gap*vg.Length(columns-1)) / vg.Length(columns)
	var tops []vg.Length // of each row, down from the top
	var body vg.Length
	for i, h := range maps {
		height := h.layout(width)
		if i%columns == 0 {
			if i > 0 {
				body += gap
			}
			tops = append(tops, body)
			body += height
		} else {
			body = max(body, tops[len(tops)-1]+height)
		}
	}
	return f.figure(o, alt, body, func(c draw.Canvas) {
		for i, h := range maps {
			panel := c
			panel.Min.X += vg.Length(i%columns) * (width + gap)
			panel.Max.X = panel.Min.X + width
			panel.Max.Y -= tops[i/columns]
			h.draw(panel)
		}
		h := maps[0]
		top := c.Max.Y - h.headroom
		reach := min(vg.Length(len(h.values))*h.rowHeight, max(110, vg.Length(len(h.values))*h.rowHeight/2))
		s.draw(c, c.Max.X-s.width()+12, top-reach, top)
	})
}

// altOf reads a map out, row by row, for a figure in words.
func (h *heat) alt(value func(v float64) string) string {
	var words strings.Builder
	for i, row := range h.values {
		words.WriteString(" " + h.yLabel + " " + h.rows[i] + ":")
		for j, v := range row {
			if !math.IsNaN(v) {
				words.WriteString(" " + h.columns[j] + " " + value(v) + ",")
			}
		}
	}
	return strings.TrimSuffix(words.String(), ",") + "."
}
