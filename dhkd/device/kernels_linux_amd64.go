//go:build cgo && !noxla

package device

/*
#include "kernels_linux_amd64.h"
*/
import "C"

import (
	"bytes"
	"regexp"
	"strconv"
	"sync/atomic"
	"unsafe"
)

// addedKernels says whether our kernels were offered to the CPU plugin, and what they use, or why not.
type addedKernels struct {
	used     bool
	what     string
	replaced atomic.Int64 // operations of XLA in programs that were compiled or loaded
}

var lastKernels atomic.Pointer[addedKernels]

// addKernels offers our kernels to the programs of the CPU plugin with this PJRT API. The choice is "off",
// "avx2" or "", the best that the processor has; any other is a slip, after which XLA's own are the safe ones.
func addKernels(api unsafe.Pointer, choice string) {
	k := &addedKernels{what: "DHKD_KERNELS=" + choice}
	switch choice {
	default:
		k.what += " is neither off nor avx2"
	case "off":
	case "", "avx2":
		avx512 := C.int(1)
		if choice == "avx2" {
			avx512 = 0
		}
		var what *C.char
		k.used = C.dhkd_add_kernels(api, avx512, &what) != 0
		k.what = C.GoString(what)
	}
	lastKernels.Store(k)
}

// kernels is what "dhkd doctor" says about them.
func kernels() string {
	switch k := lastKernels.Load(); {
	case k == nil:
		return ""
	case k.used:
		return "own for narrow and depthwise convolutions, with " + k.what
	default:
		return "XLA's alone: " + k.what
	}
}

// replacement is an operation of XLA and our kernel in its place, a template of the pattern's groups.
type replacement struct {
	pattern *regexp.Regexp
	call    string
	suits   func(group func(name string) string) bool // the kernel, and it is faster
}

// replacements are dhkd/nn's convolutions, their gradients with respect to the input where the stride is 1, and their
// gradients with respect to the kernel; and all of these of its depthwise convolutions.
var replacements = []replacement{
	forward("o, i", "(?P<out>\\d+)x(?P<in>\\d+)", "${out}x${in}", "1, 0"),
	forward("i, o", "(?P<in>\\d+)x(?P<out>\\d+)", "${in}x${out}", "0, 1"),
	{operation("f, 0, 1, b", "i, 0, 1, o", "f, b, 0, 1", "1, 1", stridePattern,
		`(?P<types>\(tensor<[\dx]*x(?P<in>\d+)xf32>, tensor<[\dx]*x(?P<out>\d+)xf32>\) -> tensor<[\dx]*xf32>)`),
		custom("dhkd_kernel_gradient", "$b", "$types"), narrow},
	depthwise("forward", inOut, filters, inOut),
	depthwise("input_gradient", inOut, filters, inOut),
	depthwise("kernel_gradient", inOut, inOut, filters),
}

const stridePattern = `(?P<stride>\d+), (?P<across>\d+)`

// forward is the convolution with a kernel whose first axes are those, with pattern and template of their sizes,
// and the permutation of them that our kernel [rows, columns, in, out] ends with.
func forward(axes, sizes, template, permutation string) replacement {
	return replacement{operation("b, 0, 1, f", axes+", 0, 1", "b, 0, 1, f", stridePattern, "1, 1",
		`\(tensor<(?P<x>[\dx]+)xf32>, tensor<`+sizes+`x(?P<rows>\d+)x(?P<columns>\d+)xf32>\) -> `+
			`tensor<(?P<y>[\dx]+)xf32>`),
		`%dhkd${id} = "stablehlo.transpose"($b) {permutation = array<i64: 2, 3, ` + permutation + `>} : (` +
			`tensor<` + template + `x${rows}x${columns}xf32>) -> tensor<${rows}x${columns}x${in}x${out}xf32>
  ` + custom("dhkd_convolution", "%dhkd${id}",
			"(tensor<${x}xf32>, tensor<${rows}x${columns}x${in}x${out}xf32>) -> tensor<${y}xf32>"), narrow}
}

