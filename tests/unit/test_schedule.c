// SPDX-License-Identifier: MIT
/* Planning without a card: layouts, dependencies and waits of real networks, checked by a slow rule of their own. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <pim/net.h>

#include "net.h"
#include "step.h"
#include "run_suite.h"

static const struct pim_info card = { .name = "test",
				      .domains = 1,
				      .stacks = 4,
				      .pcs = 16,
				      .bank_groups = 4,
				      .banks = 4,
				      .banks_per_unit = 4,
				      .rows = 16384,
				      .row_bytes = 1024,
				      .stripe_bytes = 8192,
				      .crf_words = 32,
				      .srf_words = 64,
				      .tck_ps = 1000,
				      .host_gflops = 15700,
				      .host_mbps = 1024000,
				      .pim_mbps = 2048000,
				      .window_mbps = 16000,
				      .domain_bytes = 16ull << 30,
				      .window_bytes = 128 << 20 };

/* Slices as params_create() makes them, without a card. */
static struct params fake_params(const struct pim_net *net)
{
	struct params p = { .net = net, .optimizer = optimizer_find(&(struct pim_train_options){ 0 }) };

	p.slice = calloc((size_t)net->n, sizeof(*p.slice));
	p.group = calloc((size_t)net->n, sizeof(*p.group));
	for (int i = 0; i < net->n; i++) {
		if (net->layer[i].kind != LAYER_CONV && net->layer[i].kind != LAYER_BN)
			continue;
		p.slice[i].bytes = 64;
		if (net->layer[i].kind == LAYER_CONV || !p.ngroups)
			p.group[p.ngroups++] = (struct group){ .first = i, .bytes = 64 };
		p.group[p.ngroups - 1].last = i;
	}
	return p;
}

/*
 * The card's rule: an engine runs its jobs in order, and a job starts when the job of the other engine that it waits for is done. Then every
 * dependency must be behind the job: happened[k][e] = how many jobs of engine e are surely done when order[k] starts.
 */
static void check_waits(const struct step *s)
{
	uint32_t(*before)[2] = calloc((size_t)s->ntasks + 1, sizeof(*before));
	int *place = calloc((size_t)s->ntasks, sizeof(int)), *at[2];

	at[0] = calloc((size_t)s->ntasks + 1, sizeof(int));
	at[1] = calloc((size_t)s->ntasks + 1, sizeof(int));
	for (int k = 0; k < s->ntasks; k++) {
		const struct task *t = &s->task[s->order[k]];
		int e = t->engine;

		place[s->order[k]] = k;
		at[e][s->number[k]] = k;
		if (s->number[k] > 1) {
			int prev = at[e][s->number[k] - 1];

			memcpy(before[k], before[prev], sizeof(before[k]));
			before[k][e] = s->number[k] - 1;
		}
		if (s->wait[k]) {
			int w = at[!e][s->wait[k]];

			ck_assert_msg(w < k, "job %d waits for one that is not submitted yet", k);
			for (int i = 0; i < 2; i++)
				if (before[w][i] > before[k][i])
					before[k][i] = before[w][i];
			if (s->wait[k] > before[k][!e])
				before[k][!e] = s->wait[k];
		}
		for (int d = 0; d < t->ndeps; d++) {
			int p = place[t->dep[d]], pe = s->task[t->dep[d]].engine;

			ck_assert_msg(at[pe][s->number[p]] == p && p < k, "task %d (%s) is submitted before what it depends on",
				      s->order[k], t->what);
			ck_assert_msg(before[k][pe] >= s->number[p], "nothing makes task %d (%s) wait for task %d (%s)",
				      s->order[k], t->what, t->dep[d], s->task[t->dep[d]].what);
		}
	}
	free(before);
	free(place);
	free(at[0]);
	free(at[1]);
}

