package plots

import (
	"image/color"
	"math"
	"testing"
)

// Every two methods stay apart for readers with each kind of colour vision (Viénot, Brettel and Mollon 1999 simulation;
// distances in CIE Lab, where 2.3 is just noticeable side by side).
func TestPaletteForColourBlindReaders(t *testing.T) {
	identity := [3][3]float64{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}
	for vision, matrix := range map[string][3][3]float64{
		"normal":       identity,
		"protanopia":   {{0.11238, 0.88762, 0}, {0.11238, 0.88762, 0}, {0.00401, -0.00401, 1}},
		"deuteranopia": {{0.29275, 0.70725, 0}, {0.29275, 0.70725, 0}, {-0.02234, 0.02234, 1}},
	} {
		least, pair := math.Inf(1), ""
		for a, ca := range palette {
			for b, cb := range palette {
				if a < b {
					if d := distance(lab(ca, matrix), lab(cb, matrix)); d < least {
						least, pair = d, a+" and "+b
					}
				}
			}
		}
		t.Logf("%s: least distance %.1f, %s", vision, least, pair)
		if least < 15 {
			t.Errorf("%s: %s are only %.1f apart", vision, pair, least)
		}
	}
}

func lab(c color.NRGBA, m [3][3]float64) [3]float64 {
	linear := func(v uint8) float64 {
		x := float64(v) / 255
		if x <= 0.04045 {
			return x / 12.92
		}
		return math.Pow((x+0.055)/1.055, 2.4)
	}
	in := [3]float64{linear(c.R), linear(c.G), linear(c.B)}
	var rgb [3]float64
	for i := range rgb {
		for j := range in {
			rgb[i] += m[i][j] * in[j]
		}
		rgb[i] = math.Min(1, math.Max(0, rgb[i]))
	}
	f := func(t float64) float64 {
		if t > 0.008856 {
			return math.Cbrt(t)
		}
		return 7.787*t + 16.0/116
	}
	x := f((0.4124*rgb[0] + 0.3576*rgb[1] + 0.1805*rgb[2]) / 0.9505)
	y := f(0.2126*rgb[0] + 0.7152*rgb[1] + 0.0722*rgb[2])
	z := f((0.0193*rgb[0] + 0.1192*rgb[1] + 0.9505*rgb[2]) / 1.089)
	return [3]float64{116*y - 16, 500 * (x - y), 200 * (y - z)}
}

func distance(a, b [3]float64) float64 {
	return math.Hypot(math.Hypot(a[0]-b[0], a[1]-b[1]), a[2]-b[2])
}
