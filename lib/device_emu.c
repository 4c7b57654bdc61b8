// SPDX-License-Identifier: MIT
/*
 * The card inside this process: the model of libpimcard.so over private memory, and what pim.ko does for a real one: reset, allocation, the
 * rings, completion. Ring and descriptors are those of pim/hw.h, so both backends run the same model on the same input.
 *
 * Locks: dev->lock covers rings, memory and claims; event_lock is a leaf, all that the model's threads take, so the model may call back from
 * under its own locks.
 */
#include <dlfcn.h>
#include <errno.h>
#include <inttypes.h>
#include <numa.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "../tools/pim-emu/card.h"
#include "device.h"
#include "error.h"
#include "range.h"

#define RESET_TIMEOUT_MS 10000

struct card_lib {
	int (*cardfile_read)(const char *path, struct pim_cardfile *cf, char *err, size_t errlen);
	uint64_t (*bar_bytes)(const struct pim_cardfile *cf);
	int (*create)(const struct pim_cardfile *cf, void *bar, pim_card_notify *notify, void *ctx, struct pim_card **card, char *err,
		      size_t errlen);
	void (*doorbell)(struct pim_card *card, unsigned int vector);
	void (*destroy)(struct pim_card *card);
};

/* Descriptors that found the rings full, in order of submission. */
struct backlog {
	struct backlog *next;
	uint32_t n, pos;
	struct {
		uint32_t engine;
		struct pim_hw_desc desc;
	} job[];
};

struct emu_buffer {
	struct pim_buffer base;
	struct emu_buffer *next; /* destroyed while jobs use it */
	uint64_t start; /* in the BAR */
	uint64_t use[PIM_ENGINES]; /* last job bound to it */
};

struct emu_device {
	struct pim_device base;
	struct card_lib lib;
	struct pim_card *card;
	char *bar;
	uint64_t bar_bytes;
	const struct pim_hw_header *header;
	struct pim_hw_control *control;
	struct pim_hw_state *state;
	struct pim_hw_authority *authority;
	struct pim_hw_desc *ring[PIM_ENGINES];
	struct pim_hw_done *done[PIM_ENGINES];

	/* Under dev->lock. */
	struct region domain[PIM_HW_MAX_DOMAINS], window;
	struct emu_buffer *dying;
	struct backlog *first, **last;
	uint64_t written[PIM_ENGINES], retired[PIM_ENGINES];
	uint64_t serial; /* jobs written to either ring */
	uint64_t *order[PIM_ENGINES]; /* serial of the job in each ring entry */
	struct pim_fault fault; /* the earliest, by serial, that is not a consequence of another */
	uint64_t fault_order;
	uint64_t use[PIM_HW_MAX_DOMAINS][PIM_ENGINES]; /* last job bound to the domain */
	uint64_t handovers[PIM_HW_MAX_DOMAINS];

	pthread_mutex_t event_lock;
	pthread_cond_t event, refill;
	uint64_t events; /* interrupts so far */
	bool refilling, stopping;
	pthread_t feeder;
};

static struct emu_device *to_emu(struct pim_device *dev)
{
	return (struct emu_device *)dev;
}

static uint64_t completed(const struct emu_device *d, int engine)
{
	return __atomic_load_n(&d->state->completed[engine], __ATOMIC_ACQUIRE);
}

static bool done_up_to(const struct emu_device *d, const uint64_t seq[PIM_ENGINES])
{
	return completed(d, PIM_HOST) >= seq[PIM_HOST] && completed(d, PIM_PIM) >= seq[PIM_PIM];
}

/* -- events ----------------------------------------------------------------------------------------------------------- */

static void notify(void *ctx, unsigned int vector)
{
	struct emu_device *d = ctx;

	(void)vector;
	pthread_mutex_lock(&d->event_lock);
	d->events++;
	pthread_cond_broadcast(&d->event);
	if (d->refilling)
		pthread_cond_signal(&d->refill);
	pthread_mutex_unlock(&d->event_lock);
}

static uint64_t event_count(struct emu_device *d)
{
	uint64_t n;

	pthread_mutex_lock(&d->event_lock);
	n = d->events;
	pthread_mutex_unlock(&d->event_lock);
	return n;
}

