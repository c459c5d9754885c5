//go:build cgo && !noxla

#include "kernels_linux_amd64.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "ffi_linux_amd64.h"
#include "kernel_gradient_linux_amd64.h"

static gradient_part *_Atomic part_of_gradient; // for the chosen instructions
static atomic_int understood;                   // whether the plugin's FFI is the one that we know

// work is what threads share. The last that holds it frees it: one may only come when all is done.
typedef struct {
	gradient g;
	float *sums, *dk;
	atomic_llong next, done, holders;
} work;

static void take_part(work *w) {
	int64_t parts = dhkd_gradient_parts(&w->g), all = parts + w->g.in;
	for (int64_t t; (t = atomic_fetch_add(&w->next, 1)) < all; atomic_fetch_add(&w->done, 1)) {
		if (t < parts) {
			part_of_gradient(&w->g, t, w->sums + t * dhkd_gradient_size(&w->g));
			continue;
		}
		while (atomic_load(&w->done) < parts) sched_yield(); // other threads are at it
		dhkd_gradient_add(&w->g, t - parts, w->sums, w->dk);
	}
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

// run computes with this thread and with those of XLA's that are free.
static void run(const ffi_frame *f, work *w) {
	int64_t threads = 1;
	struct {
		size_t struct_size;
		extension *extension;
		ffi_context *context;
		int64_t *threads;
	} count = {sizeof count, 0, f->context, &threads};
	if (!ok(f->api, f->api->functions[ffi_threads](&count))) threads = 1;
	int64_t parts = dhkd_gradient_parts(&w->g);
	for (int64_t t = 1; t < threads && t < parts; t++) {
		struct {
			size_t struct_size;
			extension *extension;
			ffi_context *context;
			void (*task)(void *data);
			void *data;
		} args = {sizeof args, 0, f->context, help, w};
		atomic_fetch_add(&w->holders, 1);
		if (!ok(f->api, f->api->functions[ffi_schedule](&args))) atomic_fetch_sub(&w->holders, 1);
	}
	take_part(w);
	while (atomic_load(&w->done) < parts + w->g.in) sched_yield();
}

static ffi_error *fail(const ffi_frame *f, const char *message) {
	struct { size_t struct_size; extension *extension; const char *message; int code; } args = {
		sizeof args, 0, message, ffi_internal};
	return f->api->functions[ffi_error_create](&args);
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
	const ffi_array *a = v->values[i];
	return v->types[i] == ffi_buffer && a->type == ffi_float32 && a->rank == 4 ? a : 0;
}

// kernel_gradient is the handler: x and dy give dk, with the attributes left, stride and top.
static ffi_error *kernel_gradient(const ffi_frame *f) {
	for (extension *e = f->extension; e; e = e->next)
		if (e->type == ffi_metadata) return describe(f, (ffi_question *)e), NULL;
	if (f->stage != ffi_execute) return 0;
	int64_t attributes[3];
	for (int i = 0; i < 3; i++) {
		const ffi_number *n = i < f->attributes.size ? f->attributes.values[i] : 0;
		if (!n || f->attributes.types[i] != ffi_scalar || n->type != ffi_int64)
			return fail(f, "dhkd: wrong attributes of a convolution's kernel gradient");
		attributes[i] = *(int64_t *)n->value;
	}
	const ffi_array *x = f->arguments.size == 2 ? array(&f->arguments, 0) : 0, *dy = x ? array(&f->arguments, 1) : 0;
	const ffi_array *dk = f->results.size == 1 ? array(&f->results, 0) : 0;
	if (!dy || !dk || dy->dims[3] % 16 || dy->dims[0] != x->dims[0] || dk->dims[0] != dy->dims[3] ||
		dk->dims[1] != x->dims[3])
		return fail(f, "dhkd: wrong arguments of a convolution's kernel gradient");
	work *w = malloc(sizeof *w);
	if (!w) return fail(f, "dhkd: out of memory");
	*w = (work){.dk = dk->data, .holders = 1};
	w->g = (gradient){x->data, dy->data, x->dims[0], x->dims[1], x->dims[2], x->dims[3], dy->dims[1], dy->dims[2],
		dy->dims[3], dk->dims[2], dk->dims[3], .left = attributes[0], .stride = attributes[1], .top = attributes[2]};
	w->sums = malloc(dhkd_gradient_parts(&w->g) * dhkd_gradient_size(&w->g) * sizeof *w->sums);
	ffi_error *error = w->sums ? 0 : fail(f, "dhkd: out of memory");
	if (!error) run(f, w);
	free(w->sums);
	release(w);
	return error;
}

int dhkd_add_kernels(const void *api, int avx512, const char **what) {
	*what = "the processor has no AVX2";
	__builtin_cpu_init();
	if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return 0;
	avx512 = avx512 && __builtin_cpu_supports("avx512f");

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
	static const char target[] = "dhkd_kernel_gradient", platform[] = "Host";
	ffi_registration args = {sizeof args, target, sizeof target - 1, kernel_gradient, platform, sizeof platform - 1, 0};
	if (!ffi || ffi->register_handler(&args) || !understood) return 0;

	part_of_gradient = avx512 ? dhkd_gradient_part_avx512 : dhkd_gradient_part_avx2;
	*what = avx512 ? "AVX-512" : "AVX2";
	return 1;
}
