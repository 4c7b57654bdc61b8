// SPDX-License-Identifier: MIT
/*
 * Modelled time. The jobs of a batch are collected while the engines compute; when all its rings have closed it, the batch is simulated
 * as a whole, by the job that closed it last. So time depends on the work and the card only, never on when a thread of this process ran.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "card_time_impl.h"

/* A client that never closes its batches loses them, and nobody else's. */
#define MAX_OPEN 8 /* of one owner */
#define MAX_JOBS (1u << 20) /* of all open batches */

struct batch {
	struct batch *next;
	uint64_t id; /* upper half: its owner */
	uint32_t rings, closed;
	struct sim_list list[PIM_HW_ENGINES];
};

struct card_time {
	struct pim_card *card;
	pthread_mutex_t lock; /* all below, and the simulation */
	uint64_t now; /* ps */
	struct batch *open; /* oldest first */
	size_t jobs; /* of all of them */
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

static size_t batch_jobs(const struct batch *b)
{
	return b->list[PIM_HW_HOST].n + b->list[PIM_HW_PIM].n;
}

static void free_batch(struct batch *b)
{
	unsigned int e;

	for (e = 0; e < PIM_HW_ENGINES; e++)
		free(b->list[e].job);
	free(b);
}

/* Under lock. */
static void forget(struct card_time *t, struct batch *b)
{
	struct batch **p;

	for (p = &t->open; *p != b; p = &(*p)->next)
		;
	*p = b->next;
	t->jobs -= batch_jobs(b);
	free_batch(b);
}

void card_time_reset(struct card_time *t)
{
	pthread_mutex_lock(&t->lock);
	while (t->open)
		forget(t, t->open);
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
 * Reports are written when the batch is closed, long after most of its jobs are done and their buffers may be another client's. The job that
 * closes it last is not done yet, so what it binds for its report is still its submitter's: only there is written.
 */
static bool may_report(const struct card_timed *last, const struct pim_hw_timing *at)
{
	const uint8_t *p = (const uint8_t *)at;

	return last->room && p >= last->room && p + sizeof(*at) <= last->room + last->room_bytes;
}

/* Under lock. */
static bool simulate(struct card_time *t, struct batch *b, const struct card_timed *last)
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
			if (b->list[e].job[i].t.report && may_report(last, b->list[e].job[i].t.report))
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

/* Under lock. The oldest batch of an owner with too many. */
static void trim_owner(struct card_time *t, uint32_t owner)
{
	struct batch *b, *oldest = NULL;
	unsigned int n = 0;

	for (b = t->open; b; b = b->next) {
		if (b->id >> 32 != owner)
			continue;
		if (!oldest)
			oldest = b;
		n++;
	}
	if (n >= MAX_OPEN)
		forget(t, oldest);
}

/* Under lock. The largest batch, when there are too many jobs. */
static void trim_jobs(struct card_time *t)
{
	struct batch *b, *largest = t->open;

	if (t->jobs < MAX_JOBS)
		return;
	for (b = t->open; b; b = b->next)
		if (batch_jobs(b) > batch_jobs(largest))
			largest = b;
	forget(t, largest);
}

/* Under lock. */
static struct batch *open_batch(struct card_time *t, const struct card_timed *job)
{
	struct batch *b, **p;

	for (p = &t->open; *p; p = &(*p)->next)
		if ((*p)->id == job->batch)
			return *p;
	b = calloc(1, sizeof(*b));
	if (!b)
		return NULL;
	b->id = job->batch;
	b->rings = job->batch_rings;
	trim_owner(t, job->batch >> 32);
	for (p = &t->open; *p; p = &(*p)->next)
		;
	*p = b;
	return b;
}

/* Under lock. */
static bool add_to_batch(struct card_time *t, const struct card_timed *job)
{
	struct batch *b;
	bool ok;

	trim_jobs(t);
	b = open_batch(t, job);
	if (!b)
		return false;
	ok = push(b, &t->card->cf, job);
	t->jobs += ok;
	if (job->close)
		b->closed |= 1u << job->engine;
	if ((b->closed & b->rings) != b->rings)
		return ok;
	ok = simulate(t, b, job) && ok;
	forget(t, b);
	return ok;
}

bool card_time_add(struct card_time *t, const struct card_timed *job)
{
	struct batch alone = { .rings = 0 };
	bool ok;

	pthread_mutex_lock(&t->lock);
	if (job->batch) {
		ok = add_to_batch(t, job);
	} else {
		ok = push(&alone, &t->card->cf, job) && simulate(t, &alone, job);
		free(alone.list[job->engine].job);
	}
	pthread_mutex_unlock(&t->lock);
	return ok;
}