/* Until an event after number "seen", or the deadline: -ETIME. */
static int event_wait(struct emu_device *d, uint64_t seen, int64_t deadline)
{
	struct timespec t = { deadline / 1000000000, deadline % 1000000000 };
	int err = 0;

	pthread_mutex_lock(&d->event_lock);
	while (d->events == seen && !err)
		err = deadline == INT64_MAX ? pthread_cond_wait(&d->event, &d->event_lock) :
					      pthread_cond_timedwait(&d->event, &d->event_lock, &t);
	pthread_mutex_unlock(&d->event_lock);
	return err ? -ETIME : 0;
}

static int wait_seq(struct emu_device *d, const uint64_t seq[PIM_ENGINES], int64_t deadline)
{
	for (;;) {
		uint64_t seen = event_count(d);
		int err;

		if (done_up_to(d, seq))
			return 0;
		if (__atomic_load_n(&d->state->state, __ATOMIC_ACQUIRE) != PIM_HW_CARD_READY) {
			pthread_mutex_lock(&d->base.lock);
			err = pim_device_fail(&d->base, NULL);
			pthread_mutex_unlock(&d->base.lock);
			return err;
		}
		err = event_wait(d, seen, deadline);
		if (err && !done_up_to(d, seq))
			return err;
	}
}

/* -- rings; called with dev->lock held -------------------------------------------------------------------------------- */

static void retire_one(struct emu_device *d, uint32_t engine, uint64_t seq)
{
	uint32_t entry = (seq - 1) % d->base.ring_entries;
	const struct pim_hw_done *done = &d->done[engine][entry];

	if (done->status == PIM_HW_OK || done->status == PIM_HW_E_CANCELED)
		return;
	if (d->fault.status && d->fault_order < d->order[engine][entry])
		return;
	d->fault = (struct pim_fault){ .status = done->status, .engine = engine, .where = done->where, .unit = done->unit, .seq = seq,
				       .address = done->address };
	d->fault_order = d->order[engine][entry];
}

static void retire(struct emu_device *d)
{
	for (uint32_t e = 0; e < PIM_ENGINES; e++) {
		uint64_t end = completed(d, e);

		while (d->retired[e] < end)
			retire_one(d, e, ++d->retired[e]);
	}
}

/* Descriptors from the backlog into the rings, as many as fit. */
static void feed(struct emu_device *d)
{
	bool ring[PIM_ENGINES] = { false };

	while (d->first) {
		struct backlog *b = d->first;
		uint32_t e = b->job[b->pos].engine;
		uint32_t entry = d->written[e] % d->base.ring_entries;

		if (d->written[e] - d->retired[e] == d->base.ring_entries)
			break;
		d->ring[e][entry] = b->job[b->pos].desc;
		d->order[e][entry] = ++d->serial;
		d->written[e]++;
		ring[e] = true;
		if (++b->pos < b->n)
			continue;
		d->first = b->next;
		if (!d->first)
			d->last = &d->first;
		free(b);
	}
	for (uint32_t e = 0; e < PIM_ENGINES; e++) {
		if (!ring[e])
			continue;
		__atomic_store_n(&d->control->tail[e], d->written[e], __ATOMIC_RELEASE);
		d->lib.doorbell(d->card, e);
	}
}

static void feed_or_arm(struct emu_device *d)
{
	bool again;

	do {
		retire(d);
		feed(d);
		pthread_mutex_lock(&d->event_lock);
		d->refilling = d->first;
		pthread_mutex_unlock(&d->event_lock);
		/* A job that ended before refilling was set has woken nobody. */
		again = d->first && (completed(d, PIM_HOST) > d->retired[PIM_HOST] || completed(d, PIM_PIM) > d->retired[PIM_PIM]);
	} while (again);
}

/* Refills the rings while a backlog is left. */
static void *feeder(void *arg)
{
	struct emu_device *d = arg;
	uint64_t seen = 0;

	for (;;) {
		bool stop;

		pthread_mutex_lock(&d->event_lock);
		while (!d->stopping && (!d->refilling || d->events == seen))
			pthread_cond_wait(&d->refill, &d->event_lock);
		seen = d->events;
		stop = d->stopping;
		pthread_mutex_unlock(&d->event_lock);
		if (stop)
			return NULL;
		pthread_mutex_lock(&d->base.lock);
		feed_or_arm(d);
		pthread_mutex_unlock(&d->base.lock);
	}
}

/* -- memory ----------------------------------------------------------------------------------------------------------- */

