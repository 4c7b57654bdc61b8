// SPDX-License-Identifier: GPL-2.0-only
/* The line of those who wait for domains: see pim_line.h. */
#include <drm/pim_drm.h>
#include <kunit/test.h>
#include <linux/list.h>

#include "pim_chance.h"
#include "pim_line.h"

#define HIGH 0
#define NORMAL 1
#define LOW 2

static void arrive(struct list_head *line, struct pim_waiter *w, u32 rank, u32 mask)
{
	*w = (struct pim_waiter){ .mask = mask, .rank = rank };
	pim_line_add(line, w);
}

static void an_empty_line_serves_nobody(struct kunit *test)
{
	struct list_head line;

	INIT_LIST_HEAD(&line);
	KUNIT_EXPECT_NULL(test, pim_line_next(&line, 0));
	KUNIT_EXPECT_EQ(test, pim_line_waiting(&line, ~0u), 0u);
	KUNIT_EXPECT_TRUE(test, list_empty(&line));
}

static void a_high_priority_ranks_before_a_normal_one_and_that_before_a_low_one(struct kunit *test)
{
	KUNIT_EXPECT_EQ(test, pim_line_rank(DRM_PIM_PRIORITY_HIGH), HIGH + 0u);
	KUNIT_EXPECT_EQ(test, pim_line_rank(DRM_PIM_PRIORITY_NORMAL), NORMAL + 0u);
	KUNIT_EXPECT_EQ(test, pim_line_rank(DRM_PIM_PRIORITY_LOW), LOW + 0u);
}

static void ranks_are_served_in_order_whoever_came_first(struct kunit *test)
{
	struct list_head line;
	struct pim_waiter low, normal, high;

	INIT_LIST_HEAD(&line);
	arrive(&line, &low, LOW, 1);
	arrive(&line, &high, HIGH, 1);
	arrive(&line, &normal, NORMAL, 1);
	KUNIT_EXPECT_PTR_EQ(test, pim_line_next(&line, 0), &high);
	KUNIT_EXPECT_PTR_EQ(test, pim_line_next(&line, 0), &normal);
	KUNIT_EXPECT_PTR_EQ(test, pim_line_next(&line, 0), &low);
	KUNIT_EXPECT_NULL(test, pim_line_next(&line, 0));
}

static void equals_are_served_in_the_order_of_their_coming(struct kunit *test)
{
	struct list_head line;
	struct pim_waiter w[6];
	u32 i, rank;

	INIT_LIST_HEAD(&line);
	for (i = 0; i < 6; i++)
		arrive(&line, &w[i], i % 2 ? LOW : NORMAL, 1);
	for (rank = NORMAL; rank <= LOW; rank++) {
		for (i = rank == LOW; i < 6; i += 2)
			KUNIT_EXPECT_PTR_EQ(test, pim_line_next(&line, 0), &w[i]);
	}
}

static void all_domains_of_a_mask_are_granted_or_none(struct kunit *test)
{
	struct list_head line;
	struct pim_waiter w;
	u32 taken;

	INIT_LIST_HEAD(&line);
	arrive(&line, &w, NORMAL, 0x80000005);
	for (taken = 1; taken; taken <<= 1) {
		if (!(taken & w.mask))
			continue;
		KUNIT_EXPECT_NULL(test, pim_line_next(&line, taken));
		KUNIT_EXPECT_FALSE(test, w.granted);
	}
	KUNIT_EXPECT_PTR_EQ(test, pim_line_next(&line, ~w.mask), &w);
}

static void who_must_wait_keeps_his_domains_from_those_behind(struct kunit *test)
{
	struct list_head line;
	struct pim_waiter wide, narrow, low;

	INIT_LIST_HEAD(&line);
	arrive(&line, &wide, NORMAL, 0x7);
	arrive(&line, &narrow, NORMAL, 0x2);
	arrive(&line, &low, LOW, 0x4);
	KUNIT_EXPECT_NULL(test, pim_line_next(&line, 0x1));
	KUNIT_EXPECT_PTR_EQ(test, pim_line_next(&line, 0), &wide);
	KUNIT_EXPECT_PTR_EQ(test, pim_line_next(&line, 0x1), &narrow);
	KUNIT_EXPECT_PTR_EQ(test, pim_line_next(&line, 0x3), &low);
}

