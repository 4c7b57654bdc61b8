// SPDX-License-Identifier: MIT
/*
 * Modelled time. The jobs of a batch are collected while the engines compute; when all its rings have closed it, the batch is simulated
 * as a whole. So time depends on the work and the card only, never on when a thread of this process ran.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "card_time_impl.h"

#define MAX_OPEN 64 /* a client that never closes its batches cannot fill the card */
#define MAX_JOBS (1u << 18)

struct batch {
	struct batch *next;
	uint64_t id;
	uint32_t rings, closed;
	uint8_t *room[PIM_HW_ENGINES]; /* where its closing jobs are bound for reports */
	uint64_t room_bytes[PIM_HW_ENGINES];
	struct sim_list list[PIM_HW_ENGINES];
};

struct card_time {
	struct pim_card *card;
	pthread_mutex_t lock; /* all below, and the simulation */
	uint64_t now; /* ps */
	struct batch *open; /* oldest first */
	unsigned int nopen;
	struct sim_domain domain[PIM_HW_MAX_DOMAINS];
};

int card_time_new(struct pim_card *c, struct card_time **out)
{
	struct card_time *t = calloc(1, sizeof(*t));
	int ret;

	if (!t)
		return -ENOMEM;
	t->card = c;
	ret = -pthread_mutex_init(&t->lock, NULL);
	if (ret) {
		free(t);
		return ret;
	}
	*out = t;
	return 0;
}

static void free_batch(struct batch *b)
{
	unsigned int e;

	for (e = 0; e < PIM_HW_ENGINES; e++)
		free(b->list[e].job);
	free(b);
}

void card_time_reset(struct card_time *t)
{
	pthread_mutex_lock(&t->lock);
	while (t->open) {
		struct batch *b = t->open;

		t->open = b->next;
		free_batch(b);
	}
	t->nopen = 0;
	t->now = 0;
	memset(t->domain, 0, sizeof(t->domain));
	pthread_mutex_unlock(&t->lock);
}

