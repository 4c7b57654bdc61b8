// SPDX-License-Identifier: MIT
/* Registers, rings, slots and authority of the card, and a driver that writes nonsense. */
#include <unistd.h>

#include "test_card_rig.h"

static struct rig *rig;

static void setup(void)
{
	rig = rig_open("cards/test-4dom.card");
}

static void teardown(void)
{
	rig_close(rig);
}

static struct pim_hw_desc nop(void)
{
	return (struct pim_hw_desc){ .op = PIM_HW_OP_NOP };
}

/* A job that fails. */
static struct pim_hw_desc bad(void)
{
	return (struct pim_hw_desc){ .op = 99 };
}

START_TEST(the_header_describes_the_card)
{
	const struct pim_hw_header *h = rig->hw;

	ck_assert_uint_eq(h->magic, PIM_HW_MAGIC);
	ck_assert_uint_eq(h->abi_major, PIM_HW_ABI_MAJOR);
	ck_assert_str_eq(h->name, "test-4dom");
	ck_assert_uint_eq(h->bar_bytes, rig->bytes);
	ck_assert_uint_eq(h->bar_bytes & (h->bar_bytes - 1), 0);
	ck_assert_uint_eq(h->mem_bytes, 128ull << 20);
	ck_assert_uint_eq(h->domain_bytes * h->domains, h->mem_bytes);
	ck_assert_uint_eq(h->stripe_bytes, 8 * PIM_HW_COLUMN);
	ck_assert_uint_eq(h->window_off + h->window_bytes, h->mem_off);
	ck_assert_uint_le(h->mem_off + h->mem_bytes, h->bar_bytes);
	ck_assert_uint_le(h->slots_off + h->nslots * sizeof(struct pim_hw_slot), h->ring_off[0]);
	ck_assert_uint_le(h->ring_off[0] + h->ring_entries * sizeof(struct pim_hw_desc), h->ring_off[1]);
	ck_assert_uint_le(h->done_off[1] + h->ring_entries * sizeof(struct pim_hw_done), h->window_off);
	ck_assert_uint_eq(h->pim_mbps, 2 * h->host_mbps); /* one unit per four banks */
	ck_assert_uint_eq(rig->state->state, PIM_HW_CARD_READY);
}
END_TEST

START_TEST(a_card_started_again_touches_no_ring_before_the_handshake)
{
	struct pim_hw_desc d = nop();
	struct pim_hw_done done;
	int i;

	rig_run(rig, PIM_HW_HOST, &d);
	pim_card_destroy(rig->card);
	rig_queue(rig, PIM_HW_HOST, &d);
	rig_start(rig);
	ck_assert_uint_eq(rig->state->generation, 0);
	ck_assert_uint_eq(rig->state->state, PIM_HW_CARD_DOWN);
	for (i = 0; i < 3; i++) {
		pim_card_doorbell(rig->card, PIM_HW_HOST);
		usleep(20000);
	}
	/* Its predecessor's, for a driver that asks what was lost. */
	ck_assert_uint_eq(rig->state->completed[PIM_HW_HOST], 1);
	ck_assert_uint_eq(rig->state->started[PIM_HW_HOST], 1);
	rig_reset(rig, 7);
	ck_assert_uint_eq(rig->state->state, PIM_HW_CARD_READY);
	ck_assert_uint_eq(rig->state->completed[PIM_HW_HOST], 0);
	ck_assert_uint_eq(rig->state->started[PIM_HW_HOST], 1);
	done = rig_run(rig, PIM_HW_HOST, &d);
	ck_assert_uint_eq(done.status, PIM_HW_OK);
	ck_assert_uint_eq(done.seqno, 1);
}
END_TEST

