package plots

import (
	"image/color"
	"math"
	"testing"
)

// Every two methods stay apart for readers with each kind of colour vision (Viénot, Brettel and Mollon 1999 simulation;
// distances in CIE Lab, where 2.3 is just noticeable side by side).
func TestPaletteForColourBlindReaders(t *testing.T) {
	for vision, matrix := range visions {
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

var visions = map[string][3][3]float64{
	"normal":       {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}},
	"protanopia":   {{0.11238, 0.88762, 0}, {0.11238, 0.88762, 0}, {0.00401, -0.00401, 1}},
	"deuteranopia": {{0.29275, 0.70725, 0}, {0.29275, 0.70725, 0}, {-0.02234, 0.02234, 1}},
}

// Groups of dots differ in shape or, as the methods do, in colour.
func TestGroupsForColourBlindReaders(t *testing.T) {
	for vision, matrix := range visions {
		for a := range maxGroups {
			for b := range a {
				sa, sb := groupStyle(a), groupStyle(b)
				d := distance(lab(sa.Color.(color.NRGBA), matrix), lab(sb.Color.(color.NRGBA), matrix))
				if sa.Shape == sb.Shape && d < 15 {
					t.Errorf("%s: groups %d and %d have one shape and are only %.1f apart", vision, b, a, d)
				}
			}
		}
	}
}

// Scales of colours darken steadily, away from zero for values of both signs, and numbers on them can be read.
func TestScales(t *testing.T) {
	luminance := func(c color.Color) float64 {
		n := color.NRGBAModel.Convert(c).(color.NRGBA)
		return 0.2126*linear(n.R) + 0.7152*linear(n.G) + 0.0722*linear(n.B)
	}
	lightness := func(c color.Color) float64 {
		return lab(color.NRGBAModel.Convert(c).(color.NRGBA), visions["normal"])[0]
	}
	for name, s := range map[string]*scale{
		"amounts": amounts(0, 1, ""), "both signs": bothSigns(1, ""), "shares": shares,
	} {
		previous := math.Inf(1)
		for i := range 101 {
			v := s.low + (s.high-s.low)*float64(i)/100
			c, text := luminance(s.colour(v)), luminance(s.textColour(v))
			if contrast := (math.Max(c, text) + 0.05) / (math.Min(c, text) + 0.05); contrast < 3.9 {
				t.Errorf("%s: a number at %g has a contrast of %.1f", name, v, contrast)
			}
			if v < 0 {
				if a, b := lightness(s.colour(v)), lightness(s.colour(-v)); math.Abs(a-b) > 9 {
					t.Errorf("%s: %g has lightness %.0f, %g has %.0f", name, v, a, -v, b)
				}
				continue
			}
			l := lightness(s.colour(v))
			if l > previous {
				t.Errorf("%s: lightness rises at %g", name, v)
			}
			previous = l
		}
	}
}

func linear(v uint8) float64 {
	x := float64(v) / 255
	if x <= 0.04045 {
		return x / 12.92
	}
	return math.Pow((x+0.055)/1.055, 2.4)
}

func lab(c color.NRGBA, m [3][3]float64) [3]float64 {
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
