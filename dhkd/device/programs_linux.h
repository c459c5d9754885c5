// The part of PJRT's C API that the cache of compiled programs needs. The API only grows at its ends.

#pragma once

#include <stddef.h>

typedef struct PJRT_Error PJRT_Error;

typedef struct {
	size_t struct_size;
	void *extension;
	const char *code;
	size_t code_size;
	const char *format;
	size_t format_size;
} program;

typedef struct {
	size_t struct_size;
	void *extension, *client;
	program *program;
	const char *options;
	size_t options_size;
	void *executable; // the result
} compile_args;

// The result of dhkd_serialize.
typedef struct {
	size_t struct_size;
	void *extension, *executable;
	const char *bytes;
	size_t size;
	void *owner;
	void (*release)(void *owner);
} serialized;

// dhkd_intercept makes the loaded plugin at path call dhkdCompile in place of its compiler. It returns its API, or NULL.
const void *dhkd_intercept(const char *path);

PJRT_Error *dhkd_compile(compile_args *args, const void *code, size_t n); // the plugin's compiler, of code
void dhkd_forget(PJRT_Error *error);
int dhkd_load(compile_args *args, void *bytes, size_t n); // sets the result; 0 = it could not
serialized dhkd_serialize(compile_args *args);           // of the result; no bytes = it could not
void dhkd_release(serialized s);
