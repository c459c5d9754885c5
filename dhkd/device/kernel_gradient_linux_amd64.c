//go:build cgo && !noxla

#include "kernel_gradient_linux_amd64.h"

#include <string.h>

enum {
	most_parts = 16,
	block_bytes = 128 << 10, // of maps that are read again for every place of the kernel, from a near cache
};

static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

int64_t dhkd_gradient_parts(const convolution *c) { return most(1, least(c->images, most_parts)); }

int64_t dhkd_gradient_size(const convolution *c) { return c->kernel_rows * c->kernel_columns * c->in * c->out; }

#define PART part_avx512
#define LANE lane_avx512
#define TILE tile_avx512
#define TARGET __attribute__((target("avx512f")))
#define LANES 16
#define DEPTH 16
#include "kernel_gradient_tile.h"

#define PART part_avx2
#define LANE lane_avx2
#define TILE tile_avx2
#define TARGET __attribute__((target("avx2,fma")))
#define LANES 8
#define DEPTH 6
#include "kernel_gradient_tile.h"

void dhkd_gradient_part(const convolution *c, int64_t part, float *sums, int avx512) {
	(avx512 ? part_avx512 : part_avx2)(c, part, sums);
}

// Sixteen sums of parts, which the compiler cuts into what the processor has.
typedef float sixteen __attribute__((vector_size(64), aligned(4), may_alias));

void dhkd_gradient_add(const convolution *c, int64_t channel, const float *sums) {
	int64_t parts = dhkd_gradient_parts(c), size = dhkd_gradient_size(c), places = c->kernel_rows * c->kernel_columns;
	for (int64_t k = 0; k < places; k++)
		for (int64_t o = 0; o < c->out; o += 16) {
			const float *at = sums + (k * c->in + channel) * c->out + o;
			sixteen sum = *(const sixteen *)at;
			for (int64_t p = 1; p < parts; p++) sum += *(const sixteen *)(at + p * size);
			for (int l = 0; l < 16; l++) c->kernel[((o + l) * c->in + channel) * places + k] = sum[l];
		}
}
