/* SPDX-License-Identifier: MIT */
/* Convolution primitives of oneDNN, cached by shape. */
#ifndef PIM_CARD_CONV_IMPL_H
#define PIM_CARD_CONV_IMPL_H

#include <oneapi/dnnl/dnnl.h>

#include "card_host_impl.h"

#define CONV_WEI_BLOCK 256u /* floats of 16 input x 16 output channels */
#define CONV_SCRATCH 4
#define CONV_BUCKETS 256u

/* All that a primitive depends on. */
struct conv_key {
	uint32_t op; /* enum pim_hw_op */
	uint32_t n, ic, oc, ih, iw, oh, ow, kh, kw, sh, sw, ph, pw, dh, dw;
	uint32_t groups;
	uint32_t plain; /* weights are [groups][ocg][icg][kh][kw] */
	uint32_t bias;
};

struct conv_entry;

struct card_conv {
	dnnl_engine_t engine;
	dnnl_stream_t stream;
	struct conv_entry *bucket[CONV_BUCKETS];
	unsigned int entries;
	float *scratch[CONV_SCRATCH];
	uint64_t scratch_floats[CONV_SCRATCH];
};

/* A convolution that was checked. */
struct conv {
	const struct pim_hw_conv *p;
	struct fmap src, dst;
	uint32_t ocb, icb, taps; /* icb of all groups */
	uint32_t icg, ocg; /* channels of one group */
	uint32_t first, count; /* blocks of the tile */
	uint64_t wei_block; /* floats of the weights of 16 output channels */
	float *wei; /* first block that the tile uses */
	float *bias;
	bool with_bias, wei_window, bias_window;
};

static inline bool conv_plain(const struct fmap *m)
{
	return m->f.wh * m->f.ww == 1;
}

/* Weights without an input channel: see struct pim_hw_conv. */
static inline bool conv_flat_weights(const struct conv *v)
{
	return v->p->groups > 1 && v->icg == 1;
}

/* card_conv.c: blocks [first, first + count) of images as dense memory: in place where they lie so. */
float *conv_dense(const struct fmap *m, uint32_t first, uint32_t count, uint32_t image, uint32_t images, float *scratch);
/* Padded channels of a map's last block are zero, also where an infinity met a zero weight. */
void conv_clear_pad(const struct fmap *m, uint32_t block, uint64_t pixels, float *dense);

/* card_conv_group.c: key->n images of a convolution with groups. False: oneDNN refused. */
bool conv_group_forward(struct card_conv *cc, const struct conv *v, const struct conv_key *key, uint32_t image);
bool conv_group_backward_data(struct card_conv *cc, const struct conv *v, const struct conv_key *key, uint32_t image);
bool conv_group_backward_weights(struct card_conv *cc, const struct conv *v, const struct conv_key *key, uint32_t image);

/*
 * Computes dst (forward), src (backward data) or wei and bias (backward weights). src and dst are dense [n][c/16][h][w][16], wei
 * [oc/16][ic/16][kh][kw][16 ic][16 oc] or plain.
 */
bool conv_execute(struct card_conv *cc, const struct conv_key *key, float *src, float *wei, float *bias, float *dst);

#endif
