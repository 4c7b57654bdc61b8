// SPDX-License-Identifier: MIT
/* The card: registers, handshake, reset, life and death. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "card_impl.h"

#define HEARTBEAT_NS 100000000L

static void fill_header(struct pim_card *c)
{
	const struct pim_cardfile *cf = &c->cf;
	struct pim_hw_header *h = &c->hw;
	uint64_t external = (uint64_t)cf->stacks * cf->pcs * 16 * 1000000 / cf->tck_ps;
	uint64_t internal = (uint64_t)c->l.units * cf->domains * PIM_HW_COLUMN * 1000000 / ((uint64_t)cf->tccd_l * cf->tck_ps);

	h->magic = PIM_HW_MAGIC;
	h->abi_major = PIM_HW_ABI_MAJOR;
	h->abi_minor = PIM_HW_ABI_MINOR;
	h->features = PIM_HW_FEAT_FP32 | PIM_HW_FEAT_TIMING | PIM_HW_FEAT_SPECIAL;
	h->bar_bytes = c->l.bar_bytes;
	h->slots_off = c->l.slots_off;
	memcpy(h->ring_off, c->l.ring_off, sizeof(h->ring_off));
	memcpy(h->done_off, c->l.done_off, sizeof(h->done_off));
	h->window_off = c->l.window_off;
	h->window_bytes = c->l.mem_off - c->l.window_off;
	h->mem_off = c->l.mem_off;
	h->mem_bytes = c->l.mem_bytes;
	h->domain_bytes = c->l.mem_bytes / cf->domains;
	h->nslots = cf->slots;
	h->ring_entries = cf->ring_entries;
	h->domains = cf->domains;
	h->stacks = cf->stacks;
	h->pcs = cf->pcs;
	h->bank_groups = cf->bank_groups;
	h->banks = cf->banks;
	h->banks_per_unit = cf->banks_per_unit;
	h->rows = cf->rows;
	h->row_bytes = cf->row_bytes;
	h->stripe_bytes = c->l.units * PIM_HW_COLUMN;
	h->crf_words = cf->crf_words;
	h->srf_words = cf->srf_words;
	h->tck_ps = cf->tck_ps;
	h->host_gflops = cf->gpu_gflops;
	h->host_mbps = external > UINT32_MAX ? UINT32_MAX : external;
	h->pim_mbps = internal > UINT32_MAX ? UINT32_MAX : internal;
	h->window_mbps = cf->window_mbps;
	memcpy(h->name, cf->name, sizeof(h->name));
}

/* Under lock. Jobs in flight are dropped, everything the driver sees begins again. */
static void reset(struct pim_card *c, uint32_t generation)
{
	uint32_t i;

	card_store(&card_state(c)->state, PIM_HW_CARD_DOWN);
	atomic_store(&c->abort, true);
	pthread_cond_broadcast(&c->cond);
	while (!c->engine[PIM_HW_HOST].parked || !c->engine[PIM_HW_PIM].parked)
		pthread_cond_wait(&c->cond, &c->lock);
	card_time_reset(c->time);
	for (i = 0; i < PIM_HW_ENGINES; i++) {
		c->done[i] = 0;
		card_store(&card_control(c)->tail[i], 0);
		card_store(&card_state(c)->completed[i], 0);
	}
	for (i = 0; i < c->cf.slots; i++) {
		card_store(&card_slot(c, i)->stop, PIM_HW_STOP_NONE);
		card_store(&card_slot(c, i)->error, 0);
		card_store(&card_slot(c, i)->value, 0);
	}
	memset(card_domain(c, 0), 0, sizeof(struct pim_hw_authority));
	card_store(&card_state(c)->now_ns, 0);
	c->dead = false;
	c->generation = generation;
	atomic_store(&c->abort, false);
	card_store(&card_state(c)->state, PIM_HW_CARD_READY);
	card_store(&card_state(c)->generation, generation);
	pthread_cond_broadcast(&c->cond);
	c->notify(c->ctx, PIM_HW_IRQ_EVENT);
}

