package dataset

import (
	"bytes"
	"encoding/binary"
	"image"
	"os"
	"slices"
)

// Decoders of JPEG files, whose pixels differ by rounding. That views are made some three times as fast with the second is
// measured by dhkd/internal/bench/loader.
const (
	GoJPEG    = "Go"            // Go's own
	TurboJPEG = "libjpeg-turbo" // where libturbojpeg.so.0 is on the machine
)

// JPEGDecoder is the decoder of JPEG files here, [TurboJPEG] or [GoJPEG], and why. The environment variable
// DHKD_TURBOJPEG=off chooses Go's. Go's also has the files of which libjpeg-turbo does not make what Go's does, or has
// anything to complain about, so that its errors are the same. Some damage within an image's data is found by Go's
// alone: [Verify] uses that.
func JPEGDecoder() (name, why string) {
	switch choice := os.Getenv("DHKD_TURBOJPEG"); {
	case choice != "": // other than off it is a slip, after which what is always there is the safe one
		return GoJPEG, "DHKD_TURBOJPEG=" + choice
	case turboJPEGFound():
		return TurboJPEG, "libturbojpeg.so.0"
	}
	return GoJPEG, "libjpeg-turbo (Debian's libturbojpeg0), some three times as fast, is not on this machine"
}

// turboDecoder decodes plain JPEG files with libjpeg-turbo. It keeps its memory for the next one, and is for one goroutine.
type turboDecoder struct {
	off    bool // for Go's decoder
	handle turboHandle
	planes []uint8
}

// decode returns the image, which lasts until the next one, or nil: the file is one for Go's decoder.
func (t *turboDecoder) decode(file []byte) image.Image {
	if name, _ := JPEGDecoder(); t.off || name != TurboJPEG {
		return nil
	}
	f, ok := plainJPEG(file)
	if !ok {
		return nil
	}
	x, y := 1, 1
	if !f.sampling.grey {
		x, y = chroma(f.sampling.ratio)
	}
	cStride, cHeight := ceilDiv(f.width, x), ceilDiv(f.height, y)
	stride := cStride * x // luminance has whole blocks of what shares a value of chrominance
	luma, part := stride*cHeight*y, cStride*cHeight
	if f.sampling.grey {
		part = 0
	}
	planes := t.planes
	if n := luma + 2*part; n > cap(planes) {
		planes = make([]uint8, n)
		if f.width*f.height <= largeImage {
			t.planes = planes
		}
	}
	lum, cb, cr := planes[:luma:luma], planes[luma:luma+part], planes[luma+part:luma+2*part]
	if !t.handle.decode(file, f, lum, cb, cr, stride, cStride) {
		return nil
	}
	rect := image.Rect(0, 0, f.width, f.height)
	if f.sampling.grey {
		return &image.Gray{Pix: lum, Stride: stride, Rect: rect}
	}
	return &image.YCbCr{Y: lum, Cb: cb, Cr: cr, YStride: stride, CStride: cStride, SubsampleRatio: f.sampling.ratio, Rect: rect}
}

// frame is what a plain JPEG is of.
type frame struct {
	width, height int
	sampling      sampling
}

// sampling is how components of a JPEG are sampled: their factors along x and y, four bits each.
type sampling struct {
	factors []byte
	ratio   image.YCbCrSubsampleRatio
	grey    bool
	turbo   int // libjpeg-turbo's number
}

var samplings = []sampling{
	{[]byte{0x11, 0x11, 0x11}, image.YCbCrSubsampleRatio444, false, 0},
	{[]byte{0x21, 0x11, 0x11}, image.YCbCrSubsampleRatio422, false, 1},
	{[]byte{0x22, 0x11, 0x11}, image.YCbCrSubsampleRatio420, false, 2},
	{[]byte{0x11}, 0, true, 3},
	{[]byte{0x12, 0x11, 0x11}, image.YCbCrSubsampleRatio440, false, 4},
}

// Markers of a JPEG.
const (
	baselineFrame, progressiveFrame            = 0xc0, 0xc2
	huffmanTables, quantisation, restarts      = 0xc4, 0xdb, 0xdd
	firstRestart, lastRestart                  = 0xd0, 0xd7
	endOfImage, startOfScan                    = 0xd9, 0xda
	application0, application14, application15 = 0xe0, 0xee, 0xef
	comment                                    = 0xfe
)

