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

/* Extent of a side of a kernel in pixels. */
static uint32_t extent(uint32_t k, uint32_t dilation)
{
	return (k - 1) * dilation + 1;
}

static bool check_side(uint32_t in, uint32_t out, uint32_t k, uint32_t stride, uint32_t pad, uint32_t dilation)
{
	if (!k || !stride || !dilation || k > MAX_KERNEL || stride > MAX_KERNEL || dilation > MAX_KERNEL ||
	    pad >= extent(k, dilation))
		return false;
	return in + 2 * pad >= extent(k, dilation) && (in + 2 * pad - extent(k, dilation)) / stride + 1 == out;
}

static bool check_shape(struct card_job *j, const struct pim_hw_conv *p)
{
	const struct pim_hw_fmap *s = &p->src, *d = &p->dst;
	const uint32_t flags = j->d.op == PIM_HW_OP_CONV_BWD_DATA ? PIM_HW_CONV_ACCUM : PIM_HW_CONV_BIAS;

	if ((p->flags & ~flags) || s->n != d->n || !p->groups || s->c % p->groups || d->c % p->groups ||
	    !check_side(s->h, d->h, p->kh, p->sh, p->ph, p->dh) || !check_side(s->w, d->w, p->kw, p->sw, p->pw, p->dw))
		return card_fail(j, PIM_HW_E_INVALID, 0, 0, 0);
	return true;
}

static bool check_weights(struct pim_card *c, struct card_job *j, struct conv *v)
{
	const struct pim_hw_conv *p = v->p;
	const uint64_t block = v->wei_block * sizeof(float);
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
	uint32_t src_access = PIM_HW_READ, dst_access = PIM_HW_READ;

	memset(v, 0, sizeof(*v));
	v->p = p;
	if (j->d.op == PIM_HW_OP_CONV_FWD)
		dst_access = PIM_HW_WRITE;
	if (j->d.op == PIM_HW_OP_CONV_BWD_DATA)
		src_access = PIM_HW_WRITE | (p->flags & PIM_HW_CONV_ACCUM ? PIM_HW_READ : 0);
	if (!fmap_check(c, j, &p->src, src_access, &v->src) || !fmap_check(c, j, &p->dst, dst_access, &v->dst) ||
	    !check_shape(j, p))
		return false;
	v->icb = v->src.blocks;
	v->ocb = v->dst.blocks;
	v->taps = p->kh * p->kw;
	v->icg = v->src.f.c / p->groups;
	v->ocg = v->dst.f.c / p->groups;
	v->wei_block = (uint64_t)v->taps * (conv_flat_weights(v) ? 16 : (uint64_t)(v->icg + 15) / 16 * CONV_WEI_BLOCK);
	if (!host_tile(j, p->first, p->count, j->d.op == PIM_HW_OP_CONV_BWD_DATA ? &v->src : &v->dst))
		return false;
	v->first = p->first / 16;
	v->count = p->count / 16;
	return check_weights(c, j, v);
}

/* Channels of the other side that the tile's channels have to do with: those of its groups. */
static uint64_t other_channels(uint32_t first, uint64_t count, uint32_t per_group, uint32_t other_per_group)
{
	return ((first + count - 1) / per_group - first / per_group + 1) * other_per_group;
}

static void count_cost(struct card_job *j, const struct conv *v)
{
	const struct pim_hw_conv *p = v->p;
	const bool data = j->d.op == PIM_HW_OP_CONV_BWD_DATA;
	const struct fmap *tiled = data ? &v->src : &v->dst, *other = data ? &v->dst : &v->src;
	const uint32_t per_group = data ? v->icg : v->ocg, other_per_group = data ? v->ocg : v->icg;
	const uint64_t c = host_channels(tiled, p->first, p->count), weights = c * other_per_group * v->taps;

	j->cost.flops += 2 * v->dst.pixels * v->dst.f.n * weights;
	host_traffic(j, tiled->window, fmap_bytes(tiled, c) * (data && p->flags & PIM_HW_CONV_ACCUM ? 2 : 1));
	host_traffic(j, other->window, fmap_bytes(other, other_channels(p->first, c, per_group, other_per_group)));
	host_traffic(j, v->wei_window, weights * sizeof(float));
	if (v->with_bias)
		host_traffic(j, v->bias_window, c * sizeof(float));
}

void conv_clear_pad(const struct fmap *m, uint32_t block, uint64_t pixels, float *dense)
{
	uint32_t used = m->f.c - block * 16, l;
	uint64_t i;

	if (used >= 16)
		return;
	for (i = 0; i < pixels; i++)
		for (l = used; l < 16; l++)
			dense[i * 16 + l] = 0;
}

