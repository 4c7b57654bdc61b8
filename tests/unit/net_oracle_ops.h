/* SPDX-License-Identifier: MIT */
/* What each layer computes, forward and backward: plain loops over NCHW in double precision, no two layers alike. */
#ifndef TESTS_NET_ORACLE_OPS_H
#define TESTS_NET_ORACLE_OPS_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "net.h"

/* A named tensor. s: what the optimizer keeps; g and s are NULL for running statistics. */
struct oracle_param {
	char name[96];
	uint64_t dim[4];
	uint32_t ndim;
	size_t n;
	double *v, *g, *s[2];
};

struct oracle_map {
	size_t size; /* of all images */
	double *v, *g;
	double *mean, *rstd; /* bn: of the batch */
	uint32_t *from; /* max pool: which element of the input won */
	struct oracle_param *p; /* weight, bias, running mean, running variance */
};

struct oracle {
	const struct pim_net *net;
	uint32_t n; /* batch */
	bool train;
	uint64_t seed, step;
	struct oracle_map *map; /* one per layer */
	struct oracle_param *param;
	unsigned int nparams;
	double loss;
	uint32_t correct;
	/*
	 * How far the nearest decision (sign of a ReLU's input, largest of a window) was from falling otherwise, as a part of the map's largest
	 * value. FP32 may decide otherwise below some 1e-6, and then its gradient is another one.
	 */
	double margin;
	double terms; /* the largest sum of absolute gradients of a convolution's output channel */
};

/* Element (i, c, y, x) of a layer's map. */
static inline size_t at(const struct layer *l, uint32_t i, uint32_t c, uint32_t y, uint32_t x)
{
	return (((size_t)i * l->c + c) * l->h + y) * l->w + x;
}

#define for_elements(n, l, i_, c_, y_, x_)                                                                                         \
	for (uint32_t i_ = 0; i_ < (n); i_++)                                                                                      \
		for (uint32_t c_ = 0; c_ < (l)->c; c_++)                                                                           \
			for (uint32_t y_ = 0; y_ < (l)->h; y_++)                                                                   \
				for (uint32_t x_ = 0; x_ < (l)->w; x_++)

static inline double largest(const double *v, size_t n)
{
	double most = 0;

	for (size_t i = 0; i < n; i++)
		most = fmax(most, fabs(v[i]));
	return most;
}

static inline void near(struct oracle *o, double distance, double scale)
{
	if (scale > 0 && distance / scale < o->margin)
		o->margin = distance / scale;
}

/* -- convolution ---------------------------------------------------------------------------------------------------------- */

/* Calls for each output element its taps that lie in the input: forward adds their products, backward spreads the gradient. */
static inline void conv_both(struct oracle *o, int id, bool backward)
{
	const struct layer *l = &o->net->layer[id], *in = &o->net->layer[l->in[0]];
	struct oracle_map *y = &o->map[id], *x = &o->map[l->in[0]];
	uint32_t icg = in->c / l->groups, ocg = l->c / l->groups;
	const double *w = y->p[0].v;

	for_elements(o->n, l, i, oc, oy, ox)
	{
		size_t to = at(l, i, oc, oy, ox);
		double sum = l->bias ? y->p[1].v[oc] : 0, dy = backward ? y->g[to] : 0;

		for (uint32_t ic = 0; ic < icg; ic++) {
			for (uint32_t ky = 0; ky < l->kh; ky++) {
				int64_t iy = (int64_t)oy * l->sh + (int64_t)ky * l->dh - l->ph;

				for (uint32_t kx = 0; kx < l->kw && iy >= 0 && iy < in->h; kx++) {
					int64_t ix = (int64_t)ox * l->sw + (int64_t)kx * l->dw - l->pw;
					size_t k = (((size_t)oc * icg + ic) * l->kh + ky) * l->kw + kx, from;

					if (ix < 0 || ix >= in->w)
						continue;
					from = at(in, i, oc / ocg * icg + ic, (uint32_t)iy, (uint32_t)ix);
					sum += w[k] * x->v[from];
					if (backward) {
						y->p[0].g[k] += dy * x->v[from];
						x->g[from] += dy * w[k];
					}
				}
			}
		}
		if (!backward)
			y->v[to] = sum;
		else if (l->bias)
			y->p[1].g[oc] += dy;
	}
}

