// SPDX-License-Identifier: MIT
/* From layers to operations on feature maps that have a layout and a place. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <pim/hw.h>

#include "error.h"
#include "plan.h"

#define MAX_PADS (1u << 20) /* bytes per channel block that a pool on PIM may cost */

static uint64_t align_up(uint64_t v, uint64_t a)
{
	return (v + a - 1) / a * a;
}

uint64_t place(uint64_t *end, unsigned int *turn, const struct pim_info *info, uint64_t bytes)
{
	uint64_t row = (uint64_t)info->stripe_bytes * (info->row_bytes / PIM_HW_COLUMN);
	uint64_t off = align_up(*end, row);

	while ((off / row) % info->banks_per_unit != *turn % info->banks_per_unit)
		off += row;
	(*turn)++;
	*end = off + align_up(bytes, info->stripe_bytes);
	return off;
}

/* -- layers to operations --------------------------------------------------------------------------------------------- */

/* The only layer that uses this one's output, if it is of that kind; a plain ReLU if it is an activation. */
static int only_user(const struct pim_net *net, int layer, enum layer_kind kind)
{
	if (net->layer[layer].nusers != 1)
		return -1;
	for (int i = layer + 1; i < net->n; i++)
		for (unsigned int k = 0; k < net->layer[i].nin; k++)
			if (net->layer[i].in[k] == layer)
				return net->layer[i].kind == kind && (kind != LAYER_ACT || net->layer[i].act == PIM_RELU) ? i : -1;
	return -1;
}

static const enum op_kind op_of[] = {
	[LAYER_CONV] = OP_CONV,	      [LAYER_BN] = OP_BN,	    [LAYER_ACT] = OP_ACT,	  [LAYER_ADD] = OP_ADD,
	[LAYER_MUL] = OP_MUL,	      [LAYER_CONCAT] = OP_CONCAT,   [LAYER_MAXPOOL] = OP_MAXPOOL, [LAYER_AVGPOOL] = OP_AVGPOOL,
	[LAYER_DROPOUT] = OP_DROPOUT, [LAYER_SOFTMAX_CE] = OP_LOSS,
};

struct mapping {
	struct plan *p;
	int *map_of; /* map that holds a layer's output; of a fused chain only the last layer has one */
	char *done;
};

/* A BN, or an add, with what may be fused to it. Returns the last layer of the chain. */
static int fuse(const struct mapping *m, struct op *op, int i)
{
	const struct pim_net *net = m->p->net;
	const struct layer *l = &net->layer[i];
	int next;

	if (l->kind == LAYER_BN && (next = only_user(net, i, LAYER_ADD)) >= 0) {
		const struct layer *add = &net->layer[next];
		int other = add->in[add->in[0] == i], relu = only_user(net, next, LAYER_ACT);

		/* The other summand must be there when the BN runs. */
		if (relu >= 0 && other < i && other != i) {
			op->r = m->map_of[other];
			op->relu = true;
			m->done[next] = m->done[relu] = 1;
			return relu;
		}
	}
	if ((l->kind == LAYER_BN || l->kind == LAYER_ADD) && (next = only_user(net, i, LAYER_ACT)) >= 0) {
		op->relu = true;
		m->done[next] = 1;
		return next;
	}
	return i;
}

/* The inputs of a concatenation become views of its map. */
static int make_views(const struct mapping *m, int i, int y)
{
	const struct pim_net *net = m->p->net;
	const struct layer *l = &net->layer[i];
	uint32_t block = 0;

	for (unsigned int k = 0; k < l->nin; k++) {
		struct map *in = &m->p->map[m->map_of[l->in[k]]];

		if (in->c % 16 && k + 1 < l->nin)
			return pim_error(
				-ENOTSUP,
				"layer %d (concat): its input %u (layer %d) has %u channels; all but the last need a multiple of "
				"16, or they would have to be copied",
				i, k + 1, l->in[k], in->c);
		if (in->view_of >= 0 || m->map_of[l->in[k]] == 0)
			return pim_error(-ENOTSUP,
					 "layer %d (concat): its input %u (layer %d) is %s; nest concatenations, concat(concat(a, "
					 "b), c), so that "
					 "each map is part of one",
					 i, k + 1, l->in[k],
					 in->view_of >= 0 ? "part of another concatenation" : "the network's input");
		in->view_of = y;
		in->view_block = block;
		block += in->blocks;
	}
	return 0;
}

