// SPDX-License-Identifier: GPL-2.0-only
/* When a tenure ends: see pim_policy.h. */
#include <kunit/test.h>

#include "pim_chance.h"
#include "pim_policy.h"

#define ROUNDS 20000

static enum pim_verdict claim_at(u64 deadline, u64 now, u64 *next)
{
	struct pim_policy p = { .deadline = deadline };

	return pim_policy_claim(&p, now, next);
}

static void a_claim_ends_at_its_deadline(struct kunit *test)
{
	u64 next = PIM_NEVER;

	KUNIT_EXPECT_EQ(test, claim_at(1000, 0, &next), PIM_KEEP);
	KUNIT_EXPECT_EQ(test, next, 1000ull);
	KUNIT_EXPECT_EQ(test, claim_at(1000, 999, &next), PIM_KEEP);
	KUNIT_EXPECT_EQ(test, next, 1000ull);
	KUNIT_EXPECT_EQ(test, claim_at(1000, 1000, &next), PIM_REVOKE);
	KUNIT_EXPECT_EQ(test, claim_at(1000, PIM_NEVER - 1, &next), PIM_REVOKE);
	KUNIT_EXPECT_EQ(test, claim_at(1, 1, &next), PIM_REVOKE);
	KUNIT_EXPECT_EQ(test, claim_at(PIM_NEVER - 1, PIM_NEVER - 2, &next), PIM_KEEP);
	KUNIT_EXPECT_EQ(test, claim_at(PIM_NEVER - 1, PIM_NEVER - 1, &next), PIM_REVOKE);
}

static void a_claim_without_a_deadline_never_ends(struct kunit *test)
{
	u64 next = PIM_NEVER;

	KUNIT_EXPECT_EQ(test, claim_at(0, 0, &next), PIM_KEEP);
	KUNIT_EXPECT_EQ(test, claim_at(0, 1, &next), PIM_KEEP);
	KUNIT_EXPECT_EQ(test, claim_at(0, PIM_NEVER - 1, &next), PIM_KEEP);
	KUNIT_EXPECT_EQ(test, claim_at(PIM_NEVER, PIM_NEVER - 1, &next), PIM_KEEP);
	KUNIT_EXPECT_EQ(test, next, PIM_NEVER);
}

/* What a tenure is asked about, in one piece. */
struct tenure {
	struct pim_policy policy;
	struct pim_demand demand;
	u64 start;
};

static enum pim_verdict tenure_at(const struct tenure *t, u64 now, u64 *next)
{
	return pim_policy_tenure(&t->policy, t->start, &t->demand, now, next);
}

static void a_tenure_that_nobody_waits_for_goes_on(struct kunit *test)
{
	struct tenure t = { .policy.host_requests = 1 };
	u64 next = PIM_NEVER;

	KUNIT_EXPECT_EQ(test, tenure_at(&t, 0, &next), PIM_KEEP);
	KUNIT_EXPECT_EQ(test, tenure_at(&t, PIM_NEVER - 1, &next), PIM_KEEP);
	t.policy.host_requests = 0;
	KUNIT_EXPECT_EQ(test, tenure_at(&t, PIM_NEVER - 1, &next), PIM_KEEP);
	KUNIT_EXPECT_EQ(test, next, PIM_NEVER);
}

static void enough_requests_end_a_tenure_after_its_least_time(struct kunit *test)
{
	struct tenure t = {
		.policy = { .min_ns = 100, .max_ns = 5000, .host_requests = 3 },
		.demand = { .waiting = 3, .since = 1010 },
		.start = 1000,
	};
	u64 next = PIM_NEVER;

	KUNIT_EXPECT_EQ(test, tenure_at(&t, 1020, &next), PIM_KEEP);
	KUNIT_EXPECT_EQ(test, next, 1100ull);
	KUNIT_EXPECT_EQ(test, tenure_at(&t, 1099, &next), PIM_KEEP);
	KUNIT_EXPECT_EQ(test, tenure_at(&t, 1100, &next), PIM_YIELD);
	t.demand.waiting = ~0u;
	KUNIT_EXPECT_EQ(test, tenure_at(&t, 1099, &next), PIM_KEEP);
	KUNIT_EXPECT_EQ(test, tenure_at(&t, 1100, &next), PIM_YIELD);
	/* One is missing: only the longest wait counts. */
	t.demand.waiting = 2;
	next = PIM_NEVER;
	KUNIT_EXPECT_EQ(test, tenure_at(&t, 1100, &next), PIM_KEEP);
	KUNIT_EXPECT_EQ(test, next, 6010ull);
}

