/* SPDX-License-Identifier: MIT */
/* For tests of the HOST engine: feature maps in a card's memory, and jobs on them. */
#ifndef HOST_RIG_H
#define HOST_RIG_H

#include "test_card_rig.h"

struct map {
	struct pim_hw_fmap f;
	uint64_t base, bytes;
};

static struct rig *rig;
static uint64_t brk_off;

static UNUSED uint64_t alloc(uint64_t bytes)
{
	uint64_t at = brk_off;

	brk_off += (bytes + 511) & ~255ull;
	ck_assert_uint_le(brk_off, rig->hw->mem_off + rig->hw->mem_bytes);
	memset(rig->bar + at, 0x7f, brk_off - at); /* a large float: what must not be read or written shows */
	return at;
}

static UNUSED void setup(void)
{
	rig = rig_open("cards/test-4dom.card");
	brk_off = rig->hw->mem_off;
}

static UNUSED void teardown(void)
{
	rig_close(rig);
}

/* A map whose planes and blocks lie apart by odd numbers of pixels. */
static UNUSED struct map make_map(uint32_t n, uint32_t c, uint32_t h, uint32_t w, uint32_t wh, uint32_t ww)
{
	struct map m = { .f = { .n = n, .c = c, .h = h, .w = w, .wh = wh, .ww = ww } };
	uint32_t gap = below(4);

	m.f.plane_bytes = 64ull * (n * (h / wh) * (w / ww) + gap);
	m.f.block_bytes = m.f.plane_bytes * wh * ww + 64ull * below(3);
	m.f.off = 64ull * below(3);
	m.bytes = m.f.off + (c + 15) / 16 * m.f.block_bytes;
	m.base = alloc(m.bytes);
	return m;
}

static UNUSED uint64_t map_off(const struct map *m, uint32_t c, uint32_t i, uint32_t y, uint32_t x)
{
	const struct pim_hw_fmap *f = &m->f;

	return m->base + f->off + c / 16 * f->block_bytes + ((uint64_t)(y % f->wh) * f->ww + x % f->ww) * f->plane_bytes +
	       64ull * (((uint64_t)i * (f->h / f->wh) + y / f->wh) * (f->w / f->ww) + x / f->ww) + 4 * (c % 16);
}

static UNUSED float *at(const struct map *m, uint32_t c, uint32_t i, uint32_t y, uint32_t x)
{
	return (float *)(rig->bar + map_off(m, c, i, y, x));
}

#define EACH_PIXEL(m, i, y, x)                                                                                                     \
	for (uint32_t i = 0; i < (m)->f.n; i++)                                                                                    \
		for (uint32_t y = 0; y < (m)->f.h; y++)                                                                            \
			for (uint32_t x = 0; x < (m)->f.w; x++)

static UNUSED void fill_map(const struct map *m)
{
	uint32_t c;

	for (c = 0; c < (m->f.c + 15) / 16 * 16; c++)
		EACH_PIXEL(m, i, y, x)
			*at(m, c, i, y, x) = c < m->f.c ? uniform() : 0;
}

static UNUSED uint32_t bind_map(struct pim_hw_desc *d, struct map *m, uint32_t access)
{
	m->f.binding = rig_bind(d, m->base, m->bytes, access);
	return m->f.binding;
}

static UNUSED void check_value(float got, double want, double scale, const char *what, uint64_t seed)
{
	ck_assert_msg(fabs(got - want) <= 2e-6 * (scale + 1), "RIG_SEED=%llu: %s is %.9g, should be %.9g", (unsigned long long)seed,
		      what, (double)got, want);
}

static UNUSED void run_ok(const struct pim_hw_desc *d, uint64_t seed)
{
	struct pim_hw_done done = rig_run(rig, PIM_HW_HOST, d);

	ck_assert_msg(done.status == PIM_HW_OK, "RIG_SEED=%llu: op %u ended with status %u at %u", (unsigned long long)seed, d->op,
		      done.status, done.where);
}

/* All that was allocated. */
static UNUSED uint8_t *snapshot(uint64_t *bytes)
{
	uint8_t *s;

	*bytes = brk_off - rig->hw->mem_off;
	s = malloc(*bytes);
	memcpy(s, rig->bar + rig->hw->mem_off, *bytes);
	return s;
}

/* Runs a job and checks the model's time for it: what it moved, and what arithmetic took. */
static UNUSED void check_time(struct pim_hw_desc d, uint64_t flops, uint64_t bytes)
{
	const uint64_t at = alloc(sizeof(struct pim_hw_timing));
	const struct pim_hw_timing *t = (const struct pim_hw_timing *)(rig->bar + at);
	const double ns = (double)flops * 100 / ((double)rig->cf.gpu_gflops * rig->cf.gpu_conv_percent);

	d.flags |= PIM_HW_JOB_TIMED;
	d.time_binding = rig_bind(&d, at, sizeof(*t), PIM_HW_WRITE);
	ck_assert_uint_eq(rig_run(rig, PIM_HW_HOST, &d).status, PIM_HW_OK);
	ck_assert_uint_eq(t->bytes, bytes);
	ck_assert_msg(fabs((double)t->compute_ns - ns) <= 1, "%llu ns of arithmetic, should be %g",
		      (unsigned long long)t->compute_ns, ns);
}

/* Runs a changed copy of a good job. d: the copy, which change names. */
#define REFUSED(good, d, change, want)                                                                                             \
	do {                                                                                                                       \
		struct pim_hw_done done;                                                                                           \
                                                                                                                                   \
		(d) = (good);                                                                                                      \
		change;                                                                                                            \
		done = rig_run(rig, PIM_HW_HOST, &(d));                                                                            \
		ck_assert_msg(done.status == (want), #change ": status %u at %u", done.status, done.where);                        \
	} while (0)

#endif
