/* SPDX-License-Identifier: MIT */
/* A card model over private memory, driven by hand: descriptors are written to the rings as hw.h says, nothing in between. */
#ifndef TEST_CARD_RIG_H
#define TEST_CARD_RIG_H

#include <check.h>
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include <pim/hw.h>

#include "../../tools/pim-emu/card.h"
#include "run_suite.h"

#define UNUSED __attribute__((unused))

struct rig {
	struct pim_cardfile cf;
	uint8_t *bar;
	uint64_t bytes;
	struct pim_card *card;
	const struct pim_hw_header *hw;
	struct pim_hw_control *control;
	struct pim_hw_state *state;
	struct pim_hw_domain *domain;
	struct pim_hw_slot *slot;
	uint64_t seqno[PIM_HW_ENGINES];
	pthread_mutex_t lock;
	pthread_cond_t cond;
	unsigned int irqs[PIM_HW_VECTORS];
};

static UNUSED void rig_notify(void *ctx, unsigned int vector)
{
	struct rig *r = ctx;

	pthread_mutex_lock(&r->lock);
	r->irqs[vector]++;
	pthread_cond_broadcast(&r->cond);
	pthread_mutex_unlock(&r->lock);
}

/* Waits until *p reaches v, or a minute. */
static UNUSED int rig_reaches(struct rig *r, const void *p, uint64_t v)
{
	struct timespec t;
	int ret = 0;

	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_sec += 60;
	pthread_mutex_lock(&r->lock);
	while (__atomic_load_n((const uint64_t *)p, __ATOMIC_ACQUIRE) < v && !ret)
		ret = pthread_cond_timedwait(&r->cond, &r->lock, &t);
	pthread_mutex_unlock(&r->lock);
	return ret;
}

static UNUSED void rig_reset(struct rig *r, uint32_t generation)
{
	unsigned int seen;

	pthread_mutex_lock(&r->lock);
	seen = r->irqs[PIM_HW_IRQ_EVENT];
	pthread_mutex_unlock(&r->lock);
	r->control->command = PIM_HW_CMD_RESET;
	__atomic_store_n(&r->control->generation, generation, __ATOMIC_SEQ_CST);
	pim_card_doorbell(r->card, PIM_HW_DB_CONTROL);
	pthread_mutex_lock(&r->lock);
	while (__atomic_load_n(&r->state->generation, __ATOMIC_ACQUIRE) != generation || r->irqs[PIM_HW_IRQ_EVENT] == seen)
		pthread_cond_wait(&r->cond, &r->lock);
	pthread_mutex_unlock(&r->lock);
	memset(r->seqno, 0, sizeof(r->seqno));
}

static UNUSED void rig_start(struct rig *r)
{
	char err[256] = "";

	ck_assert_msg(!pim_card_create(&r->cf, r->bar, rig_notify, r, &r->card, err, sizeof(err)), "%s", err);
}

/* change: makes another card of it, may be NULL */
static UNUSED struct rig *rig_open_as(const char *path, void (*change)(struct pim_cardfile *cf))
{
	struct rig *r = calloc(1, sizeof(*r));
	char err[256] = "";

	ck_assert_msg(!pim_cardfile_read(path, &r->cf, err, sizeof(err)), "%s", err);
	if (change)
		change(&r->cf);
	r->bytes = pim_card_bar_bytes(&r->cf);
	r->bar = mmap(NULL, r->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ck_assert_ptr_ne(r->bar, MAP_FAILED);
	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->cond, NULL);
	rig_start(r);
	r->hw = (const void *)r->bar;
	r->control = (void *)(r->bar + PIM_HW_CONTROL_OFF);
	r->state = (void *)(r->bar + PIM_HW_STATE_OFF);
	r->domain = (void *)(r->bar + PIM_HW_AUTHORITY_OFF);
	r->slot = (void *)(r->bar + r->hw->slots_off);
	rig_reset(r, 1);
	return r;
}

static UNUSED struct rig *rig_open(const char *path)
{
	return rig_open_as(path, NULL);
}

static UNUSED void rig_close(struct rig *r)
{
	pim_card_destroy(r->card);
	munmap(r->bar, r->bytes);
	pthread_cond_destroy(&r->cond);
	pthread_mutex_destroy(&r->lock);
	free(r);
}

