// SPDX-License-Identifier: MIT
/* Modelled time: rooflines, exclusive authority, and that it depends on the work alone. */
#include <unistd.h>

#include "test_card_rig.h"

#define MAX_JOBS 64
#define CODE_OFF 0u
#define TIME_OFF 65536u
#define DATA_OFF (1u << 20)

/* A GPU so slow that a small matrix product is compute-bound, and with so small an L2 that it must come back to memory. */
static void slow_gpu(struct pim_cardfile *cf)
{
	cf->gpu_gflops = 200;
	cf->gpu_conv_percent = 100;
	cf->gpu_prefetch_kib = 16;
}

static struct rig *rig;
static uint64_t batch;

static void setup(void)
{

	rig = rig_open_as("cards/test-4dom.card", slow_gpu);
	batch = 0;
}

static void teardown(void)
{
	rig_close(rig);
}

struct spec {
	struct pim_hw_desc d;
	unsigned int engine;
	uint64_t seqno;
};

struct batch {
	struct spec job[MAX_JOBS];
	struct pim_hw_timing t[MAX_JOBS];
	int n;
	uint64_t slots[PIM_HW_ENGINES];
};

static uint64_t window(uint64_t off)
{
	return rig->hw->window_off + off;
}

static struct spec *add(struct batch *b, unsigned int engine, uint32_t op)
{
	struct spec *j = &b->job[b->n++];

	memset(j, 0, sizeof(*j));
	j->engine = engine;
	j->d.op = op;
	rig_signal(&j->d, 1 + engine, 0);
	return j;
}

/* Memory-bound: bytes of PIM memory to another place. */
static struct spec *add_copy(struct batch *b, uint32_t domain, uint64_t bytes)
{
	struct spec *j = add(b, PIM_HW_HOST, PIM_HW_OP_COPY);
	uint64_t mem = rig->hw->mem_off + domain * rig->hw->domain_bytes;

	j->d.copy.src.binding = rig_bind(&j->d, mem, bytes, PIM_HW_READ);
	j->d.copy.dst.binding = rig_bind(&j->d, mem + (4u << 20), bytes, PIM_HW_WRITE);
	j->d.copy.bytes = bytes;
	return j;
}

/* Compute-bound on the slow GPU. */
static struct spec *add_gemm(struct batch *b, uint32_t domain, uint32_t n)
{
	struct spec *j = add(b, PIM_HW_HOST, PIM_HW_OP_GEMM);
	uint64_t mem = rig->hw->mem_off + domain * rig->hw->domain_bytes;
	struct pim_hw_gemm *g = &j->d.gemm;

	g->a_binding = rig_bind(&j->d, mem, 4ull * n * n, PIM_HW_READ);
	g->b_binding = rig_bind(&j->d, mem + (1u << 20), 4ull * n * n, PIM_HW_READ);
	g->c_binding = rig_bind(&j->d, mem + (2u << 20), 4ull * n * n, PIM_HW_WRITE);
	g->m = g->n = g->k = g->lda = g->ldb = g->ldc = n;
	return j;
}

/* A program that moves stripes from one place to another. */
static struct spec *add_program(struct batch *b, uint32_t domain, uint32_t stripes)
{
	struct spec *j = add(b, PIM_HW_PIM, PIM_HW_OP_PROGRAM);
	uint64_t mem = rig->hw->mem_off + domain * rig->hw->domain_bytes + (8u << 20), bytes = (uint64_t)stripes * rig->hw->stripe_bytes;
	const uint32_t code[] = {
		insn(PIM_I_FILL, PIM_S_GRF_A, 0, PIM_S_MEM, 0, 0, 0, 0, 0, 1),
		insn(PIM_I_MOV, PIM_S_MEM, 1, PIM_S_GRF_A, 0, 0, 0, 0, 0, 1),
		jump_to(PIM_J_STEP, 0, 0),
		exit_insn(),
	};
	struct pim_hw_program *p = &j->d.program;

	memcpy(rig->bar + window(CODE_OFF), code, sizeof(code));
	rig_bind(&j->d, mem, bytes, PIM_HW_READ);
	p->stream[1].binding = rig_bind(&j->d, mem + (4u << 20), bytes, PIM_HW_WRITE);
	p->code_binding = rig_bind(&j->d, window(CODE_OFF), 64, PIM_HW_READ);
	p->crf_len = 4;
	p->nstreams = 2;
	p->blocks = p->planes = 1;
	p->run_bytes = bytes;
	return j;
}

