// SPDX-License-Identifier: MIT
/*
 * Convolutions on oneDNN. Whatever the tile of a job, they are computed in canonical blocks: 16 channels of the tiled side, a number of
 * images that depends on the shape alone, one thread per primitive. So a layer's result has the same bits however it is cut.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "card_conv_impl.h"

#define CHUNK_BYTES (4u << 20) /* images computed together: as many as fill this */
#define MAX_KERNEL 64u

/* A convolution that was checked. */
struct conv {
	const struct pim_hw_conv *p;
	struct fmap src, dst;
	uint32_t ocb, icb, taps;
	uint32_t first, count; /* blocks of the tile */
	uint8_t *wei; /* first block that the tile uses */
	float *bias;
	bool with_bias, wei_window, bias_window;
};

static bool check_shape(struct card_job *j, const struct pim_hw_conv *p)
{
	const struct pim_hw_fmap *s = &p->src, *d = &p->dst;
	const uint32_t flags = j->d.op == PIM_HW_OP_CONV_BWD_DATA ? PIM_HW_CONV_ACCUM : PIM_HW_CONV_BIAS;

	if ((p->flags & ~flags) || p->pad || !p->kh || !p->kw || !p->sh || !p->sw || p->kh > MAX_KERNEL || p->kw > MAX_KERNEL ||
	    p->sh > MAX_KERNEL || p->sw > MAX_KERNEL || p->ph >= p->kh || p->pw >= p->kw || s->n != d->n)
		return card_fail(j, PIM_HW_E_INVALID, 0, 0, 0);
	if (s->h + 2 * p->ph < p->kh || s->w + 2 * p->pw < p->kw || (s->h + 2 * p->ph - p->kh) / p->sh + 1 != d->h ||
	    (s->w + 2 * p->pw - p->kw) / p->sw + 1 != d->w)
		return card_fail(j, PIM_HW_E_INVALID, 0, 0, 0);
	return true;
}

static bool check_weights(struct pim_card *c, struct card_job *j, struct conv *v)
{
	const struct pim_hw_conv *p = v->p;
	const uint64_t block = (uint64_t)v->icb * v->taps * CONV_WEI_BLOCK * sizeof(float); /* of one block of output channels */
	const bool data = j->d.op == PIM_HW_OP_CONV_BWD_DATA, weights = j->d.op == PIM_HW_OP_CONV_BWD_WEIGHTS;
	uint64_t off = p->wei_off, bias_off = p->bias_off;

	if (p->wei_off % PIM_HW_BLOCK || p->bias_off % PIM_HW_BLOCK)
		return card_fail(j, PIM_HW_E_INVALID, p->wei_binding, p->wei_off, 0);
	if (!data && __builtin_add_overflow(off, v->first * block, &off))
		return card_fail(j, PIM_HW_E_BOUNDS, p->wei_binding, p->wei_off, 0);
	v->wei = card_at(c, j, p->wei_binding, off, (data ? v->ocb : v->count) * block, weights ? PIM_HW_WRITE : PIM_HW_READ);
	if (!v->wei)
		return false;
	v->wei_window = card_in_window(c, j->d.binding[p->wei_binding].base);
	v->with_bias = p->flags & PIM_HW_CONV_BIAS;
	if (!v->with_bias)
		return true;
	if (__builtin_add_overflow(bias_off, (uint64_t)v->first * PIM_HW_BLOCK, &bias_off))
		return card_fail(j, PIM_HW_E_BOUNDS, p->bias_binding, p->bias_off, 0);
	v->bias = card_at(c, j, p->bias_binding, bias_off, (uint64_t)v->count * PIM_HW_BLOCK, weights ? PIM_HW_WRITE : PIM_HW_READ);
	if (!v->bias)
		return false;
	v->bias_window = card_in_window(c, j->d.binding[p->bias_binding].base);
	return true;
}

static bool check_conv(struct pim_card *c, struct card_job *j, struct conv *v)
{
	const struct pim_hw_conv *p = &j->d.conv;
	uint32_t src_access = PIM_HW_READ, dst_access = PIM_HW_READ, tiled;

	memset(v, 0, sizeof(*v));
	v->p = p;
	if (j->d.op == PIM_HW_OP_CONV_FWD)
		dst_access = PIM_HW_WRITE;
	if (j->d.op == PIM_HW_OP_CONV_BWD_DATA)
		src_access = PIM_HW_WRITE | (p->flags & PIM_HW_CONV_ACCUM ? PIM_HW_READ : 0);
	if (!fmap_check(c, j, &p->src, src_access, &v->src) || !fmap_check(c, j, &p->dst, dst_access, &v->dst) || !check_shape(j, p))
		return false;
	v->icb = v->src.blocks;
	v->ocb = v->dst.blocks;
	v->taps = p->kh * p->kw;
	tiled = (j->d.op == PIM_HW_OP_CONV_BWD_DATA ? v->icb : v->ocb) * 16;
	if (!p->count || p->first % 16 || p->count % 16 || p->first > tiled || p->count > tiled - p->first)
		return card_fail(j, PIM_HW_E_INVALID, 0, 0, 0);
	v->first = p->first / 16;
	v->count = p->count / 16;
	return check_weights(c, j, v);
}