/*
 * One operation per layer, but for a ReLU that alone uses a BN or an add, and an add that alone uses a BN and is alone used by a ReLU: PIM
 * does those in the same pass over memory.
 */
static int make_op(const struct mapping *m, int i)
{
	struct plan *p = m->p;
	const struct layer *l = &p->net->layer[i];
	struct op *op = &p->op[p->nop];
	int last = i;

	if (l->kind != LAYER_INPUT) {
		*op = (struct op){ .kind = op_of[l->kind], .layer = i, .x = -1, .r = -1, .y = -1, .gx = -1, .gr = -1 };
		if (l->kind != LAYER_CONCAT)
			op->x = m->map_of[l->in[0]];
		if (l->kind == LAYER_ADD || l->kind == LAYER_MUL)
			op->r = m->map_of[l->in[1]];
		last = fuse(m, op, i);
		p->nop++;
	}
	if (l->kind == LAYER_SOFTMAX_CE)
		return 0;
	l = &p->net->layer[last];
	p->map[p->nmap] = (struct map){ .c = l->c,
					.h = l->h,
					.w = l->w,
					.blocks = (l->c + 15) / 16,
					.wh = 1,
					.ww = 1,
					.producer = i ? p->nop - 1 : -1,
					.view_of = -1,
					.view_grad = -1 };
	m->map_of[last] = p->nmap;
	if (i)
		op->y = p->nmap;
	p->nmap++;
	return l->kind == LAYER_CONCAT ? make_views(m, i, op->y) : 0;
}

static int make_ops(struct plan *p)
{
	size_t n = (size_t)p->net->n;
	struct mapping m = { p, calloc(n, sizeof(int)), calloc(n, 1) };
	int err = 0;

	p->map = calloc(n, sizeof(*p->map));
	p->op = calloc(n, sizeof(*p->op));
	if (!m.map_of || !m.done || !p->map || !p->op)
		err = pim_error(-ENOMEM, "no memory to plan %d layers", p->net->n);
	for (int i = 0; i < p->net->n && !err; i++)
		if (!m.done[i])
			err = make_op(&m, i);
	free(m.map_of);
	free(m.done);
	return err;
}

/* -- layouts ---------------------------------------------------------------------------------------------------------- */

static int root(int *parent, int i)
{
	while (parent[i] != i)
		i = parent[i] = parent[parent[i]];
	return i;
}

/* Maps of one layout: what an element-wise operation works on, and a concatenation with its parts. */
static void join_layouts(const struct plan *p, int *parent)
{
	for (int i = 0; i < p->nmap; i++)
		if (p->map[i].view_of >= 0)
			parent[root(parent, i)] = root(parent, p->map[i].view_of);
	for (int i = 0; i < p->nop; i++) {
		const struct op *op = &p->op[i];

		if (op->kind != OP_BN && op->kind != OP_ACT && op->kind != OP_ADD && op->kind != OP_MUL)
			continue;
		parent[root(parent, op->x)] = root(parent, op->y);
		if (op->r >= 0 && op->kind != OP_MUL)
			parent[root(parent, op->r)] = root(parent, op->y);
	}
}

/* The group of map m gets wh x ww planes, unless it has others. */
static bool take_planes(struct plan *p, int *parent, int m, uint32_t wh, uint32_t ww)
{
	struct map *g = &p->map[root(parent, m)];

	if (g->wh * g->ww == 1) {
		g->wh = wh;
		g->ww = ww;
	}
	return g->wh == wh && g->ww == ww;
}

