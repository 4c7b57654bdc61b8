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
	uint32_t n, ic, oc, ih, iw, oh, ow, kh, kw, sh, sw, ph, pw;
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

/*
 * Computes dst (forward), src (backward data) or wei and bias (backward weights). src and dst are dense [n][c/16][h][w][16], wei
 * [oc/16][ic/16][kh][kw][16 ic][16 oc].
 */
bool conv_execute(struct card_conv *cc, const struct conv_key *key, float *src, float *wei, float *bias, float *dst);

#endif
