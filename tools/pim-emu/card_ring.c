// SPDX-License-Identifier: MIT
/*
 * One thread per engine: takes descriptors from its ring in order, waits for their slots, runs them, signals, completes. A descriptor
 * is copied once and only the copy is looked at: the ring can change under the card.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "card_impl.h"

/* Should a doorbell get lost between two processes, the ring is looked at this often all the same. */
#define POLL_NS 50000000L

static void wait_lock(struct pim_card *c)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_nsec += POLL_NS;
	if (t.tv_nsec >= 1000000000L) {
		t.tv_nsec -= 1000000000L;
		t.tv_sec++;
	}
	pthread_cond_timedwait(&c->cond, &c->lock, &t);
}

static bool interrupted(struct pim_card *c)
{
	return c->stopping || atomic_load(&c->abort);
}

static struct pim_hw_desc *ring_entry(struct pim_card *c, unsigned int e, uint64_t seqno)
{
	return (struct pim_hw_desc *)(c->bar + c->l.ring_off[e]) + ((seqno - 1) & (c->cf.ring_entries - 1));
}

/* Under lock. Waits for a descriptor; false: the card stops. */
static bool next_job(struct card_engine *en, struct card_job *j)
{
	struct pim_card *c = en->card;
	uint64_t tail, done;

	for (;; wait_lock(c)) {
		if (c->stopping)
			return false;
		if (!c->generation || c->dead || atomic_load(&c->abort))
			continue;
		done = c->done[en->index];
		tail = card_load(&card_control(c)->tail[en->index]);
		if (tail == done)
			continue;
		if (tail < done || tail - done > c->cf.ring_entries) {
			c->dead = true;
			card_store(&card_state(c)->state, PIM_HW_CARD_DEAD);
			c->notify(c->ctx, PIM_HW_IRQ_EVENT);
			continue;
		}
		memset(j, 0, sizeof(*j));
		memcpy(&j->d, ring_entry(c, en->index, done + 1), sizeof(j->d));
		en->parked = false;
		return true;
	}
}

/* Slots the job names must exist before anything of them is used. */
static bool check_slots(struct pim_card *c, struct card_job *j, uint64_t seqno)
{
	uint32_t i;

	if (j->d.seqno != seqno || j->d.nwaits > PIM_HW_MAX_WAITS)
		return card_fail(j, PIM_HW_E_INVALID, 0, 0, 0);
	for (i = 0; i < j->d.nwaits; i++)
		if (j->d.wait[i].slot >= c->cf.slots || j->d.wait[i].pad)
			return card_fail(j, PIM_HW_E_INVALID, 0, 0, 0);
	return true;
}

/* Under lock. The job's queue failed, or the driver wants nothing more of it. */
static bool canceled(struct pim_card *c, const struct card_job *j)
{
	const struct pim_hw_slot *own = card_slot(c, j->d.signal.slot);

	return interrupted(c) || (j->d.signal.value && (card_load(&own->error) || card_load(&own->stop) != PIM_HW_STOP_NONE));
}

/* Under lock. True: all waits are over, the job may run. */
static bool wait_slots(struct pim_card *c, struct card_job *j)
{
	uint32_t i;

	if (canceled(c, j))
		return card_fail(j, PIM_HW_E_CANCELED, 0, 0, 0);
	for (i = 0; i < j->d.nwaits; i++) {
		const struct pim_hw_wait *w = &j->d.wait[i];

		for (;; wait_lock(c)) {
			if (canceled(c, j))
				return card_fail(j, PIM_HW_E_CANCELED, 0, 0, 0);
			if (card_load(&card_slot(c, w->slot)->error))
				return card_fail(j, PIM_HW_E_CANCELED, 0, 0, 0);
			if (card_load(&card_slot(c, w->slot)->value) >= w->value)
				break;
		}
	}
	return true;
}

/* Under lock. Returns the slot's value before. */
static uint64_t signal_slot(struct pim_card *c, const struct card_job *j)
{
	struct pim_hw_slot *s;
	uint64_t before;

	if (!j->d.signal.value)
		return 0;
	s = card_slot(c, j->d.signal.slot);
	before = card_load(&s->value);
	if (j->fault.status)
		card_store(&s->error, j->fault.status);
	if (j->d.signal.value > before)
		card_store(&s->value, j->d.signal.value);
	pthread_cond_broadcast(&c->cond);
	return before;
}

