package plots

import (
	"fmt"
	"image"
	"strings"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// maxImages is how many pictures one figure can show, and maxPixels how many pixels one of them may have.
const (
	maxImages = 200
	maxPixels = 1 << 22
)

// Images draws small pictures in rows of so many columns, each below its title, and every pixel as a square. titles are
// as many as pictures, or none. The error says which picture is empty or too large, or what number or option is bad.
func Images(pictures []image.Image, titles []string, columns int, o Options) (*Figure, error) {
	o, err := o.resolve("Images")
	switch {
	case err != nil:
		return nil, err
	case len(pictures) == 0 || len(pictures) > maxImages:
		return nil, fmt.Errorf("%d pictures: want 1 to %d", len(pictures), maxImages)
	case len(titles) != 0 && len(titles) != len(pictures):
		return nil, fmt.Errorf("%d titles for %d pictures: want as many, or none", len(titles), len(pictures))
	case columns < 1 || columns > 20:
		return nil, fmt.Errorf("%d columns: want 1 to 20", columns)
	}
	const gap = vg.Length(8)
	f := newFrame(o, "", "")
	width := (f.width - 2*margin - gap*vg.Length(columns-1)) / vg.Length(columns)
	height, above := vg.Length(0), vg.Length(0) // of the tallest picture, and of its title
	for i, picture := range pictures {
		size := picture.Bounds().Size()
		if size.X < 1 || size.Y < 1 || size.X*size.Y > maxPixels {
			return nil, fmt.Errorf("picture %d of %d has %d x %d pixels: want 1 to %d of them", i+1, len(pictures),
				size.X, size.Y, maxPixels)
		}
		height = max(height, width*vg.Length(size.Y)/vg.Length(size.X))
	}
	names := make([]string, len(titles))
	for i, title := range titles {
		names[i] = shorten(Printable(title, 60), captionStyle, width)
		above = captionStyle.Font.Size * lineHeight
	}
	rows := (len(pictures) + columns - 1) / columns
	row := above + height + gap
	alt := strings.TrimSuffix(fmt.Sprintf("%d pictures: %s", len(pictures), strings.Join(names, ", ")), ": ") + "."
	return f.figure(o, alt, row*vg.Length(rows)-gap, func(c draw.Canvas) {
		for i, picture := range pictures {
			left, top := c.Min.X+vg.Length(i%columns)*(width+gap), c.Max.Y-vg.Length(i/columns)*row
			if len(names) > 0 {
				c.FillText(captionStyle, vg.Point{X: left, Y: top - captionStyle.Font.Size}, names[i])
			}
			size := picture.Bounds().Size()
			top -= above
			bottom := top - width*vg.Length(size.Y)/vg.Length(size.X)
			at := vg.Rectangle{Min: vg.Point{X: left, Y: bottom}, Max: vg.Point{X: left + width, Y: top}}
			c.DrawImage(at, enlarged(picture, max(1, 160/max(size.X, size.Y))))
		}
	}), nil
}

// enlarged makes a square of n x n from every pixel, so that nothing that scales the picture blurs it.
func enlarged(small image.Image, n int) image.Image {
	bounds := small.Bounds()
	large := image.NewNRGBA(image.Rect(0, 0, n*bounds.Dx(), n*bounds.Dy()))
	for y := range n * bounds.Dy() {
		for x := range n * bounds.Dx() {
			large.Set(x, y, small.At(bounds.Min.X+x/n, bounds.Min.Y+y/n))
		}
	}
	return large
}