static void a_request_that_waited_long_enough_ends_a_tenure(struct kunit *test)
{
	struct tenure t = {
		.policy = { .min_ns = 100, .max_ns = 50, .host_requests = 2 },
		.demand = { .waiting = 1, .since = 1010 },
		.start = 1000,
	};
	u64 next = PIM_NEVER;

	KUNIT_EXPECT_EQ(test, tenure_at(&t, 1059, &next), PIM_KEEP);
	KUNIT_EXPECT_EQ(test, next, 1060ull);
	KUNIT_EXPECT_EQ(test, tenure_at(&t, 1060, &next), PIM_YIELD);
	/* Before the least time is over, too: max_ns is a promise to who waits. */
	t.demand.waiting = 2;
	next = PIM_NEVER;
	KUNIT_EXPECT_EQ(test, tenure_at(&t, 1059, &next), PIM_KEEP);
	KUNIT_EXPECT_EQ(test, next, 1060ull);
	KUNIT_EXPECT_EQ(test, tenure_at(&t, 1060, &next), PIM_YIELD);
}

static void no_number_of_requests_counts_where_none_was_asked_for(struct kunit *test)
{
	struct tenure t = {
		.policy = { .min_ns = 0, .max_ns = 500, .host_requests = 0 },
		.demand = { .waiting = ~0u, .since = 1000 },
		.start = 0,
	};
	u64 next = PIM_NEVER;

	KUNIT_EXPECT_EQ(test, tenure_at(&t, 1499, &next), PIM_KEEP);
	KUNIT_EXPECT_EQ(test, next, 1500ull);
	KUNIT_EXPECT_EQ(test, tenure_at(&t, 1500, &next), PIM_YIELD);
}

static void times_of_zero_are_over_at_once(struct kunit *test)
{
	struct tenure t = { .policy = { .max_ns = PIM_NEVER, .host_requests = 1 }, .demand.waiting = 1 };
	u64 next = PIM_NEVER;

	KUNIT_EXPECT_EQ(test, tenure_at(&t, 0, &next), PIM_YIELD);
	t.policy.host_requests = 0;
	KUNIT_EXPECT_EQ(test, tenure_at(&t, 0, &next), PIM_KEEP);
	t.policy.max_ns = 0;
	KUNIT_EXPECT_EQ(test, tenure_at(&t, 0, &next), PIM_YIELD);
}

static void times_past_the_end_of_the_clock_never_come(struct kunit *test)
{
	struct tenure t = {
		.policy = { .min_ns = PIM_NEVER, .max_ns = PIM_NEVER, .host_requests = 1 },
		.demand = { .waiting = 1, .since = 1000 },
		.start = 1000,
	};
	u64 next = PIM_NEVER;

	KUNIT_EXPECT_EQ(test, tenure_at(&t, PIM_NEVER - 1, &next), PIM_KEEP);
	t.policy.min_ns = PIM_NEVER - 1000;
	t.policy.max_ns = PIM_NEVER - 999;
	KUNIT_EXPECT_EQ(test, tenure_at(&t, PIM_NEVER - 1, &next), PIM_KEEP);
	KUNIT_EXPECT_EQ(test, next, PIM_NEVER);
	/* The last time that comes. */
	t.policy.max_ns = PIM_NEVER - 1001;
	KUNIT_EXPECT_EQ(test, tenure_at(&t, PIM_NEVER - 2, &next), PIM_KEEP);
	KUNIT_EXPECT_EQ(test, next, PIM_NEVER - 1);
	KUNIT_EXPECT_EQ(test, tenure_at(&t, PIM_NEVER - 1, &next), PIM_YIELD);
}

static void when_to_ask_again_is_only_lowered(struct kunit *test)
{
	struct tenure t = {
		.policy = { .deadline = 300, .min_ns = 100, .max_ns = 200, .host_requests = 1 },
		.demand.waiting = 1,
	};
	u64 next = 50;

	KUNIT_EXPECT_EQ(test, pim_policy_claim(&t.policy, 10, &next), PIM_KEEP);
	KUNIT_EXPECT_EQ(test, tenure_at(&t, 10, &next), PIM_KEEP);
	KUNIT_EXPECT_EQ(test, next, 50ull);
	next = 250;
	KUNIT_EXPECT_EQ(test, pim_policy_claim(&t.policy, 10, &next), PIM_KEEP);
	KUNIT_EXPECT_EQ(test, next, 250ull);
	KUNIT_EXPECT_EQ(test, tenure_at(&t, 10, &next), PIM_KEEP);
	KUNIT_EXPECT_EQ(test, next, 100ull);
}

/* -- by chance ------------------------------------------------------------------------------------------------------ */

/* Often where it hurts: small, near the end of the clock, or near the others. PIM_NEVER itself is no time that comes. */
static u64 some_time(struct pim_chance *c)
{
	switch (pim_chance_below(c, 5)) {
	case 0:
		return pim_chance_below(c, 4);
	case 1:
		return PIM_NEVER - 1 - pim_chance_below(c, 4);
	case 2:
		return pim_chance_u64(c) >> 1;
	default:
		return pim_chance_below(c, 64);
	}
}

static u64 some_span(struct pim_chance *c)
{
	return pim_chance_below(c, 16) ? some_time(c) : PIM_NEVER;
}

static struct tenure some_tenure(struct pim_chance *c)
{
	return (struct tenure){
		.policy = {
			.deadline = some_span(c),
			.min_ns = some_span(c),
			.max_ns = some_span(c),
			.host_requests = pim_chance_below(c, 4),
		},
		.demand = { .waiting = pim_chance_below(c, 5), .since = some_time(c) },
		.start = some_time(c),
	};
}

