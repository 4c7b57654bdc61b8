/* SPDX-License-Identifier: MIT */
/* Tensor collections from inside: safetensors.c keeps them, safetensors_file.c reads and writes them. */
#ifndef PIM_LIB_SAFETENSORS_H
#define PIM_LIB_SAFETENSORS_H

#include <pim/safetensors.h>

#define PIM_API __attribute__((visibility("default")))

struct pim_safetensors {
	struct pim_tensor *tensor;
	uint32_t n, cap;
};

int safetensors_add(struct pim_safetensors *st, const char *name, enum pim_dtype dtype, const uint64_t *dim, uint32_t ndims, const void *data);
const char *safetensors_dtype_name(enum pim_dtype dtype);
/* -EINVAL: no such type; no message. */
int safetensors_dtype(const char *name, enum pim_dtype *dtype);
/* -EOVERFLOW; no message. */
int safetensors_bytes(enum pim_dtype dtype, uint32_t ndims, const uint64_t *dim, uint64_t *bytes);

#endif
