// SPDX-License-Identifier: MIT
/*
 * Pooling. One window after the other in row-major order, in it one pixel after the other in row-major order, 16 channels at a time: every
 * sum has one order, whatever the tile. Rules are PyTorch's.
 */
#include "card_host_impl.h"

#define MAX_WINDOW 1024u

/* A pool that was checked. */
struct pool {
	const struct pim_hw_pool *p;
	struct fmap src, dst, value;
	bool backward, max;
};

/* One side of a window: its real pixels, and how many it has with the padding that counts. */
struct side {
	uint32_t from, to;
	uint32_t padded;
};

static struct side side(uint32_t at, uint32_t stride, uint32_t pad, uint32_t k, uint32_t in)
{
	const int64_t begin = (int64_t)at * stride - pad, end = begin + k;
	struct side s;

	s.from = begin < 0 ? 0 : (uint32_t)begin;
	s.to = end < in ? (uint32_t)end : in;
	/* What hangs out over the padding, too, does not count. */
	s.padded = (uint32_t)((end < (int64_t)in + pad ? end : (int64_t)in + pad) - begin);
	return s;
}

/* Every window has a real pixel: the first one's end is past the padding, the last one's begin before the end of the map. */
static bool check_side(uint32_t in, uint32_t out, uint32_t k, uint32_t stride, uint32_t pad)
{
	if (!k || !stride || k > MAX_WINDOW || stride > MAX_WINDOW || pad >= k)
		return false;
	return out && (uint64_t)(out - 1) * stride < (uint64_t)in + pad;
}

static bool is_unused(const struct pim_hw_fmap *f)
{
	static const struct pim_hw_fmap none;

	return !memcmp(f, &none, sizeof(none));
}

static bool same_shape(const struct pim_hw_fmap *a, const struct pim_hw_fmap *b)
{
	return a->n == b->n && a->c == b->c && a->h == b->h && a->w == b->w;
}

static bool check_pool(struct pim_card *c, struct card_job *j, struct pool *v)
{
	const struct pim_hw_pool *p = &j->d.pool;

	memset(v, 0, sizeof(*v));
	v->p = p;
	v->backward = j->d.op == PIM_HW_OP_POOL_BWD;
	v->max = p->kind == PIM_HW_POOL_MAX;
	if (p->pad || p->kind > PIM_HW_POOL_AVG_REAL || p->src.n != p->dst.n || p->src.c != p->dst.c ||
	    !check_side(p->src.h, p->dst.h, p->kh, p->sh, p->ph) || !check_side(p->src.w, p->dst.w, p->kw, p->sw, p->pw) ||
	    (v->backward && v->max ? !same_shape(&p->value, &p->src) : !is_unused(&p->value)))
		return card_fail(j, PIM_HW_E_INVALID, 0, 0, 0);
	if (!fmap_check(c, j, &p->src, v->backward ? PIM_HW_WRITE : PIM_HW_READ, &v->src) ||
	    !fmap_check(c, j, &p->dst, v->backward ? PIM_HW_READ : PIM_HW_WRITE, &v->dst) ||
	    !host_tile(j, p->first, p->count, &v->src))
		return false;
	return !v->backward || !v->max || fmap_check(c, j, &p->value, PIM_HW_READ, &v->value);
}

static float divisor(const struct pool *v, struct side y, struct side x)
{
	if (v->p->kind == PIM_HW_POOL_AVG)
		return (float)((uint64_t)y.padded * x.padded);
	return (float)((uint64_t)(y.to - y.from) * (x.to - x.from));
}

/* The first largest pixel of each lane, or the last NaN: its value, and where it is. */
static void find_max(const struct fmap *m, uint32_t block, uint32_t image, struct side y, struct side x, float *best, uint32_t *row,
		     uint32_t *col)
{
	uint32_t iy, ix, l;

	memcpy(best, fmap_pixel(m, block, image, y.from, x.from), PIM_HW_BLOCK);
	for (l = 0; l < 16; l++) {
		row[l] = y.from;
		col[l] = x.from;
	}
	for (iy = y.from; iy < y.to; iy++) {
		for (ix = x.from; ix < x.to; ix++) {
			const float *in = (const float *)fmap_pixel(m, block, image, iy, ix);

			for (l = 0; l < 16; l++) {
				const bool wins = in[l] > best[l] || in[l] != in[l];

				best[l] = wins ? in[l] : best[l];
				row[l] = wins ? iy : row[l];
				col[l] = wins ? ix : col[l];
			}
		}
	}
}

