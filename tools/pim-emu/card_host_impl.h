/* SPDX-License-Identifier: MIT */
/* Inside of the HOST engine. */
#ifndef PIM_CARD_HOST_IMPL_H
#define PIM_CARD_HOST_IMPL_H

#include <string.h>

#include "card_impl.h"

/* A feature map that was checked against its binding. */
struct fmap {
	struct pim_hw_fmap f;
	uint8_t *base;
	uint64_t pixels; /* of one image */
	uint32_t blocks; /* of 16 channels */
	bool window; /* in the host window, not in PIM memory */
};

bool fmap_check(struct pim_card *c, struct card_job *j, const struct pim_hw_fmap *f, uint32_t access, struct fmap *m);
/* Dense: [images][count blocks][h][w][16] */
void fmap_gather(const struct fmap *m, uint32_t first, uint32_t count, uint32_t image, uint32_t images, float *dense);
void fmap_scatter(const struct fmap *m, uint32_t first, uint32_t count, uint32_t image, uint32_t images, float *dense);
/* Channels [first, first + count), wherever blocks end, as dense memory: [images][count / 16, rounded up][h][w][16], padded with zeros. */
void fmap_gather_channels(const struct fmap *m, uint32_t first, uint32_t count, uint32_t image, uint32_t images, float *dense);
/* 16 channels of a pixel */
uint8_t *fmap_pixel(const struct fmap *m, uint32_t block, uint32_t image, uint32_t y, uint32_t x);
void fmap_copy(const struct fmap *src, const struct fmap *dst);
uint64_t fmap_bytes(const struct fmap *m, uint32_t channels);

/* Is the tile one of whole blocks of the map? */
static inline bool host_tile(struct card_job *j, uint32_t first, uint32_t count, const struct fmap *m)
{
	if (!count || first % 16 || count % 16 || first / 16 > m->blocks || count / 16 > m->blocks - first / 16)
		return card_fail(j, PIM_HW_E_INVALID, 0, 0, 0);
	return true;
}

/* Channels of the tile that exist, the padded ones left out. */
static inline uint32_t host_channels(const struct fmap *m, uint32_t first, uint32_t count)
{
	return count < m->f.c - first ? count : m->f.c - first;
}

/* Lanes of a block that are channels. */
static inline uint32_t host_lanes(const struct fmap *m, uint32_t block)
{
	return host_channels(m, block * 16, 16);
}

static inline float host_float(uint32_t bits)
{
	float f;

	memcpy(&f, &bits, sizeof(f));
	return f;
}

/* Traffic of one operand. */
static inline void host_traffic(struct card_job *j, bool window, uint64_t bytes)
{
	if (window)
		j->cost.window_bytes += bytes;
	else
		j->cost.mem_bytes += bytes;
}

/* card_conv.c */
struct card_conv;
int card_conv_new(struct card_conv **conv);
void card_conv_free(struct card_conv *conv);
/* Drops the primitives: on the thread that created them, or oneDNN loses the scratch memory they share. */
void card_conv_forget(struct card_conv *conv);
void card_conv_run(struct pim_card *c, struct card_conv *conv, struct card_job *j);

/* card_pool.c, card_dropout.c */
void card_pool_run(struct pim_card *c, struct card_job *j);
void card_dropout_run(struct pim_card *c, struct card_job *j);

#endif