/* -- batch norm ----------------------------------------------------------------------------------------------------------- */

static inline void bn_statistics(struct oracle *o, int id)
{
	const struct layer *l = &o->net->layer[id];
	struct oracle_map *y = &o->map[id], *x = &o->map[l->in[0]];
	double m = (double)o->n * l->h * l->w, f = (double)l->momentum;

	for (uint32_t c = 0; c < l->c; c++)
		y->mean[c] = y->rstd[c] = 0;
	for_elements(o->n, l, i, c, yy, xx) y->mean[c] += x->v[at(l, i, c, yy, xx)] / m;
	for_elements(o->n, l, i, c, yy, xx) y->rstd[c] += pow(x->v[at(l, i, c, yy, xx)] - y->mean[c], 2) / m;
	for (uint32_t c = 0; c < l->c; c++) {
		y->p[2].v[c] = (1 - f) * y->p[2].v[c] + f * y->mean[c];
		y->p[3].v[c] = (1 - f) * y->p[3].v[c] + f * y->rstd[c] * m / (m - 1);
		y->rstd[c] = 1 / sqrt(y->rstd[c] + (double)l->eps);
	}
}

static inline void bn_normalise(struct oracle *o, int id)
{
	const struct layer *l = &o->net->layer[id];
	struct oracle_map *y = &o->map[id], *x = &o->map[l->in[0]];

	if (o->train)
		bn_statistics(o, id);
	for (uint32_t c = 0; c < l->c && !o->train; c++) {
		y->mean[c] = y->p[2].v[c];
		y->rstd[c] = 1 / sqrt(y->p[3].v[c] + (double)l->eps);
	}
	for_elements(o->n, l, i, c, yy, xx)
	{
		size_t e = at(l, i, c, yy, xx);

		y->v[e] = (x->v[e] - y->mean[c]) * y->rstd[c] * y->p[0].v[c] + y->p[1].v[c];
	}
}

static inline void bn_gradient(struct oracle *o, int id)
{
	const struct layer *l = &o->net->layer[id];
	struct oracle_map *y = &o->map[id], *x = &o->map[l->in[0]];
	double m = (double)o->n * l->h * l->w;

	for_elements(o->n, l, i, c, yy, xx)
	{
		size_t e = at(l, i, c, yy, xx);

		y->p[0].g[c] += y->g[e] * (x->v[e] - y->mean[c]) * y->rstd[c];
		y->p[1].g[c] += y->g[e];
	}
	for_elements(o->n, l, i, c, yy, xx)
	{
		size_t e = at(l, i, c, yy, xx);
		double hat = (x->v[e] - y->mean[c]) * y->rstd[c];

		x->g[e] += y->p[0].v[c] * y->rstd[c] * (y->g[e] - y->p[1].g[c] / m - hat * y->p[0].g[c] / m);
	}
}

/* -- element by element --------------------------------------------------------------------------------------------------- */

/* An activation and its derivative. */
static inline double activate(const struct layer *l, double x, double *derivative)
{
	double s = 1 / (1 + exp(-x));

	switch (l->act) {
	case PIM_RELU:
		*derivative = x > 0;
		return x > 0 ? x : 0;
	case PIM_RELU6:
		*derivative = x > 0 && x < 6;
		return x > 6 ? 6 : x > 0 ? x : 0;
	case PIM_LEAKY_RELU:
		*derivative = x > 0 ? 1 : (double)l->slope;
		return x > 0 ? x : (double)l->slope * x;
	case PIM_SIGMOID:
		*derivative = s * (1 - s);
		return s;
	case PIM_SILU:
		*derivative = s + x * s * (1 - s);
		return x * s;
	}
	abort();
}

