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
// "avx2" or "", the best that the processor has.
func addKernels(api unsafe.Pointer, choice string) {
	k := &addedKernels{what: "DHKD_KERNELS=off"}
	if choice != "off" {
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
		return "own kernel gradients of convolutions, with " + k.what
	default:
		return "XLA's alone: " + k.what
	}
}

// kernelGradient is how the gradient of dhkd/nn's convolutions with respect to the kernel reads in StableHLO: x and the
// output's gradient, whose batches are summed over. XLA would transpose both through memory first.
var kernelGradient = regexp.MustCompile(`"stablehlo\.convolution"\((?P<x>%\w+), (?P<dy>%\w+)\) \{
\s*batch_group_count = 1 : i64,
\s*dimension_numbers = #stablehlo\.conv<\[f, 0, 1, b\]x\[i, 0, 1, o\]->\[f, b, 0, 1\]>,
\s*feature_group_count = 1 : i64,
\s*lhs_dilation = array<i64: 1, 1>,
\s*padding = dense<\[\[(?P<top>\d+), -?\d+\], \[(?P<left>\d+), -?\d+\]\]> : tensor<2x2xi64>,
\s*precision_config = [^\n]*,
\s*rhs_dilation = array<i64: (?P<stride>\d+), (?P<across>\d+)>,
\s*window_reversal = array<i1: false, false>,
\s*window_strides = array<i64: 1, 1>
\s*\} : (?P<types>\(tensor<[\dx]*x(?P<in>\d+)xf32>, tensor<[\dx]*x(?P<out>\d+)xf32>\) -> tensor<[\dx]*xf32>)`)

const kernelGradientCall = `"stablehlo.custom_call"($x, $dy) {
  api_version = 4 : i32,
  backend_config = {left = $left : i64, stride = $stride : i64, top = $top : i64},
  call_target_name = "dhkd_kernel_gradient",
  operand_layouts = [dense<[3, 2, 1, 0]> : tensor<4xindex>, dense<[3, 2, 1, 0]> : tensor<4xindex>],
  result_layouts = [dense<[3, 2, 1, 0]> : tensor<4xindex>]
} : $types`

// withKernels returns a program with our kernels in place of operations of XLA, or nil if there is nothing to replace.
func withKernels(program []byte) []byte {
	k := lastKernels.Load()
	if k == nil || !k.used {
		return nil
	}
	var result []byte
	end := 0
	for _, at := range kernelGradient.FindAllSubmatchIndex(program, -1) {
		group := func(name string) []byte {
			i := kernelGradient.SubexpIndex(name)
			return program[at[2*i]:at[2*i+1]]
		}
		in, _ := strconv.Atoi(string(group("in")))
		out, _ := strconv.Atoi(string(group("out")))
		if !bytes.Equal(group("stride"), group("across")) || !faster(in, out) {
			continue
		}
		result = append(result, program[end:at[0]]...)
		result = kernelGradient.Expand(result, []byte(kernelGradientCall), program, at)
		end = at[1]
		k.replaced.Add(1)
	}
	if result == nil {
		return nil
	}
	return append(result, program[end:]...)
}

// faster says, by measurement, whether our kernel is faster than XLA's; it must be able to, too: output channels are
// taken sixteen at a time. Of more channels the parts' sums no longer fit the caches.
func faster(in, out int) bool { return out%16 == 0 && in*out <= 128*128 }
