// SPDX-License-Identifier: MIT
/*
 * Convolutions with groups. A block of 16 channels of the tiled side is cut into pieces: the end of a group that began in an earlier block,
 * groups that lie wholly in the block, the beginning of one that goes on in the next. Each piece is one primitive. The cut depends on the
 * shape alone, so the bits do not depend on the tile.
 */
#include <string.h>

#include "card_conv_impl.h"

struct piece {
	uint32_t lane, lanes; /* in the block */
	uint32_t group, groups;
	uint32_t first, per; /* channels of the tiled side in each group */
	uint32_t channel; /* the tiled side's first */
};

/* The piece at a lane of a block. Tiled side: c channels, "per" in a group. False: past the last channel. */
static bool piece_at(const struct conv *v, uint32_t c, uint32_t per, uint32_t block, uint32_t lane, struct piece *p)
{
	const uint32_t at = block * 16 + lane, end = at - lane + 16 < c ? at - lane + 16 : c;

	if (lane >= 16 || at >= end)
		return false;
	p->lane = lane;
	p->channel = at;
	p->group = at / per;
	p->first = at % per;
	p->groups = 1;
	p->per = per - p->first < end - at ? per - p->first : end - at;
	if (p->per == per)
		p->groups = (end - at) / per;
	/* oneDNN's depthwise code wants whole blocks; what it makes of padded channels is cleared like any padding. */
	if (v->icg == 1 && v->ocg == 1)
		p->groups = 16;
	p->lanes = p->groups * p->per;
	return true;
}

static struct conv_key piece_key(const struct conv_key *key, const struct piece *p, uint32_t ic, uint32_t oc)
{
	struct conv_key k = *key;

	k.groups = p->groups;
	k.plain = 1;
	k.ic = p->groups * ic;
	k.oc = p->groups * oc;
	return k;
}

/* Channels as dense memory. Neighbouring pieces may want the same: have says what is in scratch. */
struct gathered {
	uint32_t first, count;
};

static float *gather(const struct fmap *m, uint32_t first, uint32_t count, uint32_t image, uint32_t images, float *scratch,
		     struct gathered *have)
{
	if (first % 16 == 0 && count == 16 && conv_plain(m))
		return conv_dense(m, first / 16, 1, image, images, NULL);
	if (have->first != first || have->count != count)
		fmap_gather_channels(m, first, count, image, images, scratch);
	have->first = first;
	have->count = count;
	return scratch;
}

/* Lanes of a dense block. */
static void put_lanes(float *block, uint64_t pixels, const struct piece *p, const float *from)
{
	uint64_t i;

	for (i = 0; i < pixels; i++)
		memcpy(block + i * 16 + p->lane, from + i * 16, p->lanes * sizeof(float));
}

/* Where the weight of output channel o (from the first of v->wei on) and input channel i of its group lies, tap 0; taps are *step apart. */
static float *weight(const struct conv *v, uint32_t o, uint32_t i, uint32_t *step)
{
	float *block = v->wei + o / 16 * v->wei_block;

	if (conv_flat_weights(v)) {
		*step = 16;
		return block + o % 16;
	}
	*step = CONV_WEI_BLOCK;
	return block + (uint64_t)(i / 16) * v->taps * CONV_WEI_BLOCK + i % 16 * 16 + o % 16;
}

/* Weights of groups x oc output channels from o on, ic input channels from i on: to [groups][oc][ic][taps]. */
static void take_weights(const struct conv *v, uint32_t o, uint32_t oc, uint32_t i, uint32_t ic, float *dense)
{
	uint32_t a, b, t, step;
	const float *w;

	for (a = 0; a < oc; a++)
		for (b = 0; b < ic; b++)
			for (w = weight(v, o + a, i + b, &step), t = 0; t < v->taps; t++)
				*dense++ = w[(uint64_t)t * step];
}

static void add_weights(const struct conv *v, uint32_t o, uint32_t oc, uint32_t ic, const float *dense)
{
	uint32_t a, b, t, step;
	float *w;

	for (a = 0; a < oc; a++)
		for (b = 0; b < ic; b++)
			for (w = weight(v, o + a, b, &step), t = 0; t < v->taps; t++)
				w[(uint64_t)t * step] += *dense++;
}

