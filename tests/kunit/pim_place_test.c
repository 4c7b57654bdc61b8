// SPDX-License-Identifier: GPL-2.0-only
/* Where a buffer goes: see pim_place.h. */
#include <kunit/test.h>
#include <linux/errno.h>

#include "pim_chance.h"
#include "pim_place.h"

#define UNIT 12288ull
#define MOST (~0ull)
#define MOST_UNITS (MOST - MOST % UNIT)

static void sizes_are_rounded_to_units_within_the_room(struct kunit *test)
{
	static const struct {
		u64 bytes, room;
		int ret;
		u64 out;
	} cases[] = {
		{ 0, UNIT, -EINVAL, 0 },
		{ 1, UNIT, 0, UNIT },
		{ UNIT, UNIT, 0, UNIT },
		{ UNIT + 1, UNIT, -ENOSPC, 0 },
		{ UNIT + 1, 2 * UNIT - 1, -ENOSPC, 0 },
		{ UNIT + 1, 2 * UNIT, 0, 2 * UNIT },
		{ 1, 0, -ENOSPC, 0 },
		{ 1, UNIT - 1, -ENOSPC, 0 },
		{ MOST, UNIT, -ENOSPC, 0 },
		{ MOST, MOST, -ENOSPC, 0 },
		{ MOST_UNITS, MOST, 0, MOST_UNITS },
		{ MOST_UNITS + 1, MOST, -ENOSPC, 0 },
	};
	__u64 bytes, align;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		bytes = cases[i].bytes;
		align = 0;
		KUNIT_EXPECT_EQ(test, pim_place_round(&bytes, &align, UNIT, cases[i].room), cases[i].ret);
		if (cases[i].ret)
			continue;
		KUNIT_EXPECT_EQ(test, bytes, cases[i].out);
		KUNIT_EXPECT_EQ(test, align, UNIT);
	}
}

static void an_alignment_is_a_multiple_of_the_unit(struct kunit *test)
{
	static const struct {
		u64 align;
		int ret;
		u64 out;
	} cases[] = {
		{ 0, 0, UNIT },		  { UNIT, 0, UNIT }, { 7 * UNIT, 0, 7 * UNIT },
		{ UNIT + 1, -EINVAL, 0 }, { 1, -EINVAL, 0 }, { MOST, -EINVAL, 0 },
	};
	__u64 bytes, align;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		bytes = 1;
		align = cases[i].align;
		KUNIT_EXPECT_EQ(test, pim_place_round(&bytes, &align, UNIT, UNIT), cases[i].ret);
		if (!cases[i].ret)
			KUNIT_EXPECT_EQ(test, align, cases[i].out);
	}
}

static void the_domain_with_most_free_memory_is_picked(struct kunit *test)
{
	__u64 free[32] = { 5, 9, 9, 0 };

	KUNIT_EXPECT_EQ(test, pim_place_pick(free, 0xf, 1), 1);
	KUNIT_EXPECT_EQ(test, pim_place_pick(free, 0xd, 1), 2);
	KUNIT_EXPECT_EQ(test, pim_place_pick(free, 0x9, 1), 0);
	KUNIT_EXPECT_EQ(test, pim_place_pick(free, 0x9, 6), -ENOSPC);
	KUNIT_EXPECT_EQ(test, pim_place_pick(free, 0x8, 1), -ENOSPC);
	KUNIT_EXPECT_EQ(test, pim_place_pick(free, 0, 0), -ENOSPC);
	free[31] = MOST;
	KUNIT_EXPECT_EQ(test, pim_place_pick(free, ~0u, MOST), 31);
	KUNIT_EXPECT_EQ(test, pim_place_pick(free, 0x80000000, 1), 31);
}

static void picks_agree_with_a_plain_search(struct kunit *test)
{
	struct pim_chance c = pim_chance(test);
	int round, d, best;
	__u64 free[32];
	u64 bytes;
	u32 mask;

	for (round = 0; round < 5000; round++) {
		mask = pim_chance_u64(&c);
		bytes = pim_chance_below(&c, 8);
		for (d = 0; d < 32; d++)
			free[d] = pim_chance_below(&c, 8);
		for (best = -ENOSPC, d = 31; d >= 0; d--)
			if (mask >> d & 1 && free[d] >= bytes && (best < 0 || free[d] >= free[best]))
				best = d;
		KUNIT_ASSERT_EQ(test, pim_place_pick(free, mask, bytes), best);
	}
}

static struct kunit_case pim_place_cases[] = {
	KUNIT_CASE(sizes_are_rounded_to_units_within_the_room),
	KUNIT_CASE(an_alignment_is_a_multiple_of_the_unit),
	KUNIT_CASE(the_domain_with_most_free_memory_is_picked),
	KUNIT_CASE(picks_agree_with_a_plain_search),
	{},
};

static struct kunit_suite pim_place_suite = {
	.name = "pim_place",
	.test_cases = pim_place_cases,
};
kunit_test_suite(pim_place_suite);