static void who_wants_what_nobody_ahead_wants_need_not_wait(struct kunit *test)
{
	struct list_head line;
	struct pim_waiter high, low;

	INIT_LIST_HEAD(&line);
	arrive(&line, &high, HIGH, 0x3);
	arrive(&line, &low, LOW, 0xc);
	KUNIT_EXPECT_PTR_EQ(test, pim_line_next(&line, 0x1), &low);
	KUNIT_EXPECT_FALSE(test, high.granted);
	KUNIT_EXPECT_PTR_EQ(test, pim_line_next(&line, 0xc), &high);
}

static void who_is_served_is_granted_and_out_of_the_line(struct kunit *test)
{
	struct list_head line;
	struct pim_waiter a, b;

	INIT_LIST_HEAD(&line);
	arrive(&line, &a, NORMAL, 0x1);
	arrive(&line, &b, NORMAL, 0x1);
	KUNIT_EXPECT_FALSE(test, a.granted);
	KUNIT_EXPECT_PTR_EQ(test, pim_line_next(&line, 0), &a);
	KUNIT_EXPECT_TRUE(test, a.granted);
	KUNIT_EXPECT_TRUE(test, list_empty(&a.link));
	KUNIT_EXPECT_FALSE(test, b.granted);
	KUNIT_EXPECT_FALSE(test, list_empty(&line));
	KUNIT_EXPECT_PTR_EQ(test, pim_line_next(&line, 0), &b);
	KUNIT_EXPECT_TRUE(test, list_empty(&line));
}

static void those_who_want_any_of_the_domains_are_counted(struct kunit *test)
{
	struct list_head line;
	struct pim_waiter w[3];

	INIT_LIST_HEAD(&line);
	arrive(&line, &w[0], NORMAL, 0x3);
	arrive(&line, &w[1], HIGH, 0x6);
	arrive(&line, &w[2], LOW, 0x80000000);
	KUNIT_EXPECT_EQ(test, pim_line_waiting(&line, 0), 0u);
	KUNIT_EXPECT_EQ(test, pim_line_waiting(&line, 0x1), 1u);
	KUNIT_EXPECT_EQ(test, pim_line_waiting(&line, 0x2), 2u);
	KUNIT_EXPECT_EQ(test, pim_line_waiting(&line, 0x5), 2u);
	KUNIT_EXPECT_EQ(test, pim_line_waiting(&line, 0x8), 0u);
	KUNIT_EXPECT_EQ(test, pim_line_waiting(&line, ~0u), 3u);
	list_del_init(&w[0].link); /* as one does who waits no longer */
	KUNIT_EXPECT_EQ(test, pim_line_waiting(&line, 0x3), 1u);
}

/* Each domain has a holder who comes back as soon as it lost it. They overlap in time, so that all are never free by themselves. */
static void a_mask_of_all_is_served_though_each_domain_is_always_wanted(struct kunit *test)
{
	struct list_head line;
	static struct pim_waiter narrow[32];
	struct pim_waiter wide, *w;
	u32 taken = ~0u, served = 0, d;

	INIT_LIST_HEAD(&line);
	arrive(&line, &wide, NORMAL, ~0u);
	for (d = 0; !wide.granted && d < 32; d++) {
		arrive(&line, &narrow[d], NORMAL, 1u << d);
		taken &= ~(1u << d);
		while ((w = pim_line_next(&line, taken))) {
			taken |= w->mask;
			served++;
		}
	}
	KUNIT_ASSERT_TRUE(test, wide.granted);
	KUNIT_ASSERT_EQ(test, d, 32u);
	KUNIT_ASSERT_EQ(test, served, 1u);
	for (d = 0; d < 32; d++)
		KUNIT_ASSERT_PTR_EQ(test, pim_line_next(&line, 0), &narrow[d]);
}

