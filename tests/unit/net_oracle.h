/* SPDX-License-Identifier: MIT */
/*
 * Training a network, slowly: what librt-pim and a card must compute, in double precision and without any of their layouts, fusions and
 * orders. One image after another, one layer after another; optimizers by PyTorch's formulas.
 */
#ifndef TESTS_NET_ORACLE_H
#define TESTS_NET_ORACLE_H

#include <stdio.h>

#include <pim/train.h>

#include "net_oracle_ops.h"

static inline uint64_t oracle_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

/* In [lo, hi), an FP32 number. */
static inline double oracle_uniform(uint64_t *state, double lo, double hi)
{
	return (double)(float)(lo + (hi - lo) * ((double)(oracle_random(state) >> 11) * 0x1p-53));
}

static inline void *oracle_zeros(size_t n, size_t size)
{
	void *p = calloc(n ? n : 1, size);

	if (!p)
		abort();
	return p;
}

static inline double *oracle_doubles(size_t n)
{
	return (double *)oracle_zeros(n, sizeof(double));
}

static inline void oracle_add_param(struct oracle *o, const struct layer *l, const char *suffix, const uint64_t *dim, uint32_t ndim,
				    bool trained)
{
	struct oracle_param *p = &o->param[o->nparams++];

	snprintf(p->name, sizeof(p->name), "%s.%s", l->name, suffix);
	p->ndim = ndim;
	p->n = 1;
	for (uint32_t i = 0; i < ndim; i++)
		p->n *= p->dim[i] = dim[i];
	p->v = oracle_doubles(p->n);
	if (!trained)
		return;
	p->g = oracle_doubles(p->n);
	p->s[0] = oracle_doubles(p->n);
	p->s[1] = oracle_doubles(p->n);
}

static inline void oracle_fill(struct oracle_param *p, uint64_t *state, double lo, double hi)
{
	for (size_t e = 0; e < p->n; e++)
		p->v[e] = oracle_uniform(state, lo, hi);
}

/* Parameters with values that no default has: a scale of 1 or a shift of 0 would hide that it is missing. */
static inline void oracle_layer_params(struct oracle *o, int id, uint64_t *state)
{
	const struct layer *l = &o->net->layer[id];
	struct oracle_param *p = &o->param[o->nparams];
	uint64_t c = l->c;

	o->map[id].p = p;
	if (l->kind == LAYER_CONV) {
		uint64_t ic = o->net->layer[l->in[0]].c / l->groups, fan_in = ic * l->kh * l->kw;
		double bound = sqrt(3 / (double)fan_in);

		oracle_add_param(o, l, "weight", l->linear ? (uint64_t[]){ c, fan_in } : (uint64_t[]){ c, ic, l->kh, l->kw },
				 l->linear ? 2 : 4, true);
		oracle_fill(&p[0], state, -bound, bound);
		if (l->bias) {
			oracle_add_param(o, l, "bias", &c, 1, true);
			oracle_fill(&p[1], state, -0.5, 0.5);
		}
	} else if (l->kind == LAYER_BN) {
		static const char *const suffix[] = { "weight", "bias", "running_mean", "running_var" };

		for (int k = 0; k < 4; k++) {
			oracle_add_param(o, l, suffix[k], &c, 1, k < 2);
			oracle_fill(&p[k], state, k % 3 ? -0.5 : 0.5, k % 3 ? 0.5 : 1.5);
		}
	}
}

static inline struct oracle *oracle_new(const struct pim_net *net, uint32_t n, uint64_t weight_seed, uint64_t dropout_seed)
{
	struct oracle *o = (struct oracle *)oracle_zeros(1, sizeof(*o));

	*o = (struct oracle){ .net = net, .n = n, .seed = dropout_seed, .margin = 1 };
	o->map = (struct oracle_map *)oracle_zeros((size_t)net->n, sizeof(*o->map));
	o->param = (struct oracle_param *)oracle_zeros(4 * (size_t)net->n, sizeof(*o->param));
	for (int i = 0; i < net->n; i++) {
		const struct layer *l = &net->layer[i];
		struct oracle_map *m = &o->map[i];

		m->size = (size_t)n * l->c * l->h * l->w;
		m->v = oracle_doubles(m->size);
		m->g = oracle_doubles(m->size);
		m->mean = oracle_doubles(l->c);
		m->rstd = oracle_doubles(l->c);
		m->from = (uint32_t *)oracle_zeros(m->size, sizeof(*m->from));
		oracle_layer_params(o, i, &weight_seed);
	}
	return o;
}

