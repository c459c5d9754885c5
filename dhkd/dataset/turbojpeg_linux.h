// libjpeg-turbo's TurboJPEG, which is looked for when it is first needed. The functions of its 2.0 are in 3.x too.

#pragma once

int dhkd_turbojpeg_load(void); // 1 = it is there

void *dhkd_turbojpeg_new(void); // NULL = there is no memory for it
void dhkd_turbojpeg_free(void *decoder);

// dhkd_turbojpeg_decode writes a file's planes, which must be of that size and subsampling (TJSAMP). It returns 0 where the
// file is of another, where its colours are neither luminance and chrominance nor grey, and after any error or warning.
int dhkd_turbojpeg_decode(void *decoder, const unsigned char *file, unsigned long bytes, int width, int height, int subsampling,
	unsigned char *y, unsigned char *cb, unsigned char *cr, int y_stride, int c_stride);