bool conv_group_forward(struct card_conv *cc, const struct conv *v, const struct conv_key *key, uint32_t image)
{
	const uint64_t pixels = v->dst.pixels * key->n;
	struct gathered have = { 0, 0 };
	float *src, *dst, *out;
	_Alignas(64) float bias[16];
	uint32_t b, lane;
	struct piece p;

	for (b = 0; b < v->count; b++) {
		out = conv_plain(&v->dst) ? conv_dense(&v->dst, v->first + b, 1, image, key->n, NULL) : cc->scratch[1];
		for (lane = 0; piece_at(v, v->dst.f.c, v->ocg, v->first + b, lane, &p); lane += p.lanes) {
			struct conv_key k = piece_key(key, &p, v->icg, p.per);

			src = gather(&v->src, p.group * v->icg, p.groups * v->icg, image, key->n, cc->scratch[0], &have);
			dst = p.lanes == 16 ? out : cc->scratch[3];
			take_weights(v, b * 16 + lane, p.lanes, 0, v->icg, cc->scratch[2]);
			if (v->with_bias)
				memcpy(bias, v->bias + b * 16 + lane, p.lanes * sizeof(float));
			if (!conv_execute(cc, &k, src, cc->scratch[2], bias, dst))
				return false;
			if (dst != out)
				put_lanes(out, pixels, &p, dst);
		}
		conv_clear_pad(&v->dst, v->first + b, pixels, out);
		if (!conv_plain(&v->dst))
			fmap_scatter(&v->dst, v->first + b, 1, image, key->n, out);
	}
	return true;
}

bool conv_group_backward_data(struct card_conv *cc, const struct conv *v, const struct conv_key *key, uint32_t image)
{
	const uint64_t pixels = v->src.pixels * key->n;
	const bool accum = v->p->flags & PIM_HW_CONV_ACCUM;
	struct gathered have = { 0, 0 };
	float *src, *dst, *out, *old;
	uint32_t b, lane;
	struct piece p;
	uint64_t i;

	for (b = 0; b < v->count; b++) {
		const uint32_t ib = v->first + b;

		out = conv_plain(&v->src) && !accum ? conv_dense(&v->src, ib, 1, image, key->n, NULL) : cc->scratch[1];
		for (lane = 0; piece_at(v, v->src.f.c, v->icg, ib, lane, &p); lane += p.lanes) {
			struct conv_key k = piece_key(key, &p, p.per, v->ocg);

			dst = gather(&v->dst, p.group * v->ocg, p.groups * v->ocg, image, key->n, cc->scratch[0], &have);
			src = p.lanes == 16 ? out : cc->scratch[3];
			take_weights(v, p.group * v->ocg, p.groups * v->ocg, p.first, p.per, cc->scratch[2]);
			if (!conv_execute(cc, &k, src, cc->scratch[2], NULL, dst))
				return false;
			if (src != out)
				put_lanes(out, pixels, &p, src);
		}
		conv_clear_pad(&v->src, ib, pixels, out);
		if (accum) {
			old = conv_dense(&v->src, ib, 1, image, key->n, cc->scratch[3]);
			for (i = 0; i < pixels * 16; i++)
				out[i] = old[i] + out[i];
		}
		if (!conv_plain(&v->src) || accum)
			fmap_scatter(&v->src, ib, 1, image, key->n, out);
	}
	return true;
}

bool conv_group_backward_weights(struct card_conv *cc, const struct conv *v, const struct conv_key *key, uint32_t image)
{
	struct gathered have = { 0, 0 }, have_dst = { 0, 0 };
	_Alignas(64) float part_bias[16];
	float *src, *dst;
	uint32_t b, l, lane, real;
	struct piece p;

	for (b = 0; b < v->count; b++) {
		/* The first images set the sum, padding included, by adding to zero. */
		if (!image)
			memset(v->wei + b * v->wei_block, 0, v->wei_block * sizeof(float));
		if (!image && v->with_bias)
			memset(v->bias + b * 16, 0, PIM_HW_BLOCK);
		for (lane = 0; piece_at(v, v->dst.f.c, v->ocg, v->first + b, lane, &p); lane += p.lanes) {
			struct conv_key k = piece_key(key, &p, v->icg, p.per);

			src = gather(&v->src, p.group * v->icg, p.groups * v->icg, image, key->n, cc->scratch[0], &have);
			dst = gather(&v->dst, p.channel, p.lanes, image, key->n, cc->scratch[1], &have_dst);
			if (!conv_execute(cc, &k, src, cc->scratch[2], part_bias, dst))
				return false;
			real = v->dst.f.c - p.channel < p.lanes ? v->dst.f.c - p.channel : p.lanes;
			add_weights(v, b * 16 + lane, real, v->icg, cc->scratch[2]);
			for (l = 0; v->with_bias && l < real; l++)
				v->bias[b * 16 + lane + l] += part_bias[l];
		}
	}
	return true;
}
