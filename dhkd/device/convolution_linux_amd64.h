// A convolution of maps x [images, height, width, in] to y [images, rows, columns, out]:
//
//	y[n, r, c, o] = sum over p, q, i of x[n, r stride + p - top, c stride + q - left, i] kernel[p, q, i, o],
//
// x being zero outside of the map.

#pragma once

#include <stdint.h>

typedef struct {
	float *x, *kernel, *y;
	int64_t images, height, width, in, rows, columns, out;
	int64_t kernel_rows, kernel_columns, stride, top, left;
} convolution;

// A block is some output rows of an image.
int64_t dhkd_convolution_blocks(const convolution *c);

// dhkd_convolution_scratch is how many floats a block needs for a time.
int64_t dhkd_convolution_scratch(const convolution *c);

// dhkd_convolution computes a block. The output's channels must be a multiple of 16.
void dhkd_convolution(const convolution *c, int64_t block, float *scratch, int avx512);
