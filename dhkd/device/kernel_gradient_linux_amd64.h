// The gradient of a convolution with respect to its kernel, where y is the gradient of its output:
//
//	kernel[o, i, p, q] = sum over n, r, c of x[n, r stride + p - top, c stride + q - left, i] y[n, r, c, o].
//
// The number of parts that the images are cut into depends on them alone, and the parts' sums are added in their order:
// results do not depend on threads, or on the instructions that are used.

#pragma once

#include "convolution_linux_amd64.h"

// The number of parts, and of floats in one part's sums, which are [kernel_rows, kernel_columns, in, out].
int64_t dhkd_gradient_parts(const convolution *c);
int64_t dhkd_gradient_size(const convolution *c);

// dhkd_gradient_part sets a part's sums. The output's channels must be a multiple of 16.
void dhkd_gradient_part(const convolution *c, int64_t part, float *sums, int avx512);

// dhkd_gradient_add sets what the kernel has of one input channel to the sum of the parts.
void dhkd_gradient_add(const convolution *c, int64_t channel, const float *sums);
