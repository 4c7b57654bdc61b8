/* SPDX-License-Identifier: GPL-2.0-only */
/* Numbers by chance for the tests, the same again from the same seed. */
#ifndef PIM_CHANCE_H
#define PIM_CHANCE_H

#include <linux/types.h>

struct kunit;

struct pim_chance {
	u64 state;
};

/* Begins at the seed of this run and says which it is. */
struct pim_chance pim_chance(struct kunit *test);
u64 pim_chance_u64(struct pim_chance *c);
/* Less than n, which is not zero. */
u32 pim_chance_below(struct pim_chance *c, u32 n);

#endif