START_TEST(jobs_complete_in_order_past_the_end_of_the_ring)
{
	struct pim_hw_desc d = nop();
	uint32_t i, round;

	for (round = 0; round < 5; round++) {
		uint64_t last = 0;

		for (i = 0; i < rig->hw->ring_entries; i++) {
			rig_signal(&d, 3, rig->seqno[PIM_HW_PIM] + 1);
			last = rig_queue(rig, PIM_HW_PIM, &d);
		}
		pim_card_doorbell(rig->card, PIM_HW_PIM);
		ck_assert_uint_eq(rig_await(rig, PIM_HW_PIM, last).status, PIM_HW_OK);
	}
	ck_assert_uint_eq(rig->slot[3].value, 5 * rig->hw->ring_entries);
}
END_TEST

START_TEST(an_interrupt_comes_only_when_asked_for)
{
	struct pim_hw_desc d = nop();
	uint64_t seqno = rig_queue(rig, PIM_HW_HOST, &d);
	struct pim_hw_desc *e = (struct pim_hw_desc *)(rig->bar + rig->hw->ring_off[PIM_HW_HOST]);
	unsigned int irqs;

	e->flags = 0;
	pim_card_doorbell(rig->card, PIM_HW_HOST);
	while (__atomic_load_n(&rig->state->completed[PIM_HW_HOST], __ATOMIC_ACQUIRE) < seqno)
		usleep(1000);
	usleep(20000);
	pthread_mutex_lock(&rig->lock);
	irqs = rig->irqs[PIM_HW_HOST];
	pthread_mutex_unlock(&rig->lock);
	ck_assert_uint_eq(irqs, 0);
	rig_run(rig, PIM_HW_HOST, &d);
	pthread_mutex_lock(&rig->lock);
	irqs = rig->irqs[PIM_HW_HOST];
	pthread_mutex_unlock(&rig->lock);
	ck_assert_uint_eq(irqs, 1);
}
END_TEST

START_TEST(a_job_waits_for_the_other_engine)
{
	struct pim_hw_desc p = nop(), h = nop();
	uint64_t a, b;

	rig_wait(&p, 1, 5);
	rig_signal(&h, 1, 5);
	a = rig_queue(rig, PIM_HW_PIM, &p);
	pim_card_doorbell(rig->card, PIM_HW_PIM);
	usleep(30000);
	ck_assert_uint_eq(rig->state->completed[PIM_HW_PIM], 0);
	b = rig_queue(rig, PIM_HW_HOST, &h);
	pim_card_doorbell(rig->card, PIM_HW_HOST);
	ck_assert_uint_eq(rig_await(rig, PIM_HW_HOST, b).status, PIM_HW_OK);
	ck_assert_uint_eq(rig_await(rig, PIM_HW_PIM, a).status, PIM_HW_OK);
}
END_TEST

START_TEST(a_failed_job_cancels_what_depends_on_it_and_nothing_else)
{
	struct pim_hw_desc f = bad(), dep = nop(), next = nop(), other = nop();

	rig_signal(&f, 1, 1);
	rig_wait(&dep, 1, 1);
	rig_signal(&dep, 2, 1);
	rig_signal(&next, 2, 2);
	rig_signal(&other, 3, 1);
	ck_assert_uint_eq(rig_run(rig, PIM_HW_HOST, &f).status, PIM_HW_E_INVALID);
	ck_assert_uint_eq(rig_run(rig, PIM_HW_PIM, &dep).status, PIM_HW_E_CANCELED);
	ck_assert_uint_eq(rig_run(rig, PIM_HW_PIM, &next).status, PIM_HW_E_CANCELED);
	ck_assert_uint_eq(rig_run(rig, PIM_HW_PIM, &other).status, PIM_HW_OK);
	ck_assert_uint_eq(rig->slot[1].error, PIM_HW_E_INVALID);
	ck_assert_uint_eq(rig->slot[2].error, PIM_HW_E_CANCELED);
	rig->slot[1].error = rig->slot[2].error = 0;
	next.signal.value = 3;
	ck_assert_uint_eq(rig_run(rig, PIM_HW_PIM, &next).status, PIM_HW_OK);
}
END_TEST

