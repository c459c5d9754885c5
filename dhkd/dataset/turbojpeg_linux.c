//go:build cgo

#include "turbojpeg_linux.h"

#include <dlfcn.h>

// As TurboJPEG's header has them.
enum { grey_sampling = 3, ycbcr_colours = 1, grey_colours = 2, accurate_dct = 4096, stop_on_warning = 8192, limit_scans = 32768 };

static void *(*new_decoder)(void);
static int (*free_decoder)(void *);
static int (*read_header)(void *, const unsigned char *, unsigned long, int *width, int *height, int *subsampling, int *colours);
static int (*read_planes)(void *, const unsigned char *, unsigned long, unsigned char **planes, int width, int *strides, int height,
	int flags);

int dhkd_turbojpeg_load(void) {
	void *library = dlopen("libturbojpeg.so.0", RTLD_NOW | RTLD_LOCAL);
	if (!library) return 0;
	*(void **)&new_decoder = dlsym(library, "tjInitDecompress");
	*(void **)&free_decoder = dlsym(library, "tjDestroy");
	*(void **)&read_header = dlsym(library, "tjDecompressHeader3");
	*(void **)&read_planes = dlsym(library, "tjDecompressToYUVPlanes");
	// Since 2.0 it can stop at a warning, and says that there was one; this function came with it.
	return new_decoder && free_decoder && read_header && read_planes && dlsym(library, "tjGetErrorCode");
}

void *dhkd_turbojpeg_new(void) { return new_decoder(); }

void dhkd_turbojpeg_free(void *decoder) { free_decoder(decoder); }

int dhkd_turbojpeg_decode(void *decoder, const unsigned char *file, unsigned long bytes, int width, int height, int subsampling,
	unsigned char *y, unsigned char *cb, unsigned char *cr, int y_stride, int c_stride) {
	int w, h, s, colours;
	if (read_header(decoder, file, bytes, &w, &h, &s, &colours)) return 0;
	if (w != width || h != height || s != subsampling || colours != (s == grey_sampling ? grey_colours : ycbcr_colours)) return 0;
	unsigned char *planes[] = {y, cb, cr};
	int strides[] = {y_stride, c_stride, c_stride};
	return !read_planes(decoder, file, bytes, planes, w, strides, h, accurate_dct | stop_on_warning | limit_scans);
}
