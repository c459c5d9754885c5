//go:build cgo && !noxla

#define _GNU_SOURCE
#include "programs_linux.h"

#include <dlfcn.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "_cgo_export.h"

// Places in the API's table of functions.
enum { error_destroy = 0, client_compile = 20, executable_destroy = 40, executable_serialize = 49,
	get_executable = 51, deserialize_and_load = 56 };

typedef PJRT_Error *(*function)(void *args);

typedef struct {
	size_t struct_size;
	void *extension;
	size_t version_size;
	void *version_extension;
	int major, minor;
	function functions[];
} api;

static api *table;
static function compiler;

static int ok(PJRT_Error *error) {
	if (!error) return 1;
	struct { size_t struct_size; void *extension; PJRT_Error *error; } args = {sizeof args, 0, error};
	table->functions[error_destroy](&args);
	return 0;
}

static PJRT_Error *intercepted(void *args) { return dhkdCompile(args); }

const void *dhkd_intercept(const char *path) {
	void *library = dlopen(path, RTLD_LAZY | RTLD_NOLOAD);
	api *(*get)(void) = library ? (api * (*)(void)) dlsym(library, "GetPjrtApi") : 0;
	api *found = get ? get() : 0;
	if (!found || found->major != 0 || found->struct_size < offsetof(api, functions) + (deserialize_and_load + 1) * sizeof(function))
		return 0;
	if (table) return table == found ? table : 0;
	function *place = &found->functions[client_compile];
	uintptr_t page = (uintptr_t)place / getpagesize() * getpagesize();
	if (mprotect((void *)page, (uintptr_t)(place + 1) - page, PROT_READ | PROT_WRITE)) return 0;
	table = found;
	compiler = *place;
	*place = intercepted;
	return table;
}

void dhkd_forget(PJRT_Error *error) { ok(error); }

PJRT_Error *dhkd_compile(compile_args *args, const void *code, size_t n) {
	program whole = *args->program;
	args->program->code = code;
	args->program->code_size = n;
	PJRT_Error *error = compiler(args);
	args->program->code = whole.code;
	args->program->code_size = whole.code_size;
	return error;
}

int dhkd_load(compile_args *args, void *bytes, size_t n) {
	struct { size_t struct_size; void *extension, *client; const char *bytes; size_t size; void *executable;
		const char *options; size_t options_size; } a = {sizeof a, 0, args->client, bytes, n};
	if (!ok(table->functions[deserialize_and_load](&a))) return 0;
	args->executable = a.executable;
	return 1;
}

serialized dhkd_serialize(compile_args *args) {
	serialized s = {sizeof s};
	struct { size_t struct_size; void *extension, *loaded, *executable; } get = {sizeof get, 0, args->executable};
	if (!ok(table->functions[get_executable](&get))) return s;
	s.executable = get.executable;
	if (!ok(table->functions[executable_serialize](&s))) s.bytes = 0;
	return s;
}

void dhkd_release(serialized s) {
	if (s.bytes && s.release) s.release(s.owner);
	struct { size_t struct_size; void *extension, *executable; } args = {sizeof args, 0, s.executable};
	if (s.executable) ok(table->functions[executable_destroy](&args));
}
