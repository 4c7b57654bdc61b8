// SPDX-License-Identifier: MIT
/* Parameters in card memory: places, initial values, named tensors. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <pim/hw.h>

#include "error.h"
#include "params.h"
#include "plan.h"

static uint32_t pad16(uint32_t c)
{
	return (c + 15) / 16 * 16;
}

/* Input channels that an output channel of a convolution sees, and as many as it has weights for in memory. */
static uint32_t group_ic(const struct pim_net *net, const struct layer *l)
{
	return net->layer[l->in[0]].c / l->groups;
}

static uint32_t stored_ic(const struct pim_net *net, const struct layer *l)
{
	uint32_t ic = group_ic(net, l);

	return l->groups > 1 && ic == 1 ? 1 : pad16(ic);
}

static void slice_layer(struct params *p, int i, uint64_t *end, uint64_t *state)
{
	const struct layer *l = &p->net->layer[i];
	struct slice *sl = &p->slice[i];

	sl->off = *end;
	if (l->kind == LAYER_CONV) {
		sl->bias_off = 4ull * pad16(l->c) * stored_ic(p->net, l) * l->kh * l->kw;
		sl->bytes = sl->bias_off + (l->bias ? 4ull * pad16(l->c) : 0);
	} else if (l->kind == LAYER_BN) {
		sl->bytes = (uint64_t)BN_PARAM_BYTES * (pad16(l->c) / 16);
		sl->state_off = *state;
		*state += (uint64_t)BN_STATE_BYTES * (pad16(l->c) / 16);
	}
	*end += sl->bytes;
}

int params_create(struct params *p, const struct pim_net *net, const struct optimizer *optimizer, struct pim_device *dev)
{
	const struct pim_info *info = pim_device_info(dev);
	uint64_t arena = 0, state = 0, end = 0;
	unsigned int turn = 0;
	int err;

	*p = (struct params){ .net = net, .optimizer = optimizer };
	p->slice = calloc((size_t)net->n, sizeof(*p->slice));
	p->group = calloc((size_t)net->n, sizeof(*p->group));
	if (!p->slice || !p->group) {
		err = pim_error(-ENOMEM, "no memory for the parameters of %d layers", net->n);
		goto fail;
	}
	for (int i = 0; i < net->n; i++) {
		struct group *g = p->ngroups ? &p->group[p->ngroups - 1] : NULL;

		if (net->layer[i].kind != LAYER_CONV && net->layer[i].kind != LAYER_BN)
			continue;
		if (!g || net->layer[i].kind == LAYER_CONV) {
			arena = (arena + info->stripe_bytes - 1) / info->stripe_bytes * info->stripe_bytes;
			g = &p->group[p->ngroups++];
			*g = (struct group){ .first = i, .off = arena };
		}
		slice_layer(p, i, &arena, &state);
		g->last = i;
		g->bytes = arena - g->off;
	}
	p->w_off = place(&end, &turn, info, arena);
	p->g_off = place(&end, &turn, info, arena);
	for (unsigned int i = 0; i < optimizer->nstates; i++)
		p->state_arena[i] = place(&end, &turn, info, arena);
	{
		uint64_t state_off = place(&end, &turn, info, state);

		for (int i = 0; i < net->n; i++)
			p->slice[i].state_off += state_off;
	}
	err = pim_buffer_create(dev, end, PIM_PLACE_MEMORY, 0, &p->buf);
	if (err)
		goto fail;
	return 0;
fail:
	params_destroy(p);
	return err;
}

void params_destroy(struct params *p)
{
	if (p->buf)
		pim_buffer_destroy(p->buf);
	free(p->slice);
	free(p->group);
	*p = (struct params){ 0 };
}

/* -- named tensors ---------------------------------------------------------------------------------------------------- */

/* One parameter of one layer: where its elements lie. */
struct named {
	char name[96];
	uint64_t dim[4];
	uint32_t ndim;
	uint64_t off; /* conv weight, bias: of the slice; bn: of the record's vector */
	uint64_t record; /* bn: bytes per channel block; 0: plain array or conv weight */
	int layer;
	bool optimizer; /* may be absent from a file */
};

static uint64_t count(const struct named *t)
{
	uint64_t n = 1;

	for (unsigned int i = 0; i < t->ndim; i++)
		n *= t->dim[i];
	return n;
}