static struct region *region_of(struct emu_device *d, enum pim_place place, uint32_t domain)
{
	return place == PIM_PLACE_WINDOW ? &d->window : &d->domain[domain];
}

static void reclaim(struct emu_device *d, struct emu_buffer *b)
{
	/* Private anonymous memory comes back zero, so the next holder sees nothing of this one. */
	madvise(d->bar + b->start, b->base.bytes, MADV_DONTNEED);
	region_free(region_of(d, b->base.place, b->base.domain), b->start);
	free(b);
}

static void reap(struct emu_device *d)
{
	struct emu_buffer **p = &d->dying;

	while (*p) {
		struct emu_buffer *b = *p;

		if (!done_up_to(d, b->use)) {
			p = &b->next;
			continue;
		}
		*p = b->next;
		reclaim(d, b);
	}
}

static int emu_buffer_create(struct pim_device *dev, uint64_t bytes, enum pim_place place, uint32_t domain, struct pim_buffer **buf)
{
	struct emu_device *d = to_emu(dev);
	struct region *r = region_of(d, place, domain);
	struct emu_buffer *b = calloc(1, sizeof(*b));
	int err = -ENOMEM;

	if (!b)
		return pim_error(-ENOMEM, "no memory for a buffer's description");
	pthread_mutex_lock(&dev->lock);
	reap(d);
	err = region_alloc(r, bytes, &b->start);
	if (err == -ENOSPC)
		pim_error(err, "no room for %" PRIu64 " bytes in %s %u: its largest free run is %" PRIu64 "; destroy buffers or take a larger card",
			  bytes, place == PIM_PLACE_WINDOW ? "the host window" : "domain", domain, region_largest(r));
	else if (err)
		pim_error(err, "no memory for the list of buffers");
	pthread_mutex_unlock(&dev->lock);
	if (err) {
		free(b);
		return err;
	}
	*buf = &b->base;
	return 0;
}

static void emu_buffer_destroy(struct pim_buffer *buf)
{
	struct emu_buffer *b = (struct emu_buffer *)buf;
	struct emu_device *d = to_emu(buf->dev);

	pthread_mutex_lock(&d->base.lock);
	reap(d);
	if (done_up_to(d, b->use)) {
		reclaim(d, b);
	} else {
		b->next = d->dying;
		d->dying = b;
	}
	pthread_mutex_unlock(&d->base.lock);
}

static int emu_buffer_map(struct pim_buffer *buf, void **ptr)
{
	*ptr = to_emu(buf->dev)->bar + ((struct emu_buffer *)buf)->start;
	return 0;
}

/* -- jobs ------------------------------------------------------------------------------------------------------------- */

static void encode(struct emu_device *d, const struct pim_job *job, uint64_t seq, bool last, struct pim_hw_desc *desc)
{
	desc->op = job->op;
	desc->seqno = seq;
	/* Full rings are refilled from interrupts, so some must come before the end. */
	if (last || seq % (d->base.ring_entries / 4 ? d->base.ring_entries / 4 : 1) == 0)
		desc->flags |= PIM_HW_JOB_IRQ;
	if (job->timed)
		desc->flags |= PIM_HW_JOB_TIMED;
	if (job->close)
		desc->flags |= PIM_HW_JOB_CLOSE;
	desc->batch = job->batch;
	desc->batch_rings = job->batch_engines;
	desc->time_binding = job->time_binding;
	desc->time_off = job->time_off;
	for (uint32_t w = 0; w < job->nwaits; w++)
		if (job->wait[w].seq)
			desc->wait[desc->nwaits++] = (struct pim_hw_wait){ .slot = job->wait[w].engine, .value = job->wait[w].seq };
	desc->signal = (struct pim_hw_wait){ .slot = job->engine, .value = seq };
	desc->policy = (struct pim_hw_policy){ .kind = job->policy.kind, .high = job->policy.high, .low = job->policy.low,
					       .min_ns = job->policy.min_ns, .max_ns = job->policy.max_ns };
	desc->nbindings = job->nbindings;
	for (uint32_t b = 0; b < job->nbindings; b++) {
		const struct pim_binding *bind = &job->binding[b];
		struct emu_buffer *buf = (struct emu_buffer *)bind->buf;

		desc->binding[b] = (struct pim_hw_binding){ .base = buf->start + bind->offset, .bytes = bind->bytes, .access = bind->access };
		buf->use[job->engine] = seq;
		if (buf->base.place == PIM_PLACE_MEMORY)
			d->use[buf->base.domain][job->engine] = seq;
	}
	if (job->payload_bytes)
		memcpy(desc->payload, job->payload, job->payload_bytes);
}

