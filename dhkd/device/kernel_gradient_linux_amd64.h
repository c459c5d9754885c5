// The gradient of a convolution with respect to its kernel: for maps x [images, height, width, in] and the gradient dy
// [images, rows, columns, out] of the convolution's output,
//
//	dk[o, i, p, q] = sum over n, r, c of x[n, r stride + p - top, c stride + q - left, i] dy[n, r, c, o].
//
// The number of parts that the images are cut into depends on them alone, and the parts' sums are added in their order:
// results do not depend on threads, or on the instructions that are used.

#pragma once

#include <stdint.h>

typedef struct {
	const float *x, *dy;
	int64_t images, height, width, in, rows, columns, out;
	int64_t kernel_rows, kernel_columns, stride, top, left;
} gradient;

// The number of parts, and of floats in one part's sums, which are [kernel_rows, kernel_columns, in, out].
int64_t dhkd_gradient_parts(const gradient *g);
int64_t dhkd_gradient_size(const gradient *g);

// dhkd_gradient_part sets a part's sums. The output's channels must be a multiple of 16.
typedef void gradient_part(const gradient *g, int64_t part, float *sums);
gradient_part dhkd_gradient_part_avx512, dhkd_gradient_part_avx2;

// dhkd_gradient_add sets what dk has of one input channel to the sum of the parts.
void dhkd_gradient_add(const gradient *g, int64_t channel, const float *sums, float *dk);