/* -- by chance, against a model that is too plain to be wrong ------------------------------------------------------- */

#define CLIENTS 24

enum state {
	AWAY,
	WAITS,
	HOLDS,
};

static struct client {
	struct pim_waiter w;
	enum state state;
	u32 mask; /* of what it waits for or holds, as the model has it */
	u32 rank;
	u32 came; /* when: its number */
} client[CLIENTS];

static u32 coming;

static bool is_ahead(const struct client *a, const struct client *b)
{
	return a->rank != b->rank ? a->rank < b->rank : a->came < b->came;
}

/* One is served if his domains are free and nobody who waits ahead of him wants one of them. */
static bool may_be_served(const struct client *c, u32 taken)
{
	u32 i;

	if (c->state != WAITS || (c->mask & taken))
		return false;
	for (i = 0; i < CLIENTS; i++)
		if (client[i].state == WAITS && is_ahead(&client[i], c) && (client[i].mask & c->mask))
			return false;
	return true;
}

static struct client *model_next(u32 taken)
{
	struct client *best = NULL;
	u32 i;

	for (i = 0; i < CLIENTS; i++)
		if (may_be_served(&client[i], taken) && (!best || is_ahead(&client[i], best)))
			best = &client[i];
	return best;
}

static u32 model_taken(void)
{
	u32 taken = 0, i;

	for (i = 0; i < CLIENTS; i++)
		if (client[i].state == HOLDS)
			taken |= client[i].mask;
	return taken;
}

static u32 model_waiting(u32 mask)
{
	u32 n = 0, i;

	for (i = 0; i < CLIENTS; i++)
		n += client[i].state == WAITS && (client[i].mask & mask);
	return n;
}

static u32 some_mask(struct pim_chance *c, u32 domains)
{
	u32 all = ~0u >> (32 - domains), mask;

	switch (pim_chance_below(c, 4)) {
	case 0:
		return all;
	case 1:
		mask = pim_chance_u64(c) & all;
		if (mask)
			return mask;
		fallthrough;
	default:
		return 1u << pim_chance_below(c, domains);
	}
}

static void reset_clients(struct list_head *line)
{
	u32 i;

	INIT_LIST_HEAD(line);
	for (i = 0; i < CLIENTS; i++)
		client[i].state = AWAY;
	coming = 0;
}

static void client_comes(struct list_head *line, struct client *k, u32 rank, u32 mask)
{
	k->state = WAITS;
	k->mask = mask;
	k->rank = rank;
	k->came = coming++;
	arrive(line, &k->w, rank, mask);
}

/* Serve until nobody can be, as the driver does. */
static void serve(struct kunit *test, struct list_head *line)
{
	struct client *want;
	struct pim_waiter *got;
	u32 taken = model_taken();

	do {
		want = model_next(taken);
		got = pim_line_next(line, taken);
		KUNIT_ASSERT_PTR_EQ(test, got, want ? &want->w : NULL);
		if (got) {
			KUNIT_ASSERT_EQ(test, got->mask & taken, 0u);
			KUNIT_ASSERT_TRUE(test, got->granted);
			want->state = HOLDS;
			taken |= got->mask;
		}
	} while (got);
}

static void check_line(struct kunit *test, struct list_head *line, u32 mask)
{
	struct pim_waiter *w, *before = NULL;
	u32 held = 0, n = 0, i;

	list_for_each_entry(w, line, link) {
		KUNIT_ASSERT_FALSE(test, w->granted);
		if (before)
			KUNIT_ASSERT_LE(test, before->rank, w->rank);
		before = w;
		n++;
	}
	KUNIT_ASSERT_EQ(test, n, model_waiting(~0u));
	KUNIT_ASSERT_EQ(test, pim_line_waiting(line, mask), model_waiting(mask));
	for (i = 0; i < CLIENTS; i++) {
		if (client[i].state != HOLDS)
			continue;
		KUNIT_ASSERT_EQ(test, held & client[i].mask, 0u);
		held |= client[i].mask;
	}
}

