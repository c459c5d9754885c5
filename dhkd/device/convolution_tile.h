// One set of instructions' convolution: TARGET names them, LANES are the floats of a register, WIDE the output columns
// whose sums for 16 output channels stay in registers.

typedef float LANE __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

// TILE computes wide columns and 16 channels of an output row from padded input rows, pitch floats each, in which the
// input of the next column is step floats further.
TARGET static inline __attribute__((always_inline)) void TILE(const convolution *c, const int wide, const int64_t step,
	const float *x, int64_t pitch, const float *kernel, float *y) {
	LANE sum[WIDE][16 / LANES];
#pragma GCC unroll 16
	for (int w = 0; w < wide; w++)
#pragma GCC unroll 2
		for (int v = 0; v < 16 / LANES; v++) sum[w][v] = (LANE){0};
	for (int64_t p = 0; p < c->kernel_rows; p++, x += pitch) {
		const float *at = x;
		for (int64_t j = 0; j < c->kernel_columns * c->in; j++, at++, kernel += c->out) {
			LANE k[16 / LANES];
#pragma GCC unroll 2
			for (int v = 0; v < 16 / LANES; v++) k[v] = *(const LANE *)(kernel + v * LANES);
#pragma GCC unroll 16
			for (int w = 0; w < wide; w++)
#pragma GCC unroll 2
				for (int v = 0; v < 16 / LANES; v++) sum[w][v] += at[w * step] * k[v];
		}
	}
#pragma GCC unroll 16
	for (int w = 0; w < wide; w++)
#pragma GCC unroll 2
		for (int v = 0; v < 16 / LANES; v++) *(LANE *)(y + w * c->out + v * LANES) = sum[w][v];
}

// ROW computes 16 channels of an output row. A step that is known here is part of the instructions.
TARGET static inline __attribute__((always_inline)) void ROW(const convolution *c, const int64_t step, const float *x,
	int64_t pitch, const float *kernel, float *y) {
	int64_t w = 0;
	for (; w + WIDE <= c->columns; w += WIDE) TILE(c, WIDE, step, x + w * step, pitch, kernel, y + w * c->out);
#if WIDE > 8
	for (; w + 8 <= c->columns; w += 8) TILE(c, 8, step, x + w * step, pitch, kernel, y + w * c->out);
#endif
#if WIDE > 4
	for (; w + 4 <= c->columns; w += 4) TILE(c, 4, step, x + w * step, pitch, kernel, y + w * c->out);
#endif
	for (; w < c->columns; w++) TILE(c, 1, step, x + w * step, pitch, kernel, y + w * c->out);
}

TARGET static void BLOCK(const convolution *c, int64_t n, int64_t from, int64_t to, const float *x, int64_t pitch) {
	int64_t step = c->stride * c->in;
	for (int64_t o = 0; o < c->out; o += 16)
		for (int64_t r = from; r < to; r++) {
			const float *at = x + (r - from) * c->stride * pitch;
			float *y = c->y + (n * c->rows + r) * c->columns * c->out + o;
			switch (step) {
			case 3: ROW(c, 3, at, pitch, c->kernel + o, y); break;
			case 16: ROW(c, 16, at, pitch, c->kernel + o, y); break;
			case 32: ROW(c, 32, at, pitch, c->kernel + o, y); break;
			case 64: ROW(c, 64, at, pitch, c->kernel + o, y); break;
			case 128: ROW(c, 128, at, pitch, c->kernel + o, y); break;
			default: ROW(c, step, at, pitch, c->kernel + o, y);
			}
		}
}

#undef BLOCK
#undef ROW
#undef TILE
#undef TARGET
#undef LANES
#undef WIDE
#undef LANE
