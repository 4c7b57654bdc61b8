/* SPDX-License-Identifier: MIT */
/* Convolutions of the HOST engine as tests see them: operands, and what they must come to, in naive sums in double precision. */
#ifndef CONV_CASE_H
#define CONV_CASE_H

#include "host_rig.h"

/* Zero for dh, dw and groups: 1. */
struct shape {
	uint32_t n, ic, oc, h, w, kh, kw, s, p, swh, dwh;
	uint32_t dh, dw, groups;
};

/* A convolution, its operands, and which of them the operation writes. */
struct job {
	struct pim_hw_desc d;
	struct map src, dst;
	uint64_t wei, wei_bytes, bias;
	uint32_t ocb, icb; /* blocks of the maps */
	uint32_t icg, ocg; /* channels of a group */
	uint32_t wicb; /* input channels of the weights, padded; 1: they have none */
};

/* c: in the group of output channel o */
static float *wei_at(const struct job *j, uint32_t o, uint32_t c, uint32_t y, uint32_t x)
{
	const struct pim_hw_conv *p = &j->d.conv;
	float *w = (float *)(rig->bar + j->wei);

	if (j->wicb == 1)
		return w + (((uint64_t)(o / 16) * p->kh + y) * p->kw + x) * 16 + o % 16;
	return w + ((((uint64_t)(o / 16) * (j->wicb / 16) + c / 16) * p->kh + y) * p->kw + x) * 256 + c % 16 * 16 + o % 16;
}

static float *bias_at(const struct job *j, uint32_t o)
{
	return (float *)(rig->bar + j->bias) + o;
}

static void bind_conv(struct job *j, uint32_t op, uint32_t flags, uint32_t first, uint32_t count)
{
	struct pim_hw_conv *p = &j->d.conv;

	j->d.op = op;
	j->d.nbindings = 0;
	bind_map(&j->d, &j->src, op == PIM_HW_OP_CONV_BWD_DATA ? PIM_HW_WRITE | PIM_HW_READ : PIM_HW_READ);
	bind_map(&j->d, &j->dst, op == PIM_HW_OP_CONV_FWD ? PIM_HW_WRITE : PIM_HW_READ);
	p->src = j->src.f;
	p->dst = j->dst.f;
	p->wei_binding = rig_bind(&j->d, j->wei, j->wei_bytes, op == PIM_HW_OP_CONV_BWD_WEIGHTS ? PIM_HW_WRITE : PIM_HW_READ);
	p->bias_binding = rig_bind(&j->d, j->bias, j->ocb * 64, op == PIM_HW_OP_CONV_BWD_WEIGHTS ? PIM_HW_WRITE : PIM_HW_READ);
	p->flags = flags;
	p->first = first;
	p->count = count;
}

static uint32_t out_size(uint32_t in, uint32_t k, uint32_t s, uint32_t p, uint32_t d)
{
	return (in + 2 * p - (k - 1) * d - 1) / s + 1;
}

static void fill_weights(const struct job *j)
{
	const struct pim_hw_conv *p = &j->d.conv;
	uint32_t o, c, y, x;

	for (o = 0; o < j->ocb * 16; o++) {
		*bias_at(j, o) = o < j->dst.f.c ? uniform() : 0;
		for (c = 0; c < j->wicb; c++)
			for (y = 0; y < p->kh; y++)
				for (x = 0; x < p->kw; x++)
					*wei_at(j, o, c, y, x) = o < j->dst.f.c && c < j->icg ? uniform() : 0;
	}
}

static void make_conv(struct job *j, const struct shape *s)
{
	const uint32_t dh = s->dh ? s->dh : 1, dw = s->dw ? s->dw : 1, groups = s->groups ? s->groups : 1;

	memset(j, 0, sizeof(*j));
	j->src = make_map(s->n, s->ic, s->h, s->w, s->swh, s->swh);
	j->dst =
		make_map(s->n, s->oc, out_size(s->h, s->kh, s->s, s->p, dh), out_size(s->w, s->kw, s->s, s->p, dw), s->dwh, s->dwh);
	j->icb = (s->ic + 15) / 16;
	j->ocb = (s->oc + 15) / 16;
	j->icg = s->ic / groups;
	j->ocg = s->oc / groups;
	j->wicb = groups > 1 && j->icg == 1 ? 1 : (j->icg + 15) / 16 * 16;
	j->wei_bytes = 64ull * j->wicb * j->ocb * s->kh * s->kw;
	j->wei = alloc(j->wei_bytes);
	j->bias = alloc(64ull * j->ocb);
	j->d.conv = (struct pim_hw_conv){
		.kh = s->kh, .kw = s->kw, .sh = s->s, .sw = s->s, .ph = s->p, .pw = s->p, .dh = dh, .dw = dw, .groups = groups
	};
	fill_map(&j->src);
	fill_map(&j->dst);
	fill_weights(j);
}

/* The input pixel under tap k of output pixel y; negative: in the padding. */
static int64_t tap(uint32_t y, uint32_t s, uint32_t k, uint32_t d, uint32_t p, uint32_t h)
{
	int64_t v = (int64_t)y * s + k * d - p;

	return v >= 0 && v < h ? v : -1;
}

