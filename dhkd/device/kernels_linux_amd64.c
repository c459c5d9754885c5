//go:build cgo && !noxla

#include "kernels_linux_amd64.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "ffi_linux_amd64.h"
#include "convolution_linux_amd64.h"
#include "depthwise_linux_amd64.h"
#include "kernel_gradient_linux_amd64.h"

static atomic_int avx512;     // whether it is used
static atomic_int understood; // whether the plugin's FFI is the one that we know

// work is what threads share: n steps of a job. Each has scratch memory of its own, which lies behind it. The last thread
// that holds it frees it: one may only come when all is done, and the job gone.
typedef struct {
	void (*step)(void *job, int64_t i, float *scratch);
	void *job;
	int64_t n, scratch; // scratch: floats of a thread
	atomic_llong next, done, holders, threads;
	float memory[];
} work;

static void take_part(work *w) {
	float *scratch = w->memory + atomic_fetch_add(&w->threads, 1) * w->scratch;
	for (int64_t i; (i = atomic_fetch_add(&w->next, 1)) < w->n; atomic_fetch_add(&w->done, 1)) w->step(w->job, i, scratch);
}

static void release(work *w) {
	if (atomic_fetch_sub(&w->holders, 1) == 1) free(w);
}

static void help(void *w) {
	take_part(w);
	release(w);
}

static int ok(const ffi_api *api, ffi_error *error) {
	if (!error) return 1;
	struct { size_t struct_size; extension *extension; ffi_error *error; } args = {sizeof args, 0, error};
	api->functions[ffi_error_destroy](&args);
	return 0;
}

static ffi_error *fail(const ffi_frame *f, const char *message) {
	struct { size_t struct_size; extension *extension; const char *message; int code; } args = {
		sizeof args, 0, message, ffi_internal};
	return f->api->functions[ffi_error_create](&args);
}

// in_parallel does the n steps of a job, in any order, with this thread and with those of XLA's that are free. XLA has four
// at least; with no more than there are processors, steps took 4 % longer where there are two.
static ffi_error *in_parallel(const ffi_frame *f, void (*step)(void *job, int64_t i, float *scratch), void *job, int64_t n,
	int64_t scratch) {
	int64_t threads = 1;
	struct {
		size_t struct_size;
		extension *extension;
		ffi_context *context;
		int64_t *threads;
	} count = {sizeof count, 0, f->context, &threads};
	if (!ok(f->api, f->api->functions[ffi_threads](&count))) threads = 1;
	if (threads > n) threads = n;
	work *w = malloc(sizeof *w + threads * scratch * sizeof *w->memory);
	if (!w) return fail(f, "dhkd: no memory for a convolution");
	*w = (work){step, job, n, scratch, .holders = 1};
	for (int64_t t = 1; t < threads; t++) {
		struct {
			size_t struct_size;
			extension *extension;
			ffi_context *context;
			void (*task)(void *data);
			void *data;
		} args = {sizeof args, 0, f->context, help, w};
		atomic_fetch_add(&w->holders, 1);
		if (!ok(f->api, f->api->functions[ffi_schedule](&args))) release(w);
	}
	take_part(w);
	while (atomic_load(&w->done) < n) sched_yield(); // other threads are at their last steps
	release(w);
	return 0;
}

// describe answers the question for the version of a handler: it is the plugin's, if it is one that we know.
static void describe(const ffi_frame *f, ffi_question *q) {
	const ffi_api *api = f->api;
	int known = api->struct_size >= sizeof *api && api->version.major == 0 && f->struct_size >= sizeof *f;
	q->metadata->version.major = known ? 0 : -1;
	q->metadata->version.minor = api->version.minor;
	q->metadata->traits = 0;
	atomic_store(&understood, known);
}

static const ffi_array *array(const ffi_values *v, int i) {
	const ffi_array *a = i < v->size && v->types[i] == ffi_buffer ? v->values[i] : 0;
	return a && a->type == ffi_float32 && a->rank == 4 ? a : 0;
}

// job is a convolution or the gradient of one.
typedef struct {
	convolution c;
	float *sums; // of the gradient's parts
	float *taps; // of a depthwise convolution
} job;

