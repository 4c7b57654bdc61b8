// SPDX-License-Identifier: MIT
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "range.h"

/* The gap before used[i]; behind the last one for i == n. */
static struct range gap(const struct region *r, size_t i)
{
	uint64_t start = i ? r->used[i - 1].start + r->used[i - 1].bytes : r->start;
	uint64_t end = i < r->n ? r->used[i].start : r->start + r->bytes;

	return (struct range){ start, end - start };
}

int region_alloc(struct region *r, uint64_t bytes, uint64_t *start)
{
	size_t i;

	for (i = 0; i <= r->n; i++)
		if (gap(r, i).bytes >= bytes)
			break;
	if (i > r->n)
		return -ENOSPC;
	if (r->n == r->cap) {
		size_t cap = r->cap ? 2 * r->cap : 16;
		struct range *used = realloc(r->used, cap * sizeof(*used));

		if (!used)
			return -ENOMEM;
		r->used = used;
		r->cap = cap;
	}
	*start = gap(r, i).start;
	memmove(&r->used[i + 1], &r->used[i], (r->n - i) * sizeof(*r->used));
	r->used[i] = (struct range){ *start, bytes };
	r->n++;
	return 0;
}

void region_free(struct region *r, uint64_t start)
{
	for (size_t i = 0; i < r->n; i++) {
		if (r->used[i].start != start)
			continue;
		r->n--;
		memmove(&r->used[i], &r->used[i + 1], (r->n - i) * sizeof(*r->used));
		return;
	}
}

uint64_t region_largest(const struct region *r)
{
	uint64_t best = 0;

	for (size_t i = 0; i <= r->n; i++)
		if (gap(r, i).bytes > best)
			best = gap(r, i).bytes;
	return best;
}

void region_destroy(struct region *r)
{
	free(r->used);
	r->used = NULL;
	r->n = r->cap = 0;
}
