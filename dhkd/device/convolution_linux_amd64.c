//go:build cgo && !noxla

#include "convolution_linux_amd64.h"

#include <string.h>

enum { block_bytes = 64 << 10 }; // of padded input rows, for a near cache

#define BLOCK block_avx512
#define ROW row_avx512
#define TILE tile_avx512
#define LANE lane_avx512
#define TARGET __attribute__((target("avx512f")))
#define LANES 16
#define WIDE 16
#include "convolution_tile.h"

#define BLOCK block_avx2
#define ROW row_avx2
#define TILE tile_avx2
#define LANE lane_avx2
#define TARGET __attribute__((target("avx2,fma")))
#define LANES 8
#define WIDE 4
#include "convolution_tile.h"

static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

// pitch is the number of floats in a padded input row.
static int64_t pitch(const convolution *c) { return ((c->columns - 1) * c->stride + c->kernel_columns) * c->in; }

static int64_t block_rows(const convolution *c) {
	int64_t rows = block_bytes / 4 / (pitch(c) * c->stride);
	return rows < 1 ? 1 : least(rows, c->rows);
}

static int64_t blocks_of_image(const convolution *c) { return (c->rows + block_rows(c) - 1) / block_rows(c); }

int64_t dhkd_convolution_blocks(const convolution *c) { return c->images * blocks_of_image(c); }

// padded_rows are the input rows that so many output rows need.
static int64_t padded_rows(const convolution *c, int64_t rows) { return (rows - 1) * c->stride + c->kernel_rows; }

int64_t dhkd_convolution_scratch(const convolution *c) { return padded_rows(c, block_rows(c)) * pitch(c); }

void dhkd_convolution(const convolution *c, int64_t block, float *padded, int avx512) {
	int64_t n = block / blocks_of_image(c), from = block % blocks_of_image(c) * block_rows(c);
	int64_t to = least(from + block_rows(c), c->rows);
	int64_t row = pitch(c), before = least(c->left * c->in, row), inside = least(c->width * c->in, row - before);
	for (int64_t p = 0; p < padded_rows(c, to - from); p++) {
		float *at = padded + p * row;
		int64_t h = from * c->stride + p - c->top;
		if (h < 0 || h >= c->height) {
			memset(at, 0, row * sizeof *at);
			continue;
		}
		memset(at, 0, before * sizeof *at);
		memcpy(at + before, c->x + (n * c->height + h) * c->width * c->in, inside * sizeof *at);
		memset(at + before + inside, 0, (row - before - inside) * sizeof *at);
	}
	(avx512 ? block_avx512 : block_avx2)(c, n, from, to, padded, row);
}
