/* SPDX-License-Identifier: MIT */
/* A card model driven by hand through its rings, for tests of PIM kernels: feature maps in one domain, one program at a time. */
#ifndef TESTS_KERNEL_RIG_H
#define TESTS_KERNEL_RIG_H

#include <check.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <pim/hw.h>

#include "../../tools/pim-emu/card.h"
#include "kernel.h"

struct rig {
	struct pim_cardfile cf;
	uint64_t bytes;
	uint8_t *bar;
	const struct pim_hw_header *h;
	struct pim_card *card;
	sem_t sem;
	uint64_t seqno;
	uint64_t base, brk; /* of the memory in use */
};

static inline void rig_notify(void *ctx, unsigned int vector)
{
	(void)vector;
	sem_post(&((struct rig *)ctx)->sem);
}

static inline void rig_await(struct rig *r, const volatile uint64_t *word, uint64_t value)
{
	while (__atomic_load_n(word, __ATOMIC_ACQUIRE) != value)
		sem_wait(&r->sem);
}

static inline struct rig *rig_open(const char *path, uint32_t domain)
{
	struct rig *r = calloc(1, sizeof(*r));
	struct pim_hw_authority *authority;
	struct pim_hw_control *control;
	struct pim_hw_state *state;
	char err[256];

	ck_assert_msg(!pim_cardfile_read(path, &r->cf, err, sizeof(err)), "%s", err);
	r->bytes = pim_card_bar_bytes(&r->cf);
	r->bar = mmap(NULL, r->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ck_assert_ptr_ne(r->bar, MAP_FAILED);
	sem_init(&r->sem, 0, 0);
	ck_assert_msg(!pim_card_create(&r->cf, r->bar, rig_notify, r, &r->card, err, sizeof(err)), "%s", err);
	r->h = (const struct pim_hw_header *)r->bar;
	control = (struct pim_hw_control *)(r->bar + PIM_HW_CONTROL_OFF);
	state = (struct pim_hw_state *)(r->bar + PIM_HW_STATE_OFF);
	control->command = PIM_HW_CMD_RESET;
	__atomic_store_n(&control->generation, 1, __ATOMIC_RELEASE);
	pim_card_doorbell(r->card, PIM_HW_DB_CONTROL);
	while (__atomic_load_n(&state->generation, __ATOMIC_ACQUIRE) != 1)
		sem_wait(&r->sem);
	authority = (struct pim_hw_authority *)(r->bar + PIM_HW_AUTHORITY_OFF);
	ck_assert_uint_lt(domain, r->h->domains);
	__atomic_store_n(&authority->domain[domain].owner, PIM_HW_OWNER_PIM, __ATOMIC_RELEASE);
	r->base = r->brk = r->h->mem_off + domain * r->h->domain_bytes;
	memcpy(r->bar + r->h->window_off, pim_kernel_image, pim_kernel_image_bytes);
	return r;
}

static inline void rig_close(struct rig *r)
{
	pim_card_destroy(r->card);
	munmap(r->bar, r->bytes);
	sem_destroy(&r->sem);
	free(r);
}

/* What lies between tensors and in their pads: a NaN, which would spoil every sum that it got into. */
#define RIG_CANARY 0x7fc0deadu

/* Stripe-aligned memory full of canaries. */
static inline uint64_t rig_alloc(struct rig *r, uint64_t bytes)
{
	uint64_t at = r->brk, stripe = r->h->stripe_bytes;
	uint32_t *p = (uint32_t *)(r->bar + at);

	r->brk += (bytes + 2 * stripe - 1) / stripe * stripe;
	ck_assert_uint_le(r->brk, r->base + r->h->domain_bytes);
	for (uint64_t i = 0; i < (r->brk - at) / 4; i++)
		p[i] = RIG_CANARY;
	return at;
}

/** struct map - a feature map [blocks][planes][pixels][16], or records of a base-die stream (pixels records of one plane) */
struct map {
	uint32_t c, blocks, planes, pixels;
	uint64_t at, block_bytes, plane_bytes, bytes;
};

/* gap: extra stripes between planes and blocks. */
static inline struct map rig_map(struct rig *r, uint32_t c, uint32_t planes, uint32_t pixels, uint32_t gap)
{
	uint64_t stripe = r->h->stripe_bytes;
	struct map m = {.c = c, .blocks = (c + 15) / 16, .planes = planes, .pixels = pixels};

	m.plane_bytes = ((uint64_t)pixels * PIM_HW_BLOCK + stripe - 1) / stripe * stripe + gap * stripe;
	m.block_bytes = planes * m.plane_bytes + gap * stripe;
	m.bytes = m.blocks * m.block_bytes;
	m.at = rig_alloc(r, m.bytes);
	return m;
}

/* n records of 16 channels per block: what only the base die touches. */
static inline struct map rig_records(struct rig *r, uint32_t c, uint32_t n)
{
	struct map m = {.c = c, .blocks = (c + 15) / 16, .planes = 1, .pixels = n};

	m.plane_bytes = m.block_bytes = n * 64ull;
	m.bytes = m.blocks * m.block_bytes;
	m.at = rig_alloc(r, m.bytes);
	return m;
}

static inline float *map_at(struct rig *r, const struct map *m, uint32_t c, uint32_t plane, uint32_t pixel)
{
	return (float *)(r->bar + m->at + c / 16 * m->block_bytes + plane * m->plane_bytes + (uint64_t)pixel * 64) + c % 16;
}

/* Host copy [c][plane][pixel] in double, channels padded to blocks. */
static inline double *map_read(struct rig *r, const struct map *m)
{
	uint32_t nc = m->blocks * 16;
	double *v = malloc(sizeof(*v) * nc * m->planes * m->pixels), *p = v;

	for (uint32_t c = 0; c < nc; c++)
		for (uint32_t k = 0; k < m->planes; k++)
			for (uint32_t i = 0; i < m->pixels; i++)
				*p++ = (double)*map_at(r, m, c, k, i);
	return v;
}

/* Every byte of the map's memory that is no pixel still holds its canary. */
static inline void map_check_pads(struct rig *r, const struct map *m, const char *what)
{
	uint64_t words = m->bytes / 4;
	uint8_t *pixel = calloc(1, words);
	const uint32_t *p = (const uint32_t *)(r->bar + m->at);
	uint64_t bad = words;

	for (uint32_t b = 0; b < m->blocks; b++)
		for (uint32_t k = 0; k < m->planes; k++)
			memset(pixel + (b * m->block_bytes + k * m->plane_bytes) / 4, 1, (size_t)m->pixels * 16);
	for (uint64_t i = 0; i < words; i++)
		if (!pixel[i] && p[i] != RIG_CANARY)
			bad = i;
	free(pixel);
	ck_assert_msg(bad == words, "%s: pad word %llu was written", what, (unsigned long long)bad);
}

/** struct launch - a kernel and its operands in stream order */
struct launch {
	const char *kernel;
	uint32_t blocks, planes, pixels;
	uint32_t nmaps;
	const struct map *map[PIM_HW_MAX_STREAMS];
	float param[PIM_HW_MAX_PARAMS];
	uint8_t access[PIM_HW_MAX_STREAMS]; /* if not zero, instead of what the kernel declares */
};

/* A map of one plane beside maps of several (the output of a pool) stays at its plane. */
static inline uint64_t plane_step(const struct map *m)
{
	return m->planes > 1 ? m->plane_bytes : 0;
}

static inline struct pim_hw_done rig_run(struct rig *r, const struct launch *l)
{
	const struct pim_kernel *k = pim_kernel_find(l->kernel);
	struct pim_hw_control *control = (struct pim_hw_control *)(r->bar + PIM_HW_CONTROL_OFF);
	struct pim_hw_state *state = (struct pim_hw_state *)(r->bar + PIM_HW_STATE_OFF);
	uint64_t entry = r->seqno % r->h->ring_entries;
	struct pim_hw_desc *d = (struct pim_hw_desc *)(r->bar + r->h->ring_off[PIM_HW_PIM]) + entry;
	struct pim_hw_program *p = &d->program;
	struct pim_hw_done done;

	ck_assert_msg(k, "no kernel %s", l->kernel);
	ck_assert_uint_eq(k->nstreams, l->nmaps);
	memset(d, 0, sizeof(*d));
	d->op = PIM_HW_OP_PROGRAM;
	d->flags = PIM_HW_JOB_IRQ;
	d->seqno = ++r->seqno;
	d->signal.value = r->seqno;
	d->nbindings = l->nmaps + 1;
	p->code_binding = l->nmaps;
	p->code_off = k->offset;
	p->crf_len = k->ncrf;
	p->srf_len = k->nsrf;
	p->nstreams = k->nstreams;
	p->blocks = l->blocks;
	p->planes = l->planes;
	p->run_bytes = (uint64_t)l->pixels * PIM_HW_BLOCK;
	memcpy(p->param, l->param, sizeof(p->param));
	for (uint32_t i = 0; i < l->nmaps; i++) {
		const struct map *m = l->map[i];

		d->binding[i] = (struct pim_hw_binding){
			.base = m->at, .bytes = m->bytes, .access = l->access[i] ? l->access[i] : k->access[i]};
		p->stream[i] = (struct pim_hw_stream){.binding = i, .block_bytes = m->block_bytes, .plane_bytes = plane_step(m)};
	}
	d->binding[l->nmaps] =
		(struct pim_hw_binding){.base = r->h->window_off, .bytes = pim_kernel_image_bytes, .access = PIM_HW_READ};
	__atomic_store_n(&control->tail[PIM_HW_PIM], r->seqno, __ATOMIC_RELEASE);
	pim_card_doorbell(r->card, PIM_HW_PIM);
	rig_await(r, (const volatile uint64_t *)&state->completed[PIM_HW_PIM], r->seqno);
	memcpy(&done, (struct pim_hw_done *)(r->bar + r->h->done_off[PIM_HW_PIM]) + entry, sizeof(done));
	return done;
}

/* After a job that failed, as a driver does: its slot takes jobs again. */
static inline void rig_recover(struct rig *r)
{
	((struct pim_hw_slot *)(r->bar + r->h->slots_off))->error = 0;
}

/* Runs it, expects success and untouched pads. */
static inline void rig_ok(struct rig *r, const struct launch *l)
{
	struct pim_hw_done done = rig_run(r, l);
	char what[64];

	ck_assert_msg(done.status == PIM_HW_OK, "%s: status %u at word %u, address 0x%llx, unit %u", l->kernel, done.status,
		      done.where, (unsigned long long)done.address, done.unit);
	for (uint32_t i = 0; i < l->nmaps; i++) {
		snprintf(what, sizeof(what), "%s, stream %u", l->kernel, i);
		map_check_pads(r, l->map[i], what);
	}
}

#endif