static inline void act_both(struct oracle *o, int id, bool backward)
{
	const struct layer *l = &o->net->layer[id];
	struct oracle_map *y = &o->map[id], *x = &o->map[l->in[0]];
	double d, scale = largest(x->v, x->size);

	for (size_t e = 0; e < y->size; e++) {
		double v = activate(l, x->v[e], &d);

		if (backward) {
			x->g[e] += y->g[e] * d;
			continue;
		}
		y->v[e] = v;
		/* An exact zero is one in FP32 too: of another ReLU, of dropout. */
		if (l->act <= PIM_LEAKY_RELU && x->v[e] != 0)
			near(o, fabs(x->v[e]), scale);
		if (l->act == PIM_RELU6 && x->v[e] != 6)
			near(o, fabs(x->v[e] - 6), scale);
	}
}

static inline void add_both(struct oracle *o, int id, bool backward)
{
	const struct layer *l = &o->net->layer[id];
	struct oracle_map *y = &o->map[id], *a = &o->map[l->in[0]], *b = &o->map[l->in[1]];

	for (size_t e = 0; e < y->size; e++) {
		if (!backward) {
			y->v[e] = a->v[e] + b->v[e];
			continue;
		}
		a->g[e] += y->g[e];
		b->g[e] += y->g[e];
	}
}

static inline void mul_both(struct oracle *o, int id, bool backward)
{
	const struct layer *l = &o->net->layer[id];
	struct oracle_map *y = &o->map[id], *x = &o->map[l->in[0]], *s = &o->map[l->in[1]];

	for_elements(o->n, l, i, c, yy, xx)
	{
		size_t e = at(l, i, c, yy, xx), k = (size_t)i * l->c + c;

		if (!backward) {
			y->v[e] = x->v[e] * s->v[k];
			continue;
		}
		x->g[e] += y->g[e] * s->v[k];
		s->g[k] += y->g[e] * x->v[e];
	}
}

static inline void concat_both(struct oracle *o, int id, bool backward)
{
	const struct layer *l = &o->net->layer[id];
	uint32_t first = 0;

	for (unsigned int k = 0; k < l->nin; k++) {
		const struct layer *in = &o->net->layer[l->in[k]];

		for_elements(o->n, in, i, c, y, x)
		{
			size_t to = at(l, i, first + c, y, x), from = at(in, i, c, y, x);

			if (backward)
				o->map[l->in[k]].g[from] += o->map[id].g[to];
			else
				o->map[id].v[to] = o->map[l->in[k]].v[from];
		}
		first += in->c;
	}
}

/* The first word of Philox4x32-10. */
static inline uint32_t philox(uint64_t key, uint64_t lo, uint64_t hi)
{
	uint32_t c[4] = { (uint32_t)lo, (uint32_t)(lo >> 32), (uint32_t)hi, (uint32_t)(hi >> 32) };
	uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);

	for (int round = 0; round < 10; round++) {
		uint64_t p = (uint64_t)c[0] * 0xd2511f53u, q = (uint64_t)c[2] * 0xcd9e8d57u;
		uint32_t next[4] = { (uint32_t)(q >> 32) ^ c[1] ^ k0, (uint32_t)q, (uint32_t)(p >> 32) ^ c[3] ^ k1, (uint32_t)p };

		memcpy(c, next, sizeof(c));
		k0 += 0x9e3779b9u;
		k1 += 0xbb67ae85u;
	}
	return c[0];
}

static inline void dropout_both(struct oracle *o, int id, bool backward)
{
	const struct layer *l = &o->net->layer[id];
	struct oracle_map *y = &o->map[id], *x = &o->map[l->in[0]];
	double keep = o->train ? (double)(1 - l->p) : 1;

	for (size_t e = 0; e < y->size; e++) {
		double f = philox(o->seed ^ (uint64_t)id << 48, e, o->step) < keep * 0x1p32 ? 1 / keep : 0;

		if (backward)
			x->g[e] += y->g[e] * f;
		else
			y->v[e] = x->v[e] * f;
	}
}

/* -- pools ---------------------------------------------------------------------------------------------------------------- */

struct window {
	int64_t y0, y1, x0, x1; /* that the map has */
	double divisor;
};

