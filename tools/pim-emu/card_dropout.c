// SPDX-License-Identifier: MIT
/*
 * Dropout. Whether an element is kept is a function of (seed, step, place) by a counter-based generator: Philox4x32-10 of J. K. Salmon,
 * M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC'11. So it has no state, and layout and tile do
 * not matter.
 */
#include "card_host_impl.h"

#define PHILOX_ROUNDS 10

/* First word of Philox4x32-10 with key = seed and counter = {index[lane], step} for 16 lanes. */
static void philox(uint64_t seed, uint64_t step, const uint64_t *index, uint32_t *word)
{
	uint32_t c0[16], c1[16], c2[16], c3[16], k0 = (uint32_t)seed, k1 = seed >> 32;
	int l, round;

	for (l = 0; l < 16; l++) {
		c0[l] = (uint32_t)index[l];
		c1[l] = index[l] >> 32;
		c2[l] = (uint32_t)step;
		c3[l] = step >> 32;
	}
	for (round = 0; round < PHILOX_ROUNDS; round++) {
		for (l = 0; l < 16; l++) {
			const uint64_t p0 = (uint64_t)c0[l] * 0xd2511f53u, p1 = (uint64_t)c2[l] * 0xcd9e8d57u;

			c0[l] = (uint32_t)(p1 >> 32) ^ c1[l] ^ k0;
			c1[l] = (uint32_t)p1;
			c2[l] = (uint32_t)(p0 >> 32) ^ c3[l] ^ k1;
			c3[l] = (uint32_t)p0;
		}
		k0 += 0x9e3779b9u;
		k1 += 0xbb67ae85u;
	}
	memcpy(word, c0, sizeof(c0));
}

static void drop_image(const struct pim_hw_dropout *p, const struct fmap *src, const struct fmap *dst, uint32_t block,
		       uint32_t image)
{
	const uint32_t lanes = host_lanes(src, block);
	const float keep = host_float(p->keep);
	const double below = (double)keep * 4294967296.0; /* exact: a word is kept if it is less */
	uint64_t index[16];
	uint32_t word[16], y, x, l;

	for (l = 0; l < 16; l++)
		index[l] = ((uint64_t)image * src->f.c + block * 16 + l) * src->pixels;
	for (y = 0; y < src->f.h; y++) {
		for (x = 0; x < src->f.w; x++) {
			const float *from = (const float *)fmap_pixel(src, block, image, y, x);
			float *to = (float *)fmap_pixel(dst, block, image, y, x);

			philox(p->seed, p->step, index, word);
			for (l = 0; l < 16; l++) {
				to[l] = l < lanes && word[l] < below ? from[l] / keep : 0;
				index[l]++;
			}
		}
	}
}

void card_dropout_run(struct pim_card *c, struct card_job *j)
{
	const struct pim_hw_dropout *p = &j->d.dropout;
	const float keep = host_float(p->keep);
	struct fmap src, dst;
	uint32_t b, i, channels;

	if (p->pad || !(keep > 0 && keep <= 1) || p->src.n != p->dst.n || p->src.c != p->dst.c || p->src.h != p->dst.h ||
	    p->src.w != p->dst.w) {
		card_fail(j, PIM_HW_E_INVALID, 0, 0, 0);
		return;
	}
	if (!fmap_check(c, j, &p->src, PIM_HW_READ, &src) || !fmap_check(c, j, &p->dst, PIM_HW_WRITE, &dst) ||
	    !host_tile(j, p->first, p->count, &src))
		return;
	for (b = p->first / 16; b < (p->first + p->count) / 16; b++) {
		for (i = 0; i < src.f.n; i++) {
			if (card_job_stopped(c, j, 0))
				return;
			drop_image(p, &src, &dst, b, i);
		}
	}
	channels = host_channels(&src, p->first, p->count);
	/* A division and a selection; the generator is not the arithmetic that the model counts. */
	j->cost.flops += 2 * src.pixels * src.f.n * channels;
	host_traffic(j, src.window, fmap_bytes(&src, channels));
	host_traffic(j, dst.window, fmap_bytes(&dst, channels));
}