static void find_mean(const struct pool *v, uint32_t block, uint32_t image, struct side y, struct side x, float *out)
{
	const float n = divisor(v, y, x);
	float sum[16] = { 0 };
	uint32_t iy, ix, l;

	for (iy = y.from; iy < y.to; iy++) {
		for (ix = x.from; ix < x.to; ix++) {
			const float *in = (const float *)fmap_pixel(&v->src, block, image, iy, ix);

			for (l = 0; l < 16; l++)
				sum[l] += in[l];
		}
	}
	for (l = 0; l < 16; l++)
		out[l] = sum[l] / n;
}

/* A window's gradient to the pixels that it comes from. */
static void add_gradient(const struct pool *v, uint32_t block, uint32_t image, struct side y, struct side x, const float *grad)
{
	const uint32_t lanes = host_lanes(&v->src, block);
	uint32_t row[16], col[16], iy, ix, l;
	float best[16], part[16];

	if (v->max) {
		find_max(&v->value, block, image, y, x, best, row, col);
		for (l = 0; l < lanes; l++)
			((float *)fmap_pixel(&v->src, block, image, row[l], col[l]))[l] += grad[l];
		return;
	}
	for (l = 0; l < 16; l++)
		part[l] = l < lanes ? grad[l] / divisor(v, y, x) : 0;
	for (iy = y.from; iy < y.to; iy++) {
		for (ix = x.from; ix < x.to; ix++) {
			float *to = (float *)fmap_pixel(&v->src, block, image, iy, ix);

			for (l = 0; l < 16; l++)
				to[l] += part[l];
		}
	}
}

static void clear_image(const struct fmap *m, uint32_t block, uint32_t image)
{
	uint32_t y, x;

	for (y = 0; y < m->f.h; y++)
		for (x = 0; x < m->f.w; x++)
			memset(fmap_pixel(m, block, image, y, x), 0, PIM_HW_BLOCK);
}

/* False: the job was stopped. */
static bool pool_image(struct pim_card *c, struct card_job *j, const struct pool *v, uint32_t block, uint32_t image)
{
	const struct pim_hw_pool *p = v->p;
	const uint32_t lanes = host_lanes(&v->src, block);
	uint32_t row[16], col[16], oy, ox, l;

	if (v->backward)
		clear_image(&v->src, block, image);
	for (oy = 0; oy < p->dst.h; oy++) {
		const struct side y = side(oy, p->sh, p->ph, p->kh, p->src.h);

		if (card_job_stopped(c, j, 0))
			return false;
		for (ox = 0; ox < p->dst.w; ox++) {
			const struct side x = side(ox, p->sw, p->pw, p->kw, p->src.w);
			float *out = (float *)fmap_pixel(&v->dst, block, image, oy, ox);

			if (v->backward)
				add_gradient(v, block, image, y, x, out);
			else if (v->max)
				find_max(&v->src, block, image, y, x, out, row, col);
			else
				find_mean(v, block, image, y, x, out);
			for (l = lanes; !v->backward && l < 16; l++)
				out[l] = 0;
		}
	}
	return true;
}

void card_pool_run(struct pim_card *c, struct card_job *j)
{
	const struct pim_hw_pool *p = &j->d.pool;
	uint32_t b, i, channels;
	struct pool v;

	if (!check_pool(c, j, &v))
		return;
	for (b = p->first / 16; b < (p->first + p->count) / 16; b++)
		for (i = 0; i < p->src.n; i++)
			if (!pool_image(c, j, &v, b, i))
				return;
	/* A comparison or an addition for every pixel of every window. */
	channels = host_channels(&v.src, p->first, p->count);
	j->cost.flops += v.dst.pixels * p->src.n * channels * p->kh * p->kw;
	host_traffic(j, v.src.window, fmap_bytes(&v.src, channels));
	host_traffic(j, v.dst.window, fmap_bytes(&v.dst, channels));
	if (v.backward && v.max)
		host_traffic(j, v.value.window, fmap_bytes(&v.value, channels));
}