START_TEST(a_descriptor_of_another_sequence_number_is_refused)
{
	struct pim_hw_desc d = nop();
	struct pim_hw_desc *e = (struct pim_hw_desc *)(rig->bar + rig->hw->ring_off[PIM_HW_HOST]);
	uint64_t seqno = rig_queue(rig, PIM_HW_HOST, &d);

	e->seqno = 2;
	pim_card_doorbell(rig->card, PIM_HW_HOST);
	ck_assert_uint_eq(rig_await(rig, PIM_HW_HOST, seqno).status, PIM_HW_E_INVALID);
	ck_assert_uint_eq(rig_run(rig, PIM_HW_HOST, &d).status, PIM_HW_OK);
}
END_TEST

START_TEST(a_tail_out_of_reach_kills_the_card_until_reset)
{
	struct pim_hw_desc d = nop();

	rig->control->tail[PIM_HW_PIM] = rig->hw->ring_entries + 1;
	pim_card_doorbell(rig->card, PIM_HW_PIM);
	pthread_mutex_lock(&rig->lock);
	while (__atomic_load_n(&rig->state->state, __ATOMIC_ACQUIRE) != PIM_HW_CARD_DEAD)
		pthread_cond_wait(&rig->cond, &rig->lock);
	pthread_mutex_unlock(&rig->lock);
	rig_reset(rig, 2);
	ck_assert_uint_eq(rig->state->state, PIM_HW_CARD_READY);
	ck_assert_uint_eq(rig_run(rig, PIM_HW_PIM, &d).status, PIM_HW_OK);
}
END_TEST

START_TEST(reset_drops_a_job_that_waits_for_ever)
{
	struct pim_hw_desc d = nop();

	rig_own(rig, PIM_HW_OWNER_AUTO);
	rig_wait(&d, 1, 1);
	rig_queue(rig, PIM_HW_HOST, &d);
	pim_card_doorbell(rig->card, PIM_HW_HOST);
	usleep(20000);
	rig_reset(rig, 2);
	ck_assert_uint_eq(rig->state->completed[PIM_HW_HOST], 0);
	ck_assert_uint_eq(rig->state->started[PIM_HW_HOST], 0); /* it never ran */
	ck_assert_uint_eq(rig->domain[3].owner, PIM_HW_OWNER_HOST);
	d = nop();
	ck_assert_uint_eq(rig_run(rig, PIM_HW_HOST, &d).status, PIM_HW_OK);
	ck_assert_uint_eq(rig_run(rig, PIM_HW_PIM, &d).status, PIM_HW_OK);
}
END_TEST

/* A program of seconds, and what is queued behind it: its queue's (slot 1) and another's (slot 2). */
static void queue_slow(uint64_t seqno[4])
{
	struct pim_hw_desc slow = { .op = PIM_HW_OP_PROGRAM }, next = nop(), other = nop(), waits = nop();
	uint32_t *code = (uint32_t *)(rig->bar + rig->hw->window_off), i;

	code[0] = scal(0);
	code[1] = jump_to(PIM_J_COUNT, 0x7fff, 0);
	code[2] = jump_to(PIM_J_COUNT, 8, 0);
	code[3] = exit_insn();
	for (i = 4; i < 259; i++)
		code[i] = base_insn(PIM_B_RSQRT, 0, 0, 0, 0, 0);
	code[259] = base_insn(PIM_B_RET, 0, 0, 0, 0, 0);
	slow.program.code_binding = rig_bind(&slow, rig->hw->window_off, 4096, PIM_HW_READ);
	slow.program.crf_len = 4;
	slow.program.srf_len = 256;
	slow.program.blocks = slow.program.planes = slow.program.run_bytes = 1;
	rig_signal(&slow, 1, 1);
	rig_signal(&next, 1, 2);
	rig_signal(&other, 2, 1);
	rig_wait(&waits, 1, 1);
	rig_signal(&waits, 3, 1);
	seqno[0] = rig_queue(rig, PIM_HW_PIM, &slow);
	seqno[1] = rig_queue(rig, PIM_HW_PIM, &next);
	seqno[2] = rig_queue(rig, PIM_HW_PIM, &other);
	seqno[3] = rig_queue(rig, PIM_HW_HOST, &waits);
	pim_card_doorbell(rig->card, PIM_HW_PIM);
	pim_card_doorbell(rig->card, PIM_HW_HOST);
	while (__atomic_load_n(&rig->state->started[PIM_HW_PIM], __ATOMIC_ACQUIRE) < seqno[0])
		usleep(1000);
}