// operation matches how a convolution reads in StableHLO: its dimensions, its strides, its dilation and its types.
func operation(a, b, result, strides, dilation, types string) *regexp.Regexp {
	return regexp.MustCompile(`%(?P<id>\w+) = "stablehlo\.convolution"\((?P<a>%\w+), (?P<b>%\w+)\) \{
\s*batch_group_count = 1 : i64,
\s*dimension_numbers = #stablehlo\.conv<\[` + a + `\]x\[` + b + `\]->\[` + result + `\]>,
\s*feature_group_count = 1 : i64,
\s*lhs_dilation = array<i64: 1, 1>,
\s*padding = dense<\[\[(?P<top>\d+), -?\d+\], \[(?P<left>\d+), -?\d+\]\]> : tensor<2x2xi64>,
\s*precision_config = [^\n]*,
\s*rhs_dilation = array<i64: ` + dilation + `>,
\s*window_reversal = array<i1: false, false>,
\s*window_strides = array<i64: ` + strides + `>
\s*\} : ` + types)
}

// custom is a call of our kernel.
func custom(target, b, types string) string {
	return `%$id = "stablehlo.custom_call"($a, ` + b + `) {
    api_version = 4 : i32,
    backend_config = {left = $left : i64, stride = $stride : i64, top = $top : i64},
    call_target_name = "` + target + `",
    operand_layouts = [dense<[3, 2, 1, 0]> : tensor<4xindex>, dense<[3, 2, 1, 0]> : tensor<4xindex>],
    result_layouts = [dense<[3, 2, 1, 0]> : tensor<4xindex>]
  } : ` + types
}

// withKernels returns a program with our kernels in place of operations of XLA, or nil if there is nothing to replace. In
// one for several devices there is not: XLA cannot divide what it does not know.
func withKernels(program []byte) []byte {
	k := lastKernels.Load()
	if k == nil || !k.used || bytes.Contains(program, []byte("sdy.mesh @")) {
		return nil
	}
	all := 0
	for _, r := range replacements {
		var n int
		program, n = r.replace(program)
		all += n
	}
	k.replaced.Add(int64(all))
	if all == 0 {
		return nil
	}
	return program
}

// replace puts our kernel in place of n operations.
func (r replacement) replace(program []byte) (result []byte, n int) {
	end := 0
	for _, at := range r.pattern.FindAllSubmatchIndex(program, -1) {
		group := func(name string) string {
			i := r.pattern.SubexpIndex(name)
			return string(program[at[2*i]:at[2*i+1]])
		}
		if r.suits(group) && !empty.Match(program[at[0]:at[1]]) {
			result = append(result, program[end:at[0]]...)
			result = r.pattern.Expand(result, []byte(r.call), program, at)
			end = at[1]
			n++
		}
	}
	return append(result, program[end:]...), n
}

// empty matches the type of a tensor without elements, by whose sizes our kernels would divide.
var empty = regexp.MustCompile(`tensor<(?:\d+x)*0x`)

// narrow says whether a convolution is one that our kernels compute, with one stride for both axes, and faster than XLA's
// do, by measurement. They take output channels sixteen at a time, and with more channels the sums of the kernel's
// gradient no longer fit the caches.
func narrow(group func(string) string) bool {
	in, _ := strconv.Atoi(group("in"))
	out, _ := strconv.Atoi(group("out"))
	return group("stride") == group("across") && out%16 == 0 && in*out <= 128*128
}

// Types of the maps, and of the kernels that ours take, in a depthwise convolution.
const (
	inOut   = `tensor<[\dx]*xf32>`
	filters = `tensor<(?P<channels>\d+)x1x[1-7]x[1-7]xf32>`
)

// depthwise is a part of a depthwise convolution, of a and b: the body of a function that dhkd/nn calls for it.
func depthwise(part, a, b, result string) replacement {
	name := "dhkd_depthwise_" + part
	return replacement{
		regexp.MustCompile(`(?P<head>func\.func @(?P<id>` + name + `_stride(?P<stride>\d+)_padding(?P<left>(?P<top>\d+))\w*)` +
			`\((?P<a>%a): (?P<x>` + a + `), (?P<b>%b): (?P<y>` + b + `), %y: [^)]*\) -> (?P<result>` + result + `) \{\n)` +
			`\s*"stablehlo\.return"\(%y\)`),
		"${head}" + custom(name, "$b", "(${x}, ${y}) -> ${result}") + "\n\"stablehlo.return\"(%$id)",
		func(group func(string) string) bool {
			channels, _ := strconv.Atoi(group("channels"))
			return channels >= 16
		},
	}
}