float *conv_dense(const struct fmap *m, uint32_t first, uint32_t count, uint32_t image, uint32_t images, float *scratch)
{
	if (count == 1 && conv_plain(m))
		return (float *)(m->base + first * m->f.block_bytes + image * m->pixels * PIM_HW_BLOCK);
	fmap_gather(m, first, count, image, images, scratch);
	return scratch;
}

static bool run_forward(struct card_conv *cc, struct card_job *j, const struct conv *v, struct conv_key *key, uint32_t image)
{
	const uint64_t block = (uint64_t)v->icb * v->taps * CONV_WEI_BLOCK;
	const uint64_t pixels = v->dst.pixels * key->n;
	float *src, *dst;
	uint32_t b;

	src = conv_dense(&v->src, 0, v->icb, image, key->n, cc->scratch[0]);
	for (b = 0; b < v->count; b++) {
		dst = conv_plain(&v->dst) ? conv_dense(&v->dst, v->first + b, 1, image, key->n, NULL) : cc->scratch[1];
		if (!conv_execute(cc, key, src, v->wei + b * block, v->with_bias ? v->bias + b * 16 : NULL, dst))
			return card_fail(j, PIM_HW_E_INVALID, 0, 0, 0);
		conv_clear_pad(&v->dst, v->first + b, pixels, dst);
		if (!conv_plain(&v->dst))
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

	dst = conv_dense(&v->dst, 0, v->ocb, image, key->n, cc->scratch[0]);
	for (b = 0; b < v->count; b++) {
		const uint32_t ib = v->first + b;
		float *out = conv_plain(&v->src) && !accum ? conv_dense(&v->src, ib, 1, image, key->n, NULL) : cc->scratch[1];

		for (o = 0; o < v->ocb; o++)
			memcpy((uint8_t *)cc->scratch[2] + o * tap_bytes,
			       (uint8_t *)v->wei + ((uint64_t)o * v->icb + ib) * tap_bytes, tap_bytes);
		if (!conv_execute(cc, key, out, cc->scratch[2], NULL, dst))
			return card_fail(j, PIM_HW_E_INVALID, 0, 0, 0);
		if (accum) {
			old = conv_dense(&v->src, ib, 1, image, key->n, cc->scratch[3]);
			for (i = 0; i < pixels * 16; i++)
				out[i] = old[i] + out[i];
		}
		conv_clear_pad(&v->src, ib, pixels, out);
		if (!conv_plain(&v->src) || accum)
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

static bool run_backward_weights(struct card_conv *cc, struct card_job *j, const struct conv *v, struct conv_key *key,
				 uint32_t image)
{
	const uint64_t block = (uint64_t)v->icb * v->taps * CONV_WEI_BLOCK;
	float *src, *dst, *wei, *bias, *part = cc->scratch[2];
	float part_bias[16];
	uint32_t b, l;
	uint64_t i;

	src = conv_dense(&v->src, 0, v->icb, image, key->n, cc->scratch[0]);
	for (b = 0; b < v->count; b++) {
		wei = v->wei + b * block;
		bias = v->with_bias ? v->bias + b * 16 : NULL;
		dst = conv_dense(&v->dst, v->first + b, 1, image, key->n, cc->scratch[1]);
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

static bool run_groups(struct card_conv *cc, struct card_job *j, const struct conv *v, const struct conv_key *key, uint32_t image)
{
	bool ok;

	if (j->d.op == PIM_HW_OP_CONV_FWD)
		ok = conv_group_forward(cc, v, key, image);
	else if (j->d.op == PIM_HW_OP_CONV_BWD_DATA)
		ok = conv_group_backward_data(cc, v, key, image);
	else
		ok = conv_group_backward_weights(cc, v, key, image);
	return ok || card_fail(j, PIM_HW_E_INVALID, 0, 0, 0);
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
	key.dh = v.p->dh;
	key.dw = v.p->dw;
	key.groups = 1;
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
		if (v.p->groups > 1)
			ok = run_groups(cc, j, &v, &key, image);
		else if (j->d.op == PIM_HW_OP_CONV_FWD)
			ok = run_forward(cc, j, &v, &key, image);
		else if (j->d.op == PIM_HW_OP_CONV_BWD_DATA)
			ok = run_backward_data(cc, j, &v, &key, image);
		else
			ok = run_backward_weights(cc, j, &v, &key, image);
	}
	if (ok)
		count_cost(j, &v);
}