/* Channels of the tile that exist, the padded ones left out. */
static uint64_t true_channels(uint32_t c, uint32_t first, uint32_t count)
{
	uint64_t end = (uint64_t)first + count;

	return (end < c ? end : c) - first;
}

static void count_cost(struct card_job *j, const struct conv *v)
{
	const struct pim_hw_conv *p = v->p;
	const bool data = j->d.op == PIM_HW_OP_CONV_BWD_DATA;
	uint64_t oc = data ? v->dst.f.c : true_channels(v->dst.f.c, p->first, p->count);
	uint64_t ic = data ? true_channels(v->src.f.c, p->first, p->count) : v->src.f.c;

	j->cost.flops += 2 * v->dst.pixels * v->dst.f.n * oc * ic * v->taps;
	host_traffic(j, v->src.window, fmap_bytes(&v->src, ic) * (p->flags & PIM_HW_CONV_ACCUM && data ? 2 : 1));
	host_traffic(j, v->dst.window, fmap_bytes(&v->dst, oc));
	host_traffic(j, v->wei_window, oc * ic * v->taps * sizeof(float));
	if (v->with_bias)
		host_traffic(j, v->bias_window, oc * sizeof(float));
}

/* Padded channels of a map's last block are zero, also where an infinity met a zero weight. */
static void clear_pad(const struct fmap *m, uint32_t block, uint64_t pixels, float *dense)
{
	uint32_t used = m->f.c - block * 16, l;
	uint64_t i;

	if (used >= 16)
		return;
	for (i = 0; i < pixels; i++)
		for (l = used; l < 16; l++)
			dense[i * 16 + l] = 0;
}

/* Blocks [first, first + count) of images as dense memory: in place where they lie so. */
static float *dense_in(const struct fmap *m, uint32_t first, uint32_t count, uint32_t image, uint32_t images, float *scratch)
{
	if (count == 1 && m->f.wh * m->f.ww == 1)
		return (float *)(m->base + first * m->f.block_bytes + image * m->pixels * PIM_HW_BLOCK);
	fmap_gather(m, first, count, image, images, scratch);
	return scratch;
}

static bool plain(const struct fmap *m)
{
	return m->f.wh * m->f.ww == 1;
}

static bool run_forward(struct card_conv *cc, struct card_job *j, const struct conv *v, struct conv_key *key, uint32_t image)
{
	const uint64_t block = (uint64_t)v->icb * v->taps * CONV_WEI_BLOCK;
	const uint64_t pixels = v->dst.pixels * key->n;
	float *src, *dst;
	uint32_t b;

	src = dense_in(&v->src, 0, v->icb, image, key->n, cc->scratch[0]);
	for (b = 0; b < v->count; b++) {
		dst = plain(&v->dst) ? dense_in(&v->dst, v->first + b, 1, image, key->n, NULL) : cc->scratch[1];
		if (!conv_execute(cc, key, src, (float *)v->wei + b * block, v->with_bias ? v->bias + b * 16 : NULL, dst))
			return card_fail(j, PIM_HW_E_INVALID, 0, 0, 0);
		clear_pad(&v->dst, v->first + b, pixels, dst);
		if (!plain(&v->dst))
			fmap_scatter(&v->dst, v->first + b, 1, image, key->n, dst);
	}
	return true;
}

static bool run_backward_data(struct card_conv *cc, struct card_job *j, const struct conv *v, struct conv_key *key, uint32_t image)
{
	const uint64_t tap_bytes = (uint64_t)v->taps * CONV_WEI_BLOCK * sizeof(float);
	const uint64_t pixels = v->src.pixels * key->n;
	const bool accum = v->p->flags & PIM_HW_CONV_ACCUM;
	float *dst, *old;
	uint32_t b, o;
	uint64_t i;

	dst = dense_in(&v->dst, 0, v->ocb, image, key->n, cc->scratch[0]);
	for (b = 0; b < v->count; b++) {
		const uint32_t ib = v->first + b;
		float *out = plain(&v->src) && !accum ? dense_in(&v->src, ib, 1, image, key->n, NULL) : cc->scratch[1];

		for (o = 0; o < v->ocb; o++)
			memcpy((uint8_t *)cc->scratch[2] + o * tap_bytes, v->wei + ((uint64_t)o * v->icb + ib) * tap_bytes, tap_bytes);
		if (!conv_execute(cc, key, out, cc->scratch[2], NULL, dst))
			return card_fail(j, PIM_HW_E_INVALID, 0, 0, 0);
		if (accum) {
			old = dense_in(&v->src, ib, 1, image, key->n, cc->scratch[3]);
			for (i = 0; i < pixels * 16; i++)
				out[i] = old[i] + out[i];
		}
		clear_pad(&v->src, ib, pixels, out);
		if (!plain(&v->src) || accum)
			fmap_scatter(&v->src, ib, 1, image, key->n, out);
	}
	return true;
}