static void policy(struct spec *j, uint32_t kind, uint32_t high, uint32_t low, uint32_t min_ns, uint32_t max_ns)
{
	j->d.policy = (struct pim_hw_policy){ .kind = kind, .high = high, .low = low, .min_ns = min_ns, .max_ns = max_ns };
}

/* Job number of this batch on its engine, from 1. */
static uint64_t number(const struct batch *b, int n)
{
	uint64_t k = 0;
	int i;

	for (i = 0; i <= n; i++)
		k += b->job[i].engine == b->job[n].engine;
	return k;
}

/* before >= 0: a job that job n waits for. */
static void depend(struct batch *b, int n, int before)
{
	rig_wait(&b->job[n].d, 1 + b->job[before].engine, number(b, before));
}

/* Runs it from reset; delay: the time between doorbells, which must not matter. */
static void run(struct batch *b, unsigned int delay)
{
	int last[PIM_HW_ENGINES] = { -1, -1 }, i;
	uint32_t rings = 0;

	rig_reset(rig, rig->state->generation + 1);
	rig_own(rig, PIM_HW_OWNER_AUTO);
	memset(rig->bar + window(TIME_OFF), 0, sizeof(b->t));
	batch++;
	for (i = 0; i < b->n; i++) {
		last[b->job[i].engine] = i;
		rings |= 1u << b->job[i].engine;
	}
	for (i = 0; i < b->n; i++) {
		struct pim_hw_desc d = b->job[i].d;

		d.batch = batch;
		d.batch_rings = rings;
		d.flags |= PIM_HW_JOB_TIMED | (last[b->job[i].engine] == i ? PIM_HW_JOB_CLOSE : 0);
		d.signal.value = number(b, i);
		d.time_binding = rig_bind(&d, window(TIME_OFF), sizeof(b->t), PIM_HW_WRITE);
		d.time_off = i * sizeof(b->t[0]);
		if (!d.policy.kind)
			d.policy.kind = PIM_HW_POLICY_SERIAL;
		b->job[i].seqno = rig_queue(rig, b->job[i].engine, &d);
		if (delay) {
			pim_card_doorbell(rig->card, b->job[i].engine);
			usleep(below(delay));
		}
	}
	pim_card_doorbell(rig->card, PIM_HW_HOST);
	for (i = 0; i < b->n; i++)
		ck_assert_uint_eq(rig_await(rig, b->job[i].engine, b->job[i].seqno).status, PIM_HW_OK);
	memcpy(b->t, rig->bar + window(TIME_OFF), sizeof(b->t));
}

static uint64_t parts(const struct pim_hw_timing *t)
{
	return t->compute_ns + t->memory_ns + t->authority_ns + t->switch_ns + t->refresh_ns;
}

static uint64_t makespan(const struct batch *b)
{
	uint64_t end = 0;
	int i;

	for (i = 0; i < b->n; i++)
		end = b->t[i].end_ns > end ? b->t[i].end_ns : end;
	return end;
}

/* What holds for every batch. */
static void check_batch(const struct batch *b)
{
	int i, k;

	for (i = 0; i < b->n; i++) {
		const struct pim_hw_timing *t = &b->t[i];

		ck_assert_uint_le(t->queued_ns, t->start_ns);
		ck_assert_msg(parts(t) == t->end_ns - t->start_ns, "job %d: parts %llu of %llu ns", i, (unsigned long long)parts(t),
			      (unsigned long long)(t->end_ns - t->start_ns));
		for (k = 0; k < i; k++)
			if (b->job[k].engine == b->job[i].engine)
				ck_assert_uint_ge(t->start_ns, b->t[k].end_ns);
		for (k = 0; k < (int)b->job[i].d.nwaits; k++) {
			const struct pim_hw_wait *w = &b->job[i].d.wait[k];
			int m;

			for (m = 0; m < b->n; m++)
				if (1 + b->job[m].engine == w->slot && number(b, m) == w->value)
					ck_assert_uint_ge(t->start_ns, b->t[m].end_ns);
		}
	}
	ck_assert_uint_ge(rig->state->now_ns, makespan(b));
	/* Every domain is somebody's at any time. */
	for (k = 0; k < (int)rig->hw->domains; k++) {
		uint64_t held = rig->domain[k].tenure_ns[0] + rig->domain[k].tenure_ns[1];

		ck_assert_uint_ge(held + 2, rig->state->now_ns);
		ck_assert_uint_le(held, rig->state->now_ns + 2);
	}
}