static UNUSED void rig_own(struct rig *r, uint32_t owner)
{
	uint32_t d;

	for (d = 0; d < r->hw->domains; d++)
		__atomic_store_n(&r->domain[d].owner, owner, __ATOMIC_SEQ_CST);
}

/* Writes a descriptor to its ring; the doorbell is the caller's. */
static UNUSED uint64_t rig_queue(struct rig *r, unsigned int engine, const struct pim_hw_desc *d)
{
	struct pim_hw_desc *e = (struct pim_hw_desc *)(r->bar + r->hw->ring_off[engine]) + r->seqno[engine] % r->hw->ring_entries;

	memcpy(e, d, sizeof(*e));
	e->seqno = ++r->seqno[engine];
	e->flags |= PIM_HW_JOB_IRQ;
	__atomic_store_n(&r->control->tail[engine], r->seqno[engine], __ATOMIC_SEQ_CST);
	return r->seqno[engine];
}

static UNUSED struct pim_hw_done rig_await(struct rig *r, unsigned int engine, uint64_t seqno)
{
	struct pim_hw_done *d = (struct pim_hw_done *)(r->bar + r->hw->done_off[engine]) + (seqno - 1) % r->hw->ring_entries;

	ck_assert_msg(!rig_reaches(r, &r->state->completed[engine], seqno), "job %llu of engine %u did not complete",
		      (unsigned long long)seqno, engine);
	ck_assert_uint_eq(d->seqno, seqno);
	return *d;
}

static UNUSED struct pim_hw_done rig_run(struct rig *r, unsigned int engine, const struct pim_hw_desc *d)
{
	uint64_t seqno = rig_queue(r, engine, d);

	pim_card_doorbell(r->card, engine);
	return rig_await(r, engine, seqno);
}

static UNUSED uint32_t rig_bind(struct pim_hw_desc *d, uint64_t base, uint64_t bytes, uint32_t access)
{
	d->binding[d->nbindings] = (struct pim_hw_binding){ .base = base, .bytes = bytes, .access = access };
	return d->nbindings++;
}

static UNUSED void rig_signal(struct pim_hw_desc *d, uint32_t slot, uint64_t value)
{
	d->signal.slot = slot;
	d->signal.value = value;
}

static UNUSED void rig_wait(struct pim_hw_desc *d, uint32_t slot, uint64_t value)
{
	d->wait[d->nwaits].slot = slot;
	d->wait[d->nwaits++].value = value;
}

/* -- random numbers whose seed a failure prints -- */

static uint64_t rng_state;

static UNUSED uint64_t rng(void)
{
	rng_state += 0x9e3779b97f4a7c15ull;
	uint64_t z = rng_state;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static UNUSED uint32_t below(uint32_t n)
{
	return rng() % n;
}

static UNUSED float uniform(void)
{
	return (float)((double)(rng() >> 11) / 9007199254740992.0 * 2 - 1);
}

/* RIG_SEED repeats a run. */
static UNUSED uint64_t rng_seed(void)
{
	const char *s = getenv("RIG_SEED");

	rng_state = s ? strtoull(s, NULL, 0) : (uint64_t)time(NULL);
	fprintf(stderr, "RIG_SEED=%llu\n", (unsigned long long)rng_state);
	return rng_state;
}

/* -- instruction words -- */

static UNUSED uint32_t insn(uint32_t op, uint32_t dst, uint32_t id, uint32_t s0, uint32_t i0, uint32_t s1, uint32_t i1, uint32_t s2,
			    uint32_t i2, uint32_t aam)
{
	return op << 28 | dst << 25 | s0 << 22 | s1 << 19 | s2 << 16 | aam << 15 | i2 << 12 | id << 8 | i0 << 4 | i1;
}

static UNUSED uint32_t jump_to(uint32_t kind, uint32_t count, uint32_t target)
{
	return (uint32_t)PIM_I_JUMP << 28 | kind << 26 | count << 11 | target;
}

static UNUSED uint32_t scal(uint32_t target)
{
	return (uint32_t)PIM_I_SCAL << 28 | target;
}

static UNUSED uint32_t exit_insn(void)
{
	return (uint32_t)PIM_I_EXIT << 28;
}

static UNUSED uint32_t base_insn(uint32_t op, uint32_t d, uint32_t a, uint32_t b, uint32_t c, uint32_t imm)
{
	return op << 26 | d << 22 | a << 18 | b << 14 | c << 10 | imm;
}

#endif