static int emu_submit(struct pim_device *dev, const struct pim_job *job, uint32_t n, const struct pim_mark *next)
{
	struct emu_device *d = to_emu(dev);
	struct backlog *b = calloc(1, sizeof(*b) + n * sizeof(b->job[0]));
	uint64_t seq[PIM_ENGINES];

	if (!b)
		return pim_error(-ENOMEM, "no memory for %u jobs", n);
	memcpy(seq, dev->mark.seq, sizeof(seq));
	b->n = n;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t e = job[i].engine;

		b->job[i].engine = e;
		seq[e]++;
		encode(d, &job[i], seq[e], seq[e] == next->seq[e], &b->job[i].desc);
	}
	*d->last = b;
	d->last = &b->next;
	feed_or_arm(d);
	return 0;
}

static int emu_wait(struct pim_device *dev, const struct pim_mark *mark, int64_t deadline)
{
	struct emu_device *d = to_emu(dev);
	int err = wait_seq(d, mark->seq, deadline);

	if (err)
		return err;
	pthread_mutex_lock(&dev->lock);
	retire(d);
	if (d->fault.status || dev->failed)
		err = pim_device_fail(dev, &d->fault);
	pthread_mutex_unlock(&dev->lock);
	return err;
}

/* -- authority -------------------------------------------------------------------------------------------------------- */

/* Gives the domains to owner once no job uses them; holder: as in pim_device_claim(). */
static int hand_over(struct emu_device *d, uint32_t domains, uint32_t owner, int holder, int64_t deadline)
{
	for (;;) {
		uint64_t use[PIM_ENGINES] = { 0 };
		int err;

		pthread_mutex_lock(&d->base.lock);
		for (uint32_t i = 0; i < d->base.info.domains; i++)
			for (int e = 0; e < PIM_ENGINES && domains & 1u << i; e++)
				if (d->use[i][e] > use[e])
					use[e] = d->use[i][e];
		if (done_up_to(d, use))
			break;
		pthread_mutex_unlock(&d->base.lock);
		if (!deadline)
			return pim_error(-EBUSY, "domains 0x%x are in use by jobs that are not done; give pim_acquire() a time-out", domains);
		err = wait_seq(d, use, deadline);
		if (err == -ETIME)
			return pim_error(err, "domains 0x%x were in use by jobs until the time-out; wait longer", domains);
		if (err)
			return err;
	}
	for (uint32_t i = 0; i < d->base.info.domains; i++) {
		struct pim_hw_domain *dom = &d->authority->domain[i];

		if (!(domains & 1u << i) || dom->owner == owner)
			continue;
		__atomic_store_n(&dom->owner, owner, __ATOMIC_RELEASE);
		d->handovers[i]++;
	}
	pim_device_claim(&d->base, domains, holder);
	pthread_mutex_unlock(&d->base.lock);
	return 0;
}

static int emu_acquire(struct pim_device *dev, uint32_t domains, enum pim_owner owner, int64_t deadline)
{
	return hand_over(to_emu(dev), domains, owner, owner, deadline);
}

static int emu_release(struct pim_device *dev, uint32_t domains)
{
	return hand_over(to_emu(dev), domains, PIM_HW_OWNER_HOST, -1, INT64_MAX);
}

static int emu_query(struct pim_device *dev, uint32_t domain, struct pim_authority *out)
{
	struct emu_device *d = to_emu(dev);
	const struct pim_hw_domain *dom = &d->authority->domain[domain];

	pthread_mutex_lock(&dev->lock);
	*out = (struct pim_authority){
		.owner = dom->owner,
		.holder = (dev->claimed[0] | dev->claimed[1] | dev->claimed[2]) & 1u << domain ? (uint32_t)getpid() : 0,
		.handovers = d->handovers[domain],
		.switches = __atomic_load_n(&dom->switches, __ATOMIC_ACQUIRE),
	};
	pthread_mutex_unlock(&dev->lock);
	return 0;
}

static int emu_now(struct pim_device *dev, uint64_t *ns)
{
	*ns = __atomic_load_n(&to_emu(dev)->state->now_ns, __ATOMIC_ACQUIRE);
	return 0;
}