START_TEST(a_copy_alone_takes_its_bytes_at_the_external_bandwidth_and_refresh)
{
	struct batch b = { .n = 0 };
	const struct pim_hw_timing *t = &b.t[0];
	/* One stack of four: 2 pseudo-channels x 16 B/ns. */
	uint64_t busy = 2 * (2u << 20) / 32;

	add_copy(&b, 0, 2u << 20);
	run(&b, 0);
	check_batch(&b);
	ck_assert_uint_eq(t->compute_ns, 0);
	ck_assert_uint_eq(t->authority_ns + t->switch_ns + t->switches, 0);
	ck_assert_uint_eq(t->bytes, 4u << 20);
	ck_assert_uint_ge(t->memory_ns, busy - 2);
	ck_assert_uint_le(t->memory_ns, busy + 2);
	ck_assert_uint_ge(t->refresh_ns, busy * 350 / 3550 - 2);
	ck_assert_uint_le(t->refresh_ns, busy * 350 / 3550 + 2);
}
END_TEST

START_TEST(a_product_alone_takes_its_flops_at_the_rate_of_the_gpu)
{
	struct batch b = { .n = 0 };
	uint64_t flops = 2ull * 128 * 128 * 128;

	add_gemm(&b, 0, 128);
	run(&b, 0);
	check_batch(&b);
	ck_assert_uint_ge(b.t[0].compute_ns, flops / 200);
	ck_assert_uint_le(b.t[0].compute_ns, flops / 200 + 1);
	ck_assert_uint_le(b.t[0].memory_ns, 2);
	ck_assert_uint_eq(b.t[0].bytes, 3 * 4 * 128 * 128);
}
END_TEST

START_TEST(a_program_takes_its_column_commands_row_changes_switch_and_refresh)
{
	struct batch b = { .n = 0 };
	const struct pim_hw_timing *t = &b.t[0];
	/*
	 * 4096 columns in, 4096 out. The operands lie a multiple of all rows of a unit apart, so in the same banks: each group of eight columns
	 * opens its row in and its row out.
	 */
	uint64_t columns = 2 * 4096 * 4, rows = 2 * (4096 / 8) * (14 + 14), busy = columns + rows;

	add_program(&b, 0, 4096);
	run(&b, 0);
	check_batch(&b);
	ck_assert_uint_eq(t->switch_ns, 170);
	ck_assert_uint_eq(t->switches, 1);
	ck_assert_uint_eq(rig->domain[0].switches, 2); /* and back at the end of the batch */
	ck_assert_uint_eq(rig->domain[1].switches, 0);
	ck_assert_uint_eq(t->compute_ns, 0);
	ck_assert_uint_ge(t->memory_ns, busy - 2);
	ck_assert_uint_le(t->memory_ns, busy + 2);
	ck_assert_uint_ge(t->refresh_ns, busy * 350 / 3550 - 2);
	ck_assert_uint_le(t->refresh_ns, busy * 350 / 3550 + 2);
	ck_assert_uint_eq(t->bytes, 2u << 20);
	ck_assert_uint_eq(rig->state->now_ns, t->end_ns + 230 + (t->end_ns + 230 < rig->state->now_ns));
}
END_TEST

static void alternate(struct batch *b, int pairs, int chain)
{
	int i;

	b->n = 0;
	for (i = 0; i < pairs; i++) {
		add_gemm(b, 0, 96 + 16 * (i % 3));
		if (chain && i)
			depend(b, b->n - 1, b->n - 2);
		add_program(b, 0, 600 + 100 * (i % 5));
		depend(b, b->n - 1, b->n - 2);
	}
}