// describe_maps sets all but the kernel from the attributes left, stride and top, the maps and the kernel's size.
static int describe_maps(const ffi_frame *f, const ffi_array *x, const ffi_array *y, int64_t rows, int64_t columns,
	convolution *c) {
	int64_t attributes[3];
	for (int i = 0; i < 3; i++) {
		const ffi_number *n = i < f->attributes.size ? f->attributes.values[i] : 0;
		if (!n || f->attributes.types[i] != ffi_scalar || n->type != ffi_int64) return 0;
		attributes[i] = *(int64_t *)n->value;
	}
	*c = (convolution){x->data, 0, y->data, x->dims[0], x->dims[1], x->dims[2], x->dims[3], y->dims[1], y->dims[2],
		y->dims[3], rows, columns, .left = attributes[0], .stride = attributes[1], .top = attributes[2]};
	return y->dims[0] == c->images && c->stride > 0;
}

static void part(void *data, int64_t i, float *scratch) {
	job *j = data;
	dhkd_gradient_part(&j->c, i, j->sums + i * dhkd_gradient_size(&j->c), avx512);
}

static void add(void *data, int64_t i, float *scratch) {
	job *j = data;
	dhkd_gradient_add(&j->c, i, j->sums);
}

static void block(void *data, int64_t i, float *scratch) {
	job *j = data;
	dhkd_convolution(&j->c, i, scratch, avx512);
}

// asks answers XLA if it only asks for the version, or to prepare.
static int asks(const ffi_frame *f) {
	for (extension *e = f->extension; e; e = e->next)
		if (e->type == ffi_metadata) return describe(f, (ffi_question *)e), 1;
	return f->stage != ffi_execute;
}

// kernel_gradient is the handler that gives the gradient of the kernel [out, in, rows, columns] for x and y's gradient.
static ffi_error *kernel_gradient(const ffi_frame *f) {
	if (asks(f)) return 0;
	const ffi_array *x = array(&f->arguments, 0), *y = array(&f->arguments, 1), *kernel = array(&f->results, 0);
	job j = {0};
	if (!x || !y || !kernel || !describe_maps(f, x, y, kernel->dims[2], kernel->dims[3], &j.c) ||
		kernel->dims[0] != j.c.out || kernel->dims[1] != j.c.in || j.c.out % 16)
		return fail(f, "dhkd: wrong arguments of a convolution's kernel gradient");
	j.c.kernel = kernel->data;
	j.sums = malloc(dhkd_gradient_parts(&j.c) * dhkd_gradient_size(&j.c) * sizeof *j.sums);
	if (!j.sums) return fail(f, "dhkd: no memory for a convolution's kernel gradient");
	ffi_error *error = in_parallel(f, part, &j, dhkd_gradient_parts(&j.c), 0);
	if (!error) error = in_parallel(f, add, &j, j.c.in, 0);
	free(j.sums);
	return error;
}

// convolve is the handler that gives y for x and the kernel [rows, columns, in, out].
static ffi_error *convolve(const ffi_frame *f) {
	if (asks(f)) return 0;
	const ffi_array *x = array(&f->arguments, 0), *kernel = array(&f->arguments, 1), *y = array(&f->results, 0);
	job j = {0};
	if (!x || !y || !kernel || !describe_maps(f, x, y, kernel->dims[0], kernel->dims[1], &j.c) ||
		kernel->dims[2] != j.c.in || kernel->dims[3] != j.c.out || j.c.out % 16)
		return fail(f, "dhkd: wrong arguments of a convolution");
	j.c.kernel = kernel->data;
	return in_parallel(f, block, &j, dhkd_convolution_blocks(&j.c), dhkd_convolution_scratch(&j.c));
}

static void depthwise_image(void *data, int64_t i, float *scratch) {
	job *j = data;
	dhkd_depthwise(&j->c, i, j->taps, avx512);
}

static void depthwise_gradient_image(void *data, int64_t i, float *scratch) {
	job *j = data;
	dhkd_depthwise_input_gradient(&j->c, i, j->taps, avx512);
}

static void depthwise_part(void *data, int64_t i, float *scratch) {
	job *j = data;
	dhkd_depthwise_part(&j->c, i, j->taps + i * dhkd_depthwise_size(&j->c), avx512);
}

static void depthwise_add(void *data, int64_t i, float *scratch) {
	job *j = data;
	dhkd_depthwise_add(&j->c, i, j->taps);
}

