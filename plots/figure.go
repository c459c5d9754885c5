package plots

import (
	"bytes"
	"fmt"
	"html"
	"image/color"
	"io"
	"os"
	"path/filepath"
	"strings"

	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Options are choices of the figure's look. The zero value is good for a page or a notebook.
type Options struct {
	Title string  // in place of the figure's own title
	Width float64 // in inches, 3 to 20, a phone's layout below 5.5; 0 means 7.5. The height follows from the content.
	DPI   int     // dots per inch of the PNG, 30 to 600; 0 means 200
}

// resolve fills in what was left out.
func (o Options) resolve(title string) (Options, error) {
	if o.Title = Printable(o.Title, 120); o.Title == "" {
		o.Title = title
	}
	if o.Width == 0 {
		o.Width = 7.5
	}
	if o.DPI == 0 {
		o.DPI = 200
	}
	if !(o.Width >= 3 && o.Width <= 20) {
		return o, fmt.Errorf("figure width %v inches: not within 3 to 20", o.Width)
	}
	if o.DPI < 30 || o.DPI > 600 {
		return o, fmt.Errorf("figure DPI %d: not within 30 to 600", o.DPI)
	}
	return o, nil
}

func (o Options) narrow() bool { return o.Width < 5.5 }

// Figure is a drawing that can be written in several formats.
type Figure struct {
	// Alt says in words what the figure shows, with its numbers: the text alternative for readers who cannot see it.
	Alt    string
	width  vg.Length
	height vg.Length
	dpi    int
	draw   func(draw.Canvas)
}

// PNG returns the figure as a PNG image.
func (f *Figure) PNG() ([]byte, error) {
	c := vgimg.PngCanvas{Canvas: vgimg.NewWith(vgimg.UseWH(f.width, f.height), vgimg.UseDPI(f.dpi))}
	f.draw(draw.New(c))
	return written(c)
}

// SVG returns the figure as an SVG document. Its text is text, in Liberation Sans or what stands in for it.
func (f *Figure) SVG() ([]byte, error) {
	c := &svgCanvas{Canvas: vgsvg.New(f.width, f.height)}
	f.draw(draw.New(c))
	svg, err := written(c)
	if err != nil {
		return nil, err
	}
	svg = c.withLengths(svg)
	svg = bytes.ReplaceAll(svg, []byte("data:image/jpg;"), []byte("data:image/png;")) // gonum/plot writes PNG and says JPEG
	const family = "font-family:Liberation Sans;"
	return bytes.ReplaceAll(svg, []byte(family), []byte("font-family:'Liberation Sans',Arial,Helvetica,sans-serif;")), nil
}

// svgCanvas notes how wide each text is in the font that the layout was measured with. Where a reader's machine has
// another font, the text is fitted to that width and never runs into its neighbour.
type svgCanvas struct {
	*vgsvg.Canvas
	lengths []vg.Length
}

func (c *svgCanvas) FillString(face font.Face, at vg.Point, text string) {
	c.lengths = append(c.lengths, face.Width(text))
	c.Canvas.FillString(face, at, text)
}

// withLengths adds the widths to the text elements, which come in the same order.
func (c *svgCanvas) withLengths(svg []byte) []byte {
	const element = "<text "
	parts := bytes.Split(svg, []byte(element)) // text itself has no "<"
	var b bytes.Buffer
	b.Write(parts[0])
	for i, part := range parts[1:] {
		b.WriteString(element)
		if c.lengths[i] > 0 {
			fmt.Fprintf(&b, `textLength="%.2f" lengthAdjust="spacingAndGlyphs" `, c.lengths[i].Points())
		}
		b.Write(part)
	}
	return b.Bytes()
}

// InlineSVG returns the figure as an <svg> element for a page of HTML, with Alt as its text alternative. Its neutral
// colours are the CSS custom properties --figure-ink, -muted, -grid, -rule, -surface and -alarm, so that a page can
// have a dark mode; where the page does not set them they are those of [Figure.SVG].
func (f *Figure) InlineSVG() (string, error) {
	svg, err := f.SVG()
	if err != nil {
		return "", err
	}
	text := string(svg)
	text = text[strings.Index(text, "<svg ")+len("<svg "):] // without the XML declaration
	return `<svg role="img" aria-label="` + html.EscapeString(f.Alt) + `" ` + themed.Replace(text), nil
}

// themed turns the neutral colours into custom properties.
var themed = func() *strings.Replacer {
	var pairs []string
	for name, c := range map[string]color.NRGBA{
		"ink": ink, "muted": muted, "grid": grid, "rule": rule, "surface": surface, "alarm": alarm,
	} {
		hex := fmt.Sprintf("#%02X%02X%02X", c.R, c.G, c.B)
		for _, use := range []string{"fill:", "stroke:"} {
			pairs = append(pairs, use+hex, fmt.Sprintf("%svar(--figure-%s,%s)", use, name, hex))
		}
	}
	return strings.NewReplacer(pairs...)
}()

// Save writes the figure to path, as PNG or SVG by its extension. The file is whole or, after an error, as it was
// before.
func (f *Figure) Save(path string) error {
	encode := f.PNG
	switch ext := strings.ToLower(filepath.Ext(path)); ext {
	case ".png":
	case ".svg":
		encode = f.SVG
	default:
		return fmt.Errorf("cannot save a figure as %s: the extension must be .png or .svg", path)
	}
	content, err := encode()
	if err != nil {
		return fmt.Errorf("cannot draw %s: %w", path, err)
	}
	if err := replace(path, content); err != nil {
		return fmt.Errorf("cannot write %s (nothing was changed): %w", path, err)
	}
	return nil
}

func written(w io.WriterTo) ([]byte, error) {
	var b bytes.Buffer
	_, err := w.WriteTo(&b)
	return b.Bytes(), err
}

// replace writes content beside path and renames it into place.
func replace(path string, content []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*.tmp")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails once it is renamed
	_, err = f.Write(content)
	for _, step := range []func() error{f.Sync, func() error { return f.Chmod(0o644) }, f.Close} {
		if stepErr := step(); err == nil {
			err = stepErr
		}
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