static void complete(struct pim_card *c, unsigned int e, uint64_t seqno, const struct card_job *j)
{
	struct pim_hw_done *d = (struct pim_hw_done *)(c->bar + c->l.done_off[e]) + ((seqno - 1) & (c->cf.ring_entries - 1));
	struct pim_hw_done rec = {
		.seqno = seqno,
		.status = j->fault.status,
		.where = j->fault.where,
		.address = j->fault.address,
		.unit = j->fault.unit,
	};

	memcpy(d, &rec, sizeof(rec));
	/* The store of the counter orders the record before it for whoever reads the counter. */
	card_store(&card_state(c)->completed[e], seqno);
	c->done[e] = seqno;
}

static bool report_time(struct card_engine *en, uint64_t seqno, struct card_job *j, uint64_t before)
{
	struct pim_card *c = en->card;
	struct card_timed t = {
		.engine = en->index,
		.seqno = seqno,
		.batch = j->d.batch,
		.batch_rings = j->d.batch_rings,
		.close = j->d.flags & PIM_HW_JOB_CLOSE,
		.nwaits = j->d.nwaits,
		.signal = j->d.signal,
		.signal_from = before,
		.policy = j->d.policy,
		.cost = j->cost,
		.domains = j->domains,
		.auto_domains = j->auto_domains,
	};

	memcpy(t.wait, j->d.wait, sizeof(t.wait));
	if (j->fault.status) {
		/* A job that failed takes no time; its batch goes on. */
		memset(&t.cost, 0, sizeof(t.cost));
		t.domains = 0;
		t.auto_domains = 0;
	} else if (j->d.flags & PIM_HW_JOB_TIMED) {
		const struct pim_hw_binding *b = &j->d.binding[j->d.time_binding];

		t.room = c->bar + b->base;
		t.room_bytes = b->bytes;
		t.report = (struct pim_hw_timing *)(t.room + j->d.time_off);
	}
	return card_time_add(c->time, &t);
}

/* Under lock, which is dropped while the job runs. */
static void run_job(struct card_engine *en, struct card_job *j)
{
	struct pim_card *c = en->card;
	uint64_t seqno = c->done[en->index] + 1, before;
	bool known;

	if (j->d.signal.slot >= c->cf.slots) {
		j->d.signal.value = 0;
		card_fail(j, PIM_HW_E_INVALID, 0, 0, 0);
	}
	known = check_slots(c, j, seqno);
	if (!known)
		j->d.nwaits = 0;
	if (known && !j->fault.status && wait_slots(c, j)) {
		card_store(&card_state(c)->started[en->index], seqno);
		pthread_mutex_unlock(&c->lock);
		card_job_run(c, en->index, j);
		pthread_mutex_lock(&c->lock);
	}
	if (interrupted(c))
		return;
	before = signal_slot(c, j);
	pthread_mutex_unlock(&c->lock);
	/* A descriptor that is not the expected one belongs to no batch. */
	if (j->d.seqno == seqno && !report_time(en, seqno, j, before))
		card_fail(j, PIM_HW_E_INVALID, 0, 0, 0);
	pthread_mutex_lock(&c->lock);
	if (interrupted(c))
		return;
	complete(c, en->index, seqno, j);
	if (j->d.flags & PIM_HW_JOB_IRQ)
		c->notify(c->ctx, en->index);
}

void *card_engine_main(void *arg)
{
	struct card_engine *en = arg;
	struct pim_card *c = en->card;
	static _Thread_local struct card_job job;

	pthread_mutex_lock(&c->lock);
	while (next_job(en, &job)) {
		run_job(en, &job);
		en->parked = true;
		pthread_cond_broadcast(&c->cond);
	}
	pthread_mutex_unlock(&c->lock);
	if (en->index == PIM_HW_HOST)
		card_host_thread_end(c->host);
	return NULL;
}