static inline void oracle_free(struct oracle *o)
{
	for (int i = 0; i < o->net->n; i++) {
		free(o->map[i].v);
		free(o->map[i].g);
		free(o->map[i].mean);
		free(o->map[i].rstd);
		free(o->map[i].from);
	}
	for (unsigned int i = 0; i < o->nparams; i++) {
		free(o->param[i].v);
		free(o->param[i].g);
		free(o->param[i].s[0]);
		free(o->param[i].s[1]);
	}
	free(o->map);
	free(o->param);
	free(o);
}

static inline void oracle_layer(struct oracle *o, int id, bool backward, const uint32_t *label)
{
	switch (o->net->layer[id].kind) {
	case LAYER_INPUT:
		break;
	case LAYER_CONV:
		conv_both(o, id, backward);
		break;
	case LAYER_BN:
		(backward ? bn_gradient : bn_normalise)(o, id);
		break;
	case LAYER_ACT:
		act_both(o, id, backward);
		break;
	case LAYER_ADD:
		add_both(o, id, backward);
		break;
	case LAYER_MUL:
		mul_both(o, id, backward);
		break;
	case LAYER_CONCAT:
		concat_both(o, id, backward);
		break;
	case LAYER_MAXPOOL:
		(backward ? maxpool_backward : maxpool_forward)(o, id);
		break;
	case LAYER_AVGPOOL:
		avgpool_both(o, id, backward);
		break;
	case LAYER_DROPOUT:
		dropout_both(o, id, backward);
		break;
	case LAYER_SOFTMAX_CE:
		if (!backward)
			loss_of(o, id, label);
		break;
	}
}

/* Loss and hits of a batch; with train also the gradients, and running statistics move. */
static inline void oracle_pass(struct oracle *o, bool train, const float *image, const uint32_t *label)
{
	o->train = train;
	for (int i = 0; i < o->net->n; i++)
		memset(o->map[i].g, 0, o->map[i].size * sizeof(double));
	for (unsigned int i = 0; i < o->nparams; i++)
		if (o->param[i].g)
			memset(o->param[i].g, 0, o->param[i].n * sizeof(double));
	for (size_t e = 0; e < o->map[0].size; e++)
		o->map[0].v[e] = (double)image[e];
	for (int i = 0; i < o->net->n; i++)
		oracle_layer(o, i, false, label);
	for (int i = o->net->n - 1; i >= 0 && train; i--)
		oracle_layer(o, i, true, label);
}

static inline void oracle_update(const struct pim_train_options *opt, double lr, double t, double *w, double g, double *s0,
				 double *s1)
{
	double decay = (double)opt->weight_decay, mu = (double)opt->momentum;

	if (opt->optimizer == PIM_ADAMW)
		*w *= 1 - lr * decay;
	else
		g += decay * *w;
	if (opt->optimizer == PIM_SGD || opt->optimizer == PIM_NESTEROV) {
		*s0 = mu * *s0 + g;
		*w -= lr * (opt->optimizer == PIM_SGD ? *s0 : g + mu * *s0);
		return;
	}
	*s0 = opt->beta1 * *s0 + (1 - opt->beta1) * g;
	*s1 = opt->beta2 * *s1 + (1 - opt->beta2) * g * g;
	*w -= lr / (1 - pow(opt->beta1, t)) * *s0 / (sqrt(*s1) / sqrt(1 - pow(opt->beta2, t)) + opt->epsilon);
}

/* Terms of the sum that is the gradient of a bias: rounding is a part of them, however small their sum. */
static inline double oracle_terms(const struct oracle *o)
{
	double most = 0;

	for (int id = 0; id < o->net->n; id++) {
		const struct layer *l = &o->net->layer[id];

		for (uint32_t c = 0; c < l->c && l->kind == LAYER_CONV; c++) {
			double sum = 0;

			for (uint32_t i = 0; i < o->n; i++)
				for (uint32_t e = 0; e < l->h * l->w; e++)
					sum += fabs(o->map[id].g[at(l, i, c, 0, 0) + e]);
			most = fmax(most, sum);
		}
	}
	return most;
}

/* One training step. */
static inline void oracle_step(struct oracle *o, const struct pim_train_options *opt, double lr, const float *image,
			       const uint32_t *label)
{
	oracle_pass(o, true, image, label);
	o->terms = fmax(o->terms, oracle_terms(o));
	o->step++;
	for (unsigned int i = 0; i < o->nparams; i++) {
		struct oracle_param *p = &o->param[i];

		for (size_t e = 0; e < p->n && p->g; e++)
			oracle_update(opt, lr, (double)o->step, &p->v[e], p->g[e], &p->s[0][e], &p->s[1][e]);
	}
}

#endif
