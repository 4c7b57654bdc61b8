// SPDX-License-Identifier: MIT
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "safetensors.h"

static const struct {
	const char *name;
	uint32_t bytes;
} dtypes[] = {
	[PIM_F32] = { "F32", 4 },
	[PIM_I64] = { "I64", 8 },
};
#define NDTYPES (sizeof(dtypes) / sizeof(dtypes[0]))

const char *safetensors_dtype_name(enum pim_dtype dtype)
{
	return dtypes[dtype].name;
}

int safetensors_dtype(const char *name, enum pim_dtype *dtype)
{
	for (size_t i = 0; i < NDTYPES; i++) {
		if (strcmp(name, dtypes[i].name))
			continue;
		*dtype = i;
		return 0;
	}
	return -EINVAL;
}

int safetensors_bytes(enum pim_dtype dtype, uint32_t ndims, const uint64_t *dim, uint64_t *bytes)
{
	*bytes = dtypes[dtype].bytes;
	for (uint32_t i = 0; i < ndims; i++)
		if (__builtin_mul_overflow(*bytes, dim[i], bytes))
			return -EOVERFLOW;
	return 0;
}

PIM_API int pim_safetensors_new(struct pim_safetensors **st)
{
	*st = calloc(1, sizeof(**st));
	return *st ? 0 : pim_error(-ENOMEM, "no memory for a collection of tensors");
}

static void tensor_clear(struct pim_tensor *t)
{
	free((char *)t->name);
	free((void *)t->data);
}

PIM_API void pim_safetensors_free(struct pim_safetensors *st)
{
	if (!st)
		return;
	for (uint32_t i = 0; i < st->n; i++)
		tensor_clear(&st->tensor[i]);
	free(st->tensor);
	free(st);
}

static const struct pim_tensor *find(const struct pim_safetensors *st, const char *name)
{
	for (uint32_t i = 0; i < st->n; i++)
		if (!strcmp(st->tensor[i].name, name))
			return &st->tensor[i];
	return NULL;
}

static int grow(struct pim_safetensors *st)
{
	uint32_t cap = st->cap ? 2 * st->cap : 32;
	struct pim_tensor *t;

	if (st->n < st->cap)
		return 0;
	t = realloc(st->tensor, cap * sizeof(*t));
	if (!t)
		return -ENOMEM;
	st->tensor = t;
	st->cap = cap;
	return 0;
}

int safetensors_add(struct pim_safetensors *st, const char *name, enum pim_dtype dtype, const uint64_t *dim, uint32_t ndims, const void *data)
{
	struct pim_tensor t = { .dtype = dtype, .ndims = ndims };
	void *copy;

	if (!name || !*name || !strcmp(name, "__metadata__"))
		return pim_error(-EINVAL, "'%s' cannot name a tensor", name ? name : "");
	if (ndims > PIM_TENSOR_DIMS)
		return pim_error(-EINVAL, "tensor '%s': %u dimensions; at most %d", name, ndims, PIM_TENSOR_DIMS);
	if (find(st, name))
		return pim_error(-EEXIST, "two tensors are named '%s'", name);
	if (safetensors_bytes(dtype, ndims, dim, &t.bytes))
		return pim_error(-EINVAL, "tensor '%s': its size is no 64-bit number", name);
	if (ndims)
		memcpy(t.dim, dim, ndims * sizeof(*dim));
	t.name = strdup(name);
	copy = malloc(t.bytes ? t.bytes : 1);
	t.data = copy;
	if (!t.name || !copy || grow(st)) {
		tensor_clear(&t);
		return pim_error(-ENOMEM, "no memory for tensor '%s' of %" PRIu64 " bytes", name, t.bytes);
	}
	if (t.bytes)
		memcpy(copy, data, t.bytes);
	st->tensor[st->n++] = t;
	return 0;
}

PIM_API int pim_safetensors_add_f32(struct pim_safetensors *st, const char *name, const uint64_t *dim, uint32_t ndims, const float *data)
{
	return safetensors_add(st, name, PIM_F32, dim, ndims, data);
}

PIM_API int pim_safetensors_add_i64(struct pim_safetensors *st, const char *name, const uint64_t *dim, uint32_t ndims, const int64_t *data)
{
	return safetensors_add(st, name, PIM_I64, dim, ndims, data);
}

PIM_API uint32_t pim_safetensors_count(const struct pim_safetensors *st)
{
	return st->n;
}

PIM_API const struct pim_tensor *pim_safetensors_get(const struct pim_safetensors *st, uint32_t i)
{
	return i < st->n ? &st->tensor[i] : NULL;
}

PIM_API bool pim_safetensors_has(const struct pim_safetensors *st, const char *name)
{
	return find(st, name);
}

/* "F32 [2, 3]" */
static const char *describe(enum pim_dtype dtype, uint32_t ndims, const uint64_t *dim, char *text, size_t len)
{
	size_t at = snprintf(text, len, "%s [", dtypes[dtype].name);

	for (uint32_t i = 0; i < ndims && at < len; i++)
		at += snprintf(text + at, len - at, "%s%" PRIu64, i ? ", " : "", dim[i]);
	if (at < len)
		snprintf(text + at, len - at, "]");
	return text;
}

static int require(const struct pim_safetensors *st, const char *name, enum pim_dtype dtype, const uint64_t *dim, uint32_t ndims,
		   const void **data)
{
	const struct pim_tensor *t = find(st, name);
	char want[256], have[256];

	describe(dtype, ndims, dim, want, sizeof(want));
	if (!t)
		return pim_error(-ENOENT, "the file has no tensor '%s' %s; it is of another network", name, want);
	if (t->dtype != dtype || t->ndims != ndims || (ndims && memcmp(t->dim, dim, ndims * sizeof(*dim))))
		return pim_error(-EINVAL, "tensor '%s' is %s in the file, the network has %s; it is of another network", name,
				 describe(t->dtype, t->ndims, t->dim, have, sizeof(have)), want);
	*data = t->data;
	return 0;
}

PIM_API int pim_safetensors_f32(const struct pim_safetensors *st, const char *name, const uint64_t *dim, uint32_t ndims, const float **data)
{
	const void *p;
	int err = require(st, name, PIM_F32, dim, ndims, &p);

	if (!err)
		*data = p;
	return err;
}

PIM_API int pim_safetensors_i64(const struct pim_safetensors *st, const char *name, const uint64_t *dim, uint32_t ndims, const int64_t **data)
{
	const void *p;
	int err = require(st, name, PIM_I64, dim, ndims, &p);

	if (!err)
		*data = p;
	return err;
}
