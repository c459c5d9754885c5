package plots

import (
	"image/color"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

const (
	margin     = vg.Length(12)
	lineHeight = vg.Length(1.3) // of the font's size
)

var (
	titleStyle    = textStyle(13, true, ink)
	subtitleStyle = textStyle(9, false, muted)
	legendStyle   = textStyle(9, false, ink)
	captionStyle  = textStyle(8, false, muted)
)

// frame is what stands around the panels of every figure: title, subtitle and legend above, the caption below.
type frame struct {
	width                    vg.Length
	title, subtitle, caption []string
	legend                   [][]key
}

// key is an entry of the legend.
type key struct {
	label  string
	line   draw.LineStyle
	marker color.Color      // of a cross in place of the line; nil for a line
	glyph  *draw.GlyphStyle // a point in place of the line
}

const (
	swatch     = vg.Length(18)
	keyPadding = vg.Length(16)
)

func newFrame(o Options, subtitle, caption string, keys ...key) frame {
	f := frame{width: vg.Length(o.Width) * vg.Inch}
	inner := f.width - 2*margin
	f.title = wrap(o.Title, titleStyle, inner)
	f.subtitle = wrap(subtitle, subtitleStyle, inner)
	f.caption = wrap(caption, captionStyle, inner)
	used := inner
	for _, k := range keys {
		k.label = shorten(k.label, legendStyle, inner-swatch-6)
		w := swatch + 6 + legendStyle.Width(k.label)
		if used+keyPadding+w > inner {
			f.legend = append(f.legend, nil)
			used = -keyPadding
		}
		used += keyPadding + w
		last := len(f.legend) - 1
		f.legend[last] = append(f.legend[last], k)
	}
	return f
}

// height is that of the whole figure around a body of the given height.
func (f frame) height(body vg.Length) vg.Length {
	h := 2*margin + body + 8
	for _, block := range []struct {
		lines int
		size  vg.Length
		gap   vg.Length
	}{
		{len(f.title), titleStyle.Font.Size, 0},
		{len(f.subtitle), subtitleStyle.Font.Size, 2},
		{len(f.legend), legendStyle.Font.Size * 1.15, 6},
		{len(f.caption), captionStyle.Font.Size, 6},
	} {
		if block.lines > 0 {
			h += vg.Length(block.lines)*block.size*lineHeight + block.gap
		}
	}
	return h
}

// draw draws the frame and returns the canvas of the body.
func (f frame) draw(c draw.Canvas) draw.Canvas {
	c.SetColor(surface)
	c.Fill(c.Rectangle.Path())
	c = draw.Crop(c, margin, -margin, margin, -margin)
	top := c.Max.Y
	write := func(style draw.TextStyle, lines []string) {
		for _, line := range lines {
			top -= style.Font.Size * lineHeight
			c.FillText(style, vg.Point{X: c.Min.X, Y: top}, line)
		}
	}
	write(titleStyle, f.title)
	top -= 2
	write(subtitleStyle, f.subtitle)
	if len(f.legend) > 0 {
		top -= 6
	}
	for _, row := range f.legend {
		top -= legendStyle.Font.Size * 1.15 * lineHeight
		x := c.Min.X
		for _, k := range row {
			middle := top + legendStyle.Font.Size*0.55
			switch centre := (vg.Point{X: x + swatch/2, Y: middle}); {
			case k.marker != nil:
				cross(&c, centre, k.marker)
			case k.glyph != nil:
				c.DrawGlyphNoClip(*k.glyph, centre)
			default:
				c.StrokeLine2(k.line, x, middle, x+swatch, middle)
			}
			c.FillText(legendStyle, vg.Point{X: x + swatch + 6, Y: top}, k.label)
			x += swatch + 6 + legendStyle.Width(k.label) + keyPadding
		}
	}
	bottom := c.Min.Y
	for i := range f.caption {
		c.FillText(captionStyle, vg.Point{X: c.Min.X, Y: bottom}, f.caption[len(f.caption)-1-i])
		bottom += captionStyle.Font.Size * lineHeight
	}
	c.Max.Y = top - 8
	c.Min.Y = bottom + 6
	return c
}

// figure is a drawing in the frame; the body has the given height, and draw fills it.
func (f frame) figure(o Options, alt string, body vg.Length, drawBody func(draw.Canvas)) *Figure {
	return &Figure{Alt: alt, width: f.width, height: f.height(body), dpi: o.DPI,
		draw: func(c draw.Canvas) { drawBody(f.draw(c)) }}
}

// cross marks where a run or a loss ended badly.
func cross(c *draw.Canvas, at vg.Point, colour color.Color) {
	const r = 3.2
	for _, s := range []draw.LineStyle{{Color: surface, Width: 3.2}, {Color: colour, Width: 1.8}} {
		c.StrokeLines(s, []vg.Point{{X: at.X - r, Y: at.Y - r}, {X: at.X + r, Y: at.Y + r}},
			[]vg.Point{{X: at.X - r, Y: at.Y + r}, {X: at.X + r, Y: at.Y - r}})
	}
}