/* -- open and close --------------------------------------------------------------------------------------------------- */

/* The model is a library of its own, loaded on demand: the drm backend must not pull oneDNN in. It stays loaded. */
static int load_model(struct card_lib *lib)
{
	const struct {
		const char *name;
		void *fn;
	} sym[] = {
		{ "pim_cardfile_read", &lib->cardfile_read }, { "pim_card_bar_bytes", &lib->bar_bytes }, { "pim_card_create", &lib->create },
		{ "pim_card_doorbell", &lib->doorbell },      { "pim_card_destroy", &lib->destroy },
	};
	void *so = dlopen("libpimcard.so", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);

	if (!so)
		return pim_error(-ENODEV, "the card model is missing: %s; build libpimcard.so next to librt-pim.so or install it", dlerror());
	for (size_t i = 0; i < sizeof(sym) / sizeof(sym[0]); i++) {
		void *fn = dlsym(so, sym[i].name);

		if (!fn)
			return pim_error(-EPROTO, "libpimcard.so has no %s: it is of another version than librt-pim.so; build both from one tree",
					 sym[i].name);
		memcpy(sym[i].fn, &fn, sizeof(fn));
	}
	return 0;
}

static void emu_close(struct pim_device *dev)
{
	struct emu_device *d = to_emu(dev);

	pthread_mutex_lock(&d->event_lock);
	d->stopping = true;
	pthread_cond_signal(&d->refill);
	pthread_mutex_unlock(&d->event_lock);
	pthread_join(d->feeder, NULL);
	d->lib.destroy(d->card);
	while (d->first) {
		struct backlog *b = d->first;

		d->first = b->next;
		free(b);
	}
	while (d->dying) {
		struct emu_buffer *b = d->dying;

		d->dying = b->next;
		free(b);
	}
	for (uint32_t i = 0; i < PIM_HW_MAX_DOMAINS; i++)
		region_destroy(&d->domain[i]);
	region_destroy(&d->window);
	for (int e = 0; e < PIM_ENGINES; e++)
		free(d->order[e]);
	munmap(d->bar, d->bar_bytes);
	free(d);
}

/* On a machine with several nodes, the card's memory and the threads that open it belong on one of them. */
static void place_near(void *mem, uint64_t bytes)
{
	int cpu = sched_getcpu();

	if (cpu >= 0 && numa_available() >= 0 && numa_max_node() > 0)
		numa_tonode_memory(mem, bytes, numa_node_of_cpu(cpu));
}

static uint64_t lcm(uint64_t a, uint64_t b)
{
	uint64_t x = a, y = b;

	while (y) {
		uint64_t t = x % y;

		x = y;
		y = t;
	}
	return a / x * b;
}

static void read_header(struct emu_device *d, const struct pim_hw_header *h)
{
	d->base.info = (struct pim_info){
		.domains = h->domains, .stacks = h->stacks, .pcs = h->pcs, .bank_groups = h->bank_groups, .banks = h->banks,
		.banks_per_unit = h->banks_per_unit, .rows = h->rows, .row_bytes = h->row_bytes, .stripe_bytes = h->stripe_bytes,
		.crf_words = h->crf_words, .srf_words = h->srf_words, .tck_ps = h->tck_ps, .host_gflops = h->host_gflops,
		.host_mbps = h->host_mbps, .pim_mbps = h->pim_mbps, .window_mbps = h->window_mbps, .domain_bytes = h->domain_bytes,
		.window_bytes = h->window_bytes,
	};
	snprintf(d->base.info.name, sizeof(d->base.info.name), "%.63s", h->name);
	d->base.ring_entries = h->ring_entries;
	d->base.align = lcm(PIM_HW_PAGE, h->stripe_bytes);
	for (int e = 0; e < PIM_ENGINES; e++) {
		d->ring[e] = (void *)(d->bar + h->ring_off[e]);
		d->done[e] = (void *)(d->bar + h->done_off[e]);
	}
	for (uint32_t i = 0; i < h->domains; i++)
		d->domain[i] = (struct region){ .start = h->mem_off + i * h->domain_bytes, .bytes = h->domain_bytes };
	d->window = (struct region){ .start = h->window_off, .bytes = h->window_bytes };
}