/* Byte offset in the parameter buffer of element e, counted in C order over dim. */
static uint64_t element(const struct params *p, const struct named *t, uint64_t e)
{
	const struct layer *l = &p->net->layer[t->layer];
	uint64_t ic, k, o, i, yx, block;

	if (t->record)
		return t->off + e / 16 * t->record + e % 16 * 4;
	if (t->ndim == 1)
		return t->off + 4 * e;
	ic = group_ic(p->net, l);
	k = (uint64_t)l->kh * l->kw;
	o = e / (ic * k);
	i = e / k % ic;
	yx = e % k;
	if (stored_ic(p->net, l) == 1)
		return t->off + 4 * ((o / 16 * k + yx) * 16 + o % 16);
	block = o / 16 * (stored_ic(p->net, l) / 16) + i / 16;
	return t->off + 4 * ((block * k + yx) * 256 + i % 16 * 16 + o % 16);
}

typedef int visit(const struct params *p, const struct named *t, void *ctx);

static int visit_one(const struct params *p, int layer, const char *suffix, const uint64_t *dim, unsigned int ndim, uint64_t off,
		     uint64_t record, bool optimizer, visit *fn, void *ctx)
{
	struct named t = { .ndim = ndim, .off = off, .record = record, .layer = layer, .optimizer = optimizer };

	snprintf(t.name, sizeof(t.name), "%s.%s", p->net->layer[layer].name, suffix);
	memcpy(t.dim, dim, ndim * sizeof(*dim));
	return fn(p, &t, ctx);
}

/* What the optimizer keeps for a parameter: its state k. */
static int visit_state(const struct params *p, int layer, const char *of, unsigned int k, const uint64_t *dim, unsigned int ndim,
		       uint64_t off, uint64_t record, visit *fn, void *ctx)
{
	char suffix[32];

	snprintf(suffix, sizeof(suffix), "%s.%s", of, p->optimizer->state[k]);
	return visit_one(p, layer, suffix, dim, ndim, off, record, true, fn, ctx);
}

/* Every tensor of a checkpoint, in layer order. A linear layer's weight has two dimensions, the same elements. */
static int visit_all(const struct params *p, visit *fn, void *ctx)
{
	int err = 0;

	for (int i = 0; i < p->net->n && !err; i++) {
		const struct layer *l = &p->net->layer[i];
		const struct slice *sl = &p->slice[i];
		uint64_t c = l->c;

		if (l->kind == LAYER_CONV) {
			uint64_t ic = group_ic(p->net, l);
			uint64_t conv[4] = { c, ic, l->kh, l->kw }, lin[2] = { c, ic * l->kh * l->kw };
			const uint64_t *dim = l->linear ? lin : conv;
			unsigned int nd = l->linear ? 2 : 4;

			err = visit_one(p, i, "weight", dim, nd, p->w_off + sl->off, 0, false, fn, ctx);
			if (!err && l->bias)
				err = visit_one(p, i, "bias", &c, 1, p->w_off + sl->off + sl->bias_off, 0, false, fn, ctx);
			for (unsigned int k = 0; k < p->optimizer->nstates && !err; k++) {
				uint64_t off = p->state_arena[k] + sl->off;

				err = visit_state(p, i, "weight", k, dim, nd, off, 0, fn, ctx);
				if (!err && l->bias)
					err = visit_state(p, i, "bias", k, &c, 1, off + sl->bias_off, 0, fn, ctx);
			}
		} else if (l->kind == LAYER_BN) {
			const struct {
				const char *suffix;
				uint64_t off, record;
			} part[] = {
				{ "weight", p->w_off + sl->off, BN_PARAM_BYTES },
				{ "bias", p->w_off + sl->off + 64, BN_PARAM_BYTES },
				{ "running_mean", sl->state_off + 128, BN_STATE_BYTES },
				{ "running_var", sl->state_off + 192, BN_STATE_BYTES },
			};

			for (unsigned int k = 0; k < sizeof(part) / sizeof(part[0]) && !err; k++)
				err = visit_one(p, i, part[k].suffix, &c, 1, part[k].off, part[k].record, false, fn, ctx);
			for (unsigned int k = 0; k < p->optimizer->nstates && !err; k++) {
				uint64_t off = p->state_arena[k] + sl->off;

				err = visit_state(p, i, "weight", k, &c, 1, off, BN_PARAM_BYTES, fn, ctx);
				if (!err)
					err = visit_state(p, i, "bias", k, &c, 1, off + 64, BN_PARAM_BYTES, fn, ctx);
			}
		}
	}
	return err;
}

