// The part of XLA's FFI (xla/ffi/api/c_api.h, version 0.x) that the handler of a custom call needs, and of PJRT's
// extension that registers one. Structures only grow at their ends.

#pragma once

#include <stddef.h>
#include <stdint.h>

enum { pjrt_ffi = 5, ffi_metadata = 1, ffi_execute = 3, ffi_buffer = 1, ffi_scalar = 3, ffi_float32 = 11, ffi_int64 = 5,
	ffi_internal = 13 };

// Places in the API's table of functions.
enum { ffi_error_create = 0, ffi_error_destroy = 2, ffi_schedule = 11, ffi_threads = 12 };

typedef struct extension {
	size_t struct_size;
	int type;
	struct extension *next;
} extension;

typedef struct ffi_error ffi_error;
typedef struct ffi_context ffi_context;

typedef struct {
	size_t struct_size;
	extension *extension;
	int major, minor;
} ffi_version;

typedef struct {
	size_t struct_size;
	extension *extension;
	ffi_version version;
	const void *internal;
	ffi_error *(*functions[ffi_threads + 1])(void *args);
} ffi_api;

typedef struct {
	size_t struct_size;
	extension *extension;
	int64_t size;
	int *types;
	void **values;
} ffi_values;

typedef struct {
	const char *text;
	size_t size;
} ffi_text;

typedef struct {
	size_t struct_size;
	extension *extension;
	const ffi_api *api;
	ffi_context *context;
	int stage;
	ffi_values arguments, results;
	struct {
		size_t struct_size;
		extension *extension;
		int64_t size;
		int *types;
		ffi_text **names; // sorted
		void **values;
	} attributes;
} ffi_frame;

typedef struct {
	size_t struct_size;
	extension *extension;
	int type;
	void *data;
	int64_t rank, *dims;
} ffi_array;

typedef struct {
	int type;
	void *value;
} ffi_number;

typedef struct {
	extension base;
	struct {
		size_t struct_size;
		ffi_version version;
		uint32_t traits;
	} *metadata;
} ffi_question;

typedef struct {
	size_t struct_size;
	const char *name;
	size_t name_size;
	void *handler;
	const char *platform;
	size_t platform_size;
	int traits;
} ffi_registration;