static void stop(uint32_t slot, uint32_t what)
{
	__atomic_store_n(&rig->slot[slot].stop, what, __ATOMIC_SEQ_CST);
	pim_card_doorbell(rig->card, PIM_HW_PIM);
	pim_card_doorbell(rig->card, PIM_HW_HOST);
}

START_TEST(a_stopped_slot_ends_its_jobs_and_no_others)
{
	uint64_t seqno[4];

	queue_slow(seqno);
	stop(1, PIM_HW_STOP_ALL);
	ck_assert_uint_eq(rig_await(rig, PIM_HW_PIM, seqno[0]).status, PIM_HW_E_TIMEOUT);
	ck_assert_uint_eq(rig_await(rig, PIM_HW_PIM, seqno[1]).status, PIM_HW_E_CANCELED);
	ck_assert_uint_eq(rig_await(rig, PIM_HW_PIM, seqno[2]).status, PIM_HW_OK);
	ck_assert_uint_eq(rig_await(rig, PIM_HW_HOST, seqno[3]).status, PIM_HW_E_CANCELED);
	ck_assert_uint_eq(rig->state->started[PIM_HW_PIM], seqno[2]);
}
END_TEST

START_TEST(a_slot_stopped_for_waiting_jobs_lets_the_one_in_execution_end)
{
	uint64_t seqno[4];

	queue_slow(seqno);
	stop(1, PIM_HW_STOP_WAITING);
	stop(3, PIM_HW_STOP_WAITING); /* of a job that waits for the first one */
	ck_assert_uint_eq(rig_await(rig, PIM_HW_HOST, seqno[3]).status, PIM_HW_E_CANCELED);
	ck_assert_uint_lt(rig->state->completed[PIM_HW_PIM], seqno[0]);
	ck_assert_uint_eq(rig_await(rig, PIM_HW_PIM, seqno[0]).status, PIM_HW_OK);
	ck_assert_uint_eq(rig_await(rig, PIM_HW_PIM, seqno[1]).status, PIM_HW_E_CANCELED);
	ck_assert_uint_eq(rig_await(rig, PIM_HW_PIM, seqno[2]).status, PIM_HW_OK);
}
END_TEST

START_TEST(the_heart_beats)
{
	uint64_t beat = __atomic_load_n(&rig->state->heartbeat, __ATOMIC_ACQUIRE);
	int i;

	for (i = 0; i < 100 && __atomic_load_n(&rig->state->heartbeat, __ATOMIC_ACQUIRE) < beat + 2; i++)
		usleep(50000);
	ck_assert_int_lt(i, 100);
}
END_TEST