/* -- initial values --------------------------------------------------------------------------------------------------- */

struct init {
	char *base;
	uint64_t state;
};

static double uniform(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	z ^= z >> 31;
	return (double)(z >> 11) * 0x1p-53;
}

static int init_one(const struct params *p, const struct named *t, void *ctx)
{
	const struct layer *l = &p->net->layer[t->layer];
	const char *dot = strrchr(t->name, '.');
	struct init *in = ctx;
	double bound = 0, one = 0;

	if (t->optimizer)
		return 0;
	if (l->kind == LAYER_CONV) {
		double fan_in = (double)group_ic(p->net, l) * l->kh * l->kw;

		bound = l->linear || t->ndim == 1 ? 1 / sqrt(fan_in) : sqrt(6 / fan_in);
	} else {
		one = !strcmp(dot, ".weight") || !strcmp(dot, ".running_var");
	}
	for (uint64_t e = 0; e < count(t); e++) {
		float v = (float)(one + (bound ? bound * (2 * uniform(&in->state) - 1) : 0));

		memcpy(in->base + element(p, t, e), &v, 4);
	}
	return 0;
}

int params_init(struct params *p, uint64_t seed)
{
	struct init in = { .state = seed };
	void *base;
	int err = pim_buffer_map(p->buf, &base);

	if (err)
		return err;
	in.base = base;
	memset(base, 0, pim_buffer_bytes(p->buf));
	return visit_all(p, init_one, &in);
}

/* -- files ------------------------------------------------------------------------------------------------------------ */

struct io {
	struct pim_safetensors *out;
	const struct pim_safetensors *in;
	char *base;
	bool check; /* load: look, change nothing */
};

static int store_one(const struct params *p, const struct named *t, void *ctx)
{
	struct io *io = ctx;
	uint64_t n = count(t);
	float *v = malloc(n * sizeof(*v));
	int err;

	if (!v)
		return pim_error(-ENOMEM, "no memory for tensor %s", t->name);
	for (uint64_t e = 0; e < n; e++)
		memcpy(&v[e], io->base + element(p, t, e), 4);
	err = pim_safetensors_add_f32(io->out, t->name, t->dim, t->ndim, v);
	free(v);
	return err;
}

int params_store(struct params *p, struct pim_safetensors *st)
{
	struct io io = { .out = st };
	void *base;
	int err = pim_buffer_map(p->buf, &base);

	io.base = base;
	return err ? err : visit_all(p, store_one, &io);
}

static int load_one(const struct params *p, const struct named *t, void *ctx)
{
	struct io *io = ctx;
	const float *v;
	int err;

	if (t->optimizer && !pim_safetensors_has(io->in, t->name)) {
		for (uint64_t e = 0; !io->check && e < count(t); e++)
			memset(io->base + element(p, t, e), 0, 4);
		return 0;
	}
	err = pim_safetensors_f32(io->in, t->name, t->dim, t->ndim, &v);
	if (err || io->check)
		return err;
	for (uint64_t e = 0; e < count(t); e++)
		memcpy(io->base + element(p, t, e), &v[e], 4);
	return 0;
}

int params_load(struct params *p, const struct pim_safetensors *st)
{
	struct io io = { .in = st, .check = true };
	void *base;
	int err = pim_buffer_map(p->buf, &base);

	if (err)
		return err;
	io.base = base;
	err = visit_all(p, load_one, &io);
	if (err)
		return err;
	io.check = false;
	return visit_all(p, load_one, &io);
}

struct sum {
	const char *base;
	uint64_t hash;
};

static int sum_one(const struct params *p, const struct named *t, void *ctx)
{
	struct sum *s = ctx;

	for (uint64_t e = 0; e < count(t); e++) {
		const unsigned char *v = (const unsigned char *)s->base + element(p, t, e);

		for (int i = 0; i < 4; i++)
			s->hash = (s->hash ^ v[i]) * 0x100000001b3ull;
	}
	return 0;
}

int params_checksum(struct params *p, uint64_t *hash)
{
	struct sum s = { .hash = 0xcbf29ce484222325ull };
	void *base;
	int err = pim_buffer_map(p->buf, &base);

	if (err)
		return err;
	s.base = base;
	err = visit_all(p, sum_one, &s);
	*hash = s.hash;
	return err;
}