// describe_depthwise sets what describe_maps does, the kernel, and room for its taps, or for those of a gradient's parts.
static ffi_error *describe_depthwise(const ffi_frame *f, const ffi_array *x, const ffi_array *y, const ffi_array *kernel,
	int gradient, job *j) {
	if (!x || !y || !kernel || !describe_maps(f, x, y, kernel->dims[2], kernel->dims[3], &j->c) || j->c.in != j->c.out ||
		kernel->dims[0] != j->c.out || kernel->dims[1] != 1 || j->c.out < depthwise_channels ||
		kernel->dims[2] > depthwise_kernel || kernel->dims[3] > depthwise_kernel)
		return fail(f, "dhkd: wrong arguments of a depthwise convolution");
	j->c.kernel = kernel->data;
	j->taps = malloc((gradient ? dhkd_depthwise_parts(&j->c) : 1) * dhkd_depthwise_size(&j->c) * sizeof *j->taps);
	return j->taps ? 0 : fail(f, "dhkd: no memory for a depthwise convolution");
}

// depthwise_maps does the step for each image, with the taps of the kernel, which is the second argument.
static ffi_error *depthwise_maps(const ffi_frame *f, const ffi_array *x, const ffi_array *y,
	void (*step)(void *job, int64_t i, float *scratch)) {
	job j = {0};
	ffi_error *error = describe_depthwise(f, x, y, array(&f->arguments, 1), 0, &j);
	if (error) return error;
	dhkd_depthwise_taps(&j.c, j.taps);
	error = in_parallel(f, step, &j, j.c.images, 0);
	free(j.taps);
	return error;
}

// depthwise is the handler that gives y for x and the kernel [channels, 1, rows, columns].
static ffi_error *depthwise(const ffi_frame *f) {
	return asks(f) ? 0 : depthwise_maps(f, array(&f->arguments, 0), array(&f->results, 0), depthwise_image);
}

// depthwise_input_gradient is the handler that gives x's gradient for that of y and the kernel.
static ffi_error *depthwise_input_gradient(const ffi_frame *f) {
	return asks(f) ? 0 : depthwise_maps(f, array(&f->results, 0), array(&f->arguments, 0), depthwise_gradient_image);
}

// depthwise_kernel_gradient is the handler that gives the kernel's gradient for x and y's gradient.
static ffi_error *depthwise_kernel_gradient(const ffi_frame *f) {
	if (asks(f)) return 0;
	job j = {0};
	ffi_error *error = describe_depthwise(f, array(&f->arguments, 0), array(&f->arguments, 1), array(&f->results, 0), 1, &j);
	if (error) return error;
	error = in_parallel(f, depthwise_part, &j, dhkd_depthwise_parts(&j.c), 0);
	if (!error) error = in_parallel(f, depthwise_add, &j, j.c.kernel_rows * j.c.kernel_columns, 0);
	free(j.taps);
	return error;
}

int dhkd_add_kernels(const void *api, int with_avx512, const char **what) {
	*what = "the processor has no AVX2";
	__builtin_cpu_init();
	if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return 0;

	// Versions of PJRT differ in the registration's arguments without a sign of it, so this is the one that was tried.
	*what = "the plugin's PJRT API is not 0.115";
	const struct {
		size_t struct_size;
		const extension *extension;
		size_t version_size;
		const extension *version_extension;
		int major, minor;
	} *head = api;
	if (head->major != 0 || head->minor != 115) return 0;

	*what = "the plugin has no FFI that is known";
	const struct {
		extension base;
		void *type_register, *user_data_add, *(*register_handler)(ffi_registration *args);
	} *ffi = 0;
	for (const extension *e = head->extension; e && !ffi; e = e->next)
		if (e->type == pjrt_ffi && e->struct_size >= sizeof *ffi) ffi = (const void *)e;
	static const struct {
		const char *name;
		void *handler;
	} ours[] = {{"dhkd_convolution", convolve}, {"dhkd_kernel_gradient", kernel_gradient},
		{"dhkd_depthwise_forward", depthwise}, {"dhkd_depthwise_input_gradient", depthwise_input_gradient},
		{"dhkd_depthwise_kernel_gradient", depthwise_kernel_gradient}};
	for (size_t i = 0; ffi && i < sizeof ours / sizeof *ours; i++) {
		ffi_registration args = {sizeof args, ours[i].name, strlen(ours[i].name), ours[i].handler, "Host", 4, 0};
		if (ffi->register_handler(&args)) return 0;
	}
	if (!understood) return 0;

	avx512 = with_avx512 && __builtin_cpu_supports("avx512f");
	*what = avx512 ? "AVX-512" : "AVX2";
	return 1;
}
