// One set of instructions' part of the gradient: TARGET names them, LANES are the floats of a register, DEPTH the input
// channels whose sums with 16 output channels stay in registers.

typedef float LANE __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

// TILE adds what rows from..to-1, of those of all images, have of the sums of place (p, q) of the kernel, depth input
// channels from i and 16 output channels from o.
TARGET static inline __attribute__((always_inline)) void TILE(const gradient *g, const int depth, int64_t from,
	int64_t to, int64_t p, int64_t q, int64_t i, int64_t o, float *sums) {
	LANE sum[DEPTH][16 / LANES];
	float *at = sums + ((p * g->kernel_columns + q) * g->in + i) * g->out + o;
#pragma GCC unroll 16
	for (int d = 0; d < depth; d++)
#pragma GCC unroll 2
		for (int v = 0; v < 16 / LANES; v++) sum[d][v] = *(LANE *)(at + d * g->out + v * LANES);
	// The columns whose pixel is inside the map: 0 <= c stride + q - left < width.
	int64_t stride = g->stride, first = most(0, (g->left - q + stride - 1) / stride);
	int64_t reach = g->width - 1 + g->left - q, last = reach < 0 ? 0 : least(g->columns, reach / stride + 1);
	for (int64_t r = from; r < to; r++) {
		int64_t h = r % g->rows * stride + p - g->top;
		if (h < 0 || h >= g->height) continue;
		const float *x = g->x + ((r / g->rows * g->height + h) * g->width + first * stride + q - g->left) * g->in + i;
		const float *dy = g->dy + (r * g->columns + first) * g->out + o;
		for (int64_t c = first; c < last; c++, x += stride * g->in, dy += g->out) {
			LANE y[16 / LANES];
#pragma GCC unroll 2
			for (int v = 0; v < 16 / LANES; v++) y[v] = *(const LANE *)(dy + v * LANES);
#pragma GCC unroll 16
			for (int d = 0; d < depth; d++)
#pragma GCC unroll 2
				for (int v = 0; v < 16 / LANES; v++) sum[d][v] += x[d] * y[v];
		}
	}
#pragma GCC unroll 16
	for (int d = 0; d < depth; d++)
#pragma GCC unroll 2
		for (int v = 0; v < 16 / LANES; v++) *(LANE *)(at + d * g->out + v * LANES) = sum[d][v];
}

TARGET void PART(const gradient *g, int64_t part, float *sums) {
	int64_t parts = dhkd_gradient_parts(g);
	int64_t from = g->images * part / parts * g->rows, end = g->images * (part + 1) / parts * g->rows;
	int64_t step = most(1, block_bytes / 4 / (g->stride * g->width * g->in + g->columns * g->out));
	memset(sums, 0, dhkd_gradient_size(g) * sizeof *sums);
	for (int64_t to; from < end; from = to) {
		to = least(from + step, end);
		for (int64_t p = 0; p < g->kernel_rows; p++)
			for (int64_t q = 0; q < g->kernel_columns; q++)
				for (int64_t i = 0, n; i < g->in; i += n) {
					n = g->in - i;
					n = n >= DEPTH ? DEPTH : n >= 4 ? 4 : n;
					for (int64_t o = 0; o < g->out; o += 16)
						switch (n) {
						case 1: TILE(g, 1, from, to, p, q, i, o, sums); break;
						case 2: TILE(g, 2, from, to, p, q, i, o, sums); break;
						case 3: TILE(g, 3, from, to, p, q, i, o, sums); break;
						case 4: TILE(g, 4, from, to, p, q, i, o, sums); break;
						default: TILE(g, DEPTH, from, to, p, q, i, o, sums);
						}
				}
	}
}

#undef PART
#undef TILE
#undef TARGET
#undef LANES
#undef DEPTH
#undef LANE