START_TEST(a_serial_chain_has_no_overlap)
{
	struct batch b;
	int i;

	alternate(&b, 6, 1);
	run(&b, 0);
	check_batch(&b);
	for (i = 1; i < b.n; i++) {
		ck_assert_uint_ge(b.t[i].start_ns, b.t[i - 1].end_ns);
		ck_assert_uint_eq(b.t[i].authority_ns, 0);
	}
}
END_TEST

START_TEST(a_pipeline_is_not_slower_than_the_serial_chain)
{
	struct batch serial, piped;
	uint64_t hidden, host = 0, pim = 0;
	int i;

	alternate(&serial, 8, 1);
	run(&serial, 0);
	alternate(&piped, 8, 0);
	for (i = 0; i < piped.n; i++)
		policy(&piped.job[i], PIM_HW_POLICY_QUEUE, 56, 32, 2000, 0);
	run(&piped, 0);
	check_batch(&piped);
	ck_assert_uint_lt(makespan(&piped), makespan(&serial));
	/* What the pipeline saves is time in which both engines worked. */
	hidden = makespan(&serial) - makespan(&piped);
	for (i = 0; i < piped.n; i++)
		*(piped.job[i].engine ? &pim : &host) += parts(&piped.t[i]) - piped.t[i].authority_ns - piped.t[i].switch_ns;
	ck_assert_uint_le(hidden, pim < host ? pim : host);
	ck_assert_uint_ge(makespan(&piped), pim);
	ck_assert_uint_ge(makespan(&piped), host);
}
END_TEST

START_TEST(two_sides_that_only_use_the_memory_never_overlap)
{
	struct batch b = { .n = 0 };
	uint64_t busy = 0, switching = 0;
	int i;

	for (i = 0; i < 6; i++) {
		policy(add_copy(&b, 1, 1u << 18), PIM_HW_POLICY_QUEUE, 64, 16, 1000, 4000);
		policy(add_program(&b, 1, 900), PIM_HW_POLICY_QUEUE, 64, 16, 1000, 4000);
	}
	run(&b, 0);
	check_batch(&b);
	for (i = 0; i < b.n; i++) {
		busy += b.t[i].compute_ns + b.t[i].memory_ns + b.t[i].refresh_ns;
		switching += b.t[i].switches;
	}
	ck_assert_uint_gt(switching, 12); /* more often than job by job */
	ck_assert_uint_le(busy + switching * 170, makespan(&b) + 2 * b.n);
	ck_assert_uint_le(switching, rig->domain[1].switches);
}
END_TEST

START_TEST(different_domains_do_not_disturb_each_other)
{
	struct batch b = { .n = 0 }, alone = { .n = 0 };

	add_program(&alone, 2, 3000);
	run(&alone, 0);
	add_copy(&b, 1, 1u << 20);
	add_program(&b, 2, 3000);
	run(&b, 0);
	check_batch(&b);
	ck_assert_uint_eq(b.t[0].authority_ns + b.t[0].switch_ns + b.t[1].authority_ns, 0);
	ck_assert_uint_eq(b.t[1].end_ns, alone.t[0].end_ns);
}
END_TEST

START_TEST(a_gpu_computes_on_what_it_holds_and_then_stalls)
{
	struct batch b = { .n = 0 };

	/* PIM first; HOST, compute-bound, comes when PIM has the memory and SERIAL keeps it. */
	add_gemm(&b, 0, 16);
	add_program(&b, 0, 8000);
	add_gemm(&b, 0, 128);
	policy(&b.job[0], PIM_HW_POLICY_QUEUE, 1, 1, 0, 0);
	policy(&b.job[1], PIM_HW_POLICY_QUEUE, 1, 0, 5000, 5000);
	policy(&b.job[2], PIM_HW_POLICY_QUEUE, 1u << 30, 1, 5000, 0);
	depend(&b, 2, 0);
	run(&b, 0);
	check_batch(&b);
	ck_assert_uint_gt(b.t[2].authority_ns, 0);
	/* 196 KiB of traffic, 16 KiB ahead: one fill of the L2 is 1.7 us of its 21 us. */
	ck_assert_uint_gt(b.t[2].end_ns - b.t[2].start_ns, b.t[2].compute_ns);
	ck_assert_uint_gt(b.t[2].switches, 1);
}
END_TEST