/* Every owner x engine x policy: a job runs where its side is the owner, or under AUTO by its policy. */
START_TEST(authority_is_checked_for_every_domain_of_a_job)
{
	uint32_t owner, engine, kind;
	uint64_t refused = 0;

	for (owner = PIM_HW_OWNER_HOST; owner <= PIM_HW_OWNER_AUTO; owner++) {
		for (engine = 0; engine < PIM_HW_ENGINES; engine++) {
			for (kind = 0; kind <= PIM_HW_POLICY_QUEUE; kind++) {
				struct pim_hw_desc d = nop();
				struct pim_hw_done done;
				bool ok = owner == PIM_HW_OWNER_AUTO ? kind : owner == (engine ? PIM_HW_OWNER_PIM : PIM_HW_OWNER_HOST);

				rig_own(rig, engine ? PIM_HW_OWNER_PIM : PIM_HW_OWNER_HOST);
				__atomic_store_n(&rig->domain[2].owner, owner, __ATOMIC_SEQ_CST);
				d.policy.kind = kind;
				rig_bind(&d, rig->hw->window_off, 64, PIM_HW_READ);
				/* From domain 1 into the first byte of domain 2. */
				rig_bind(&d, rig->hw->mem_off + rig->hw->domain_bytes, rig->hw->domain_bytes + 1, PIM_HW_READ);
				done = rig_run(rig, engine, &d);
				ck_assert_msg(done.status == (ok ? PIM_HW_OK : PIM_HW_E_AUTHORITY), "owner %u engine %u policy %u: %u", owner,
					      engine, kind, done.status);
				refused += !ok;
				ck_assert_uint_eq(rig->domain[2].refused, refused);
				/* A job that does not touch the domain does not care. */
				d.binding[1].bytes--;
				ck_assert_uint_eq(rig_run(rig, engine, &d).status, PIM_HW_OK);
			}
		}
	}
}
END_TEST