/* Every tap (ky, kx) of output pixel (y, x) that is on a pixel (sy, sx) of the input. */
#define EACH_TAP(j, y, x, ky, kx, sy, sx)                                                                                          \
	for (uint32_t ky = 0; ky < (j)->d.conv.kh; ky++)                                                                           \
		for (uint32_t kx = 0; kx < (j)->d.conv.kw; kx++)                                                                   \
			for (int64_t sy = tap(y, (j)->d.conv.sh, ky, (j)->d.conv.dh, (j)->d.conv.ph, (j)->src.f.h),                \
				     sx = tap(x, (j)->d.conv.sw, kx, (j)->d.conv.dw, (j)->d.conv.pw, (j)->src.f.w), once = 1;      \
			     once && sy >= 0 && sx >= 0; once = 0)

/* Input channel c of the group of output channel o. */
static uint32_t in_channel(const struct job *j, uint32_t o, uint32_t c)
{
	return o / j->ocg * j->icg + c;
}

static void check_forward(const struct job *j, uint64_t seed)
{
	const struct pim_hw_conv *p = &j->d.conv;

	for (uint32_t o = 0; o < j->ocb * 16; o++) {
		EACH_PIXEL(&j->dst, i, y, x) {
			double sum = 0, scale = 0;

			if (o < j->dst.f.c) {
				sum = p->flags & PIM_HW_CONV_BIAS ? *bias_at(j, o) : 0;
				for (uint32_t c = 0; c < j->icg; c++)
					EACH_TAP(j, y, x, ky, kx, sy, sx) {
						sum += (double)*at(&j->src, in_channel(j, o, c), i, sy, sx) *
						       *wei_at(j, o, c, ky, kx);
						scale += 1;
					}
			}
			check_value(*at(&j->dst, o, i, y, x), sum, sqrt(scale), "an output", seed);
		}
	}
}

static void check_data(const struct job *j, const float *old, uint64_t seed)
{
	const struct pim_hw_conv *p = &j->d.conv;
	uint64_t pixels = (uint64_t)j->src.f.n * j->src.f.h * j->src.f.w, k;
	double *sum = calloc(pixels, sizeof(*sum));

	for (uint32_t c = 0; c < j->icb * 16; c++) {
		memset(sum, 0, pixels * sizeof(*sum));
		for (uint32_t o = 0; c < j->src.f.c && o < j->dst.f.c; o++) {
			if (o / j->ocg != c / j->icg)
				continue;
			EACH_PIXEL(&j->dst, i, y, x)
				EACH_TAP(j, y, x, ky, kx, sy, sx)
					sum[((uint64_t)i * j->src.f.h + sy) * j->src.f.w + sx] +=
						(double)*at(&j->dst, o, i, y, x) * *wei_at(j, o, c % j->icg, ky, kx);
		}
		k = 0;
		EACH_PIXEL(&j->src, i, y, x) {
			double want = sum[k] + (old ? old[c * pixels + k] : 0);

			check_value(*at(&j->src, c, i, y, x), want, sqrt(p->kh * p->kw * j->ocg), "a gradient of the input", seed);
			k++;
		}
	}
	free(sum);
}

static void check_weights(const struct job *j, uint64_t seed)
{
	const struct pim_hw_conv *p = &j->d.conv;
	const uint32_t taps = p->kh * p->kw;
	double *sum = calloc(taps, sizeof(*sum)), scale = sqrt(j->dst.f.n * j->dst.f.h * j->dst.f.w);

	for (uint32_t o = 0; o < j->ocb * 16; o++) {
		double bias = 0;

		EACH_PIXEL(&j->dst, i, y, x)
			bias += o < j->dst.f.c ? *at(&j->dst, o, i, y, x) : 0;
		if (p->flags & PIM_HW_CONV_BIAS)
			check_value(*bias_at(j, o), bias, scale, "a gradient of a bias", seed);
		for (uint32_t c = 0; c < j->wicb; c++) {
			memset(sum, 0, taps * sizeof(*sum));
			if (o < j->dst.f.c && c < j->icg)
				EACH_PIXEL(&j->dst, i, y, x)
					EACH_TAP(j, y, x, ky, kx, sy, sx)
						sum[ky * p->kw + kx] += (double)*at(&j->dst, o, i, y, x) *
									*at(&j->src, in_channel(j, o, c), i, sy, sx);
			for (uint32_t t = 0; t < taps; t++)
				check_value(*wei_at(j, o, c, t / p->kw, t % p->kw), sum[t], scale, "a gradient of a weight", seed);
		}
	}
	free(sum);
}

/* sum of dst x conv(src, weights) + bias in double precision, with the number at "moved" moved by delta. */
static double objective(const struct job *j, const float *moved, double delta)
{
	double sum = 0;

#define VALUE(ptr) ((double)*(ptr) + ((ptr) == moved ? delta : 0))
	for (uint32_t o = 0; o < j->dst.f.c; o++) {
		EACH_PIXEL(&j->dst, i, y, x) {
			double out = VALUE(bias_at(j, o));

			for (uint32_t c = 0; c < j->icg; c++)
				EACH_TAP(j, y, x, ky, kx, sy, sx)
					out += VALUE(at(&j->src, in_channel(j, o, c), i, sy, sx)) * VALUE(wei_at(j, o, c, ky, kx));
			sum += out * *at(&j->dst, o, i, y, x);
		}
	}
#undef VALUE
	return sum;
}

#endif
