/* SPDX-License-Identifier: MIT */
/* Inside of the HOST engine. */
#ifndef PIM_CARD_HOST_IMPL_H
#define PIM_CARD_HOST_IMPL_H

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
void fmap_copy(const struct fmap *src, const struct fmap *dst);
uint64_t fmap_bytes(const struct fmap *m, uint32_t channels);

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
void card_conv_run(struct pim_card *c, struct card_conv *conv, struct card_job *j);

#endif
