// One set of instructions' part of the gradient: TARGET names them, LANES are the floats of a register, DEPTH the input
// channels whose sums with 16 output channels stay in registers.

typedef float LANE __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

// TILE adds what rows from..to-1, of those of all images, have of the sums of place (p, q) of the kernel, depth input
// channels from i and 16 output channels from o.
TARGET static inline __attribute__((always_inline)) void TILE(const convolution *c, const int depth, int64_t from,
	int64_t to, int64_t p, int64_t q, int64_t i, int64_t o, float *sums) {
	LANE sum[DEPTH][16 / LANES];
	float *at = sums + ((p * c->kernel_columns + q) * c->in + i) * c->out + o;
#pragma GCC unroll 16
	for (int d = 0; d < depth; d++)
#pragma GCC unroll 2
		for (int v = 0; v < 16 / LANES; v++) sum[d][v] = *(LANE *)(at + d * c->out + v * LANES);
	// The columns whose pixel is inside the map: 0 <= c stride + q - left < width.
	int64_t stride = c->stride, first = most(0, (c->left - q + stride - 1) / stride);
	int64_t reach = c->width - 1 + c->left - q, last = reach < 0 ? 0 : least(c->columns, reach / stride + 1);
	for (int64_t r = from; r < to; r++) {
		int64_t h = r % c->rows * stride + p - c->top;
		if (h < 0 || h >= c->height) continue;
		const float *x = c->x + ((r / c->rows * c->height + h) * c->width + first * stride + q - c->left) * c->in + i;
		const float *dy = c->y + (r * c->columns + first) * c->out + o;
		for (int64_t column = first; column < last; column++, x += stride * c->in, dy += c->out) {
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
		for (int v = 0; v < 16 / LANES; v++) *(LANE *)(at + d * c->out + v * LANES) = sum[d][v];
}

TARGET static void PART(const convolution *c, int64_t part, float *sums) {
	int64_t parts = dhkd_gradient_parts(c);
	int64_t from = c->images * part / parts * c->rows, end = c->images * (part + 1) / parts * c->rows;
	int64_t step = most(1, block_bytes / 4 / (c->stride * c->width * c->in + c->columns * c->out));
	memset(sums, 0, dhkd_gradient_size(c) * sizeof *sums);
	for (int64_t to; from < end; from = to) {
		to = least(from + step, end);
		for (int64_t p = 0; p < c->kernel_rows; p++)
			for (int64_t q = 0; q < c->kernel_columns; q++)
				for (int64_t i = 0, n; i < c->in; i += n) {
					n = c->in - i;
					n = n >= DEPTH ? DEPTH : n >= 4 ? 4 : n;
					for (int64_t o = 0; o < c->out; o += 16)
						switch (n) {
						case 1: TILE(c, 1, from, to, p, q, i, o, sums); break;
						case 2: TILE(c, 2, from, to, p, q, i, o, sums); break;
						case 3: TILE(c, 3, from, to, p, q, i, o, sums); break;
						case 4: TILE(c, 4, from, to, p, q, i, o, sums); break;
						default: TILE(c, DEPTH, from, to, p, q, i, o, sums);
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