START_TEST(descriptors_that_mean_nothing_are_invalid)
{
	struct pim_hw_desc d;

#define REFUSED(engine, change, want)                                                         \
	do {                                                                                  \
		d = nop();                                                                    \
		change;                                                                       \
		ck_assert_msg(rig_run(rig, engine, &d).status == (want), #change " was taken"); \
	} while (0)
	REFUSED(PIM_HW_HOST, d.op = PIM_HW_OP_PROGRAM, PIM_HW_E_INVALID);
	REFUSED(PIM_HW_PIM, d.op = PIM_HW_OP_GEMM, PIM_HW_E_INVALID);
	REFUSED(PIM_HW_PIM, d.op = 2, PIM_HW_E_INVALID);
	REFUSED(PIM_HW_PIM, d.flags = 8, PIM_HW_E_INVALID);
	REFUSED(PIM_HW_PIM, d.pad[8] = 1, PIM_HW_E_INVALID);
	REFUSED(PIM_HW_PIM, d.policy.kind = 3, PIM_HW_E_INVALID);
	REFUSED(PIM_HW_PIM, d.nwaits = 5, PIM_HW_E_INVALID);
	REFUSED(PIM_HW_PIM, (d.nwaits = 1, d.wait[0].slot = 64), PIM_HW_E_INVALID);
	REFUSED(PIM_HW_PIM, (d.signal.slot = 64, d.signal.value = 1), PIM_HW_E_INVALID);
	REFUSED(PIM_HW_PIM, d.nbindings = 13, PIM_HW_E_INVALID);
	REFUSED(PIM_HW_PIM, rig_bind(&d, rig->hw->window_off, 0, PIM_HW_READ), PIM_HW_E_INVALID);
	REFUSED(PIM_HW_PIM, rig_bind(&d, rig->hw->window_off, 64, 4), PIM_HW_E_INVALID);
	REFUSED(PIM_HW_PIM, rig_bind(&d, 0, 64, PIM_HW_READ), PIM_HW_E_BOUNDS);
	REFUSED(PIM_HW_PIM, rig_bind(&d, UINT64_MAX - 7, 64, PIM_HW_READ), PIM_HW_E_BOUNDS);
	REFUSED(PIM_HW_PIM, (d.batch = 1, d.batch_rings = 1), PIM_HW_E_INVALID);
	REFUSED(PIM_HW_PIM, (d.batch = 2, d.batch_rings = 6), PIM_HW_E_INVALID);
	REFUSED(PIM_HW_PIM, d.flags = PIM_HW_JOB_CLOSE, PIM_HW_E_INVALID);
	REFUSED(PIM_HW_PIM, d.flags = PIM_HW_JOB_TIMED, PIM_HW_E_INVALID);
	REFUSED(PIM_HW_PIM, (d.flags = PIM_HW_JOB_TIMED, rig_bind(&d, rig->hw->window_off, 64, PIM_HW_WRITE)), PIM_HW_E_BOUNDS);
	REFUSED(PIM_HW_PIM, (d.flags = PIM_HW_JOB_TIMED, rig_bind(&d, rig->hw->window_off, 128, PIM_HW_READ)), PIM_HW_E_ACCESS);
#undef REFUSED
}
END_TEST

/* Small numbers, so that many descriptors get past the first checks. */
static void scribble(void *p, size_t n)
{
	uint32_t *w = p, i;

	for (i = 0; i < n / 4; i++)
		w[i] = below(3) ? below(20) : below(2) ? below(4) * 16 : (uint32_t)rng();
}

START_TEST(any_descriptor_completes_and_the_card_lives)
{
	static const uint32_t ops[] = { PIM_HW_OP_NOP,		     PIM_HW_OP_PROGRAM, PIM_HW_OP_CONV_FWD,   PIM_HW_OP_CONV_BWD_DATA,
					PIM_HW_OP_CONV_BWD_WEIGHTS, PIM_HW_OP_GEMM,    PIM_HW_OP_SOFTMAX_CE, PIM_HW_OP_COPY,
					PIM_HW_OP_FILL,		     PIM_HW_OP_POOL_FWD, PIM_HW_OP_POOL_BWD,  PIM_HW_OP_DROPOUT };
	uint64_t seed = rng_seed();
	uint32_t round, i, counts[8] = { 0 };

	rig_own(rig, PIM_HW_OWNER_AUTO);
	for (round = 0; round < 4000; round++) {
		uint32_t op = ops[below(12)], engine = op == PIM_HW_OP_PROGRAM;
		struct pim_hw_desc d = { .op = op };
		struct pim_hw_done done;

		for (i = 0; i < 4; i++)
			rig_bind(&d, below(2) ? rig->hw->window_off : rig->hw->mem_off + 256 * below(100), 1u << (6 + below(12)), 1 + below(3));
		scribble(d.payload, sizeof(d.payload));
		d.policy.kind = PIM_HW_POLICY_QUEUE;
		if (!below(20))
			scribble(&d.binding[below(4)], sizeof(d.binding[0]));
		scribble(rig->bar + rig->hw->window_off, 4096);
		done = rig_run(rig, engine, &d);
		ck_assert_msg(done.status <= PIM_HW_E_CANCELED, "RIG_SEED=%llu round %u: status %u", (unsigned long long)seed, round, done.status);
		counts[done.status]++;
	}
	ck_assert_uint_gt(counts[PIM_HW_OK], 0);
	ck_assert_uint_gt(counts[PIM_HW_E_INVALID], 0);
	ck_assert_uint_gt(counts[PIM_HW_E_BOUNDS], 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("card: rings");
	TCase *t = tcase_create("rings");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 120);
	tcase_add_test(t, the_header_describes_the_card);
	tcase_add_test(t, a_card_started_again_touches_no_ring_before_the_handshake);
	tcase_add_test(t, jobs_complete_in_order_past_the_end_of_the_ring);
	tcase_add_test(t, an_interrupt_comes_only_when_asked_for);
	tcase_add_test(t, a_job_waits_for_the_other_engine);
	tcase_add_test(t, a_failed_job_cancels_what_depends_on_it_and_nothing_else);
	tcase_add_test(t, a_descriptor_of_another_sequence_number_is_refused);
	tcase_add_test(t, a_tail_out_of_reach_kills_the_card_until_reset);
	tcase_add_test(t, reset_drops_a_job_that_waits_for_ever);
	tcase_add_test(t, a_stopped_slot_ends_its_jobs_and_no_others);
	tcase_add_test(t, a_slot_stopped_for_waiting_jobs_lets_the_one_in_execution_end);
	tcase_add_test(t, the_heart_beats);
	tcase_add_test(t, authority_is_checked_for_every_domain_of_a_job);
	tcase_add_test(t, descriptors_that_mean_nothing_are_invalid);
	tcase_add_test(t, any_descriptor_completes_and_the_card_lives);
	suite_add_tcase(s, t);
	return run_suite(s);
}
