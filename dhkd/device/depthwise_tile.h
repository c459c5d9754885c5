// One set of instructions' part of it: TARGET names them, LANES are the floats of a register.

typedef float LANE __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

// FEW computes few registers of channels from o, of a pixel that n places of maps and taps contribute to.
TARGET static inline __attribute__((always_inline)) void FEW(const int few, int n, const float *const *maps,
	const float *const *taps, int64_t o, float *to) {
	LANE sum[4];
#pragma GCC unroll 4
	for (int v = 0; v < few; v++) sum[v] = (LANE){0};
	for (int t = 0; t < n; t++)
#pragma GCC unroll 4
		for (int v = 0; v < few; v++)
			sum[v] += *(const LANE *)(maps[t] + o + v * LANES) * *(const LANE *)(taps[t] + o + v * LANES);
#pragma GCC unroll 4
	for (int v = 0; v < few; v++) *(LANE *)(to + o + v * LANES) = sum[v];
}

TARGET static void PIXEL(int n, const float *const *maps, const float *const *taps, int64_t channels, float *to) {
	int64_t o = 0;
	for (; o + 4 * LANES <= channels; o += 4 * LANES) FEW(4, n, maps, taps, o, to);
	for (; o + LANES <= channels; o += LANES) FEW(1, n, maps, taps, o, to);
	if (o < channels) FEW(1, n, maps, taps, channels - LANES, to); // some channels once more
}

// SUMS adds up a tap's products over columns of a row, for few registers of channels.
TARGET static inline __attribute__((always_inline)) void SUMS(const int few, int64_t columns, const float *x,
	int64_t step, const float *y, int64_t channels, LANE *sum) {
	LANE s[4];
#pragma GCC unroll 4
	for (int v = 0; v < few; v++) s[v] = sum[v];
	for (int64_t column = 0; column < columns; column++, x += step, y += channels)
#pragma GCC unroll 4
		for (int v = 0; v < few; v++) s[v] += *(const LANE *)(x + v * LANES) * *(const LANE *)(y + v * LANES);
#pragma GCC unroll 4
	for (int v = 0; v < few; v++) sum[v] = s[v];
}

// CHANNELS computes the gradient of all taps from some images, for few registers of channels from o.
TARGET static inline __attribute__((always_inline)) void CHANNELS(const convolution *c, const int few, int64_t from,
	int64_t to, int64_t o, float *taps) {
	LANE sum[depthwise_kernel * depthwise_kernel][4];
	int64_t places = c->kernel_rows * c->kernel_columns, channels = c->out;
	for (int64_t k = 0; k < places; k++)
		for (int v = 0; v < few; v++) sum[k][v] = (LANE){0};
	for (int64_t r = from * c->rows; r < to * c->rows; r++)
		for (int64_t p = 0; p < c->kernel_rows; p++) {
			int64_t h = r % c->rows * c->stride + p - c->top;
			if (h < 0 || h >= c->height) continue;
			const float *x = c->x + (r / c->rows * c->height + h) * c->width * channels + o;
			for (int64_t q = 0; q < c->kernel_columns; q++) {
				span s = inside(c->columns, c->width, c->stride, q - c->left);
				SUMS(few, s.end - s.first, x + (s.first * c->stride + q - c->left) * channels, c->stride * channels,
					c->y + (r * c->columns + s.first) * channels + o, channels, sum[p * c->kernel_columns + q]);
			}
		}
	for (int64_t k = 0; k < places; k++)
		for (int v = 0; v < few; v++) *(LANE *)(taps + k * channels + o + v * LANES) = sum[k][v];
}

TARGET static void PART(const convolution *c, int64_t from, int64_t to, float *taps) {
	int64_t o = 0;
	for (; o + 4 * LANES <= c->out; o += 4 * LANES) CHANNELS(c, 4, from, to, o, taps);
	for (; o + LANES <= c->out; o += LANES) CHANNELS(c, 1, from, to, o, taps);
	if (o < c->out) CHANNELS(c, 1, from, to, c->out - LANES, taps);
}

#undef LANE
#undef LANES
#undef TARGET
#undef FEW
#undef PIXEL
#undef SUMS
#undef CHANNELS
#undef PART