static int check_header(const struct pim_hw_header *h)
{
	if (h->magic != PIM_HW_MAGIC || h->abi_major != PIM_HW_ABI_MAJOR)
		return pim_error(-EPROTO, "the card model speaks card ABI %u, this library %u; build both from one tree", h->abi_major,
				 PIM_HW_ABI_MAJOR);
	return 0;
}

static int reset(struct emu_device *d)
{
	const uint32_t generation = 1;
	int64_t deadline = pim_deadline(RESET_TIMEOUT_MS);

	/* The model looks at them from its own thread as soon as it exists. */
	__atomic_store_n(&d->control->command, PIM_HW_CMD_RESET, __ATOMIC_RELEASE);
	__atomic_store_n(&d->control->generation, generation, __ATOMIC_RELEASE);
	d->lib.doorbell(d->card, PIM_HW_DB_CONTROL);
	for (;;) {
		uint64_t seen = event_count(d);

		if (__atomic_load_n(&d->state->generation, __ATOMIC_ACQUIRE) == generation)
			return 0;
		if (event_wait(d, seen, deadline))
			return pim_error(-EIO, "the card model did not answer its reset within %d ms", RESET_TIMEOUT_MS);
	}
}

static int emu_open(const char *path, struct pim_device **dev)
{
	struct emu_device *d;
	struct pim_cardfile cf;
	pthread_condattr_t attr;
	char text[512];
	int err;

	if (!*path)
		return pim_error(-EINVAL, "device 'emu' needs a card file: emu:CARDFILE, as in emu:cards/default.card");
	d = calloc(1, sizeof(*d));
	if (!d)
		return pim_error(-ENOMEM, "no memory for a device");
	err = load_model(&d->lib);
	if (err)
		goto free_device;
	err = d->lib.cardfile_read(path, &cf, text, sizeof(text));
	if (err) {
		pim_error(err, "%s", text);
		goto free_device;
	}
	d->bar_bytes = d->lib.bar_bytes(&cf);
	d->bar = mmap(NULL, d->bar_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (d->bar == MAP_FAILED) {
		err = pim_error(-errno, "%s: no address space for the card's %" PRIu64 " bytes: %s; lower its rows or raise the limit (ulimit -v)", path,
				d->bar_bytes, strerror(errno));
		goto free_device;
	}
	place_near(d->bar, d->bar_bytes);
	d->header = (void *)(d->bar + PIM_HW_HEADER_OFF);
	d->control = (void *)(d->bar + PIM_HW_CONTROL_OFF);
	d->state = (void *)(d->bar + PIM_HW_STATE_OFF);
	d->authority = (void *)(d->bar + PIM_HW_AUTHORITY_OFF);
	d->last = &d->first;
	pim_device_init(&d->base, &pim_backend_emu);
	pthread_mutex_init(&d->event_lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&d->event, &attr);
	pthread_cond_init(&d->refill, &attr);
	pthread_condattr_destroy(&attr);
	err = d->lib.create(&cf, d->bar, notify, d, &d->card, text, sizeof(text));
	if (err) {
		pim_error(err, "%s", text);
		goto unmap;
	}
	err = check_header(d->header);
	if (!err)
		err = reset(d);
	if (err)
		goto destroy;
	read_header(d, d->header);
	for (int e = 0; e < PIM_ENGINES; e++) {
		d->order[e] = calloc(d->base.ring_entries, sizeof(*d->order[e]));
		if (!d->order[e]) {
			err = pim_error(-ENOMEM, "no memory for the books of a ring");
			goto free_order;
		}
	}
	err = -pthread_create(&d->feeder, NULL, feeder, d);
	if (err) {
		pim_error(err, "no thread for the rings: %s", strerror(-err));
		goto free_order;
	}
	*dev = &d->base;
	return 0;

free_order:
	for (int e = 0; e < PIM_ENGINES; e++)
		free(d->order[e]);
destroy:
	d->lib.destroy(d->card);
unmap:
	munmap(d->bar, d->bar_bytes);
free_device:
	free(d);
	return err;
}

const struct pim_backend pim_backend_emu = {
	.name = "emu",
	.open = emu_open,
	.close = emu_close,
	.buffer_create = emu_buffer_create,
	.buffer_destroy = emu_buffer_destroy,
	.buffer_map = emu_buffer_map,
	.submit = emu_submit,
	.wait = emu_wait,
	.acquire = emu_acquire,
	.release = emu_release,
	.query = emu_query,
	.now = emu_now,
};
