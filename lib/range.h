/* SPDX-License-Identifier: MIT */
/* First-fit allocation of address ranges inside one region; keeps its books outside of the region. */
#ifndef PIM_LIB_RANGE_H
#define PIM_LIB_RANGE_H

#include <stddef.h>
#include <stdint.h>

struct range {
	uint64_t start, bytes;
};

struct region {
	uint64_t start, bytes;
	struct range *used; /* in order of address */
	size_t n, cap;
};

/* bytes and the region's start must be multiples of what callers need as alignment. -ENOSPC, -ENOMEM; no message. */
int region_alloc(struct region *r, uint64_t bytes, uint64_t *start);
void region_free(struct region *r, uint64_t start);
/* Bytes of the largest free run, for messages. */
uint64_t region_largest(const struct region *r);
void region_destroy(struct region *r);

#endif
