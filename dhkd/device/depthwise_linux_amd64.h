// A convolution of each channel by itself: "in" and "out" of the maps are the same channels, the kernel has in = 1.

#pragma once

#include "convolution_linux_amd64.h"

enum {
	depthwise_kernel = 7,    // the most rows and columns of a kernel
	depthwise_channels = 16, // the fewest
};

// dhkd_depthwise_size is the number of floats in a kernel.
static inline int64_t dhkd_depthwise_size(const convolution *c) { return c->kernel_rows * c->kernel_columns * c->out; }

// dhkd_depthwise_taps writes the kernel [channels, 1, rows, columns] as taps [rows, columns, channels].
void dhkd_depthwise_taps(const convolution *c, float *taps);

// dhkd_depthwise computes an image of y from x and the taps.
void dhkd_depthwise(const convolution *c, int64_t image, const float *taps, int avx512);

// dhkd_depthwise_input_gradient computes an image of x from y and the taps.
void dhkd_depthwise_input_gradient(const convolution *c, int64_t image, const float *taps, int avx512);

// The taps' gradient for x and y is the sum of those of parts, which are some images.
int64_t dhkd_depthwise_parts(const convolution *c);
void dhkd_depthwise_part(const convolution *c, int64_t part, float *taps, int avx512);

// dhkd_depthwise_add writes a tap's sums over all parts' taps to the kernel.
void dhkd_depthwise_add(const convolution *c, int64_t tap, const float *taps);