void card_time_free(struct card_time *t)
{
	if (!t)
		return;
	card_time_reset(t);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

/* The parts are cut at whole ns of the card's clock, so that they add up to end - start. */
static void report(const struct pim_cardfile *cf, const struct sim_job *j)
{
	const bool host = j->t.engine == PIM_HW_HOST;
	struct pim_hw_timing r = { 0 };
	uint64_t compute, refresh, memory, at = j->start;
	__u64 *const field[] = { &r.compute_ns, &r.memory_ns, &r.authority_ns, &r.switch_ns, &r.refresh_ns };
	uint64_t part[5];
	int i;

	compute = j->work ? (unsigned __int128)j->progress * j->arith / j->work : 0;
	memory = j->memory + (j->progress - compute);
	/* Of work that is no arithmetic, HOST's waits for the window, which is not refreshed. */
	refresh = (unsigned __int128)(host ? j->memory : j->progress - compute) * cf->trfc / cf->trefi;
	part[0] = compute;
	part[1] = memory - refresh;
	part[2] = j->authority;
	part[3] = j->switching;
	part[4] = refresh;
	r.queued_ns = j->start / 1000;
	r.start_ns = j->start / 1000;
	r.end_ns = j->end / 1000;
	for (i = 0; i < 5; i++) {
		*field[i] = (at + part[i]) / 1000 - at / 1000;
		at += part[i];
	}
	r.bytes = j->t.cost.mem_bytes + j->t.cost.window_bytes;
	r.switches = j->switches;
	memcpy(j->t.report, &r, sizeof(r));
}

/*
 * Reports are written when the batch is closed, long after most of its jobs are done and their buffers may be another client's. The jobs that
 * close it are not done yet, so what they bind for their reports is still their submitter's: only there is written.
 */
static bool may_report(const struct batch *b, const struct pim_hw_timing *at)
{
	const uint8_t *p = (const uint8_t *)at;
	unsigned int e;

	for (e = 0; e < PIM_HW_ENGINES; e++)
		if (p >= b->room[e] && p + sizeof(*at) <= b->room[e] + b->room_bytes[e])
			return true;
	return false;
}

/* Under lock. */
static bool simulate(struct card_time *t, struct batch *b)
{
	struct pim_card *c = t->card;
	struct sim s = { .cf = &c->cf, .list = b->list, .now = t->now };
	unsigned int e;
	uint32_t d;
	size_t i;

	memcpy(s.domain, t->domain, sizeof(s.domain));
	if (!sim_run(&s))
		return false;
	memcpy(t->domain, s.domain, sizeof(s.domain));
	t->now = (s.now + 999) / 1000 * 1000;
	for (e = 0; e < PIM_HW_ENGINES; e++)
		for (i = 0; i < b->list[e].n; i++)
			if (b->list[e].job[i].t.report && may_report(b, b->list[e].job[i].t.report))
				report(&c->cf, &b->list[e].job[i]);
	for (d = 0; d < c->cf.domains; d++) {
		card_store(&card_domain(c, d)->switches, t->domain[d].switches);
		card_store(&card_domain(c, d)->tenure_ns[PIM_HW_HOST], t->domain[d].tenure[PIM_HW_HOST] / 1000);
		card_store(&card_domain(c, d)->tenure_ns[PIM_HW_PIM], t->domain[d].tenure[PIM_HW_PIM] / 1000);
	}
	card_store(&card_state(c)->now_ns, t->now / 1000);
	return true;
}

static bool push(struct batch *b, const struct pim_cardfile *cf, const struct card_timed *job)
{
	struct sim_list *l = &b->list[job->engine];
	struct sim_job *j;
	size_t room;

	if (l->n == l->room) {
		room = l->room ? 2 * l->room : 16;
		if (room > MAX_JOBS)
			return false;
		j = realloc(l->job, room * sizeof(*j));
		if (!j)
			return false;
		l->job = j;
		l->room = room;
	}
	j = &l->job[l->n];
	memset(j, 0, sizeof(*j));
	j->t = *job;
	sim_job_init(cf, j);
	l->n++;
	return true;
}

static void unlink_batch(struct card_time *t, struct batch *b)
{
	struct batch **p;

	for (p = &t->open; *p != b; p = &(*p)->next)
		;
	*p = b->next;
	t->nopen--;
}

static bool finish(struct card_time *t, struct batch *b)
{
	bool ok = simulate(t, b);

	unlink_batch(t, b);
	free_batch(b);
	return ok;
}

static void close_batch(struct batch *b, const struct card_timed *job)
{
	b->closed |= 1u << job->engine;
	b->room[job->engine] = job->room;
	b->room_bytes[job->engine] = job->room_bytes;
}

static struct batch *find(struct card_time *t, uint64_t id)
{
	struct batch *b;

	for (b = t->open; b; b = b->next)
		if (b->id == id)
			break;
	return b;
}

/* Under lock. */
static struct batch *open_batch(struct card_time *t, const struct card_timed *job)
{
	struct batch *b = find(t, job->batch), **p;

	if (b)
		return b;
	if (t->nopen >= MAX_OPEN) {
		memset(t->open->room_bytes, 0, sizeof(t->open->room_bytes));
		finish(t, t->open);
	}
	b = calloc(1, sizeof(*b));
	if (!b)
		return NULL;
	b->id = job->batch;
	b->rings = job->batch_rings;
	for (p = &t->open; *p; p = &(*p)->next)
		;
	*p = b;
	t->nopen++;
	return b;
}

bool card_time_add(struct card_time *t, const struct card_timed *job)
{
	struct batch alone = { .rings = 0 }, *b;
	bool ok = false;

	pthread_mutex_lock(&t->lock);
	if (!job->batch) {
		close_batch(&alone, job);
		ok = push(&alone, &t->card->cf, job) && simulate(t, &alone);
		free(alone.list[job->engine].job);
		goto out;
	}
	b = open_batch(t, job);
	if (!b)
		goto out;
	ok = push(b, &t->card->cf, job);
	if (job->close)
		close_batch(b, job);
	if ((b->closed & b->rings) == b->rings)
		ok = finish(t, b) && ok;
out:
	pthread_mutex_unlock(&t->lock);
	return ok;
}

bool card_time_settled(struct card_time *t, uint64_t batch)
{
	bool settled;

	pthread_mutex_lock(&t->lock);
	settled = !find(t, batch);
	pthread_mutex_unlock(&t->lock);
	return settled;
}