static const struct {
	enum pim_mode mode;
	uint32_t tile, batch, channels;
} combination[] = {
	{ PIM_SERIAL, 0, 64, 16 },    { PIM_PIPELINED, 0, 64, 16 }, { PIM_PIPELINED, 16, 64, 48 },
	{ PIM_PIPELINED, 32, 7, 64 }, { PIM_PIPELINED, 16, 1, 3 },
};

START_TEST(waits_enforce_every_dependency)
{
	struct pim_train_options opt = { .sz = sizeof(opt), .mode = combination[_i].mode, .tile = combination[_i].tile };

	for (int train = 0; train < 2; train++) {
		struct pim_net *net = pim_net_digits(combination[_i].channels);
		struct params p = fake_params(net);
		struct step s;

		ck_assert_int_eq(step_build(&s, net, &p, &card, combination[_i].batch, train, &opt), 0);
		ck_assert_int_gt(s.ntasks, 10);
		check_waits(&s);
		step_destroy(&s);
		free(p.slice);
		free(p.group);
		pim_net_free(net);
	}
}
END_TEST

START_TEST(convolutions_run_on_host_and_all_else_on_pim)
{
	struct pim_train_options opt = { .sz = sizeof(opt), .mode = PIM_PIPELINED };
	struct pim_net *net = pim_net_digits(32);
	struct params p = fake_params(net);
	struct step s;

	ck_assert_int_eq(step_build(&s, net, &p, &card, 64, true, &opt), 0);
	for (int i = 0; i < s.ntasks; i++) {
		const struct task *t = &s.task[i];

		if (t->op == PIM_HW_OP_PROGRAM)
			ck_assert_int_eq(t->engine, PIM_PIM);
		else
			ck_assert_msg(t->op == PIM_HW_OP_CONV_FWD || t->op == PIM_HW_OP_CONV_BWD_DATA ||
					      t->op == PIM_HW_OP_CONV_BWD_WEIGHTS || t->op == PIM_HW_OP_SOFTMAX_CE ||
					      t->op == PIM_HW_OP_COPY,
				      "HOST does %s", t->what);
	}
	step_destroy(&s);
	free(p.slice);
	free(p.group);
	pim_net_free(net);
}
END_TEST

START_TEST(element_wise_operands_have_one_layout_and_pools_their_window)
{
	struct pim_net *net = pim_net_digits(16);
	struct plan p;

	ck_assert_int_eq(plan_create(&p, net, &card, 64, true), 0);
	for (int i = 0; i < p.nop; i++) {
		const struct op *op = &p.op[i];
		const struct layer *l = &net->layer[op->layer];

		if (op->kind == OP_BN)
			ck_assert_int_eq(p.map[op->x].wh, p.map[op->y].wh);
		if (op->r >= 0)
			ck_assert_int_eq(p.map[op->r].wh, p.map[op->y].wh);
		if (op->kind == OP_MAXPOOL || op->kind == OP_AVGPOOL) {
			ck_assert_int_eq(p.map[op->x].wh, l->kh);
			ck_assert_int_eq(p.map[op->x].ww, l->kw);
			ck_assert_int_eq(p.map[op->y].wh, 1);
		}
	}
	/* Nine BN and ReLU and add layers became six operations of one pass each. */
	ck_assert_int_eq(p.nop, 7 + 6 + 2 + 1);
	plan_destroy(&p);
	pim_net_free(net);
}
END_TEST

START_TEST(maps_do_not_overlap_and_neighbours_are_in_different_banks)
{
	struct pim_net *net = pim_net_digits(16);
	uint64_t row = card.stripe_bytes * 32ull;
	struct plan p;

	ck_assert_int_eq(plan_create(&p, net, &card, 64, true), 0);
	for (int i = 0; i + 1 < p.nmap; i++) {
		const struct map *m = &p.map[i];
		uint64_t last = m->ngrads ? m->grad[m->ngrads - 1] : m->val, bytes = m->block_bytes * m->blocks;

		ck_assert_uint_ge(p.map[i + 1].val, last + bytes);
		if (m->ngrads)
			ck_assert_uint_ne(m->val / row % 4, m->grad[0] / row % 4);
	}
	plan_destroy(&p);
	pim_net_free(net);
}
END_TEST

