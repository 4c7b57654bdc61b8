/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef PIM_SHIM_LINUX_TYPES_H
#define PIM_SHIM_LINUX_TYPES_H

#include_next <linux/types.h>

#include <stdbool.h>
#include <stddef.h>

typedef __u32 u32;
typedef __u64 u64;

struct list_head {
	struct list_head *next, *prev;
};

#endif
