/* SPDX-License-Identifier: GPL-2.0-only */
/* Where a buffer goes: arithmetic only, so that it also builds in user space, for its tests. */
#ifndef PIM_PLACE_H
#define PIM_PLACE_H

#include <linux/types.h>

/*
 * Round a buffer's size and alignment to whole units of the memory; an alignment of zero is one unit. -EINVAL: a size of zero, or an
 * alignment that is no multiple of the unit; -ENOSPC: larger than the room there is.
 */
int pim_place_round(__u64 *bytes, __u64 *align, __u64 unit, __u64 room);

/* Of the domains in the mask the one with the most free memory, the first among equals; -ENOSPC: in none of them so much is free. */
int pim_place_pick(const __u64 *free, __u32 mask, __u64 bytes);

#endif