/* A plane ends with a stripe: what a block of so many planes has of bytes that nobody needs. */
static uint64_t plane_pads(const struct plan *p, const struct map *m, uint32_t wh, uint32_t ww)
{
	uint64_t bytes = (uint64_t)p->n * (m->h / wh) * (m->w / ww) * PIM_HW_BLOCK;

	return (align_up(bytes, p->info.stripe_bytes) - bytes) * wh * ww;
}

bool pool_of_planes(const struct layer *l, const struct map *x)
{
	return l->sh == l->kh && l->sw == l->kw && !l->ph && !l->pw && x->h % l->kh == 0 && x->w % l->kw == 0 &&
	       l->kh <= PIM_HW_MAX_PLANES && l->kw <= PIM_HW_MAX_PLANES;
}

static bool is_pool(const struct op *op)
{
	return op->kind == OP_MAXPOOL || op->kind == OP_AVGPOOL;
}

static int mul_layout(struct plan *p, int *parent, const struct op *op)
{
	const struct map *x = &p->map[op->x];

	if (x->h > PIM_HW_MAX_PLANES || x->w > PIM_HW_MAX_PLANES)
		return pim_error(-ENOTSUP,
				 "layer %d (mul): its map is %ux%u; a card keeps pixels in at most %ux%u planes, and it needs one "
				 "for each",
				 op->layer, x->h, x->w, PIM_HW_MAX_PLANES, PIM_HW_MAX_PLANES);
	if (!take_planes(p, parent, op->x, x->h, x->w))
		return pim_error(-ENOTSUP, "layer %d (mul): its maps are added or normalised together with maps of another shape",
				 op->layer);
	return 0;
}

/*
 * A pool on PIM needs its window's elements in the planes of its input, and leaves its output plain; what cannot have that is done by the
 * HOST engine, which reads and writes any layout. A channel multiply needs every pixel of the map in a plane of its own, so that an image's
 * values are where its scale is.
 */
static int choose_layouts(struct plan *p)
{
	int *parent = calloc((size_t)p->nmap, sizeof(int)), err = 0;

	if (!parent)
		return pim_error(-ENOMEM, "no memory to lay out %d feature maps", p->nmap);
	for (int i = 0; i < p->nmap; i++)
		parent[i] = i;
	join_layouts(p, parent);
	for (int i = 0; i < p->nop && !err; i++)
		if (p->op[i].kind == OP_MUL)
			err = mul_layout(p, parent, &p->op[i]);
	for (int i = 0; i < p->nop; i++) {
		struct op *op = &p->op[i];
		const struct layer *l = &p->net->layer[op->layer];

		if (is_pool(op))
			op->host = !pool_of_planes(l, &p->map[op->x]) || plane_pads(p, &p->map[op->x], l->kh, l->kw) > MAX_PADS ||
				   !take_planes(p, parent, op->x, l->kh, l->kw);
	}
	for (int i = 0; i < p->nmap; i++) {
		p->map[i].wh = p->map[root(parent, i)].wh;
		p->map[i].ww = p->map[root(parent, i)].ww;
	}
	for (int i = 0; i < p->nop; i++) {
		struct op *op = &p->op[i];

		if (is_pool(op) && p->map[op->y].wh * p->map[op->y].ww != 1)
			op->host = true;
		if (op->kind == OP_MUL && !err && p->map[op->r].wh * p->map[op->r].ww != 1)
			err = pim_error(-ENOTSUP, "layer %d (mul): its scale is also pooled", op->layer);
	}
	free(parent);
	return err;
}

/* -- gradients and places --------------------------------------------------------------------------------------------- */

static int take_grad(struct plan *p, const struct op *op, int m)
{
	if (m == 0 && op->kind == OP_CONV)
		return -1; /* nobody asks for the gradient of the input, and a convolution can leave it out */
	if (p->map[m].ngrads == MAX_GRADS)
		return pim_error(-ENOTSUP, "layer %d: more than %d layers use its output", m ? p->op[p->map[m].producer].layer : 0,
				 MAX_GRADS);
	return (int)p->map[m].ngrads++;
}

