package dataset

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math"
	"math/rand/v2"
	"sync"
)

// Limits of an image file, so that a hostile one costs little: what is larger is refused before it is decoded.
const (
	maxImageBytes  = 64 << 20
	maxImagePixels = 1 << 30 / 4 / 3 // where Pillow warns of a decompression bomb
	largeImage     = 16 << 20        // pixels; of larger ones, one at a time is decoded
)

var largeImages sync.Mutex

// decoder makes views of image files. It keeps its memory for the next one, and is for one goroutine, which closes it.
type decoder struct {
	resizer
	turbo  turboDecoder
	planes [3][]uint8
}

func (d *decoder) close() { d.turbo.handle.free() }

// view decodes a JPEG or PNG file, of whatever name, and writes its view to out, [Side, Side, 3]. A random view is drawn from
// r; nil gives the centre. Grey, CMYK and palettes become RGB and transparency is dropped, as Pillow's convert("RGB") has it.
//
// A JPEG's luminance and chrominance are resized before they become RGB, which saves most of the work; the result differs
// from Pillow's by rounding, and where saturated colours meet.
func (d *decoder) view(out, file []uint8, v View, r *rand.Rand) error {
	var read func() (image.Image, error)
	var config image.Config
	var err error
	switch reader := bytes.NewReader(file); {
	case bytes.HasPrefix(file, []byte("\xff\xd8")):
		config, err = jpeg.DecodeConfig(reader)
		read = func() (image.Image, error) {
			if m := d.turbo.decode(file); m != nil {
				return m, nil
			}
			return jpeg.Decode(bytes.NewReader(file))
		}
	case bytes.HasPrefix(file, []byte("\x89PNG\r\n\x1a\n")):
		config, err = png.DecodeConfig(reader)
		read = func() (image.Image, error) { return png.Decode(bytes.NewReader(file)) }
	case len(file) == 0:
		return errors.New("it is empty")
	default:
		return errors.New("it is neither JPEG nor PNG")
	}
	if err != nil {
		return err
	}
	width, height := config.Width, config.Height
	if width < 1 || height < 1 || width > maxImagePixels/height {
		return fmt.Errorf("it says that it has %d x %d pixels; 1 to %d are decoded", width, height, maxImagePixels)
	}
	if width*height > largeImage {
		largeImages.Lock()
		defer largeImages.Unlock()
	}
	decoded, err := read()
	if err != nil {
		return err
	}
	if b := decoded.Bounds(); b.Min != (image.Point{}) || b.Dx() != width || b.Dy() != height {
		return fmt.Errorf("it says that it has %d x %d pixels, and has %d x %d", width, height, b.Dx(), b.Dy())
	}
	w := v.center(width, height)
	if r != nil {
		w = v.random(width, height, r)
	}
	d.render(out, decoded, w, v.Side)
	if w.mirrored {
		mirror(out, v.Side)
	}
	return nil
}

// render writes the window of the image to out.
func (d *decoder) render(out []uint8, m image.Image, w window, side int) {
	b := m.Bounds()
	resize := func(out []uint8, step int, p plane, ratioX, ratioY int) {
		x, y := w.x/ratioX, w.y/ratioY
		endX, endY := ceilDiv(b.Dx(), ratioX), ceilDiv(b.Dy(), ratioY)
		if w.clipped {
			endX, endY = min(endX, ceilDiv(w.x+w.width, ratioX)), min(endY, ceilDiv(w.y+w.height, ratioY))
		} else {
			x, y = 0, 0
		}
		low := func(at, ratio, start int) float64 { return float64(at)/float64(ratio) - float64(start) }
		ax := newAxis(endX-x, low(w.x, ratioX, x), low(w.x+w.width, ratioX, x), w.toWidth, w.left, side)
		ay := newAxis(endY-y, low(w.y, ratioY, y), low(w.y+w.height, ratioY, y), w.toHeight, w.top, side)
		p.pixels = p.pixels[y*p.stride+x*p.step:]
		d.resize(out, step, p, ax, ay)
	}
	switch m := m.(type) {
	case *image.YCbCr:
		ratioX, ratioY := chroma(m.SubsampleRatio)
		for i := range d.planes {
			if len(d.planes[i]) != side*side {
				d.planes[i] = make([]uint8, side*side)
			}
		}
		resize(d.planes[0], 1, plane{m.Y, m.YStride, 1}, 1, 1)
		resize(d.planes[1], 1, plane{m.Cb, m.CStride, 1}, ratioX, ratioY)
		resize(d.planes[2], 1, plane{m.Cr, m.CStride, 1}, ratioX, ratioY)
		for i, y := range d.planes[0] {
			out[3*i], out[3*i+1], out[3*i+2] = color.YCbCrToRGB(y, d.planes[1][i], d.planes[2][i])
		}
	case *image.Gray:
		resize(out, 3, plane{m.Pix, m.Stride, 1}, 1, 1)
		for i := 0; i < len(out); i += 3 {
			out[i+1], out[i+2] = out[i], out[i]
		}
	default:
		pixels, stride, step := interleaved(m)
		for c := range 3 {
			resize(out[c:], 3, plane{pixels[c:], stride, step}, 1, 1)
		}
	}
}

func ceilDiv(n, d int) int { return (n + d - 1) / d }

// chroma is how many pixels share a value of chrominance, along x and y.
func chroma(ratio image.YCbCrSubsampleRatio) (x, y int) {
	switch ratio {
	case image.YCbCrSubsampleRatio422:
		return 2, 1
	case image.YCbCrSubsampleRatio420:
		return 2, 2
	case image.YCbCrSubsampleRatio440:
		return 1, 2
	case image.YCbCrSubsampleRatio411:
		return 4, 1
	case image.YCbCrSubsampleRatio410:
		return 4, 2
	}
	return 1, 1
}

// interleaved is an image as red, green and blue with a step of 3 or 4.
func interleaved(m image.Image) (pixels []uint8, stride, step int) {
	switch m := m.(type) {
	case *image.RGBA: // opaque, as decoders make them
		return m.Pix, m.Stride, 4
	case *image.NRGBA:
		return m.Pix, m.Stride, 4
	}
	b := m.Bounds()
	pixels = make([]uint8, 0, b.Dx()*b.Dy()*3)
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			if c, ok := m.(*image.CMYK); ok {
				v := c.CMYKAt(x, y)
				light := 255 - int(v.K)
				pixels = append(pixels, ink(v.C, light), ink(v.M, light), ink(v.Y, light))
				continue
			}
			c := color.NRGBAModel.Convert(m.At(x, y)).(color.NRGBA)
			pixels = append(pixels, c.R, c.G, c.B)
		}
	}
	return pixels, b.Dx() * 3, 3
}

// ink is the light that is left of that much by an ink.
func ink(c uint8, light int) uint8 { return uint8(light - int(math.Round(float64(int(c)*light)/255))) }

func mirror(pixels []uint8, side int) {
	for y := range side {
		row := pixels[y*side*3 : (y+1)*side*3]
		for i, j := 0, len(row)-3; i < j; i, j = i+3, j-3 {
			row[i], row[i+1], row[i+2], row[j], row[j+1], row[j+2] = row[j], row[j+1], row[j+2], row[i], row[i+1], row[i+2]
		}
	}
}
