// SPDX-License-Identifier: MIT
/* Where the driver puts buffers: the arithmetic of kernel/pim_place.c, at its edges and against a plain model. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include "run_suite.h"

#include "../../kernel/pim_place.c"

#define UNIT 12288ull

static int rounded(uint64_t bytes, uint64_t align, uint64_t room, uint64_t *out, uint64_t *out_align)
{
	__u64 b = bytes, a = align;
	int ret = pim_place_round(&b, &a, UNIT, room);

	*out = b;
	*out_align = a;
	return ret;
}

START_TEST(sizes_are_rounded_to_units_within_the_room)
{
	static const struct {
		uint64_t bytes, room;
		int ret;
		uint64_t out;
	} cases[] = {
		{ 0, UNIT, -EINVAL, 0 },
		{ 1, UNIT, 0, UNIT },
		{ UNIT, UNIT, 0, UNIT },
		{ UNIT + 1, UNIT, -ENOSPC, 0 },
		{ UNIT + 1, 2 * UNIT - 1, -ENOSPC, 0 },
		{ UNIT + 1, 2 * UNIT, 0, 2 * UNIT },
		{ 1, 0, -ENOSPC, 0 },
		{ 1, UNIT - 1, -ENOSPC, 0 },
		{ UINT64_MAX, UNIT, -ENOSPC, 0 },
		{ UINT64_MAX, UINT64_MAX, -ENOSPC, 0 },
		{ UINT64_MAX - UINT64_MAX % UNIT, UINT64_MAX, 0, UINT64_MAX - UINT64_MAX % UNIT },
		{ UINT64_MAX - UINT64_MAX % UNIT + 1, UINT64_MAX, -ENOSPC, 0 },
	};
	uint64_t out, align;
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		ck_assert_int_eq(rounded(cases[i].bytes, 0, cases[i].room, &out, &align), cases[i].ret);
		if (cases[i].ret)
			continue;
		ck_assert_uint_eq(out, cases[i].out);
		ck_assert_uint_eq(align, UNIT);
	}
}
END_TEST

START_TEST(an_alignment_is_a_multiple_of_the_unit)
{
	uint64_t out, align;

	ck_assert_int_eq(rounded(1, UNIT, UNIT, &out, &align), 0);
	ck_assert_uint_eq(align, UNIT);
	ck_assert_int_eq(rounded(1, 7 * UNIT, UNIT, &out, &align), 0);
	ck_assert_uint_eq(align, 7 * UNIT);
	ck_assert_int_eq(rounded(1, UNIT + 1, UNIT, &out, &align), -EINVAL);
	ck_assert_int_eq(rounded(1, 1, UNIT, &out, &align), -EINVAL);
	ck_assert_int_eq(rounded(1, UINT64_MAX, UNIT, &out, &align), -EINVAL);
}
END_TEST

START_TEST(the_domain_with_most_free_memory_is_picked)
{
	__u64 free[32] = { 5, 9, 9, 0 };

	ck_assert_int_eq(pim_place_pick(free, 0xf, 1), 1);
	ck_assert_int_eq(pim_place_pick(free, 0xd, 1), 2);
	ck_assert_int_eq(pim_place_pick(free, 0x9, 1), 0);
	ck_assert_int_eq(pim_place_pick(free, 0x9, 6), -ENOSPC);
	ck_assert_int_eq(pim_place_pick(free, 0x8, 1), -ENOSPC);
	ck_assert_int_eq(pim_place_pick(free, 0, 0), -ENOSPC);
	free[31] = UINT64_MAX;
	ck_assert_int_eq(pim_place_pick(free, UINT32_MAX, UINT64_MAX), 31);
	ck_assert_int_eq(pim_place_pick(free, 0x80000000, 1), 31);
}
END_TEST

START_TEST(picks_agree_with_a_plain_search)
{
	__u64 free[32];
	int i, d, round, best;

	srand(7);
	for (round = 0; round < 20000; round++) {
		uint32_t mask = (uint32_t)rand() ^ (uint32_t)rand() << 16;
		uint64_t bytes = rand() % 8;

		for (i = 0; i < 32; i++)
			free[i] = rand() % 8;
		for (best = -ENOSPC, d = 31; d >= 0; d--)
			if (mask >> d & 1 && free[d] >= bytes && (best < 0 || free[d] >= free[best]))
				best = d;
		ck_assert_int_eq(pim_place_pick(free, mask, bytes), best);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("place");
	TCase *t = tcase_create("place");

	tcase_add_test(t, sizes_are_rounded_to_units_within_the_room);
	tcase_add_test(t, an_alignment_is_a_multiple_of_the_unit);
	tcase_add_test(t, the_domain_with_most_free_memory_is_picked);
	tcase_add_test(t, picks_agree_with_a_plain_search);
	suite_add_tcase(s, t);
	return run_suite(s);
}
