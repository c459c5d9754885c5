//go:build cgo && !noxla

#include "depthwise_linux_amd64.h"

enum { most_parts = 16 };

// span are places along an axis, from first up to end.
typedef struct {
	int64_t first, end;
} span;

// inside are the places i of n for which i stride + offset is one of size.
static inline span inside(int64_t n, int64_t size, int64_t stride, int64_t offset) {
	int64_t first = offset < 0 ? (stride - 1 - offset) / stride : 0;
	int64_t end = size > offset ? (size - offset + stride - 1) / stride : 0;
	end = end < n ? end : n;
	return (span){first < end ? first : end, end};
}

#define LANE lane_avx512
#define LANES 16
#define TARGET __attribute__((target("avx512f")))
#define FEW few_avx512
#define PIXEL pixel_avx512
#define SUMS sums_avx512
#define CHANNELS channels_avx512
#define PART part_avx512
#include "depthwise_tile.h"

#define LANE lane_avx2
#define LANES 8
#define TARGET __attribute__((target("avx2,fma")))
#define FEW few_avx2
#define PIXEL pixel_avx2
#define SUMS sums_avx2
#define CHANNELS channels_avx2
#define PART part_avx2
#include "depthwise_tile.h"

void dhkd_depthwise_taps(const convolution *c, float *taps) {
	int64_t places = c->kernel_rows * c->kernel_columns;
	for (int64_t o = 0; o < c->out; o++)
		for (int64_t k = 0; k < places; k++) taps[k * c->out + o] = c->kernel[o * places + k];
}

// look is a tap along an axis, and the place that it looks at.
typedef struct {
	int64_t tap, at;
} look;

// forward lists what place i of y looks at in x, which has size places.
static int forward(int64_t i, int64_t stride, int64_t before, int64_t kernel, int64_t size, look *all) {
	int n = 0;
	for (int64_t k = 0; k < kernel; k++) {
		int64_t at = i * stride + k - before;
		if (at >= 0 && at < size) all[n++] = (look){k, at};
	}
	return n;
}

// backward lists which places of y, of size, look at place i of x.
static int backward(int64_t i, int64_t stride, int64_t before, int64_t kernel, int64_t size, look *all) {
	int n = 0;
	int64_t k = (i + before) % stride, at = (i + before) / stride;
	for (; k < kernel; k += stride, at--)
		if (at >= 0 && at < size) all[n++] = (look){k, at};
	return n;
}

// gather computes maps [rows, columns, channels] from maps [height, width, channels].
static inline __attribute__((always_inline)) void gather(const convolution *c,
	int (*looks)(int64_t i, int64_t stride, int64_t before, int64_t kernel, int64_t size, look *all), const float *from,
	int64_t height, int64_t width, const float *taps, float *to, int64_t rows, int64_t columns, int avx512) {
	for (int64_t r = 0; r < rows; r++) {
		look along[depthwise_kernel], across[depthwise_kernel];
		int ps = looks(r, c->stride, c->top, c->kernel_rows, height, along);
		for (int64_t column = 0; column < columns; column++, to += c->out) {
			int qs = looks(column, c->stride, c->left, c->kernel_columns, width, across), n = 0;
			const float *maps[depthwise_kernel * depthwise_kernel], *weights[depthwise_kernel * depthwise_kernel];
			for (int p = 0; p < ps; p++)
				for (int q = 0; q < qs; q++, n++) {
					maps[n] = from + (along[p].at * width + across[q].at) * c->out;
					weights[n] = taps + (along[p].tap * c->kernel_columns + across[q].tap) * c->out;
				}
			(avx512 ? pixel_avx512 : pixel_avx2)(n, maps, weights, c->out, to);
		}
	}
}

void dhkd_depthwise(const convolution *c, int64_t image, const float *taps, int avx512) {
	gather(c, forward, c->x + image * c->height * c->width * c->out, c->height, c->width, taps,
		c->y + image * c->rows * c->columns * c->out, c->rows, c->columns, avx512);
}

void dhkd_depthwise_input_gradient(const convolution *c, int64_t image, const float *taps, int avx512) {
	gather(c, backward, c->y + image * c->rows * c->columns * c->out, c->rows, c->columns, taps,
		c->x + image * c->height * c->width * c->out, c->height, c->width, avx512);
}

int64_t dhkd_depthwise_parts(const convolution *c) { return c->images < most_parts ? c->images : most_parts; }

void dhkd_depthwise_part(const convolution *c, int64_t part, float *taps, int avx512) {
	int64_t parts = dhkd_depthwise_parts(c);
	(avx512 ? part_avx512 : part_avx2)(c, c->images * part / parts, c->images * (part + 1) / parts, taps);
}

void dhkd_depthwise_add(const convolution *c, int64_t tap, const float *taps) {
	int64_t places = c->kernel_rows * c->kernel_columns, parts = dhkd_depthwise_parts(c);
	for (int64_t o = 0; o < c->out; o++) {
		float sum = 0;
		for (int64_t p = 0; p < parts; p++) sum += taps[(p * places + tap) * c->out + o];
		c->kernel[o * places + tap] = sum;
	}
}