/* No sum, so nothing that could overflow. */
static bool lasted(u64 since, u64 ns, u64 now)
{
	return now >= since && now - since >= ns;
}

static bool must_yield(const struct tenure *t, u64 now)
{
	bool enough = t->policy.host_requests && t->demand.waiting >= t->policy.host_requests;

	return t->demand.waiting &&
	       ((enough && lasted(t->start, t->policy.min_ns, now)) || lasted(t->demand.since, t->policy.max_ns, now));
}

static void verdicts_agree_with_what_has_elapsed(struct kunit *test)
{
	struct pim_chance c = pim_chance(test);
	u64 now, next, before;
	struct tenure t;
	int i;

	for (i = 0; i < ROUNDS; i++) {
		t = some_tenure(&c);
		now = some_time(&c);
		before = next = some_span(&c);
		KUNIT_ASSERT_EQ(test, tenure_at(&t, now, &next), must_yield(&t, now) ? PIM_YIELD : PIM_KEEP);
		KUNIT_ASSERT_LE(test, next, before);
		before = next;
		KUNIT_ASSERT_EQ(test, pim_policy_claim(&t.policy, now, &next),
				t.policy.deadline && now >= t.policy.deadline ? PIM_REVOKE : PIM_KEEP);
		KUNIT_ASSERT_LE(test, next, before);
	}
}

/* Not a moment before, and not for nothing; and where nobody is to ask again, nothing will change. */
static void the_verdict_changes_at_the_time_to_ask_again(struct kunit *test)
{
	struct pim_chance c = pim_chance(test);
	u64 now, next, again;
	u32 changes = 0;
	struct tenure t;
	int i;

	for (i = 0; i < ROUNDS; i++) {
		t = some_tenure(&c);
		now = some_time(&c);
		next = PIM_NEVER;
		if (tenure_at(&t, now, &next) == PIM_KEEP) {
			KUNIT_ASSERT_GT(test, next, now);
			again = PIM_NEVER;
			KUNIT_ASSERT_EQ(test, tenure_at(&t, next - 1, &again), PIM_KEEP);
			KUNIT_ASSERT_EQ(test, again, next);
			if (next != PIM_NEVER) {
				KUNIT_ASSERT_EQ(test, tenure_at(&t, next, &again), PIM_YIELD);
				changes++;
			}
		}
		next = PIM_NEVER;
		if (pim_policy_claim(&t.policy, now, &next) == PIM_KEEP && next != PIM_NEVER) {
			KUNIT_ASSERT_GT(test, next, now);
			KUNIT_ASSERT_EQ(test, pim_policy_claim(&t.policy, next - 1, &again), PIM_KEEP);
			KUNIT_ASSERT_EQ(test, pim_policy_claim(&t.policy, next, &again), PIM_REVOKE);
		}
	}
	KUNIT_EXPECT_TRUE(test, changes > 0);
}

static void a_tenure_that_is_over_stays_over_while_its_demand_does_not_shrink(struct kunit *test)
{
	struct pim_chance c = pim_chance(test);
	u64 now, next = PIM_NEVER;
	u32 over = 0, more;
	struct tenure t;
	int i;

	for (i = 0; i < ROUNDS; i++) {
		t = some_tenure(&c);
		now = some_time(&c);
		if (tenure_at(&t, now, &next) != PIM_YIELD)
			continue;
		over++;
		for (more = 0; more < 4; more++) {
			now += pim_chance_u64(&c) % (PIM_NEVER - now);
			t.demand.waiting += pim_chance_below(&c, 3);
			KUNIT_ASSERT_EQ(test, tenure_at(&t, now, &next), PIM_YIELD);
		}
	}
	KUNIT_EXPECT_TRUE(test, over > 0);
}

static struct kunit_case pim_policy_cases[] = {
	KUNIT_CASE(a_claim_ends_at_its_deadline),
	KUNIT_CASE(a_claim_without_a_deadline_never_ends),
	KUNIT_CASE(a_tenure_that_nobody_waits_for_goes_on),
	KUNIT_CASE(enough_requests_end_a_tenure_after_its_least_time),
	KUNIT_CASE(a_request_that_waited_long_enough_ends_a_tenure),
	KUNIT_CASE(no_number_of_requests_counts_where_none_was_asked_for),
	KUNIT_CASE(times_of_zero_are_over_at_once),
	KUNIT_CASE(times_past_the_end_of_the_clock_never_come),
	KUNIT_CASE(when_to_ask_again_is_only_lowered),
	KUNIT_CASE(verdicts_agree_with_what_has_elapsed),
	KUNIT_CASE(the_verdict_changes_at_the_time_to_ask_again),
	KUNIT_CASE(a_tenure_that_is_over_stays_over_while_its_demand_does_not_shrink),
	{},
};

static struct kunit_suite pim_policy_suite = {
	.name = "pim_policy",
	.test_cases = pim_policy_cases,
};
kunit_test_suite(pim_policy_suite);
