/* SPDX-License-Identifier: MIT */
/*
 * Named tensors in a file: the safetensors format (u64 header length, JSON header, bytes), types F32 and I64. Errors are negative errno with a
 * message in pim_strerror().
 */
#ifndef PIM_SAFETENSORS_H
#define PIM_SAFETENSORS_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PIM_TENSOR_DIMS 8

enum pim_dtype { PIM_F32 = 0, PIM_I64 = 1 };

struct pim_safetensors;

/** struct pim_tensor - one tensor; name and data belong to the collection it is in */
struct pim_tensor {
	const char *name;
	enum pim_dtype dtype;
	uint32_t ndims; /* 0: a scalar */
	uint64_t dim[PIM_TENSOR_DIMS];
	uint64_t bytes;
	const void *data;
};

/* An empty collection, the caller's. */
int pim_safetensors_new(struct pim_safetensors **st);
void pim_safetensors_free(struct pim_safetensors *st);

/* Copies name and data in. Errors: -EINVAL (empty or reserved name, size), -EEXIST (name taken), -ENOMEM. */
int pim_safetensors_add_f32(struct pim_safetensors *st, const char *name, const uint64_t *dim, uint32_t ndims, const float *data);
int pim_safetensors_add_i64(struct pim_safetensors *st, const char *name, const uint64_t *dim, uint32_t ndims, const int64_t *data);

uint32_t pim_safetensors_count(const struct pim_safetensors *st);
/* Tensors in the order of their data in the file; NULL past the last. */
const struct pim_tensor *pim_safetensors_get(const struct pim_safetensors *st, uint32_t i);
bool pim_safetensors_has(const struct pim_safetensors *st, const char *name);
/* The data of a tensor of this type and shape. Errors: -ENOENT no such tensor, -EINVAL another type or shape; the message has both. */
int pim_safetensors_f32(const struct pim_safetensors *st, const char *name, const uint64_t *dim, uint32_t ndims, const float **data);
int pim_safetensors_i64(const struct pim_safetensors *st, const char *name, const uint64_t *dim, uint32_t ndims, const int64_t **data);

/* Read a whole file. Nothing of it is believed: -EINVAL with "FILE: reason" unless every byte has its tensor. */
int pim_safetensors_read(const char *path, struct pim_safetensors **st);
/* Write a file whole, or leave the old one as it was: also when the machine goes down in the middle. */
int pim_safetensors_write(const struct pim_safetensors *st, const char *path);

#ifdef __cplusplus
}
#endif

#endif