static void one_event(struct kunit *test, struct pim_chance *c, struct list_head *line, u32 domains)
{
	struct client *k = &client[pim_chance_below(c, CLIENTS)];

	switch (k->state) {
	case AWAY:
		client_comes(line, k, pim_chance_below(c, 3), some_mask(c, domains));
		break;
	case WAITS:
		if (pim_chance_below(c, 8))
			break;
		list_del_init(&k->w.link);
		k->state = AWAY;
		break;
	case HOLDS: /* gives back some of it, or all */
		k->mask &= pim_chance_below(c, 2) ? pim_chance_u64(c) : 0;
		if (!k->mask)
			k->state = AWAY;
		break;
	}
	serve(test, line);
	check_line(test, line, pim_chance_u64(c));
}

static void any_history_agrees_with_a_plain_model(struct kunit *test)
{
	static const u32 sizes[] = { 1, 2, 4, 8, 32 };
	struct pim_chance c = pim_chance(test);
	struct list_head line;
	u32 size, i;

	for (size = 0; size < ARRAY_SIZE(sizes); size++) {
		reset_clients(&line);
		for (i = 0; i < 4000; i++)
			one_event(test, &c, &line, sizes[size]);
	}
}

/* Whatever comes behind him, one waits for those ahead only: as many of them are served before him as there were, at most. */
static void among_equals_one_waits_for_those_ahead_only(struct kunit *test)
{
	struct pim_chance c = pim_chance(test);
	struct list_head line;
	u32 step, i, oldest;

	reset_clients(&line);
	for (step = 0; step < 4000; step++) {
		/* Who is away comes back with any mask, and who holds something gives it up one time in four. */
		for (i = 0; i < CLIENTS; i++) {
			if (client[i].state == HOLDS && !pim_chance_below(&c, 4))
				client[i].state = AWAY;
			else if (client[i].state == AWAY)
				client_comes(&line, &client[i], NORMAL, some_mask(&c, 8));
		}
		serve(test, &line);
		/* The one who has waited the longest lacks nothing but what is held. */
		oldest = CLIENTS;
		for (i = 0; i < CLIENTS; i++)
			if (client[i].state == WAITS && (oldest == CLIENTS || client[i].came < client[oldest].came))
				oldest = i;
		if (oldest < CLIENTS)
			KUNIT_ASSERT_NE(test, client[oldest].mask & model_taken(), 0u);
		for (i = 0; i < CLIENTS; i++) {
			if (client[i].state == HOLDS && oldest < CLIENTS && client[i].came > client[oldest].came)
				KUNIT_ASSERT_EQ(test, client[i].mask & client[oldest].mask, 0u);
		}
	}
	KUNIT_EXPECT_TRUE(test, coming > CLIENTS);
}

static struct kunit_case pim_line_cases[] = {
	KUNIT_CASE(an_empty_line_serves_nobody),
	KUNIT_CASE(a_high_priority_ranks_before_a_normal_one_and_that_before_a_low_one),
	KUNIT_CASE(ranks_are_served_in_order_whoever_came_first),
	KUNIT_CASE(equals_are_served_in_the_order_of_their_coming),
	KUNIT_CASE(all_domains_of_a_mask_are_granted_or_none),
	KUNIT_CASE(who_must_wait_keeps_his_domains_from_those_behind),
	KUNIT_CASE(who_wants_what_nobody_ahead_wants_need_not_wait),
	KUNIT_CASE(who_is_served_is_granted_and_out_of_the_line),
	KUNIT_CASE(those_who_want_any_of_the_domains_are_counted),
	KUNIT_CASE(a_mask_of_all_is_served_though_each_domain_is_always_wanted),
	KUNIT_CASE(any_history_agrees_with_a_plain_model),
	KUNIT_CASE(among_equals_one_waits_for_those_ahead_only),
	{},
};

static struct kunit_suite pim_line_suite = {
	.name = "pim_line",
	.test_cases = pim_line_cases,
};
kunit_test_suite(pim_line_suite);
