#pragma once

// dhkd_add_kernels offers our kernels to the programs of the CPU plugin with this PJRT API, with AVX-512 if that is
// wanted and there. It returns whether it could; what are the instructions that are used, or else the reason.
int dhkd_add_kernels(const void *api, int avx512, const char **what);