static void random_batch(struct batch *b)
{
	int i, k;

	b->n = 0;
	while (b->n < 40) {
		struct spec *j;

		i = b->n;
		if (below(2))
			j = add_program(b, below(2), 1 + below(1500));
		else
			j = below(2) ? add_gemm(b, below(2), 8 + below(120)) : add_copy(b, below(2), 64 + 64 * below(4000));
		policy(j, 1 + below(2), below(200), below(60), below(3) * 1000, below(2) * 4000);
		for (k = below(3); k && i; k--)
			depend(b, i, below(i));
	}
}

START_TEST(time_depends_on_the_work_alone)
{
	uint64_t seed = rng_seed();
	struct pim_hw_timing first[MAX_JOBS];
	struct batch b;
	int round, i;

	for (round = 0; round < 12; round++) {
		uint64_t switches;

		random_batch(&b);
		run(&b, 0);
		check_batch(&b);
		memcpy(first, b.t, sizeof(first));
		switches = rig->domain[0].switches;
		for (i = 0; i < 2; i++) {
			run(&b, 400);
			ck_assert_msg(!memcmp(first, b.t, sizeof(first)), "RIG_SEED=%llu round %d: other times", (unsigned long long)seed, round);
			ck_assert_uint_eq(rig->domain[0].switches, switches);
		}
	}
}
END_TEST

START_TEST(the_clock_goes_on_from_batch_to_batch_and_without_one)
{
	struct batch b = { .n = 0 };
	struct pim_hw_desc d;
	uint64_t now;

	add_copy(&b, 0, 1u << 16);
	run(&b, 0);
	now = rig->state->now_ns;
	ck_assert_uint_gt(now, 0);
	d = b.job[0].d;
	d.signal.value = 2;
	d.policy.kind = PIM_HW_POLICY_SERIAL;
	ck_assert_uint_eq(rig_run(rig, PIM_HW_HOST, &d).status, PIM_HW_OK);
	ck_assert_uint_eq(rig->state->now_ns, 2 * now);
}
END_TEST

/* A job of an open batch: timed at window place `slot`, bound to the whole area. */
static struct pim_hw_desc timed(const struct spec *j, uint64_t id, uint32_t rings, bool close, uint32_t slot)
{
	struct pim_hw_desc d = j->d;

	d.batch = id;
	d.batch_rings = rings;
	d.flags = PIM_HW_JOB_TIMED | (close ? PIM_HW_JOB_CLOSE : 0);
	d.policy.kind = PIM_HW_POLICY_SERIAL;
	d.time_binding = rig_bind(&d, window(TIME_OFF), 4096, PIM_HW_WRITE);
	d.time_off = slot * sizeof(struct pim_hw_timing);
	return d;
}

static struct pim_hw_timing *timing(uint32_t slot)
{
	return (struct pim_hw_timing *)(rig->bar + window(TIME_OFF)) + slot;
}

START_TEST(a_closing_job_is_done_at_once_and_the_last_one_reports_the_same_whichever_it_is)
{
	struct pim_hw_timing t[2];
	unsigned int first, k;

	for (first = 0; first < PIM_HW_ENGINES; first++) {
		struct batch b = { .n = 0 };

		rig_reset(rig, rig->state->generation + 1);
		rig_own(rig, PIM_HW_OWNER_AUTO);
		memset(timing(0), 0, 4096);
		add_copy(&b, 0, 1u << 16);
		add_program(&b, 0, 16);
		for (k = 0; k < PIM_HW_ENGINES; k++) {
			unsigned int e = first ^ k;
			struct pim_hw_desc d = timed(&b.job[e], 1, 3, true, e);

			ck_assert_uint_eq(rig_run(rig, e, &d).status, PIM_HW_OK);
			ck_assert_int_eq(timing(0)->end_ns != 0, k);
			ck_assert_int_eq(timing(1)->end_ns != 0, k);
		}
		if (first)
			ck_assert_mem_eq(t, timing(0), sizeof(t));
		memcpy(t, timing(0), sizeof(t));
	}
}
END_TEST

