/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef PIM_SHIM_LINUX_RANDOM_H
#define PIM_SHIM_LINUX_RANDOM_H

#include <linux/types.h>

/* What PIM_SEED says, to run a test again; without it a new number. */
u64 get_random_u64(void);

#endif