static void clear_weight_pad(const struct conv *v, uint32_t ob, float *w)
{
	const uint64_t rows = (uint64_t)v->icb * v->taps * 16;
	uint64_t i;
	uint32_t l;

	for (i = 0; i < rows; i++) {
		uint64_t ic = i / 16 / v->taps * 16 + i % 16;

		for (l = 0; l < 16; l++)
			if (ic >= v->src.f.c || ob * 16 + l >= v->dst.f.c)
				w[i * 16 + l] = 0;
	}
}

static bool run_backward_weights(struct card_conv *cc, struct card_job *j, const struct conv *v, struct conv_key *key, uint32_t image)
{
	const uint64_t block = (uint64_t)v->icb * v->taps * CONV_WEI_BLOCK;
	float *src, *dst, *wei, *bias, *part = cc->scratch[2];
	float part_bias[16];
	uint32_t b, l;
	uint64_t i;

	src = dense_in(&v->src, 0, v->icb, image, key->n, cc->scratch[0]);
	for (b = 0; b < v->count; b++) {
		wei = (float *)v->wei + b * block;
		bias = v->with_bias ? v->bias + b * 16 : NULL;
		dst = dense_in(&v->dst, v->first + b, 1, image, key->n, cc->scratch[1]);
		if (!conv_execute(cc, key, src, image ? part : wei, bias && image ? part_bias : bias, dst))
			return card_fail(j, PIM_HW_E_INVALID, 0, 0, 0);
		for (i = 0; image && i < block; i++)
			wei[i] += part[i];
		for (l = 0; image && bias && l < 16; l++)
			bias[l] += part_bias[l];
		if ((v->first + b + 1) * 16 > v->dst.f.c || v->icb * 16 > v->src.f.c)
			clear_weight_pad(v, v->first + b, wei);
		for (l = 0; bias && l < 16; l++)
			if ((v->first + b) * 16 + l >= v->dst.f.c)
				bias[l] = 0;
	}
	return true;
}

static bool reserve_scratch(struct card_conv *cc, const struct conv *v, uint32_t images)
{
	const uint64_t in = v->src.pixels * images * 16, out = v->dst.pixels * images * 16;
	const uint64_t many = in * v->icb > out * v->ocb ? in * v->icb : out * v->ocb, one = in > out ? in : out;
	const uint64_t wei = (uint64_t)(v->icb > v->ocb ? v->icb : v->ocb) * v->taps * CONV_WEI_BLOCK;
	const uint64_t need[CONV_SCRATCH] = { many, one, wei, one };
	int i;

	for (i = 0; i < CONV_SCRATCH; i++) {
		if (cc->scratch_floats[i] >= need[i])
			continue;
		free(cc->scratch[i]);
		cc->scratch_floats[i] = 0;
		cc->scratch[i] = aligned_alloc(64, (need[i] * sizeof(float) + 63) & ~63ull);
		if (!cc->scratch[i])
			return false;
		cc->scratch_floats[i] = need[i];
	}
	return true;
}

void card_conv_run(struct pim_card *c, struct card_conv *cc, struct card_job *j)
{
	struct conv_key key;
	struct conv v;
	uint64_t image_bytes;
	uint32_t image, chunk;
	bool ok = true;

	if (!check_conv(c, j, &v))
		return;
	memset(&key, 0, sizeof(key));
	key.op = j->d.op;
	key.ic = (j->d.op == PIM_HW_OP_CONV_BWD_DATA ? 1 : v.icb) * 16;
	key.oc = (j->d.op == PIM_HW_OP_CONV_BWD_DATA ? v.ocb : 1) * 16;
	key.ih = v.src.f.h;
	key.iw = v.src.f.w;
	key.oh = v.dst.f.h;
	key.ow = v.dst.f.w;
	key.kh = v.p->kh;
	key.kw = v.p->kw;
	key.sh = v.p->sh;
	key.sw = v.p->sw;
	key.ph = v.p->ph;
	key.pw = v.p->pw;
	key.bias = v.with_bias;
	image_bytes = (j->d.op == PIM_HW_OP_CONV_BWD_DATA ? v.dst.pixels * v.ocb : v.src.pixels * v.icb) * PIM_HW_BLOCK;
	chunk = image_bytes >= CHUNK_BYTES ? 1 : CHUNK_BYTES / image_bytes;
	if (chunk > v.src.f.n)
		chunk = v.src.f.n;
	if (!reserve_scratch(cc, &v, chunk)) {
		card_fail(j, PIM_HW_E_INVALID, 0, 0, 0);
		return;
	}
	for (image = 0; ok && image < v.src.f.n; image += chunk) {
		key.n = v.src.f.n - image < chunk ? v.src.f.n - image : chunk;
		if (card_job_stopped(c, j, 0))
			return;
		if (j->d.op == PIM_HW_OP_CONV_FWD)
			ok = run_forward(cc, j, &v, &key, image);
		else if (j->d.op == PIM_HW_OP_CONV_BWD_DATA)
			ok = run_backward_data(cc, j, &v, &key, image);
		else
			ok = run_backward_weights(cc, j, &v, &key, image);
	}
	if (ok)
		count_cost(j, &v);
}