START_TEST(an_owner_who_closes_no_batch_loses_his_oldest_and_nobody_elses)
{
	const uint64_t mine = 5ull << 32, his = 6ull << 32;
	struct batch b = { .n = 0 };
	struct pim_hw_desc d;
	uint32_t i;

	rig_own(rig, PIM_HW_OWNER_AUTO);
	memset(timing(0), 0, 4096);
	add_copy(&b, 0, 1u << 16);
	d = timed(&b.job[0], mine | 1, 1, false, 0);
	rig_run(rig, PIM_HW_HOST, &d);
	for (i = 1; i <= 9; i++) {
		d = timed(&b.job[0], his | i, 1, false, i);
		rig_run(rig, PIM_HW_HOST, &d);
	}
	for (i = 2; i >= 1; i--) {
		d = timed(&b.job[0], his | i, 1, true, 20);
		rig_run(rig, PIM_HW_HOST, &d);
	}
	d = timed(&b.job[0], mine | 1, 1, true, 20);
	rig_run(rig, PIM_HW_HOST, &d);
	ck_assert_uint_gt(timing(0)->end_ns, 0);
	ck_assert_uint_eq(timing(1)->end_ns, 0);
	ck_assert_uint_gt(timing(2)->end_ns, 0);
}
END_TEST

/* By the time a batch closes, the memory that an earlier job of it was bound to may be another client's. */
START_TEST(a_report_is_written_only_where_the_last_closing_job_is_bound)
{
	const uint64_t early = window(TIME_OFF), late = window(TIME_OFF + 4096);
	struct batch b = { .n = 0 };
	uint64_t seqno[2];
	int i;

	rig_reset(rig, rig->state->generation + 1);
	rig_own(rig, PIM_HW_OWNER_AUTO);
	memset(rig->bar + early, 0x55, 8192);
	for (i = 0; i < 2; i++) {
		struct pim_hw_desc d = add_copy(&b, 0, 1u << 16)->d;

		d.batch = 1;
		d.batch_rings = 1u << PIM_HW_HOST;
		d.flags = PIM_HW_JOB_TIMED | (i ? PIM_HW_JOB_CLOSE : 0);
		d.signal.value = i + 1;
		d.policy.kind = PIM_HW_POLICY_SERIAL;
		d.time_binding = rig_bind(&d, i ? late : early, sizeof(struct pim_hw_timing), PIM_HW_WRITE);
		seqno[i] = rig_queue(rig, PIM_HW_HOST, &d);
	}
	pim_card_doorbell(rig->card, PIM_HW_HOST);
	for (i = 0; i < 2; i++)
		ck_assert_uint_eq(rig_await(rig, PIM_HW_HOST, seqno[i]).status, PIM_HW_OK);
	ck_assert_uint_eq(rig->bar[early], 0x55);
	ck_assert_uint_gt(((struct pim_hw_timing *)(rig->bar + late))->end_ns, 0);
	ck_assert_uint_ne(rig->bar[late + 7], 0x55);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("card: modelled time");
	TCase *t = tcase_create("time");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 120);
	tcase_add_test(t, a_copy_alone_takes_its_bytes_at_the_external_bandwidth_and_refresh);
	tcase_add_test(t, a_product_alone_takes_its_flops_at_the_rate_of_the_gpu);
	tcase_add_test(t, a_program_takes_its_column_commands_row_changes_switch_and_refresh);
	tcase_add_test(t, a_serial_chain_has_no_overlap);
	tcase_add_test(t, a_pipeline_is_not_slower_than_the_serial_chain);
	tcase_add_test(t, two_sides_that_only_use_the_memory_never_overlap);
	tcase_add_test(t, different_domains_do_not_disturb_each_other);
	tcase_add_test(t, a_gpu_computes_on_what_it_holds_and_then_stalls);
	tcase_add_test(t, time_depends_on_the_work_alone);
	tcase_add_test(t, a_closing_job_is_done_at_once_and_the_last_one_reports_the_same_whichever_it_is);
	tcase_add_test(t, an_owner_who_closes_no_batch_loses_his_oldest_and_nobody_elses);
	tcase_add_test(t, a_report_is_written_only_where_the_last_closing_job_is_bound);
	tcase_add_test(t, the_clock_goes_on_from_batch_to_batch_and_without_one);
	suite_add_tcase(s, t);
	return run_suite(s);
}