static inline struct window window_of(const struct layer *l, const struct layer *in, uint32_t oy, uint32_t ox)
{
	int64_t y0 = (int64_t)oy * l->sh - l->ph, x0 = (int64_t)ox * l->sw - l->pw;
	int64_t y1 = y0 + l->kh, x1 = x0 + l->kw, h = in->h, w = in->w;
	/* With the pad, but not what hangs out behind it. */
	double padded = (double)(((y1 < h + l->ph ? y1 : h + l->ph) - y0) * ((x1 < w + l->pw ? x1 : w + l->pw) - x0));
	struct window win = { y0 > 0 ? y0 : 0, y1 < h ? y1 : h, x0 > 0 ? x0 : 0, x1 < w ? x1 : w, padded };

	if (l->exclude_pad)
		win.divisor = (double)((win.y1 - win.y0) * (win.x1 - win.x0));
	return win;
}

static inline void avgpool_both(struct oracle *o, int id, bool backward)
{
	const struct layer *l = &o->net->layer[id], *in = &o->net->layer[l->in[0]];
	struct oracle_map *y = &o->map[id], *x = &o->map[l->in[0]];

	for_elements(o->n, l, i, c, oy, ox)
	{
		struct window w = window_of(l, in, oy, ox);
		size_t to = at(l, i, c, oy, ox);

		if (!backward)
			y->v[to] = 0;
		for (int64_t iy = w.y0; iy < w.y1; iy++) {
			for (int64_t ix = w.x0; ix < w.x1; ix++) {
				size_t from = at(in, i, c, (uint32_t)iy, (uint32_t)ix);

				if (backward)
					x->g[from] += y->g[to] / w.divisor;
				else
					y->v[to] += x->v[from] / w.divisor;
			}
		}
	}
}

static inline void maxpool_forward(struct oracle *o, int id)
{
	const struct layer *l = &o->net->layer[id], *in = &o->net->layer[l->in[0]];
	struct oracle_map *y = &o->map[id], *x = &o->map[l->in[0]];
	double scale = largest(x->v, x->size);

	for_elements(o->n, l, i, c, oy, ox)
	{
		struct window w = window_of(l, in, oy, ox);
		size_t to = at(l, i, c, oy, ox), best = at(in, i, c, (uint32_t)w.y0, (uint32_t)w.x0);

		for (int64_t iy = w.y0; iy < w.y1; iy++) {
			for (int64_t ix = w.x0; ix < w.x1; ix++) {
				size_t from = at(in, i, c, (uint32_t)iy, (uint32_t)ix);

				if (x->v[from] != x->v[best])
					near(o, fabs(x->v[from] - x->v[best]), scale);
				if (x->v[from] > x->v[best])
					best = from;
			}
		}
		y->v[to] = x->v[best];
		y->from[to] = (uint32_t)best;
	}
}

static inline void maxpool_backward(struct oracle *o, int id)
{
	struct oracle_map *y = &o->map[id], *x = &o->map[o->net->layer[id].in[0]];

	for (size_t e = 0; e < y->size; e++)
		x->g[y->from[e]] += y->g[e];
}

/* -- the loss ------------------------------------------------------------------------------------------------------------- */

/* With the gradient of its input. */
static inline void loss_of(struct oracle *o, int id, const uint32_t *label)
{
	const struct layer *l = &o->net->layer[id];
	struct oracle_map *x = &o->map[l->in[0]];
	double s = (double)l->p, scale = largest(x->v, x->size);

	o->loss = 0;
	o->correct = 0;
	for (uint32_t i = 0; i < o->n; i++) {
		const double *z = x->v + (size_t)i * l->c;
		double sum = 0;
		uint32_t best = 0;

		for (uint32_t c = 1; c < l->c; c++) {
			near(o, fabs(z[c] - z[best]), scale);
			best = z[c] > z[best] ? c : best;
		}
		for (uint32_t c = 0; c < l->c; c++)
			sum += exp(z[c] - z[best]);
		for (uint32_t c = 0; c < l->c; c++) {
			double target = (1 - s) * (c == label[i]) + s / l->c;

			o->loss -= target * (z[c] - z[best] - log(sum)) / o->n;
			x->g[(size_t)i * l->c + c] += (exp(z[c] - z[best]) / sum - target) / o->n;
		}
		o->correct += best == label[i];
	}
}

#endif
