/* SPDX-License-Identifier: MIT */
/* What the tests of PIM kernels share: the cards and shapes they run on, random maps, comparison. */
#ifndef TESTS_KERNEL_CASE_H
#define TESTS_KERNEL_CASE_H

#include "kernel_rig.h"
#include "kernel_oracle.h"

static const struct {
	const char *file;
	uint32_t domain;
} cards[] = {{"cards/paper.card", 0}, {"cards/hbm-pim.card", 0}, {"cards/test-4dom.card", 0}, {"cards/test-4dom.card", 3},
	 {"cards/test-8dom.card", 5}};
#define NCARDS (int)(sizeof(cards) / sizeof(cards[0]))

/* A stripe of these cards holds 128, 256, 4 and 2 pixels; an instruction with A covers eight stripes. */
static const struct shape {
	uint32_t c, planes, pixels, gap;
} shapes[] = {{16, 1, 5, 0}, {10, 1, 37, 1}, {16, 4, 16, 0}, {24, 4, 25, 1}, {48, 1, 128, 0}, {40, 1, 1300, 2}, {17, 9, 131, 1}};
#define NSHAPES (int)(sizeof(shapes) / sizeof(shapes[0]))

static uint64_t seed;
static struct rig *rig;

static inline uint64_t random64(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

/* About normal, mean 0, deviation 1. */
static inline float normal(void)
{
	float v = 0;

	for (int i = 0; i < 12; i++)
		v += (float)(random64() >> 40) / (1 << 24);
	return v - 6;
}

static inline void start(int card, int salt)
{
	const char *env = getenv("PIM_TEST_SEED");

	seed = (env ? strtoull(env, NULL, 0) : 20240917) * 1000003 + (uint64_t)(card * 1000 + salt) * 7919 + 1;
	printf("# card %s domain %u, shape or case %d, seed %s\n", cards[card].file, cards[card].domain, salt,
	       env ? env : "20240917");
	rig = rig_open(cards[card].file, cards[card].domain);
}

static inline void stop(void)
{
	rig_close(rig);
}

/* Random pixels in the true channels, zero in the padded ones. */
static inline struct map random_map(uint32_t c, uint32_t planes, uint32_t pixels, uint32_t gap, float scale, float mean)
{
	struct map m = rig_map(rig, c, planes, pixels, gap);

	for (uint32_t ch = 0; ch < m.blocks * 16; ch++)
		for (uint32_t k = 0; k < planes; k++)
			for (uint32_t i = 0; i < pixels; i++)
				*map_at(rig, &m, ch, k, i) = ch < c ? scale * normal() + mean * (float)(ch % 7) : 0;
	return m;
}

static inline struct map empty_map(const struct shape *s)
{
	return rig_map(rig, s->c, s->planes, s->pixels, s->gap);
}

static inline void near(double is, double want, double tolerance, const char *what, uint32_t c, uint32_t i)
{
	/* No ck_assert here: each tells the test's parent that it was passed, which takes longer than the comparison. */
	if (!(fabs(is - want) <= tolerance))
		ck_abort_msg("%s, channel %u, pixel %u: %.9g, expected %.9g, difference %.3g over %.3g", what, c, i, is, want,
			     is - want, tolerance);
}

#endif