START_TEST(a_wrong_network_is_refused_with_its_reason)
{
	struct pim_net *net = pim_net_new();
	struct plan p;
	int x = pim_net_input(net, 3, 8, 8), y;

	ck_assert_int_lt(pim_net_check(net), 0);
	y = pim_net_conv(net, x, "c1", 16, 3, 2, 1, false);
	ck_assert_int_lt(pim_net_add(net, x, y), 0);
	ck_assert_ptr_nonnull(strstr(pim_strerror(), "3x8x8"));
	ck_assert_ptr_nonnull(strstr(pim_strerror(), "16x4x4"));
	/* The first error stays. */
	ck_assert_int_lt(pim_net_conv(net, y, "c2", 0, 3, 1, 1, false), 0);
	ck_assert_ptr_nonnull(strstr(pim_strerror(), "3x8x8"));
	ck_assert_int_eq(pim_net_check(net), -EINVAL);
	pim_net_free(net);

	net = pim_net_new();
	x = pim_net_conv(net, pim_net_input(net, 3, 8, 8), "c", 16, 3, 1, 1, false);
	ck_assert_int_lt(pim_net_conv(net, x, "c", 16, 3, 1, 1, false), 0);
	pim_net_free(net);

	/* What would need a copy. */
	net = pim_net_new();
	x = pim_net_conv(net, pim_net_input(net, 3, 8, 8), "c", 24, 3, 1, 1, false);
	y = pim_net_conv(net, x, "d", 16, 3, 1, 1, false);
	x = pim_net_concat(net, (int[]){ x, y }, 2);
	pim_net_softmax_ce(net, pim_net_linear(net, x, "fc", 10));
	ck_assert_int_eq(pim_net_check(net), 0);
	ck_assert_int_eq(plan_create(&p, net, &card, 4, true), -ENOTSUP);
	ck_assert_ptr_nonnull(strstr(pim_strerror(), "24 channels"));
	pim_net_free(net);
}
END_TEST

START_TEST(a_batch_that_does_not_fit_says_the_sizes)
{
	struct pim_net *net = pim_net_digits(64);
	struct pim_info small = card;
	struct plan p;

	small.domain_bytes = 1 << 20;
	ck_assert_int_eq(plan_create(&p, net, &small, 64, true), -ENOSPC);
	ck_assert_ptr_nonnull(strstr(pim_strerror(), "MiB"));
	pim_net_free(net);
}
END_TEST

START_TEST(digits_network_has_the_parameters_of_its_definition)
{
	struct pim_net *net = pim_net_digits(16);

	/* conv 9*16; block 2*(9*16*16) ; conv 9*16*32; block 2*(9*32*32); bn 2*(3*16+3*32); fc 32*10+10 */
	ck_assert_uint_eq(pim_net_parameters(net), 144 + 4608 + 4608 + 18432 + 288 + 330);
	pim_net_free(net);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("schedule");
	TCase *tc = tcase_create("plan");

	tcase_add_loop_test(tc, waits_enforce_every_dependency, 0, (int)(sizeof(combination) / sizeof(combination[0])));
	tcase_add_test(tc, convolutions_run_on_host_and_all_else_on_pim);
	tcase_add_test(tc, element_wise_operands_have_one_layout_and_pools_their_window);
	tcase_add_test(tc, maps_do_not_overlap_and_neighbours_are_in_different_banks);
	tcase_add_test(tc, a_wrong_network_is_refused_with_its_reason);
	tcase_add_test(tc, a_batch_that_does_not_fit_says_the_sizes);
	tcase_add_test(tc, digits_network_has_the_parameters_of_its_definition);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