// plainJPEG is the frame of a JPEG of which both decoders make the same: complete, baseline or progressive, of 8 bits, with
// usual sampling. They differ with others, as where scans of a progressive one are missing, which libjpeg-turbo smooths.
func plainJPEG(file []byte) (f frame, ok bool) {
	var ids []byte           // of the components
	var missing [3][64]uint8 // low bits of each coefficient
	progressive, restarting, scanned := false, false, false
	for i := 2; ; {
		if i+2 > len(file) || file[i] != 0xff {
			return f, false
		}
		marker := file[i+1]
		switch marker {
		case 0xff: // fills
			i++
			continue
		case endOfImage:
			for c := range ids {
				if missing[c] != [64]uint8{} {
					return f, false
				}
			}
			return f, scanned
		}
		if i+4 > len(file) {
			return f, false
		}
		end := i + 2 + int(binary.BigEndian.Uint16(file[i+2:]))
		if end < i+4 || end > len(file) {
			return f, false
		}
		segment := file[i+4 : end]
		i = end
		switch {
		case marker >= baselineFrame && marker <= progressiveFrame:
			if ids != nil {
				return f, false
			}
			if f, ids = parseFrame(segment); ids == nil {
				return f, false
			}
			progressive = marker == progressiveFrame
			for c := range missing {
				for k := range missing[c] {
					missing[c][k] = 0xff
				}
			}
		case marker == startOfScan:
			if i = endOfScan(file, i); i < 0 || !parseScan(segment, ids, progressive, &missing) {
				return f, false
			}
			if progressive && restarting { // Go counts other units between restarts
				return f, false
			}
			scanned = true
		case marker == quantisation: // decoders take the first tables, or the last
			if scanned {
				return f, false
			}
		case marker == restarts:
			if scanned || len(segment) != 2 {
				return f, false
			}
			restarting = segment[0]|segment[1] != 0
		case marker == application0 || marker == application14: // they say what the colours are
			if ids != nil {
				return f, false
			}
		case marker != huffmanTables && marker != comment && (marker < application0 || marker > application15):
			return f, false
		}
	}
}

// parseFrame returns the components' names, or nil.
func parseFrame(segment []byte) (f frame, ids []byte) {
	if len(segment) < 9 || len(segment) != 6+3*int(segment[5]) || segment[0] != 8 {
		return f, nil
	}
	f.height, f.width = int(binary.BigEndian.Uint16(segment[1:])), int(binary.BigEndian.Uint16(segment[3:]))
	var factors []byte
	for c := 6; c < len(segment); c += 3 {
		ids, factors = append(ids, segment[c]), append(factors, segment[c+1])
	}
	at := slices.IndexFunc(samplings, func(s sampling) bool { return bytes.Equal(s.factors, factors) })
	if at < 0 || f.width == 0 || f.height == 0 {
		return f, nil
	}
	f.sampling = samplings[at]
	return f, ids
}

// parseScan notes which bits of which coefficients a scan has.
func parseScan(segment, ids []byte, progressive bool, missing *[3][64]uint8) bool {
	if len(segment) < 6 || len(segment) != 4+2*int(segment[0]) {
		return false
	}
	first, last, low := 0, 63, uint8(0)
	if end := segment[len(segment)-3:]; progressive {
		first, last, low = int(end[0]), int(end[1]), end[2]&15
	} else if int(segment[0]) != len(ids) {
		return false
	}
	if first > last || last > 63 {
		return false
	}
	for c := 1; c < len(segment)-3; c += 2 {
		component := bytes.IndexByte(ids, segment[c])
		if component < 0 || segment[c+1]&^0x11 != 0 { // of tables that a baseline one may not have
			return false
		}
		for k := first; k <= last; k++ {
			missing[component][k] = low
		}
	}
	return true
}

// endOfScan is where the marker after the scan's data is, or -1.
func endOfScan(file []byte, i int) int {
	for {
		n := bytes.IndexByte(file[i:], 0xff)
		if n < 0 || i+n+1 == len(file) {
			return -1
		}
		i += n
		switch next := file[i+1]; {
		case next == 0 || next >= firstRestart && next <= lastRestart:
			i += 2
		case next == 0xff:
			i++
		default:
			return i
		}
	}
}