/* Contributions are numbered in the order in which the backward pass makes them. */
static int number_grads(struct plan *p)
{
	for (int i = p->nop - 1; i >= 0; i--) {
		struct op *op = &p->op[i];

		for (int m = 0; op->kind == OP_CONCAT && m < op->y; m++) {
			if (p->map[m].view_of != op->y)
				continue;
			p->map[m].view_grad = take_grad(p, op, m);
			if (p->map[m].view_grad < 0)
				return p->map[m].view_grad;
		}
		if (op->x >= 0) {
			op->gx = take_grad(p, op, op->x);
			if (op->gx < -1)
				return op->gx;
		}
		if (op->r >= 0) {
			op->gr = take_grad(p, op, op->r);
			if (op->gr < -1)
				return op->gr;
		}
	}
	return 0;
}

static void place_maps(struct plan *p)
{
	unsigned int turn = 0;

	p->bytes = 0;
	for (int i = 0; i < p->nmap; i++) {
		struct map *m = &p->map[i];

		m->pixels_bytes = (uint64_t)p->n * (m->h / m->wh) * (m->w / m->ww) * PIM_HW_BLOCK;
		m->plane_bytes = align_up(m->pixels_bytes, p->info.stripe_bytes);
		m->block_bytes = m->plane_bytes * m->wh * m->ww;
		if (m->view_of < 0)
			m->val = place(&p->bytes, &turn, &p->info, m->block_bytes * m->blocks);
		for (unsigned int g = 0; g < m->ngrads; g++)
			if ((int)g != m->view_grad)
				m->grad[g] = place(&p->bytes, &turn, &p->info, m->block_bytes * m->blocks);
	}
	/* What a view is part of has a larger number. */
	for (int i = p->nmap - 1; i >= 0; i--) {
		struct map *m = &p->map[i];

		if (m->view_of < 0)
			continue;
		m->val = p->map[m->view_of].val + m->view_block * m->block_bytes;
		if (m->view_grad >= 0)
			m->grad[m->view_grad] = p->map[m->view_of].grad[0] + m->view_block * m->block_bytes;
	}
}

static int does_not_fit(struct plan *p)
{
	const unsigned long long need = p->bytes >> 20, there = p->info.domain_bytes >> 20;
	uint32_t asked = p->n, fits = 0, too_many = p->n;

	while (too_many - fits > 1) {
		p->n = fits + (too_many - fits) / 2;
		place_maps(p);
		*(p->bytes > p->info.domain_bytes ? &too_many : &fits) = p->n;
	}
	if (!fits)
		return pim_error(
			-ENOSPC,
			"the feature maps of batch %u need %llu MiB, card \"%s\" has %llu MiB per domain: not even batch 1 fits",
			asked, need, p->info.name, there);
	return pim_error(-ENOSPC,
			 "the feature maps of batch %u need %llu MiB, card \"%s\" has %llu MiB per domain: the largest batch is %u",
			 asked, need, p->info.name, there, fits);
}

int plan_create(struct plan *p, const struct pim_net *net, const struct pim_info *info, uint32_t n, bool train)
{
	int err = pim_net_check(net);

	*p = (struct plan){ .net = net, .info = *info, .n = n, .train = train };
	if (!err && (!n || n > 65536))
		err = pim_error(-EINVAL, "batch %u: must be 1..65536", n);
	if (!err)
		err = make_ops(p);
	if (!err)
		err = choose_layouts(p);
	if (!err)
		err = plan_check_limits(p);
	if (!err && train)
		err = number_grads(p);
	if (!err)
		place_maps(p);
	if (!err && p->bytes > info->domain_bytes)
		err = does_not_fit(p);
	if (err)
		plan_destroy(p);
	return err;
}

void plan_destroy(struct plan *p)
{
	free(p->map);
	free(p->op);
	*p = (struct plan){ 0 };
}
