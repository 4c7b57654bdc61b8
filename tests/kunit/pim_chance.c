// SPDX-License-Identifier: GPL-2.0-only
/*
 * Unit tests of the driver's pure logic, in KUnit's form: a module for kernels with CONFIG_KUNIT, and with shim/ a program. GPL, other than
 * the tests around it, since it is built together with kernel sources.
 */
#include <kunit/test.h>
#include <linux/module.h>
#include <linux/random.h>

#include "pim_chance.h"

/*
 * No parameter of the module: KUnit may run tests before those are read. A seed out of a kernel's log is run again by the program, where the
 * same numbers come out of it.
 */
struct pim_chance pim_chance(struct kunit *test)
{
	static unsigned long long seed;
	static bool drawn;

	if (!drawn)
		seed = get_random_u64();
	drawn = true;
	kunit_info(test, "seed %llu\n", seed);
	return (struct pim_chance){ seed };
}

/* A linear congruential generator's upper half is the good one. */
static u32 pim_chance_u32(struct pim_chance *c)
{
	c->state = c->state * 6364136223846793005ull + 1442695040888963407ull;
	return c->state >> 32;
}

u64 pim_chance_u64(struct pim_chance *c)
{
	u64 high = pim_chance_u32(c);

	return high << 32 | pim_chance_u32(c);
}

u32 pim_chance_below(struct pim_chance *c, u32 n)
{
	return pim_chance_u32(c) % n;
}

MODULE_DESCRIPTION("unit tests of pim.ko's pure logic");
MODULE_LICENSE("GPL");
