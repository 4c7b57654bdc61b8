// SPDX-License-Identifier: GPL-2.0-only
/* Where a buffer goes: see pim_place.h. */
#include <linux/errno.h>

#include "pim_place.h"

int pim_place_round(__u64 *bytes, __u64 *align, __u64 unit, __u64 room)
{
	__u64 rest = *bytes % unit;

	if (!*bytes || *align % unit)
		return -EINVAL;
	/* What is no larger than the room once rounded has not overflowed. */
	if (*bytes > room || (rest && unit - rest > room - *bytes))
		return -ENOSPC;
	if (rest)
		*bytes += unit - rest;
	if (!*align)
		*align = unit;
	return 0;
}

int pim_place_pick(const __u64 *free, __u32 mask, __u64 bytes)
{
	int d, best = -ENOSPC;

	for (d = 0; d < 32; d++) {
		if (!(mask >> d & 1) || free[d] < bytes)
			continue;
		if (best < 0 || free[d] > free[best])
			best = d;
	}
	return best;
}