static void *control_main(void *arg)
{
	struct pim_card *c = arg;
	struct timespec t;

	pthread_mutex_lock(&c->lock);
	while (!c->stopping) {
		uint32_t generation = card_load(&card_control(c)->generation);
		uint32_t command = card_load(&card_control(c)->command);

		card_store(&card_state(c)->heartbeat, card_load(&card_state(c)->heartbeat) + 1);
		/* A generation left by a former worker's driver is not answered until it rings. */
		if (c->control_rung && command == PIM_HW_CMD_RESET && generation && generation != c->generation)
			reset(c, generation);
		c->control_rung = false;
		clock_gettime(CLOCK_MONOTONIC, &t);
		t.tv_nsec += HEARTBEAT_NS;
		if (t.tv_nsec >= 1000000000L) {
			t.tv_nsec -= 1000000000L;
			t.tv_sec++;
		}
		while (!c->stopping && !c->control_rung && !pthread_cond_timedwait(&c->cond, &c->lock, &t))
			;
	}
	pthread_mutex_unlock(&c->lock);
	return NULL;
}

/* Ends the threads that were started: n engines, and the control thread. */
static void stop_threads(struct pim_card *c, unsigned int n, bool control)
{
	unsigned int i;

	pthread_mutex_lock(&c->lock);
	c->stopping = true;
	atomic_store(&c->abort, true);
	pthread_cond_broadcast(&c->cond);
	pthread_mutex_unlock(&c->lock);
	for (i = 0; i < n; i++)
		pthread_join(c->engine[i].thread, NULL);
	if (control)
		pthread_join(c->control, NULL);
}

static int init_lock(struct pim_card *c)
{
	pthread_condattr_t attr;
	int ret = pthread_condattr_init(&attr);

	if (ret)
		return -ret;
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	ret = pthread_cond_init(&c->cond, &attr);
	pthread_condattr_destroy(&attr);
	if (ret)
		return -ret;
	ret = pthread_mutex_init(&c->lock, NULL);
	if (ret)
		pthread_cond_destroy(&c->cond);
	return -ret;
}

int pim_card_create(const struct pim_cardfile *cf, void *bar, pim_card_notify *notify, void *ctx, struct pim_card **out, char *err,
		    size_t errlen)
{
	struct pim_card *c;
	unsigned int i;
	int ret;

	c = calloc(1, sizeof(*c));
	if (!c) {
		ret = -ENOMEM;
		goto out;
	}
	c->cf = *cf;
	card_layout(cf, &c->l);
	c->bar = bar;
	c->notify = notify;
	c->ctx = ctx;
	fill_header(c);
	ret = init_lock(c);
	if (ret)
		goto out_free;
	ret = card_time_new(c, &c->time);
	if (ret)
		goto out_lock;
	ret = card_pim_new(c, &c->pim);
	if (ret)
		goto out_time;
	ret = card_host_new(&c->host);
	if (ret)
		goto out_pim;

	/* What a former worker completed and started is still to be read. */
	card_state(c)->now_ns = 0;
	card_store(&card_state(c)->state, PIM_HW_CARD_DOWN);
	card_store(&card_state(c)->generation, 0);
	memcpy(bar, &c->hw, sizeof(c->hw));
	for (i = 0; i < PIM_HW_ENGINES; i++) {
		c->engine[i] = (struct card_engine){ .card = c, .index = i, .parked = true };
		ret = -pthread_create(&c->engine[i].thread, NULL, card_engine_main, &c->engine[i]);
		if (ret)
			goto out_threads;
	}
	ret = -pthread_create(&c->control, NULL, control_main, c);
	if (ret)
		goto out_threads;
	*out = c;
	return 0;

out_threads:
	stop_threads(c, i, false);
	card_host_free(c->host);
out_pim:
	card_pim_free(c->pim);
out_time:
	card_time_free(c->time);
out_lock:
	pthread_mutex_destroy(&c->lock);
	pthread_cond_destroy(&c->cond);
out_free:
	free(c);
out:
	snprintf(err, errlen, "cannot start the card model: %s", strerror(-ret));
	return ret;
}

void pim_card_doorbell(struct pim_card *c, unsigned int vector)
{
	pthread_mutex_lock(&c->lock);
	if (vector == PIM_HW_DB_CONTROL)
		c->control_rung = true;
	pthread_cond_broadcast(&c->cond);
	pthread_mutex_unlock(&c->lock);
}

void pim_card_destroy(struct pim_card *c)
{
	if (!c)
		return;
	stop_threads(c, PIM_HW_ENGINES, true);
	card_host_free(c->host);
	card_pim_free(c->pim);
	card_time_free(c->time);
	pthread_mutex_destroy(&c->lock);
	pthread_cond_destroy(&c->cond);
	free(c);
}
